//! The answer of a look-up.

use std::sync::Arc;

use crate::Program;

/// What the catalog says about an id.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The program.
    Known(Arc<Program>),
    /// The registry answered that there is no such program.
    Unknown,
    /// The registry is unreachable, too slow, overloaded or was never filled. Never cached.
    Unverified,
}
