//! The ActiveMQ bridge: messages of legacy queues into the log, exactly acknowledged.
//!
//! ```text
//!            I/O thread                 the actor's thread            lane and sync threads
//! broker ──► Session ──► frames ──► Work: map ─► judge ─► event ──► append ─► level reached
//!   ▲        heart-beats               │                                         │
//!   └─────── ACK ◄─────────────────────┼─────────────────────────────────────────┘
//!   └─────── BEGIN SEND ACK COMMIT ◄───┴─ cannot be mapped
//! ```
//!
//! One bridge a queue or topic. Its actor is a shell ([`RunningBridge`]) around [`Bridge`], which opens one
//! session after the other; the bounds stand at the modules `session` and `work`.
//!
//! # Why STOMP of our own?
//!
//! Because each crate has a fault that loses messages or kills the process: one panics on a
//! binary body, one cannot read what ActiveMQ sends, one sends its heart-beats too late. The module `codec`
//! has no I/O, the module `session` no business; both are small.

mod actor;
mod aside;
mod attempts;
mod bridge;
mod check;
pub(crate) mod codec;
mod config;
mod event;
pub(crate) mod frame;
mod identity;
mod letter;
mod mapping;
mod session;
mod sink;
mod status;
mod work;

pub use actor::RunningBridge;
pub use bridge::{Bridge, OpenError, Plan, Stop, Turn};
pub use check::{CheckStep, Checked, CheckedEvent, check, message_of};
pub use codec::{BadFrame, Decoder, Limits, encode};
pub use config::{Broker, Empty, Endpoint, Fields, Format, Identity, Queue, Target, errors_of};
pub use frame::{Command, Frame, HeadFault, Headers};
pub use letter::LetterError;
pub use mapping::{Source, Unmappable};
pub use sink::{AcceptCoreData, Judge, KeepLetters, ReplayError, Sink};
pub use status::{Counts, Status, StatusHandle};
