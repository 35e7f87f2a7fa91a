//! HTTP/1.1 for everything that arrives at the tracker's address.
//!
//! # Why one of our own?
//!
//! Nearly all requests are a GET of a tracking route, and their answer is known by the byte; a
//! general server spends most of its time on what such a request does not need (the figures are
//! in `benches/RESULTS.md`). And an edge faces anybody: each state of a connection must have a
//! bound and a deadline, which no server that we measured had. So there is one reader for all
//! requests of all connections, strict about framing and lenient about content.
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
//! | answer | `client_request_timeout_ms` until the client has taken all of it | one answer; the largest is the tag's or a report's | dropped |
//! | close | `client_disconnect_timeout_ms` | [`connection::LINGER_BYTES_MAX`] are read and forgotten | dropped |
//!
//! One request at a time: the next one is read when the answer has left. So whoever pipelines
//! what, a connection holds one head, one body and one answer, and while an answer is not taken
//! nothing is read. After [`connection::REQUESTS_PER_TURN`] answers without a pause a
//! connection gives way to the others.
//!
//! # What is read
//!
//! [`parse`] takes a head apart and refuses what two readers could understand differently
//! (RFC 9112, section 11); [`body`] reads a body that a route asked for. A request whose body
//! nobody wants is answered, and the connection closes. What is refused here is counted by
//! [`malformed::Malformed`] and logs nothing: a client must not be able to fill a log.

pub mod body;
pub mod budget;
pub mod buffers;
pub mod chunked;
pub mod closing;
pub mod connection;
pub mod encode;
pub mod host;
pub mod input;
pub mod malformed;
pub mod parse;
pub mod server;
pub mod wait;
