//! What a process knows of its parts: the tracker, the consumer, each bridge, the admin address.
//!
//! A process is a list of parts. What starts it, waits and drains (module `roles`), and what
//! shows how it stands (`GET /log`, `/metrics`) sees them through this and does not tell them
//! apart. A new part is a file in `roles/` and a line in `roles.rs`.

use std::error::Error;
use std::time::Duration;

use actix_rt::task::JoinError;
use futures_util::future::LocalBoxFuture;
use serde_json::Value as Json;
use supervise::causes;

/// When a part is drained. The parts of a stage drain at once, and no stage begins before the
/// one above it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It takes in what is new. When this stage is over the logs are closed.
    Intake,
    /// It works off what the logs hold.
    CatchUp,
    /// It answers operators for as long as anything goes on.
    Operators,
}

/// How long a drain may take.
#[derive(Clone, Copy, Debug)]
pub struct DrainLimits {
    /// How long hits are served while the process is not ready; `None` if a part died, as then
    /// no load balancer is waited for.
    pub linger: Option<Duration>,
    /// How long may be spent on what is in the logs.
    pub grace: Duration,
}

/// A part that was started.
pub trait Part {
    /// As messages name it, such as `the consumer`.
    fn name(&self) -> &'static str;

    /// When it is drained.
    fn stage(&self) -> Stage;

    /// What the admin address may ask of it.
    fn report(&self) -> Option<Box<dyn Report>> {
        None
    }

    /// Called once, when all parts were started and commands know where the process is reached.
    /// Before it no hit is taken.
    fn begin(&mut self) {}

    /// Completes when it has ended without being asked, with the reason: that ends the process.
    /// A part that is started again when it dies never completes it. May be dropped and called
    /// again until it has completed.
    fn ended(&mut self) -> LocalBoxFuture<'_, String>;

    /// Ends it in order.
    ///
    /// # Errors
    /// Why it died instead.
    fn drain(self: Box<Self>, limits: DrainLimits) -> LocalBoxFuture<'static, Result<(), String>>;
}

/// How a part stands, for the threads of the admin address.
pub trait Report: Send + Sync {
    /// Its key in the answer of `GET /log`.
    fn key(&self) -> &'static str;

    /// What stands there.
    fn status(&self) -> Json;

    /// Sets the metrics that are looked up when somebody asks.
    fn measure(&self) -> LocalBoxFuture<'_, ()>;
}

/// Why a task is over that was to go on.
pub fn reason<E: Error>(ended: Result<Result<(), E>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => unasked(),
        Ok(Err(error)) => causes(&error),
        Err(panic) => panic.to_string(),
    }
}

/// The reason of a part that has none.
pub fn unasked() -> String {
    "it stopped without being asked".to_owned()
}
