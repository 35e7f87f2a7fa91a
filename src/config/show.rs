//! The keys and their values for people: `config keys` and `config print`.

use serde_json::{Value as Json, json};

use super::field::Value;
use super::keys::variable;
use super::named::names;
use super::{KEYS, Key, NAMED, Settings};
use crate::output::Table;
use crate::visible::escaped_json;

/// Characters of a default in the table; `config print` shows all of it.
const DEFAULT_CHARS: usize = 28;

/// Every key, its default and its meaning.
pub fn keys_table() -> Table {
    let defaults = Settings::default();
    let mut table = Table::new(&["key", "type", "default", "bounds", "meaning"]);
    for key in KEYS {
        let default = key.shown(&defaults).map_or_else(|| "–".to_owned(), |value| short(&toml_of(&value)));
        let bounds = bounds_of(key);
        table.row([key.name.into(), key.kind.name().into(), default, bounds, key.doc.into()]);
    }
    for key in NAMED {
        let default = key.default().map_or_else(|| "–".to_owned(), |value| short(&toml_of(&value)));
        let bounds = bounds_text(key.bounds);
        table.row([key.pattern.into(), key.kind.name().into(), default, bounds, key.doc.into()]);
    }
    table
}

/// As [`keys_table`], for `docs/configuration.md`.
pub fn keys_markdown() -> String {
    let defaults = Settings::default();
    let mut text = "| key | default | bounds | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let default = key.shown(&defaults).map_or_else(|| "–".to_owned(), |it| format!("`{}`", toml_of(&it)));
        let bounds = bounds_of(key);
        let cells = [format!("`{}`", key.name), default, bounds, key.doc.to_owned()];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    for key in NAMED {
        let default = key.default().map_or_else(|| "–".to_owned(), |it| format!("`{}`", toml_of(&it)));
        let cells = [format!("`{}`", key.pattern), default, bounds_text(key.bounds), key.doc.to_owned()];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// As [`keys_table`], for programs.
pub fn keys_json() -> Json {
    let defaults = Settings::default();
    let key = |key: &Key| {
        json!({
            "key": key.name,
            "variable": key.variable(),
            "type": key.kind.name(),
            "default": key.shown(&defaults).map(|value| json_of(&value)),
            "least": key.bounds().map(|bounds| bounds.0),
            "most": key.bounds().map(|bounds| bounds.1),
            "secret": key.is_secret(),
            "doc": key.doc,
        })
    };
    let named = NAMED.iter().map(|key| {
        json!({
            "key": key.pattern,
            "variable": variable(key.pattern),
            "type": key.kind.name(),
            "default": key.default().map(|value| json_of(&value)),
            "least": key.bounds.map(|bounds| bounds.0),
            "most": key.bounds.map(|bounds| bounds.1),
            "secret": key.is_secret(),
            "doc": key.doc,
        })
    });
    KEYS.iter().map(key).chain(named).collect()
}

/// The settings as a TOML file; secrets are not shown.
pub fn print(settings: &Settings) -> String {
    let mut text = String::new();
    let mut open = "";
    for key in KEYS {
        let (table, name) = key.name.rsplit_once('.').expect("every key is in a table");
        if table != open {
            let space = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{space}[{table}]\n"));
            open = table;
        }
        let line = match key.shown(settings) {
            Some(_) if key.is_secret() => format!("# {name} is set, and not shown\n"),
            Some(value) => format!("{name} = {}\n", toml_of(&value)),
            None => format!("# {name} is not set\n"),
        };
        text.push_str(&line);
    }
    print_named(settings, &mut text);
    text
}

/// Brokers and queues, each as a table of its own.
fn print_named(settings: &Settings, text: &mut String) {
    for family in ["bridge.activemq.brokers.", "bridge.activemq.queues."] {
        for name in names(&settings.bridge.activemq, family) {
            text.push_str(&format!("\n[{family}{name}]\n"));
            for key in NAMED.iter().filter(|key| key.pattern.starts_with(family)) {
                let (_, field) = key.pattern.rsplit_once('.').expect("every pattern has a field");
                text.push_str(&match key.shown(settings, &name) {
                    Some(_) if key.is_secret() => format!("# {field} is set, and not shown\n"),
                    Some(value) => format!("{field} = {}\n", toml_of(&value)),
                    None => format!("# {field} is not set\n"),
                });
            }
        }
    }
}

fn bounds_of(key: &Key) -> String {
    bounds_text(key.bounds())
}

fn bounds_text(bounds: Option<(u64, u64)>) -> String {
    bounds.map_or_else(String::new, |(least, most)| format!("{least} to {most}"))
}

/// As much as fits into a column.
fn short(text: &str) -> String {
    match text.char_indices().nth(DEFAULT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => toml_text(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| toml_text(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// A basic string of TOML: it knows the escapes that are written in JSON.
fn toml_text(text: &str) -> String {
    escaped_json(&Json::from(text).to_string()).into_owned()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Number(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::Text(text) => json!(text),
        Value::List(items) => json!(items),
    }
}
