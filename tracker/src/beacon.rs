//! The body of a beacon, turned into entries or refused as a whole.
//!
//! ```text
//! { "program": "212312", "type": "impression" | "click" | "conversion" | a name of yours,
//!   "id": …, "time_ms": …, "visitor": …, "params": { "name": text | number | true | false } }
//! ```
//!
//! or an array of them. What is not of this shape is an error that names the place, and
//! nothing of the body is taken then: half a beacon would be a guess. A `null` counts as
//! absent, because that is what scripts send for what they do not have.
//!
//! Nothing is built that the sender could make large: values stay the text they were sent
//! as, so a number keeps its digits, nesting costs no stack, and the entries are counted
//! before they are collected.

use std::{borrow::Cow, fmt};

use proto::EventType;
use serde_json::value::RawValue;

use crate::{
    beacon::fields::{Entries, Fields, scan},
    config::Limits,
    hit::{VISITOR, cut},
    query::{Parameters, QueryError},
};

mod fields;

/// Longest name of a custom event, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Fields of an entry that are looked at; there are six.
const FIELDS_MAX: usize = 16;
/// Bytes of what was sent that an error quotes.
const QUOTED_BYTES_MAX: usize = 64;

/// One entry of a beacon.
#[derive(Debug)]
pub struct Entry<'r> {
    /// The program id as it was written.
    pub program: Cow<'r, str>,
    /// The parameters, the visitor's id among them as `v`; or which bound they pass.
    pub parameters: Result<Parameters<'r>, QueryError>,
    /// The rest.
    pub sent: Sent<'r>,
}

/// What an entry says that no other hit does.
#[derive(Clone, Debug)]
pub struct Sent<'r> {
    /// The entry as it was sent.
    pub json: &'r str,
    /// What happened.
    pub kind: Kind<'r>,
    /// The sender's id: a retry has the same. 1 byte to `limits.value_bytes_max`.
    pub id: Option<Cow<'r, str>>,
    /// Milliseconds since 1970 on the sender's clock, below 2^48; 0 if it did not say.
    pub time_ms: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'r> {
    /// It was shown.
    Impression,
    /// It was clicked on.
    Click,
    /// It led to something.
    Conversion,
    /// Something of the sender's own: 1 to 64 letters, digits, `_`, `.` or `-`.
    Custom(Cow<'r, str>),
}

impl Kind<'_> {
    /// The type of the event.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Impression => EventType::Impression,
            Self::Click => EventType::Click,
            Self::Conversion => EventType::Conversion,
            Self::Custom(_) => EventType::Custom,
        }
    }

    /// The custom event's name; empty for the others.
    pub fn custom_name(&self) -> &str {
        if let Self::Custom(name) = self { name } else { "" }
    }
}

/// Why a body is no beacon, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Malformed {
    /// Such as `body`, `params.size` or `[3].time_ms`.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

/// Where in the body we are.
#[derive(Clone, Copy)]
struct At(Option<usize>);

impl At {
    fn wrong(self, field: impl fmt::Display, reason: impl fmt::Display) -> Malformed {
        let path = match self.0 {
            Some(index) => format!("[{index}].{field}"),
            None => field.to_string(),
        };
        Malformed { path, reason: reason.to_string() }
    }
}

/// Reads a body, whatever its content type says.
///
/// # Errors
/// [`Malformed`], at the first place that is wrong.
pub fn parse<'r>(body: &'r [u8], limits: &Limits) -> Result<Vec<Entry<'r>>, Malformed> {
    let wrong = |reason: &dyn fmt::Display| At(None).wrong("body", reason);
    let text = std::str::from_utf8(body)
        .map_err(|error| wrong(&format_args!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(wrong(&"it is empty"));
    }
    if !text.starts_with('[') {
        let whole: &RawValue = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        return Ok(vec![entry(whole, At(None), limits)?]);
    }
    let found = scan(text, Entries { max: limits.entries_max }).map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(wrong(&"it holds no entry"));
    }
    if found.len() > limits.entries_max {
        return Err(wrong(&format_args!("more than {} entries", limits.entries_max)));
    }
    found.into_iter().enumerate().map(|(index, raw)| entry(raw, At(Some(index)), limits)).collect()
}

fn entry<'r>(raw: &'r RawValue, at: At, limits: &Limits) -> Result<Entry<'r>, Malformed> {
    let json = raw.get();
    if !json.starts_with('{') {
        let place = at.0.map_or("body".to_owned(), |index| format!("[{index}]"));
        return Err(Malformed { path: place, reason: "is not an object".into() });
    }
    let fields = scan(json, Fields { max: FIELDS_MAX }).map_err(|error| at.wrong("entry", error))?;
    let mut slots: [Option<&RawValue>; FIELDS.len()] = [None; FIELDS.len()];
    for (name, value) in fields {
        let Some(slot) = FIELDS.iter().position(|field| *field == name) else {
            let known = FIELDS.join(", ");
            return Err(at.wrong(quoted(&name), format_args!("is no field; there are {known}")));
        };
        if slots[slot].is_some() {
            return Err(at.wrong(name, "stands there twice"));
        }
        slots[slot] = Some(value);
    }
    let [program, kind, id, time_ms, params, visitor] =
        slots.map(|slot| slot.filter(|value| value.get() != "null"));
    let program = program.ok_or_else(|| at.wrong("program", "is missing"))?;
    let kind = kind.ok_or_else(|| at.wrong("type", "is missing"))?;
    Ok(Entry {
        program: word(program, "program", at)?,
        sent: Sent {
            json,
            kind: kind_of(kind, at)?,
            id: id.map(|id| sender_id(id, at, limits)).transpose()?.filter(|id| !id.is_empty()),
            time_ms: time_ms.map_or(Ok(0), |time| milliseconds(time, at))?,
        },
        parameters: parameters(params, visitor, at, limits)?,
    })
}

