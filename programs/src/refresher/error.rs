//! Why the registry is not followed.

use std::time::Duration;

use crate::{RegistryError, State};

/// Why following stopped. After any of them: connect again.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The registry returned an error.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It did not answer in time.
    #[error("the registry did not answer within {} s", .limit.as_secs())]
    TimedOut {
        /// The longest wait.
        limit: Duration,
    },
    /// It was never filled, so a missing program proves nothing: what we hold is kept.
    #[error("the registry was not filled yet (epoch {} has no ready mark)", .state.epoch)]
    NotReady {
        /// The state that it reported.
        state: State,
    },
    /// It ended the subscription.
    #[error("the registry ended the subscription")]
    Closed,
}
