//! A program (campaign) as core data describes it, in the AWS sample's JSON.
//!
//! The sample writes numbers and booleans as text when they went through a Redis
//! hash, so `customerId`, `checksum` and `valid` are taken either way. Its keys
//! `userAgent` and `messageId` belong to an event and are ignored; any other
//! unknown key is an error, because a misspelt rule would not be enforced.

//!
//! # What one costs
//!
//! A region holds 100,000 of them in memory, so the texts of a program share one allocation, see
//! [`texts`], and rarely used fields are behind one pointer, see [`terms`]: 88 bytes and the texts,
//! where the plain struct took 272 and an allocation for each text.

mod json;
mod lenient;
mod terms;
mod texts;

use serde::Deserialize;

use crate::{id::ProgramId, landing::LandingUrl, rfc3339};

pub(crate) use json::ProgramJson;
pub use terms::{BoxedTerms, Terms};
pub use texts::Texts;

/// Longest program name, customer name and checksum, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// Highest revision, 2^63-1, so that other software may read it as a signed number.
pub const REVISION_MAX: u64 = i64::MAX as u64;

/// One program.
///
/// Read it from JSON: reading checks what the fields' types cannot say (an order of
/// times, a bound on a list), and writing gives the same JSON again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "ProgramJson")]
pub struct Program {
    /// Which program.
    pub id: ProgramId,
    /// Its name, its customer's, the checksum and the landing URL; read them by the methods.
    pub texts: Texts,
    /// The customer.
    pub customer_id: i32,
    /// The switch: `false` refuses every hit.
    pub valid: bool,
    /// Lets the two URLs be `http`.
    pub allow_http: bool,
    /// A parameter without a rule refuses the hit.
    pub strict: bool,
    /// Parameter `sum` must equal the checksum.
    pub require_checksum: bool,
    /// Orders its source's changes; `None` if the JSON has none.
    pub revision: Option<u64>,
    /// Rarely used fields: times, parameter rules, a fallback.
    pub terms: BoxedTerms,
}

/// Why a program accepts no hits at a given time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its `valid` is false.
    #[error("the program is switched off")]
    Inactive,
    /// Its `startsAt` is in the future.
    #[error("starts at {}", rfc3339::format_ms(*.starts_at_ms))]
    NotStarted {
        /// ms since 1970.
        starts_at_ms: u64,
    },
    /// Its `endsAt` has passed.
    #[error("ended at {}", rfc3339::format_ms(*.ended_at_ms))]
    Expired {
        /// ms since 1970.
        ended_at_ms: u64,
    },
}

impl Program {
    /// Name for people; at most [`TEXT_BYTES_MAX`] bytes, like the other texts.
    pub fn name(&self) -> &str {
        self.texts.name()
    }

    /// What parameter `sum` must equal when [`Program::require_checksum`]; else only passed on.
    pub fn checksum(&self) -> &str {
        self.texts.checksum()
    }

    /// Name of the customer for people.
    pub fn customer_name(&self) -> &str {
        self.texts.customer_name()
    }

    /// Where a click is sent.
    pub fn landing_url(&self) -> Option<LandingUrl<&str>> {
        self.texts.landing_url()
    }

    /// Whether hits count at `now_ms`, milliseconds since 1970.
    ///
    /// # Errors
    /// Why not; the switch is checked first.
    pub fn validity(&self, now_ms: u64) -> Result<(), Invalid> {
        if !self.valid {
            return Err(Invalid::Inactive);
        }
        if let Some(starts_at_ms) = self.terms.starts_at
            && now_ms < starts_at_ms
        {
            return Err(Invalid::NotStarted { starts_at_ms });
        }
        match self.terms.ends_at {
            Some(ended_at_ms) if now_ms >= ended_at_ms => Err(Invalid::Expired { ended_at_ms }),
            _ => Ok(()),
        }
    }

    /// The program with a revision: its own, else `revision`.
    pub fn or_revision(mut self, revision: u64) -> Self {
        self.revision.get_or_insert(revision);
        self
    }
}

#[cfg(test)]
pub(crate) mod tests;
