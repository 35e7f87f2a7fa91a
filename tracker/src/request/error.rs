//! What HTTP refuses by itself, before any route sees it.

use http::StatusCode;

use crate::edge::answer::{self, Answer};

/// The kinds of requests that are refused, by the names that answers and metrics use.
///
/// Each ends its connection: after a head that cannot be trusted, nobody can say where the next
/// one begins (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Malformed {
    /// A request line or a field that breaks the grammar, or no HTTP at all.
    Syntax,
    /// A target that is none of those of RFC 9112, section 3.2.
    Target,
    /// Not exactly one well-formed `Host` (RFC 9112, section 3.2).
    Host,
    /// Lengths that readers could understand differently (RFC 9112, section 6.3).
    Framing,
    /// A transfer coding besides `chunked` (RFC 9112, section 6.1).
    TransferCoding,
    /// A version that we do not speak.
    Version,
    /// CONNECT: this is no proxy.
    Method,
    /// An expectation besides `100-continue` (RFC 9110, section 10.1.1).
    Expectation,
    /// A request line beyond [`crate::http::parse::LINE_BYTES_MAX`].
    LineTooLong,
    /// Too many fields, or too many bytes of them.
    HeadersTooLarge,
    /// The worker holds as many bytes of heads and bodies as it may.
    NoRoom,
}

impl Malformed {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Syntax,
        Self::Target,
        Self::Host,
        Self::Framing,
        Self::TransferCoding,
        Self::Version,
        Self::Method,
        Self::Expectation,
        Self::LineTooLong,
        Self::HeadersTooLarge,
        Self::NoRoom,
    ];

    /// The name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Syntax => "malformed_request",
            Self::Target => "bad_target",
            Self::Host => "bad_host",
            Self::Framing => "bad_framing",
            Self::TransferCoding => "unsupported_transfer_coding",
            Self::Version => "unsupported_version",
            Self::Method => "unsupported_method",
            Self::Expectation => "unsupported_expectation",
            Self::LineTooLong => "line_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::NoRoom => "no_room",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Syntax | Self::Target | Self::Host | Self::Framing => StatusCode::BAD_REQUEST,
            Self::TransferCoding | Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::LineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the client gets.
    pub fn answer(self) -> Answer {
        answer::error(self.status(), self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_own_place_in_the_list_and_always_an_error() {
        for (at, kind) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{}", kind.name());
            assert!(kind.answer().status().as_u16() >= 400);
        }
    }
}
