//! Pairs `key=value`, one a line or separated by `&`.
//!
//! With `&` and without a line end they are decoded as the query of a URL is (`+` and `%41`); lines are
//! taken as they are, without the spaces around key and value.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Key and value.
type Pair<'t> = (Cow<'t, str>, Cow<'t, str>);

/// Reads a text.
///
/// # Errors
/// The line without an equals sign.
pub fn parse(text: &str) -> Result<Vec<Pair<'_>>, String> {
    let text = text.trim_matches(['\n', '\r', '\u{feff}']);
    let is_query = text.contains('&') && !text.contains('\n');
    let parts: Vec<&str> = if is_query { text.split('&').collect() } else { text.lines().collect() };
    let parts = parts.into_iter().enumerate().filter(|(_, part)| !part.trim().is_empty());
    let pairs = parts.map(|(nth, part)| match part.split_once('=') {
        Some((key, value)) if is_query => Ok((unescaped(key), unescaped(value))),
        Some((key, value)) => Ok((Cow::Borrowed(key.trim()), Cow::Borrowed(value.trim()))),
        None => Err(format!("pair {} has no =", nth + 1)),
    });
    pairs.collect()
}

/// The value of the first pair with this key; `path` is the key behind a slash.
pub fn find(pairs: &[Pair<'_>], path: &str) -> Option<String> {
    let key = path.strip_prefix('/')?;
    pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone().into_owned())
}

fn unescaped(text: &str) -> Cow<'_, str> {
    let text = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_queries_are_read_and_the_first_of_a_key_counts() {
        let read = |text: &str, path: &str| find(&parse(text).unwrap(), path);
        assert_eq!(read("a = 1 \r\nb=x=y\n\na=2\n", "/a").as_deref(), Some("1"));
        assert_eq!(read("a = 1 \r\nb=x=y\n", "/b").as_deref(), Some("x=y"));
        assert_eq!(read("a=1+2&b=%C3%BC", "/b").as_deref(), Some("ü"));
        assert_eq!(read("a=1+2&b=", "/a").as_deref(), Some("1 2"));
        assert_eq!(read("a=1", "/c"), None);
        assert_eq!(parse("a=1\nwhat").unwrap_err(), "pair 2 has no =");
    }
}
