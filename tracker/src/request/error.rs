//! Requests that the HTTP layer refuses before routing.

use http::StatusCode;

/// Why the HTTP layer refuses a request.
///
/// Each closes its connection: after a head that cannot be trusted, the start of the next one is
/// unknown (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RequestError {
    /// A request line or a field that breaks the grammar, or not HTTP at all.
    Syntax,
    /// A target in none of the forms of RFC 9112, section 3.2.
    Target,
    /// Not exactly one well-formed `Host` (RFC 9112, section 3.2).
    Host,
    /// A length that readers could interpret differently (RFC 9112, section 6.3).
    Framing,
    /// A transfer coding other than `chunked` (RFC 9112, section 6.1).
    TransferCoding,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// CONNECT, which is for proxies.
    Method,
    /// An expectation other than `100-continue` (RFC 9110, section 10.1.1).
    Expectation,
    /// A request line beyond [`crate::http::parse::LINE_BYTES_MAX`].
    LineTooLong,
    /// Too many fields, or too many bytes of them.
    HeadersTooLarge,
    /// The worker's budget for heads and bodies is exhausted.
    NoRoom,
}

impl RequestError {
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

    /// The status of its answer.
    pub fn status(self) -> StatusCode {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_at_its_own_index_and_has_an_error_status() {
        for (at, error) in RequestError::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, at, "{}", error.name());
            assert!(error.status().as_u16() >= 400);
        }
    }
}
