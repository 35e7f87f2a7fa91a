//! Why a text is refused as a URL.

/// Why a text is not a landing URL, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {reason}")]
pub struct InvalidUrl {
    /// Place of the offending byte, from 0.
    pub at: usize,
    /// What is wrong, as a fragment.
    pub reason: &'static str,
}

impl InvalidUrl {
    pub(super) fn new(at: usize, reason: &'static str) -> Self {
        Self { at, reason }
    }
}
