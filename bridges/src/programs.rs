//! The program bridge: core data from a stream into the registry.
//!
//! ```text
//! POST /programs ──► Intake ──► log "programs" ──► Bridge ──► Registry::put_all ─► every
//! import --stream    revision,  lane of its own    cursor     one round trip a     tracker
//!                    synced                        "programs" │ batch
//!                                                             └─ cannot be read ──► dead letters
//! ```
//!
//! # Revisions
//!
//! A source that numbers its changes says so in `revision`. A change without one gets the
//! time at which it was accepted (module `intake`), or, where something else wrote the
//! record, one from its place in the log ([`position`]). Whatever order messages come in,
//! and however often, the registry ends with the highest revision of each program.
//!
//! What is refused because of its revision is no error, it is late; it is counted.
//!
//! # An empty registry
//!
//! The bridge brings changes, and no change says that it is the last one missing. So it never
//! makes a registry in Redis ready: a new one, or one that was emptied, is filled when somebody
//! has imported everything (`clickgate programs import`), or has said with an import of `[]`
//! that what is there is everything. Until then no program becomes unknown.
//!
//! [`process`] is all of it without a loop; [`Bridge`] is a turn of the loop, without an
//! actor; [`RunningBridge`] is the actor, and starts another one when it dies.

mod actor;
mod bridge;
mod config;
mod intake;
mod message;
mod process;
mod status;

pub use actor::RunningBridge;
pub use bridge::{Bridge, BridgeError, LettersError, Turn};
pub use config::Config;
pub use intake::{Intake, IntakeError, REQUESTS_MAX};
pub use message::{CoreData, ReadLines, read_body, read_lines, read_message};
pub use process::{Counts, Outcome, STAGE, position, process};
pub use status::{Status, StatusHandle};
