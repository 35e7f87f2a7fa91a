//! Why a hit is refused.

use std::borrow::Cow;

/// The reasons, by the names that answers, metrics and `events rejected` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Refusal {
    /// The path's last part cannot be a program id.
    MalformedProgramId,
    /// No such program.
    UnknownProgram,
    /// The program cannot be checked, and the configuration (or the route) wants it checked.
    UnverifiedProgram,
    /// The program is switched off.
    InactiveProgram,
    /// The program has not started.
    NotStarted,
    /// The program has ended.
    Expired,
    /// A parameter that the program requires is not there.
    MissingParameter,
    /// A parameter cannot be decoded or breaks the program's rule for it.
    InvalidParameter,
    /// A strict program does not know this parameter.
    UnexpectedParameter,
    /// Parameters that exclude each other.
    ConflictingParameters,
    /// `sum` is not the program's checksum.
    ChecksumMismatch,
    /// A limit on the request was exceeded.
    TooLarge,
    /// A beacon's body is not JSON, or not a beacon's.
    MalformedBeacon,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::MalformedProgramId,
        Self::UnknownProgram,
        Self::UnverifiedProgram,
        Self::InactiveProgram,
        Self::NotStarted,
        Self::Expired,
        Self::MissingParameter,
        Self::InvalidParameter,
        Self::UnexpectedParameter,
        Self::ConflictingParameters,
        Self::ChecksumMismatch,
        Self::TooLarge,
        Self::MalformedBeacon,
    ];

    /// The name in answers, metrics, lane reports and rejected records.
    pub fn name(self) -> &'static str {
        match self {
            Self::MalformedProgramId => "malformed_program_id",
            Self::UnknownProgram => "unknown_program",
            Self::UnverifiedProgram => "unverified_program",
            Self::InactiveProgram => "inactive_program",
            Self::NotStarted => "not_started",
            Self::Expired => "expired",
            Self::MissingParameter => "missing_parameter",
            Self::InvalidParameter => "invalid_parameter",
            Self::UnexpectedParameter => "unexpected_parameter",
            Self::ConflictingParameters => "conflicting_parameters",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::TooLarge => "too_large",
            Self::MalformedBeacon => "malformed_beacon",
        }
    }
}

/// A refusal with its details, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub reason: Refusal,
    /// The parameter's name and the rule it broke, the end of the window, …
    pub detail: Cow<'static, str>,
}

impl Refused {
    /// `reason`, explained by `detail`.
    pub fn new(reason: Refusal, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_its_own_place_in_the_list() {
        for (at, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at, "{}", reason.name());
        }
    }
}
