//! JSON bodies. A path is a JSON pointer (RFC 6901). Values stay the text they were sent as, so a number
//! keeps its digits; a `null` counts as absent.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::Found;

/// A body.
pub struct Json<'t> {
    raw: &'t RawValue,
    /// A Map message: keys are looked up in its entries.
    entries: Option<HashMap<String, String>>,
}

/// Reads a text.
///
/// # Errors
/// What the parser says, with line and column.
pub fn parse(text: &str) -> Result<Json<'_>, String> {
    let raw = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
    Ok(Json { raw, entries: None })
}

/// Reads what ActiveMQ makes of a Map message (`jms-map-json`), as XStream writes maps:
/// `{"map":{"entry":[{"string":["key","text"]},{"string":"key","int":7}]}}`; of a single entry
/// there is no array.
///
/// # Errors
/// What is not so.
pub fn parse_map(text: &str) -> Result<Json<'_>, String> {
    let mut json = parse(text)?;
    let body: serde_json::Value = serde_json::from_str(json.raw.get()).map_err(|error| error.to_string())?;
    let entries = match &body["map"]["entry"] {
        serde_json::Value::Array(entries) => entries.clone(),
        serde_json::Value::Object(entry) => vec![entry.clone().into()],
        serde_json::Value::Null if body["map"].is_object() || body["map"] == "" => Vec::new(),
        _ => return Err("there is no map with entries in it".to_owned()),
    };
    let read: Option<HashMap<String, String>> = entries.iter().map(entry).collect();
    json.entries = Some(read.ok_or("an entry has no key of text and a value")?);
    Ok(json)
}

/// Key and value of an entry.
fn entry(entry: &serde_json::Value) -> Option<(String, String)> {
    let scalar = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    let fields = entry.as_object()?;
    match fields.get("string")? {
        // Two texts have one name, and so are an array. A text that looks like a number is one.
        serde_json::Value::Array(both) => match both.as_slice() {
            [key, value] => Some((scalar(key)?, scalar(value)?)),
            _ => None,
        },
        key => {
            let value = fields.iter().find(|(name, _)| *name != "string").map(|(_, value)| value)?;
            Some((scalar(key)?, scalar(value)?))
        }
    }
}

impl Json<'_> {
    /// The value at `path`, or why it is none.
    pub fn find(&self, path: &str) -> Found {
        if let Some(entries) = &self.entries {
            return Ok(path.strip_prefix('/').and_then(|key| entries.get(key)).cloned());
        }
        let mut at = self.raw;
        for token in path.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            match step(at, &token)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        scalar(at)
    }
}

/// One level down. What was parsed as a whole is parsed again level by level: paths are few and
/// short, and nothing that the sender could make large is built.
fn step<'t>(at: &'t RawValue, token: &str) -> Result<Option<&'t RawValue>, String> {
    let wrong = |error: serde_json::Error| format!("cannot be read: {error}");
    match at.get().as_bytes().first() {
        Some(b'{') => {
            let fields: HashMap<Cow<'t, str>, &RawValue> = serde_json::from_str(at.get()).map_err(wrong)?;
            Ok(fields.get(token).copied())
        }
        Some(b'[') => {
            let Ok(index) = token.parse::<usize>() else { return Ok(None) };
            let items: Vec<&RawValue> = serde_json::from_str(at.get()).map_err(wrong)?;
            Ok(items.get(index).copied())
        }
        _ => Ok(None),
    }
}

fn scalar(raw: &RawValue) -> Found {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str(raw.get()).map(Some).map_err(|error| format!("cannot be read: {error}"))
        }
        Some(b'{') => Err("is an object; text, numbers and true or false are taken".to_owned()),
        Some(b'[') => Err("is an array; text, numbers and true or false are taken".to_owned()),
        _ if raw.get() == "null" => Ok(None),
        _ => Ok(Some(raw.get().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_what_is_there_and_a_number_keeps_its_digits() {
        let text = r#"{"a": {"b/c": [1, {"d": "e\u00fc"}], "m~n": true}, "x": 12.300, "big": 123456789012345678901, "no": null}"#;
        let json = parse(text).unwrap();
        let read = |path: &str| json.find(path).unwrap();
        assert_eq!(read("/a/b~1c/1/d").as_deref(), Some("eü"));
        assert_eq!(read("/a/b~1c/0").as_deref(), Some("1"));
        assert_eq!(read("/a/m~0n").as_deref(), Some("true"));
        assert_eq!(read("/x").as_deref(), Some("12.300"));
        assert_eq!(read("/big").as_deref(), Some("123456789012345678901"));
        for path in ["/no", "/none", "/a/b~1c/2", "/a/b~1c/x", "/x/y"] {
            assert_eq!(read(path), None, "{path}");
        }
        assert!(json.find("/a").unwrap_err().contains("is an object"));
    }

    #[test]
    fn a_map_message_is_read_as_the_broker_writes_it() {
        let text = r#"{"map":{"entry":[{"string":["program","212313"]},{"string":["flag",true]},{"string":"n","int":7}]}}"#;
        let json = parse_map(text).unwrap();
        let read = |path: &str| json.find(path).unwrap();
        assert_eq!(read("/program").as_deref(), Some("212313"));
        assert_eq!(
            (read("/flag").as_deref(), read("/n").as_deref(), read("/x")),
            (Some("true"), Some("7"), None)
        );
        let one = parse_map(r#"{"map":{"entry":{"string":["a",212313]}}}"#).unwrap();
        assert_eq!(one.find("/a").unwrap().as_deref(), Some("212313"));
        assert!(parse_map(r#"{"a": 1}"#).is_err());
        assert!(parse_map(r#"{"map":{"entry":[{"int":1}]}}"#).is_err());
    }

    #[test]
    fn what_is_no_json_names_its_place_and_what_is_deep_costs_no_stack() {
        let said = |text: &str| parse(text).err().unwrap();
        assert!(said("{\"a\": }").contains("line 1 column 7"), "{}", said("{\"a\": }"));
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        // Whatever it says, it does not die.
        let _ = parse(&deep).map(|json| json.find("/0/0"));
        assert!(said("").contains("EOF"));
    }
}
