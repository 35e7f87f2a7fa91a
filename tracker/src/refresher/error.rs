//! Why the registry is not followed.

use std::error::Error;

use programs::{RegistryError, State};

use super::follower::LOAD_TIMEOUT;

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

impl FollowError {
    /// The error and its causes in one line, outermost first, for the log: that the registry cannot
    /// be reached sends a person to the network, where a name or a certificate is wrong.
    pub fn causes(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            next = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_says_names_the_cause_and_nothing_twice() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = FollowError::from(RegistryError::Unavailable(Box::new(refused)));
        assert_eq!(error.causes(), "the registry cannot be reached at the moment: connection refused");
        assert_eq!(FollowError::Closed.causes(), "the registry ended the subscription");
    }
}
