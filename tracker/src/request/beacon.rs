//! The body of a beacon, turned into entries or refused as a whole.
//!
//! ```text
//! { "program": "212312", "type": "impression" | "click" | "conversion" | a name of yours,
//!   "id": …, "time_ms": …, "visitor": …, "params": { "name": text | number | true | false } }
//! ```
//!
//! or an array of them. What is not of this shape is an error that names the place, and
//! nothing of the body is taken then: half a beacon would be a guess. The error holds names of
//! ours, places and lengths, and no byte of the sender's: it is kept, and a body may hold
//! anything. A `null` counts as absent, because that is what scripts send for what they do not
//! have.
//!
//! What a text says never fails a hit: a byte order mark is skipped, bytes that are no UTF-8 and
//! lone surrogates (half of an emoji that a script has cut) become U+FFFD. A parameter beyond a
//! limit is left out and counted, and so is a time that is no whole number of milliseconds.
//!
//! Nothing is built that the sender could make large: values stay the text they were sent
//! as, so a number keeps its digits, nesting costs no stack, and the entries are counted
//! before they are collected.

use std::{borrow::Cow, fmt};

use programs::decision::{ParameterLimits, Parameters};
use proto::EventType;
use serde_json::value::RawValue;

use crate::{
    config::Limits,
    request::beacon::fields::{Entries, Fields, scan, text},
    request::client_time,
    request::names::VISITOR,
};

mod fields;

/// Longest name of a custom event, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Fields of an entry that are looked at; there are six.
const FIELDS_MAX: usize = 16;

/// One entry of a beacon.
#[derive(Debug)]
pub struct Entry<'r> {
    /// The program id as it was written.
    pub program: Cow<'r, str>,
    /// The parameters, the visitor's id among them as `v`.
    pub parameters: Parameters<'r>,
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
    /// Such as `body`, `params` or `[3].time_ms`.
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

/// A body as text; borrowed if nothing has to be replaced.
pub fn decode(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body))
}

/// Reads a body, whatever its content type says.
///
/// # Errors
/// [`Malformed`], at the first place that is wrong.
pub fn parse<'r>(body: &'r str, limits: &Limits) -> Result<Vec<Entry<'r>>, Malformed> {
    let wrong = |reason: &dyn fmt::Display| At(None).wrong("body", reason);
    // The white space of JSON (RFC 8259, section 2), and no other.
    let text = body.trim_matches([' ', '\t', '\r', '\n']);
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
    let wanted = Fields { max: FIELDS_MAX, skips_null: false };
    let found = scan(json, wanted).map_err(|error| at.wrong("entry", error))?;
    let mut slots: [Option<&RawValue>; FIELDS.len()] = [None; FIELDS.len()];
    for (nth, (name, value)) in found.fields.iter().enumerate() {
        let Some(slot) = FIELDS.iter().position(|field| field == name) else {
            let known = FIELDS.join(", ");
            let place = format_args!("field {} (of {} bytes)", nth + 1, name.len());
            return Err(at.wrong(place, format_args!("is unknown; there are {known}")));
        };
        if slots[slot].is_some() {
            return Err(at.wrong(FIELDS[slot], "is given twice"));
        }
        slots[slot] = Some(value);
    }
    let [program, kind, id, time_ms, params, visitor] =
        slots.map(|slot| slot.filter(|value| value.get() != "null"));
    let program = program.ok_or_else(|| at.wrong("program", "is missing"))?;
    let kind = kind.ok_or_else(|| at.wrong("type", "is missing"))?;
    let mut parameters = parameters(params, visitor, at, limits.of_parameters())?;
    let time_ms = time_ms.map(|time| scalar(time).ok().and_then(|text| client_time::parse(&text)));
    if time_ms == Some(None) {
        parameters.note_left_out(1);
    }
    Ok(Entry {
        program: word(program, "program", at)?,
        sent: Sent {
            json,
            kind: kind_of(kind, at)?,
            id: id.map(|id| sender_id(id, at, limits)).transpose()?.filter(|id| !id.is_empty()),
            time_ms: time_ms.flatten().unwrap_or(0),
        },
        parameters,
    })
}

/// The fields of an entry, in the order in which [`entry`] takes them apart.
const FIELDS: [&str; 6] = ["program", "type", "id", "time_ms", "params", "visitor"];

fn kind_of<'r>(raw: &'r RawValue, at: At) -> Result<Kind<'r>, Malformed> {
    let name = text(raw).ok_or_else(|| at.wrong("type", "is not text"))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match &*name {
        "impression" => Ok(Kind::Impression),
        "click" => Ok(Kind::Click),
        "conversion" => Ok(Kind::Conversion),
        own if (1..=NAME_BYTES_MAX).contains(&own.len()) && own.bytes().all(fits) => Ok(Kind::Custom(name)),
        other => {
            let expected = "impression, click, conversion or 1 to 64 letters, digits, '_', '.' and '-'";
            Err(at.wrong("type", format_args!("of {} bytes is not {expected}", other.len())))
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

fn parameters<'r>(
    params: Option<&'r RawValue>,
    visitor: Option<&'r RawValue>,
    at: At,
    limits: ParameterLimits,
) -> Result<Parameters<'r>, Malformed> {
    let mut parameters = Parameters::default();
    if let Some(visitor) = visitor {
        parameters.push(Cow::Borrowed(VISITOR), word(visitor, "visitor", at)?, &limits);
    }
    let Some(params) = params else { return Ok(parameters) };
    if !params.get().starts_with('{') {
        return Err(at.wrong("params", "is not an object"));
    }
    let wanted = Fields { max: limits.parameters_max, skips_null: true };
    let found = scan(params.get(), wanted).map_err(|error| at.wrong("params", error))?;
    parameters.note_left_out(found.more);
    for (nth, (name, value)) in found.fields.into_iter().enumerate() {
        let value = match value.get() {
            "true" => Cow::Borrowed("true"),
            "false" => Cow::Borrowed("false"),
            _ => {
                let place = || format!("params, parameter {}", nth + 1);
                scalar(value).map_err(|reason| at.wrong(place(), reason))?
            }
        };
        parameters.push(name, value, &limits);
    }
    Ok(parameters)
}

/// A text, or a number as it was written.
fn word<'r>(raw: &'r RawValue, field: &str, at: At) -> Result<Cow<'r, str>, Malformed> {
    match raw.get() {
        "true" | "false" => Err(at.wrong(field, "is not text")),
        _ => scalar(raw).map_err(|reason| at.wrong(field, reason)),
    }
}

fn scalar(raw: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    match raw.get().as_bytes().first() {
        Some(b'"') => text(raw).ok_or("is not text"),
        Some(b'{' | b'[') => Err("is nested; text, numbers and true or false are taken"),
        _ => Ok(Cow::Borrowed(raw.get())),
    }
}

#[cfg(test)]
mod tests;
