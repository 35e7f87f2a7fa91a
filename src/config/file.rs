//! The TOML file as a list of keys, each with its line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::field::Value;
use super::{ConfigError, Given, Place};

/// The values of the file; its errors of syntax, all of them, go to `errors`.
pub fn read(path: &Path, text: &str, errors: &mut Vec<ConfigError>) -> Vec<Given> {
    let (table, mistakes) = DeTable::parse_recoverable(text);
    let line =
        |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
    for mistake in mistakes {
        let at = mistake.span().map_or(0, |span| span.start);
        let place = Place::Line(path.to_owned(), line(at));
        errors.push(ConfigError { place, key: String::new(), reason: mistake.message().to_owned() });
    }
    let mut given = Vec::new();
    flatten(table.get_ref(), "", &mut |key, value, at| {
        given.push((at, Given { key, place: Place::Line(path.to_owned(), line(at)), value }));
    });
    given.sort_by_key(|(at, _)| *at);
    given.into_iter().map(|(_, given)| given).collect()
}

type Add<'a> = &'a mut dyn FnMut(String, Result<Value, String>, usize);

fn flatten(table: &DeTable<'_>, above: &str, add: Add<'_>) {
    for (name, value) in table {
        let name_text: &str = name.get_ref();
        let key = if above.is_empty() { name_text.to_owned() } else { format!("{above}.{name_text}") };
        match value.get_ref() {
            DeValue::Table(table) => flatten(table, &key, add),
            other => add(key, value_of(other), name.span().start),
        }
    }
}

fn value_of(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Number)
            .map_err(|_| format!("{number} is not a number from 0 to {}", u64::MAX)),
        DeValue::Array(items) => list_of(items).map(Value::List),
        other => Err(format!("no key takes a {}", other.type_str())),
    }
}

/// All items, or all that are no texts.
fn list_of(items: &[Spanned<DeValue<'_>>]) -> Result<Vec<String>, String> {
    let mut texts = Vec::with_capacity(items.len());
    let mut wrong = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match item.get_ref().as_str() {
            Some(text) => texts.push(text.to_owned()),
            None => wrong.push(format!("[{at}] is a {}", item.get_ref().type_str())),
        }
    }
    if wrong.is_empty() { Ok(texts) } else { Err(format!("expected a list of texts: {}", wrong.join("; "))) }
}
