//! How a long-lived part of a process lives, whatever it does: it tries again with pauses
//! ([`Backoff`]), its owner notices its death ([`lifeline()`]), it reports how it stands
//! ([`StatusHandle`]), and its thread ends with it ([`ArbiterOwner`]).
//!
//! Beside that stands what every part needs and none owns: the wall clock ([`now_ms`]), an error
//! with its causes in one line ([`causes`]), and files that only their owner may read ([`files`]).
//!
//! Nothing here knows what a hit, a program or an event is, and nothing queues.

mod arbiter;
mod backoff;
mod causes;
mod clock;
pub mod files;
mod lifeline;
mod status;

pub use arbiter::ArbiterOwner;
pub use backoff::Backoff;
pub use causes::causes;
pub use clock::now_ms;
pub use lifeline::{Lifeline, lifeline};
pub use status::{Failure, StatusHandle};
