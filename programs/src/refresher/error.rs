//! Why the registry is not followed.

use super::follower::LOAD_TIMEOUT;
use crate::{RegistryError, State};

/// Why following stopped. Connecting again is the answer to all of them.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It did not answer in time.
    #[error("the registry did not answer within {} s", LOAD_TIMEOUT.as_secs())]
    TimedOut,
    /// It was never filled, so what it lacks says nothing: what we hold is kept.
    #[error("the registry was not filled yet (epoch {} has no ready mark)", .state.epoch)]
    NotReady {
        /// What it says of itself.
        state: State,
    },
    /// It ended the subscription.
    #[error("the registry ended the subscription")]
    Closed,
}
