//! Characters that steer a terminal or turn text around, made visible: what a command shows of
//! events, programs and files was written by strangers.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text on one line.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden, |char, out| match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => out.extend(other.escape_unicode()),
    })
}

/// Text of several lines, which stay lines.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    escape(text, |char| char != '\n' && is_hidden(char), |char, out| out.extend(char.escape_unicode()))
}

/// JSON that means the same: these characters stand only inside its strings, but for the line
/// breaks between them.
pub fn escaped_json(json: &str) -> Cow<'_, str> {
    escape(
        json,
        |char| char != '\n' && is_hidden(char),
        |char, out| {
            let _ = write!(out, "\\u{:04x}", u32::from(char));
        },
    )
}

fn escape(text: &str, is_meant: impl Fn(char) -> bool, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&is_meant) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_meant(char) { write(char, &mut out) } else { out.push(char) }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), what has Unicode's property Bidi_Control, and the separators of lines
/// and paragraphs.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(char, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    /// At least one of each kind.
    const HIDDEN: &str = "\0\u{1b}\r\t\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{2029}";

    #[test]
    fn what_steers_a_terminal_is_shown_and_the_rest_stays() {
        assert_eq!(escaped("a\u{1b}[31mred\r\n\u{202e}\u{9b}"), "a\\u{1b}[31mred\\r\\n\\u{202e}\\u{9b}");
        assert_eq!(escaped_lines("one\n\ttwo\r\n"), "one\n\\u{9}two\\u{d}\n");
        assert!(matches!(escaped("äöü שלום 🦀 \u{200d}\\n"), Cow::Borrowed("äöü שלום 🦀 \u{200d}\\n")));
        for char in HIDDEN.chars() {
            assert!(escaped(&char.to_string()).starts_with('\\'), "{char:?}");
            assert!(escaped_lines(&char.to_string()).starts_with('\\'), "{char:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_json_means_the_same(
            pieces in prop::collection::vec(prop_oneof![".{0,4}", prop::sample::select(HIDDEN.chars().map(String::from).collect::<Vec<_>>())], 0..8),
        ) {
            let text = pieces.concat();
            prop_assert!(!escaped(&text).contains(is_hidden));
            prop_assert!(!escaped_lines(&text).replace('\n', "").contains(is_hidden));
            let json = Json::from(vec![text]);
            for written in [json.to_string(), format!("{json:#}")] {
                let shown = escaped_json(&written);
                prop_assert!(!shown.replace('\n', "").contains(is_hidden), "{}", shown);
                prop_assert_eq!(&serde_json::from_str::<Json>(&shown).unwrap(), &json);
            }
        }
    }
}
