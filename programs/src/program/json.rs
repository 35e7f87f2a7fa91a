//! A program as JSON has it: what is read, what must fit together, what is written.

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};

use super::{BoxedTerms, Program, Terms, lenient};
use crate::{
    id::ProgramId,
    landing::{self, FallbackUrl, LandingUrl},
    rules::{self, ParameterRules},
};

/// Every key that is understood.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProgramJson {
    program_id: ProgramId,
    #[serde(deserialize_with = "lenient::short_text")]
    program_name: Box<str>,
    #[serde(default, deserialize_with = "lenient::text_or_number")]
    checksum: Box<str>,
    #[serde(deserialize_with = "lenient::number_or_text")]
    customer_id: i32,
    #[serde(deserialize_with = "lenient::short_text")]
    customer_name: Box<str>,
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
            customer_name: json.customer_name,
            customer_id: json.customer_id,
            valid: json.valid,
            allow_http: json.allow_http,
            strict: json.strict,
            require_checksum: json.require_checksum,
            landing_url: json.landing_url,
            revision: json.revision,
            terms: BoxedTerms::from(Terms {
                starts_at: json.starts_at,
                ends_at: json.ends_at,
                fallback_url: json.fallback_url,
                parameters: json.parameters,
                conflicts: json.conflicts,
            }),
        })
    }
}

/// Every key that is written, in this order; what says nothing is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'p> {
    program_id: &'p ProgramId,
    program_name: &'p str,
    checksum: &'p str,
    customer_id: i32,
    customer_name: &'p str,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lenient::write_moment")]
    starts_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "lenient::write_moment")]
    ends_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    landing_url: Option<&'p LandingUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback_url: Option<&'p FallbackUrl>,
    #[serde(skip_serializing_if = "is_false")]
    allow_http: bool,
    #[serde(skip_serializing_if = "is_false")]
    strict: bool,
    #[serde(skip_serializing_if = "is_false")]
    require_checksum: bool,
    #[serde(skip_serializing_if = "ParameterRules::is_empty")]
    parameters: &'p ParameterRules,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    conflicts: &'p [Vec<String>],
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl Serialize for Program {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let terms = &*self.terms;
        let written = Written {
            program_id: &self.id,
            program_name: &self.name,
            checksum: &self.checksum,
            customer_id: self.customer_id,
            customer_name: &self.customer_name,
            valid: self.valid,
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            landing_url: self.landing_url.as_ref(),
            fallback_url: terms.fallback_url.as_ref(),
            allow_http: self.allow_http,
            strict: self.strict,
            require_checksum: self.require_checksum,
            parameters: &terms.parameters,
            conflicts: &terms.conflicts,
            revision: self.revision,
        };
        written.serialize(serializer)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