/// The fields of an entry, in the order in which [`entry`] takes them apart.
const FIELDS: [&str; 6] = ["program", "type", "id", "time_ms", "params", "visitor"];

fn kind_of<'r>(raw: &'r RawValue, at: At) -> Result<Kind<'r>, Malformed> {
    let name = text(raw).map_err(|reason| at.wrong("type", reason))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match &*name {
        "impression" => Ok(Kind::Impression),
        "click" => Ok(Kind::Click),
        "conversion" => Ok(Kind::Conversion),
        own if (1..=NAME_BYTES_MAX).contains(&own.len()) && own.bytes().all(fits) => Ok(Kind::Custom(name)),
        other => {
            let expected = "impression, click, conversion or 1 to 64 letters, digits, '_', '.' and '-'";
            Err(at.wrong("type", format_args!("{} is not {expected}", quoted(other))))
        }
    }
}

fn sender_id<'r>(raw: &'r RawValue, at: At, limits: &Limits) -> Result<Cow<'r, str>, Malformed> {
    let id = word(raw, "id", at)?;
    let max = limits.value_bytes_max;
    match id.len() {
        bytes if bytes > max => Err(at.wrong("id", format_args!("has {bytes} bytes of {max}"))),
        _ => Ok(id),
    }
}

fn milliseconds(raw: &RawValue, at: At) -> Result<u64, Malformed> {
    let ms = raw.get().parse::<u64>().ok().filter(|ms| ms >> 48 == 0);
    let expected = "is not a whole number of milliseconds since 1970 below 2^48";
    ms.ok_or_else(|| at.wrong("time_ms", format_args!("{} {expected}", quoted(raw.get()))))
}

/// The outer error is a shape that nobody can mean; the inner one a bound, for which the
/// entry alone is refused, as a query is.
fn parameters<'r>(
    params: Option<&'r RawValue>,
    visitor: Option<&'r RawValue>,
    at: At,
    limits: &Limits,
) -> Result<Result<Parameters<'r>, QueryError>, Malformed> {
    let mut found = Vec::new();
    if let Some(visitor) = visitor {
        found.push((Cow::Borrowed(VISITOR), word(visitor, "visitor", at)?));
    }
    if let Some(params) = params {
        if !params.get().starts_with('{') {
            return Err(at.wrong("params", "is not an object"));
        }
        let fields = scan(params.get(), Fields { max: limits.parameters_max })
            .map_err(|error| at.wrong("params", error))?;
        if fields.len() > limits.parameters_max {
            let detail = format!("more than {} parameters", limits.parameters_max);
            return Ok(Err(QueryError::TooLarge(detail)));
        }
        for (name, value) in fields {
            let path = || format!("params.{}", quoted(&name));
            let value = match value.get() {
                "null" => continue,
                "true" => Cow::Borrowed("true"),
                "false" => Cow::Borrowed("false"),
                _ => scalar(value).map_err(|reason| at.wrong(path(), reason))?,
            };
            found.push((name, value));
        }
    }
    let mut parameters = Parameters::default();
    let bounded = |(name, value)| parameters.push(name, value, limits);
    let pushed: Result<(), QueryError> = found.into_iter().try_for_each(bounded);
    Ok(pushed.map(|()| parameters))
}

/// A text, or a number as it was written.
fn word<'r>(raw: &'r RawValue, field: &str, at: At) -> Result<Cow<'r, str>, Malformed> {
    match raw.get() {
        "true" | "false" => Err(at.wrong(field, "is not text")),
        _ => scalar(raw).map_err(|reason| at.wrong(field, reason)),
    }
}

fn scalar(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    match raw.get().as_bytes().first() {
        Some(b'"') => text(raw),
        Some(b'{' | b'[') => Err("is nested; text, numbers and true or false are taken".into()),
        _ => Ok(Cow::Borrowed(raw.get())),
    }
}

fn text(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    let json = raw.get();
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or("is not text")?;
    if inner.contains('\\') {
        serde_json::from_str(json).map(Cow::Owned).map_err(|error| error.to_string())
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

/// What was sent, cut and made safe to show.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let shown = cut(text, QUOTED_BYTES_MAX);
    if !shown.is_empty() && shown.len() == text.len() && shown.bytes().all(plain) {
        return shown.to_owned();
    }
    format!("{shown:?}{}", if shown.len() < text.len() { "…" } else { "" })
}

#[cfg(test)]
mod tests;
