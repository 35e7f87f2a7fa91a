//! Notices the death of an actor.
//!
//! actix restarts a supervised actor that stops, but not one that panics: the panic
//! takes its supervisor along and later messages find a closed mailbox. An actor that
//! must outlive every request therefore holds a [`Lifeline`], and its owner awaits the
//! other end.

use tokio::sync::oneshot;

/// Held by the actor; dropped with it, whatever the reason.
#[derive(Debug)]
pub struct Lifeline {
    _alive: oneshot::Sender<()>,
}

/// Creates a lifeline and the future that completes once it is dropped.
pub fn lifeline() -> (Lifeline, impl Future<Output = ()> + Send) {
    let (alive, dropped) = oneshot::channel();
    let snapped = async move {
        let _ = dropped.await;
    };
    (Lifeline { _alive: alive }, snapped)
}
