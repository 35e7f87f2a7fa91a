//! The names of the parameters that the tracker itself uses.

/// The visitor's id.
pub const VISITOR: &str = "v";
/// The client's clock, in milliseconds since 1970.
pub const CLIENT_TIME: &str = "t";
/// The sender's own id of a conversion.
pub const SENDER_ID: &str = "id";
