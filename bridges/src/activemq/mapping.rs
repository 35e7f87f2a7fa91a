//! What a message becomes: the fields of an event, or the reason why it is put aside.
//!
//! Pure, and the same for the bridge and for `clickgate bridge check`, which looks on.
//!
//! A broker copies the properties of a message into its headers, over the real ones. So headers are
//! data here, whatever their names; only `ack` and `subscription` are trusted, and not here.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use programs::ProgramId;
use programs::decision::{ParameterLimits, Parameters};
use proto::EventType;

use super::config::{Empty, Format, Queue};
use super::frame::{Frame, HeadFault};

mod json;
mod pairs;
mod text;
mod time;
mod xml;

/// Longest name of a custom event, in bytes; as for a beacon.
const NAME_BYTES_MAX: usize = 64;
/// Longest id, in bytes; as for a beacon.
const ID_BYTES_MAX: usize = 1_024;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path in the body; it begins with a slash.
    Body(String),
    /// A header.
    Header(String),
    /// This text, whatever the message says.
    Constant(String),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.strip_prefix("header:"), text.strip_prefix('=')) {
            (Some(name), _) if !name.is_empty() => Ok(Self::Header(name.to_owned())),
            (_, Some(value)) => Ok(Self::Constant(value.to_owned())),
            _ if text.len() > 1 && text.starts_with('/') => Ok(Self::Body(text.to_owned())),
            _ => Err(format!("{text:?} is not /a/path of the body, header:name or =constant")),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(path) => f.write_str(path),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Constant(value) => write!(f, "={value}"),
        }
    }
}

/// Why a message cannot become an event. Text for the header of the message that is put aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmappable {
    /// Its head is broken.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// Its body is empty, and so looks like a Map or Object message that was not transformed.
    #[error(
        "the body is empty without a content-length: a Map, Object or Stream message looks like that, which \
         format = \"map\" would read; empty = \"accept\" takes it"
    )]
    SuspectEmpty,
    /// Neither UTF-8 nor Java's modified UTF-8.
    #[error("the body is neither UTF-8 nor Java's modified UTF-8")]
    NotText,
    /// It is not of its format.
    #[error("the body is no {format}: {reason}")]
    Body {
        /// As the configuration names it.
        format: &'static str,
        /// What the parser says, with the place.
        reason: String,
    },
    /// Nothing is where a field should be.
    #[error("{field}: there is nothing at {place}")]
    Missing {
        /// The event's field.
        field: &'static str,
        /// Where it was looked for.
        place: Source,
    },
    /// What is there does not fit.
    #[error("{field}: {reason}")]
    Unfit {
        /// The event's field.
        field: String,
        /// Why.
        reason: String,
    },
    /// Its core data cannot be read.
    #[error("the core data cannot be read: {0}")]
    CoreData(String),
    /// The event would be larger than a record of the log may be.
    #[error(
        "the event would have {bytes} bytes, at most {max} are taken; payload = false leaves the body out"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A rule of its program refuses it.
    #[error("{reason}: {detail}")]
    Refused {
        /// The name of the reason, as of a hit.
        reason: &'static str,
        /// In words.
        detail: String,
    },
    /// The bridge died over it too often.
    #[error("the bridge died {0} times while it read this message")]
    Deadly(u32),
}

impl Unmappable {
    /// For the metric.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Head(_) => "header",
            Self::SuspectEmpty => "suspect_empty",
            Self::NotText | Self::Body { .. } => "body",
            Self::Missing { .. } | Self::Unfit { .. } => "field",
            Self::CoreData(_) => "core_data",
            Self::TooLarge { .. } => "too_large",
            Self::Refused { .. } => "refused",
            Self::Deadly(_) => "deadly",
        }
    }

    /// All names.
    pub const NAMES: [&str; 8] =
        ["header", "suspect_empty", "body", "field", "core_data", "too_large", "refused", "deadly"];
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of ours.
    Known(EventType),
    /// One of the sender's.
    Custom(String),
}

impl Kind {
    fn of(text: String) -> Result<Self, Unmappable> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        match text.as_str() {
            "impression" => Ok(Self::Known(EventType::Impression)),
            "click" => Ok(Self::Known(EventType::Click)),
            "conversion" => Ok(Self::Known(EventType::Conversion)),
            own if (1..=NAME_BYTES_MAX).contains(&own.len()) && own.bytes().all(fits) => {
                Ok(Self::Custom(text))
            }
            _ => Err(unfit(
                "type",
                "is not impression, click, conversion or 1 to 64 letters, digits, '_', '.' and '-'",
            )),
        }
    }

    /// The type of the event.
    pub fn event_type(&self) -> EventType {
        match self {
            Self::Known(known) => *known,
            Self::Custom(_) => EventType::Custom,
        }
    }

    /// The custom event's name; empty for the others.
    pub fn custom_name(&self) -> &str {
        if let Self::Custom(name) = self { name } else { "" }
    }

    /// What identifies it beside program and id, as of a beacon.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(known) => known.name(),
            Self::Custom(name) => name,
        }
    }
}

/// The fields of an event, before its program is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The program's id.
    pub program: ProgramId,
    /// What happened.
    pub kind: Kind,
    /// The key of the business or the sender's id.
    pub id: Option<String>,
    /// Milliseconds since 1970 on the sender's clock; 0 if it did not say.
    pub time_ms: u64,
    /// Within their limits.
    pub parameters: Parameters<'static>,
    /// The body, if it goes along.
    pub payload: Bytes,
    /// What it is.
    pub payload_type: &'static str,
}

