//! The JSON of a program: reading, consistency checks, writing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{BoxedTerms, Program, Terms, Texts, lenient};
use crate::{
    absent,
    id::ProgramId,
    landing::{self, FallbackUrl, LandingUrl},
    rules::{self, ParameterRules},
};

/// Every known key. `null` for an optional one counts as absent.
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
    #[serde(default, deserialize_with = "absent::or_default")]
    allow_http: bool,
    #[serde(default, deserialize_with = "absent::or_default")]
    strict: bool,
    #[serde(default, deserialize_with = "absent::or_default")]
    require_checksum: bool,
    #[serde(default, deserialize_with = "rules::read_rules")]
    parameters: ParameterRules,
    #[serde(default, deserialize_with = "rules::read_conflicts")]
    conflicts: Vec<Vec<String>>,
    #[serde(default, deserialize_with = "lenient::revision")]
    revision: Option<u64>,
    #[serde(default, rename = "userAgent")]
    _user_agent: IgnoredAny,
    #[serde(default, rename = "messageId")]
    _message_id: IgnoredAny,
}

/// The keys of [`ProgramJson`].
pub(super) const KEYS: [&str; 18] = [
    "programId",
    "programName",
    "checksum",
    "customerId",
    "customerName",
    "valid",
    "startsAt",
    "endsAt",
    "landingUrl",
    "fallbackUrl",
    "allowHttp",
    "strict",
    "requireChecksum",
    "parameters",
    "conflicts",
    "revision",
    "userAgent",
    "messageId",
];

impl Program {
    /// Reads stored JSON: an unknown key comes from a newer release and is ignored. In user input it
    /// is a misspelling, and an error.
    ///
    /// Only for keys of the program itself: a rule with unknown keys could not be enforced.
    ///
    /// # Errors
    /// As reading the JSON without those keys.
    pub(crate) fn read_stored(json: &[u8]) -> serde_json::Result<Self> {
        let as_ours = serde_json::from_slice::<Self>(json);
        if as_ours.is_ok() {
            return as_ours;
        }
        let mut keys: BTreeMap<String, &RawValue> = serde_json::from_slice(json)?;
        let all = keys.len();
        keys.retain(|key, _| KEYS.contains(&key.as_str()));
        if keys.len() == all {
            return as_ours;
        }
        serde_json::from_slice(&serde_json::to_vec(&keys)?)
    }
}

/// A field that is inconsistent with another.
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
            texts: Texts::new(
                &json.program_name,
                &json.checksum,
                &json.customer_name,
                json.landing_url.as_ref(),
            ),
            customer_id: json.customer_id,
            valid: json.valid,
            allow_http: json.allow_http,
            strict: json.strict,
            require_checksum: json.require_checksum,
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

/// Every key that is written, in this order; defaults are omitted.
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
    landing_url: Option<LandingUrl<&'p str>>,
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
            program_name: self.name(),
            checksum: self.checksum(),
            customer_id: self.customer_id,
            customer_name: self.customer_name(),
            valid: self.valid,
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            landing_url: self.landing_url(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_what_is_understood() {
        let error = serde_json::from_str::<ProgramJson>(r#"{"other": 1}"#).err().unwrap().to_string();
        let (_, listed) = error.split_once("expected one of ").unwrap();
        let understood: Vec<_> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(understood, KEYS);
    }

    #[test]
    fn a_key_of_a_newer_release_is_ignored_in_what_is_stored_and_refused_of_a_person() {
        let json = r#"{"programId":"a","programName":"n","customerId":1,"customerName":"c","valid":true,
            "parameters":{"A":{"type":"number","max":0.1}},"revision":18446744073709551615"#;
        let ours = Program::read_stored(format!("{json}}}").as_bytes()).unwrap();
        let newer = format!(r#"{json},"capPerDay":{{"clicks":[1,2]}}}}"#);
        assert_eq!(Program::read_stored(newer.as_bytes()).unwrap(), ours);
        assert!(serde_json::from_str::<Program>(&newer).is_err());
        for bad in ["{", "[]", "1", "", r#"{"capPerDay":1}"#, r#"{"programId":"a/b","capPerDay":1}"#] {
            assert!(Program::read_stored(bad.as_bytes()).is_err(), "{bad}");
        }
        let rule = newer.replace(r#""max":0.1"#, r#""max":0.1,"step":2"#);
        assert!(Program::read_stored(rule.as_bytes()).is_err(), "half a rule is not a rule");
    }
}
