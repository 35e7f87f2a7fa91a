//! A program (campaign) as core data describes it, in the AWS sample's JSON.
//!
//! The sample writes numbers and booleans as text when they went through a Redis
//! hash, so `customerId`, `checksum` and `valid` are taken either way. Its keys
//! `userAgent` and `messageId` belong to an event and are ignored; any other
//! unknown key is an error, because a misspelt rule is a rule that does not hold.

mod lenient;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    id::ProgramId,
    landing::{self, FallbackUrl, LandingUrl},
    rfc3339,
    rules::{self, ParameterRules},
};

/// Longest program name, customer name and checksum, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// What the tracker knows of one program.
///
/// Read it from JSON: reading checks what the fields' types cannot say (an order of
/// times, a bound on a list), and writing gives the same JSON again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "ProgramJson")]
pub struct Program {
    /// Which program.
    #[serde(rename = "programId")]
    pub id: ProgramId,
    /// Name for people.
    #[serde(rename = "programName")]
    pub name: String,
    /// What parameter `sum` must equal when [`Program::require_checksum`]; else only passed on.
    pub checksum: String,
    /// The customer.
    pub customer_id: i32,
    /// Name of the customer for people.
    pub customer_name: String,
    /// The switch: `false` refuses every hit.
    pub valid: bool,
    /// From when on hits count, in ms since 1970, inclusive.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lenient::write_moment")]
    pub starts_at: Option<u64>,
    /// From when on hits count no more, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lenient::write_moment")]
    pub ends_at: Option<u64>,
    /// Where a click is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landing_url: Option<LandingUrl>,
    /// Where a refused click is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<FallbackUrl>,
    /// Lets the two URLs be `http`.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_http: bool,
    /// A parameter without a rule refuses the hit.
    #[serde(skip_serializing_if = "is_false")]
    pub strict: bool,
    /// Parameter `sum` must equal the checksum.
    #[serde(skip_serializing_if = "is_false")]
    pub require_checksum: bool,
    /// What the parameters must be; at most [`rules::RULES_MAX`].
    #[serde(skip_serializing_if = "ParameterRules::is_empty")]
    pub parameters: ParameterRules,
    /// Groups of parameters of which at most one may be present; at most [`rules::CONFLICTS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Vec<String>>,
    /// The order of its source's changes; `None` when the JSON did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Why a program takes no hits at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Its `valid` is false.
    #[error("the program is switched off")]
    Inactive,
    /// Its `startsAt` lies ahead.
    #[error("starts at {}", rfc3339::format_ms(*.starts_at_ms))]
    NotStarted {
        /// ms since 1970.
        starts_at_ms: u64,
    },
    /// Its `endsAt` has come.
    #[error("ended at {}", rfc3339::format_ms(*.ended_at_ms))]
    Expired {
        /// ms since 1970.
        ended_at_ms: u64,
    },
}

impl Program {
    /// Whether hits count at `now_ms`, milliseconds since 1970.
    ///
    /// # Errors
    /// Why not; the switch is looked at first.
    pub fn validity(&self, now_ms: u64) -> Result<(), Invalid> {
        if !self.valid {
            return Err(Invalid::Inactive);
        }
        if let Some(starts_at_ms) = self.starts_at
            && now_ms < starts_at_ms
        {
            return Err(Invalid::NotStarted { starts_at_ms });
        }
        match self.ends_at {
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

/// Every key that is understood.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProgramJson {
    program_id: ProgramId,
    #[serde(deserialize_with = "lenient::short_text")]
    program_name: String,
    #[serde(default, deserialize_with = "lenient::text_or_number")]
    checksum: String,
    #[serde(deserialize_with = "lenient::number_or_text")]
    customer_id: i32,
    #[serde(deserialize_with = "lenient::short_text")]
    customer_name: String,
    #[serde(deserialize_with = "lenient::bool_or_text")]
    valid: bool,
    #[serde(default, deserialize_with = "lenient::moment")]
    starts_at: Option<u64>,
    #[serde(default, deserialize_with = "lenient::moment")]
    ends_at: Option<u64>,
    #[serde(default, deserialize_with = "landing::read_landing")]
    landing_url: Option<LandingUrl>,
    #[serde(default, deserialize_with = "landing::read_fallback")]
    fallback_url: Option<FallbackUrl>,
    #[serde(default)]
    allow_http: bool,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    require_checksum: bool,
    #[serde(default, deserialize_with = "rules::read_rules")]
    parameters: ParameterRules,
    #[serde(default, deserialize_with = "rules::read_conflicts")]
    conflicts: Vec<Vec<String>>,
    revision: Option<u64>,
    #[serde(default, rename = "userAgent")]
    _user_agent: IgnoredAny,
    #[serde(default, rename = "messageId")]
    _message_id: IgnoredAny,
}

/// A field that is fine alone and wrong beside another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub(crate) struct Inconsistent {
    pub(crate) field: &'static str,
    pub(crate) reason: String,
}

impl TryFrom<ProgramJson> for Program {
    type Error = Inconsistent;

    fn try_from(json: ProgramJson) -> Result<Self, Inconsistent> {
        let wrong = |field, reason: &str| Err(Inconsistent { field, reason: reason.into() });
        const HTTP: &str = "byte 0: http is only taken with \"allowHttp\": true; use https";
        if !json.allow_http && json.landing_url.as_ref().is_some_and(|url| !url.is_https()) {
            return wrong("landingUrl", HTTP);
        }
        if !json.allow_http && json.fallback_url.as_ref().is_some_and(|url| !url.is_https()) {
            return wrong("fallbackUrl", HTTP);
        }
        if let (Some(starts_at), Some(ends_at)) = (json.starts_at, json.ends_at)
            && starts_at >= ends_at
        {
            return wrong("endsAt", "is not after startsAt");
        }
        if json.require_checksum && json.checksum.is_empty() {
            return wrong("requireChecksum", "needs a checksum");
        }
        rules::check_satisfiable(&json.parameters, &json.conflicts)
            .map_err(|reason| Inconsistent { field: "conflicts", reason })?;
        Ok(Self {
            id: json.program_id,
            name: json.program_name,
            checksum: json.checksum,
            customer_id: json.customer_id,
            customer_name: json.customer_name,
            valid: json.valid,
            starts_at: json.starts_at,
            ends_at: json.ends_at,
            landing_url: json.landing_url,
            fallback_url: json.fallback_url,
            allow_http: json.allow_http,
            strict: json.strict,
            require_checksum: json.require_checksum,
            parameters: json.parameters,
            conflicts: json.conflicts,
            revision: json.revision,
        })
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
pub(crate) mod tests;
