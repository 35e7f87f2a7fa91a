//! The life cycle of a long-running part of a process: it retries with pauses ([`Backoff`]), its
//! owner notices its death ([`lifeline()`]), it reports its status ([`StatusHandle`]), and its
//! thread ends with it ([`ArbiterOwner`]).
//!
//! Also here, as every part needs it: the wall clock ([`now_ms`]), an error with its causes in one
//! line ([`causes`]), and private files ([`files`]).
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
