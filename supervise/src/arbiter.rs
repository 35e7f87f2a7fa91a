//! A thread for an actor.

use actix_rt::{Arbiter, ArbiterHandle};

/// A thread with an event loop, for one actor; it ends when this is dropped.
///
/// actix leaves an [`Arbiter`] running when its handle is dropped, so an actor that is started
/// again would leave a thread behind each time.
#[derive(Debug)]
pub struct ArbiterOwner(Arbiter);

impl ArbiterOwner {
    /// Starts the thread. Needs a running actix `System` on the calling thread.
    pub fn start() -> Self {
        Self(Arbiter::new())
    }

    /// Where an actor is started.
    pub fn handle(&self) -> ArbiterHandle {
        self.0.handle()
    }
}

impl Drop for ArbiterOwner {
    fn drop(&mut self) {
        self.0.stop();
    }
}
