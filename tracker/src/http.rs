//! The HTTP/1.1 server of the tracker's address.
//!
//! # Why not a general server?
//!
//! Nearly all requests are a GET of a tracking route with a fixed answer; a general server spends
//! most of its time on features that such a request does not use (figures in
//! `benches/RESULTS.md`). And an edge faces the open internet: every state of a connection needs a
//! bound and a deadline, which no server that we measured had. So one parser reads all requests,
//! strict about framing and lenient about content.
//!
//! # The states of a connection
//!
//! ```text
//! accept ─► head ─► body ─► decide ─► answer ─┬─► head …        (keep-alive)
//!             │       │                       └─► close          (last answer)
//!             └───────┴─► refuse ───────────────► close          (malformed, slow, too large)
//! ```
//!
//! | state | deadline | bound on what it holds | at the bound or the deadline |
//! |---|---|---|---|
//! | first head | `client_request_timeout_ms` from the connection's start | 8 KiB; more of it is claimed from the worker's [`budget`] | 408; 414, 431 or 503 |
//! | idle between requests | `keep_alive_seconds` | nothing | closed |
//! | next head | `client_request_timeout_ms` from its first byte | as the first head | 408; 414, 431 or 503 |
//! | body | `client_body_timeout_ms`, and `client_request_timeout_ms` without a byte | `limits.body_bytes_max`, claimed from the budget | 408; 413 or 503 |
//! | decide | the registry's `catalog.registry_timeout_ms`, then the disk | one head, one body | see [`crate::Levels`] |
//! | answer | `client_request_timeout_ms` until the client has taken all of it | one answer; the largest is the tag or a beacon's report | dropped |
//! | close | `client_disconnect_timeout_ms` | [`connection::LINGER_BYTES_MAX`] are read and discarded | dropped |
//!
//! One request at a time: the next one is read after the answer has been sent. So even with
//! pipelining a connection holds one head, one body and one answer, and nothing is read from a
//! client that does not take its answer. After [`connection::REQUESTS_PER_YIELD`] answers without
//! a pause a connection yields to the others.
//!
//! # Parsing
//!
//! [`parse`] reads a head and refuses what two readers could interpret differently (RFC 9112,
//! section 11); [`body`] reads the body of a beacon. A request to another route that has a body is
//! answered, and the connection closes. A refusal here is counted by
//! [`RequestError`](crate::request::error::RequestError) and not logged: clients must not be able
//! to fill a log.

pub mod body;
pub mod budget;
pub mod buffers;
pub mod chunked;
pub mod closing;
pub mod connection;
pub mod encode;
pub mod host;
pub mod input;
pub mod parse;
pub mod server;
pub mod wait;