/// Whether a body is UTF-8, and so the same text at any broker.
pub fn is_text(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok()
}

/// Looks on while a message is mapped.
pub trait Watch {
    /// A field was looked for.
    fn field(&mut self, name: &str, source: &Source, found: Option<&str>);
    /// The body was recognised.
    fn body(&mut self, payload_type: &str);
}

/// Nobody looks.
impl Watch for () {
    fn field(&mut self, _: &str, _: &Source, _: Option<&str>) {}
    fn body(&mut self, _: &str) {}
}

/// Maps a message by the configuration of its queue.
///
/// # Errors
/// See [`Unmappable`].
pub fn map(message: &Frame, queue: &Queue, watch: &mut impl Watch) -> Result<Draft, Unmappable> {
    message.fault.map_or(Ok(()), Err)?;
    let body = &message.body;
    if body.is_empty() && message.header("content-length").is_none() && queue.empty == Empty::Quarantine {
        return Err(Unmappable::SuspectEmpty);
    }
    let mut draft = |payload_type, find: &dyn Fn(&str) -> Found| {
        Looking { message, queue, find, payload_type }.draft(watch)
    };
    if queue.format == Format::Bytes {
        return draft("application/octet-stream", &|_| Ok(None));
    }
    let decoded = text::decode(body);
    if queue.format == Format::Text {
        // Nothing is taken from it, so it goes along whatever its encoding is.
        return draft(text::payload_type(decoded.as_ref()), &|_| Ok(None));
    }
    let text = decoded.ok_or(Unmappable::NotText)?.text;
    match queue.format {
        Format::Json | Format::Map => {
            let is_map = queue.format == Format::Map;
            let format = if is_map { "Map message in JSON" } else { "JSON" };
            let json = if is_map { json::parse_map(&text) } else { json::parse(&text) };
            let json = json.map_err(|reason| Unmappable::Body { format, reason })?;
            draft("application/json", &|path| json.find(path))
        }
        Format::Xml => {
            let document = xml::parse(&text).map_err(|reason| Unmappable::Body { format: "XML", reason })?;
            draft("application/xml", &|path| Ok(xml::find(&document, path)))
        }
        Format::Pairs => {
            let pairs =
                pairs::parse(&text).map_err(|reason| Unmappable::Body { format: "list of pairs", reason })?;
            draft("application/x-www-form-urlencoded", &|path| Ok(pairs::find(&pairs, path)))
        }
        Format::Text | Format::Bytes => unreachable!("they returned above"),
    }
}

/// A value, nothing, or why it is no single value.
type Found = Result<Option<String>, String>;

struct Looking<'m> {
    message: &'m Frame,
    queue: &'m Queue,
    find: &'m dyn Fn(&str) -> Found,
    payload_type: &'static str,
}

impl Looking<'_> {
    fn draft(&self, watch: &mut impl Watch) -> Result<Draft, Unmappable> {
        watch.body(self.payload_type);
        let fields = &self.queue.fields;
        let program = self.required("program", &fields.program, watch)?;
        let program =
            ProgramId::try_from(program.as_str()).map_err(|error| unfit("program", &error.to_string()))?;
        let kind = match &fields.kind {
            Some(source) => Kind::of(self.required("type", source, watch)?)?,
            None => Kind::Known(EventType::Legacy),
        };
        let id = fields.id.as_ref().map(|source| self.required("id", source, watch)).transpose()?;
        if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX) {
            return Err(unfit("id", &format!("has not 1 to {ID_BYTES_MAX} bytes")));
        }
        let mut parameters = Parameters::default();
        let limits = ParameterLimits::default();
        for (name, source) in &fields.parameters {
            if let Some(value) = self.look(name, source, watch)? {
                parameters.push(Cow::Owned(name.clone()), Cow::Owned(value), &limits);
            }
        }
        let given = Source::Header("timestamp".to_owned());
        let (source, is_given) = fields.time.as_ref().map_or((&given, false), |source| (source, true));
        let said = self.look("time", source, watch)?;
        let time_ms = said.as_deref().map(time::parse);
        if is_given && time_ms == Some(None) {
            // As of a beacon: a time that cannot be read costs no event.
            parameters.note_left_out(1);
        }
        let payload = if self.queue.payload { self.message.body.clone() } else { Bytes::new() };
        let payload_type = if payload.is_empty() { "" } else { self.payload_type };
        Ok(Draft {
            program,
            kind,
            id,
            time_ms: time_ms.flatten().unwrap_or(0),
            parameters,
            payload,
            payload_type,
        })
    }

    fn required(
        &self,
        field: &'static str,
        source: &Source,
        watch: &mut impl Watch,
    ) -> Result<String, Unmappable> {
        let missing = || Unmappable::Missing { field, place: source.clone() };
        self.look(field, source, watch)?.ok_or_else(missing)
    }

    fn look(
        &self,
        field: &str,
        source: &Source,
        watch: &mut impl Watch,
    ) -> Result<Option<String>, Unmappable> {
        let found = match source {
            Source::Body(path) => {
                (self.find)(path).map_err(|reason| unfit(field, &format!("{path} {reason}")))?
            }
            Source::Header(name) => self.message.header(name).map(str::to_owned),
            Source::Constant(value) => Some(value.clone()),
        };
        watch.field(field, source, found.as_deref());
        Ok(found)
    }
}

fn unfit(field: &str, reason: &str) -> Unmappable {
    Unmappable::Unfit { field: field.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
