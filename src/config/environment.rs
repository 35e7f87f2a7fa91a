//! The variables of the environment: those that are keys, and those that were meant to be.
//!
//! A variable is ours if it begins with `CLICKGATE__`. With one underscore it is perhaps
//! somebody else's: Kubernetes gives each container the addresses of its services, and a service
//! that is called `clickgate` makes `CLICKGATE_PORT_8080_TCP_ADDR`. So only what is a key letter
//! by letter, with other separators, is worth a warning.

use std::ffi::OsString;

use super::field::Value;
use super::{Given, KEYS, Key, NamedKey, Place};

/// What a variable of ours begins with.
pub const PREFIX: &str = "CLICKGATE__";

/// The values of our variables, in the order of their keys.
pub fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<Given> {
    let mut given: Vec<Given> = variables
        .filter_map(|(name, text)| {
            let name = name.into_string().ok()?;
            let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
            let value = match (text.into_string(), Key::find(&key), NamedKey::find(&key)) {
                (Ok(text), Some(known), _) => known.value_of(&text),
                (Ok(text), None, Some((known, _))) => known.kind.parse(&text),
                (Ok(text), None, None) => Ok(Value::Text(text)),
                (Err(_), ..) => Err("is not UTF-8".to_owned()),
            };
            Some(Given { key, place: Place::Variable(name), value })
        })
        .collect();
    given.sort_by(|a, b| a.key.cmp(&b.key));
    given
}

/// What to say of variables that are not read and look like keys; never with their values, which
/// may be secrets.
pub fn warnings(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let warning = |name: OsString| {
        let name = name.into_string().ok()?;
        if name.starts_with(PREFIX) {
            return None;
        }
        let letters = letters_of(&name);
        let meant = KEYS.iter().map(Key::variable).find(|variable| letters_of(variable) == letters)?;
        Some(format!("the variable {name} is not read; {meant} would be"))
    };
    let mut warnings: Vec<String> = names.filter_map(warning).collect();
    warnings.sort();
    warnings
}

/// Without what stands between them, and in capitals.
fn letters_of(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn warnings_of(names: &[&str]) -> Vec<String> {
        warnings(names.iter().map(OsString::from))
    }

    #[test]
    fn a_key_with_other_separators_is_warned_of_with_its_spelling() {
        for name in [
            "CLICKGATE_TRACKER_WORKERS",
            "CLICKGATE_TRACKER__WORKERS",
            "CLICKGATE.TRACKER.WORKERS",
            "clickgate__tracker__workers",
            "Clickgate_Tracker_Workers",
        ] {
            let expected = format!("the variable {name} is not read; CLICKGATE__TRACKER__WORKERS would be");
            assert_eq!(warnings_of(&[name]), [expected]);
        }
        let all: Vec<OsString> = KEYS.iter().map(|key| key.variable().replace("__", "_").into()).collect();
        assert_eq!(warnings(all.into_iter()).len(), KEYS.len());
    }

    #[test]
    fn keys_differ_in_their_letters() {
        let letters: BTreeSet<String> = KEYS.iter().map(|key| letters_of(&key.variable())).collect();
        assert_eq!(letters.len(), KEYS.len());
    }

    #[test]
    fn what_kubernetes_and_others_set_is_nothing_to_us() {
        let names = [
            "CLICKGATE_SERVICE_HOST",
            "CLICKGATE_SERVICE_PORT",
            "CLICKGATE_SERVICE_PORT_ADMIN",
            "CLICKGATE_PORT",
            "CLICKGATE_PORT_8080_TCP",
            "CLICKGATE_PORT_8080_TCP_ADDR",
            "CLICKGATE_TRACKER_SERVICE_HOST",
            "CLICKGATE_TRACKER_PORT_8080_TCP_PROTO",
            "CLICKGATE_VERSION",
            "CLICKGATE",
            "TRACKER_WORKERS",
            "",
        ];
        assert_eq!(warnings_of(&names), [""; 0]);
        assert_eq!(read(names.map(|name| (name.into(), "tcp://10.0.0.1:8080".into())).into_iter()).len(), 0);
    }

    #[test]
    fn a_variable_of_ours_is_read_and_not_warned_of() {
        assert_eq!(warnings_of(&["CLICKGATE__TRACKER__WORKERS", "CLICKGATE__TRACKER_WORKERS"]), [""; 0]);
    }
}
