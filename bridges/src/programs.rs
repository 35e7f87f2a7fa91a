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
//! A source that numbers its changes sends them with a `revision`. A change without one gets the
//! time at which it was accepted (module `intake`), or, if another writer appended the record, one
//! from its place in the log ([`position`]). Whatever the order of messages, and however often
//! they come, the registry ends with the highest revision of each program.
//!
//! A change that is refused for its revision is late, not an error; it is counted.
//!
//! # An empty registry
//!
//! The bridge brings changes, and cannot know when they are complete. So it never makes a registry
//! in Redis ready: a new or emptied one becomes ready when an operator imports everything
//! (`clickgate programs import`), or confirms with an import of `[]` that it is complete. Until
//! then no program becomes unknown.
//!
//! [`process`] handles batches, without a loop; [`Bridge`] runs turns of the loop, without an
//! actor; [`RunningBridge`] is the actor with its keeper, which restarts it when it dies.

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
