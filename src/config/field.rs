//! How a value of the file or the environment becomes a field, and back.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use programs::decision::Unverified;
use stream::{Aggregation, Level, PartitionBy};

use super::filter::LogFilter;
use crate::config::TableKind;
use crate::registry::RegistryKind;

/// A value, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Flag(bool),
    Text(String),
    List(Vec<String>),
}

/// What a key's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Number,
    Flag,
    Text,
    List,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Flag => "true | false",
            Self::Text => "text",
            Self::List => "list of texts",
        }
    }

    /// Reads the text of a variable: a list is separated by commas, other kinds are written as
    /// in the file, texts without quotes.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("{text:?} is not a {}", self.name());
        match self {
            Self::Number => text.trim().replace('_', "").parse().map(Value::Number).map_err(|_| wrong()),
            Self::Flag => text.trim().parse().map(Value::Flag).map_err(|_| wrong()),
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::List(items.map(str::to_owned).collect()))
            }
        }
    }
}

/// A type that a setting may have.
pub trait Field: Sized {
    const KIND: Kind;

    /// # Errors
    /// Why `value` does not fit, as a fragment.
    fn of(value: Value) -> Result<Self, String>;

    /// `None` if it is not set.
    fn show(&self) -> Option<Value>;
}

pub fn mistaken(value: &Value, kind: Kind) -> String {
    let given = match value {
        Value::Number(number) => format!("the number {number}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => format!("the text {text:?}"),
        Value::List(_) => "a list".to_owned(),
    };
    format!("expected a {}, found {given}", kind.name())
}

macro_rules! number_fields {
    ($($number:ty),*) => {$(
        impl Field for $number {
            const KIND: Kind = Kind::Number;

            fn of(value: Value) -> Result<Self, String> {
                match value {
                    Value::Number(number) => {
                        number.try_into().map_err(|_| format!("{number} is more than {}", Self::MAX))
                    }
                    other => Err(mistaken(&other, Self::KIND)),
                }
            }

            fn show(&self) -> Option<Value> {
                Some(Value::Number(*self as u64))
            }
        }
    )*};
}
number_fields!(u64, u32, usize);

/// Milliseconds.
impl Field for Duration {
    const KIND: Kind = Kind::Number;

    fn of(value: Value) -> Result<Self, String> {
        u64::of(value).map(Self::from_millis)
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Number(u64::try_from(self.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Field for bool {
    const KIND: Kind = Kind::Flag;

    fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Flag(flag) => Ok(flag),
            other => Err(mistaken(&other, Self::KIND)),
        }
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Flag(*self))
    }
}

impl Field for String {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text),
            other => Err(mistaken(&other, Self::KIND)),
        }
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Text(self.clone()))
    }
}

/// The empty text is: not set.
impl Field for Option<String> {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        String::of(value).map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    fn show(&self) -> Option<Value> {
        self.clone().map(Value::Text)
    }
}

/// The empty text is: not set.
impl Field for Option<PathBuf> {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        Option::<String>::of(value).map(|text| text.map(PathBuf::from))
    }

    fn show(&self) -> Option<Value> {
        self.as_ref().map(|path| Value::Text(path.display().to_string()))
    }
}

impl Field for SocketAddr {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        let text = String::of(value)?;
        text.parse().map_err(|_| format!("{text:?} is not an address and a port, such as 127.0.0.1:8080"))
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Text(self.to_string()))
    }
}

impl Field for LogFilter {
    const KIND: Kind = Kind::Text;

    fn of(value: Value) -> Result<Self, String> {
        String::of(value)?.parse()
    }

    fn show(&self) -> Option<Value> {
        Some(Value::Text(self.to_string()))
    }
}

impl Field for Vec<String> {
    const KIND: Kind = Kind::List;

    fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::List(items) => Ok(items),
            other => Err(mistaken(&other, Self::KIND)),
        }
    }

    fn show(&self) -> Option<Value> {
        Some(Value::List(self.clone()))
    }
}

impl Field for Vec<IpNet> {
    const KIND: Kind = Kind::List;

    fn of(value: Value) -> Result<Self, String> {
        let items = Vec::<String>::of(value)?;
        let mut networks = Self::new();
        let mut wrong = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match (item.parse(), item.parse::<IpAddr>()) {
                (Ok(network), _) => networks.push(network),
                (Err(_), Ok(address)) => {
                    let alone = IpNet::from(address);
                    wrong.push(format!("[{at}] {item:?} is an address and no network; write {alone}"));
                }
                (Err(_), Err(_)) => wrong.push(format!("[{at}] {item:?} is no network such as 10.0.0.0/8")),
            }
        }
        if wrong.is_empty() { Ok(networks) } else { Err(wrong.join("; ")) }
    }

    fn show(&self) -> Option<Value> {
        Some(Value::List(self.iter().map(ToString::to_string).collect()))
    }
}

/// Types that are one of a few words.
macro_rules! word_fields {
    ($($type:ty { $($word:literal => $value:path),+ })+) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::Text;

            fn of(value: Value) -> Result<Self, String> {
                let text = String::of(value)?;
                match text.as_str() {
                    $($word => Ok($value),)+
                    _ => Err(format!("{text:?} is not one of {}", [$($word),+].join(", "))),
                }
            }

            fn show(&self) -> Option<Value> {
                let word = match self {
                    $($value => $word,)+
                };
                Some(Value::Text(word.to_owned()))
            }
        }
    )+};
}
pub(super) use word_fields;

word_fields! {
    Level { "memory" => Level::Memory, "written" => Level::Written, "synced" => Level::Synced, "stream" => Level::Stream }
    TableKind { "auto" => TableKind::Auto, "local" => TableKind::Local, "dynamodb" => TableKind::DynamoDb, "none" => TableKind::None }
    Aggregation { "kpl" => Aggregation::Kpl, "none" => Aggregation::None }
    PartitionBy { "none" => PartitionBy::None, "visitor" => PartitionBy::Visitor, "program" => PartitionBy::Program }
    RegistryKind { "local" => RegistryKind::Local, "redis" => RegistryKind::Redis }
    Unverified { "accept" => Unverified::Accept, "refuse" => Unverified::Refuse }
}
