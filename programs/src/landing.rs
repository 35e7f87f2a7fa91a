//! Where a click is sent: a URL template with macros, parsed once.
//!
//! The text is copied byte for byte; only `{click_id}` and `{p.name}` are replaced, by
//! percent-encoded values. To rule out open redirects, the authority may contain neither a macro
//! nor anything that browsers and we could parse differently; see [`host`].

mod host;
mod invalid;
mod macros;
mod render;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use invalid::InvalidUrl;
use macros::{Macro, check_macros};

/// Longest template, in bytes.
pub const URL_BYTES_MAX: usize = 4_096;

/// An absolute URL with macros, safe to render with untrusted values.
///
/// Only the text is kept: braces occur in it only around macros, and searching for them costs less
/// than keeping their positions in memory.
///
/// It owns its text or borrows it, as from a [`Program`](crate::Program).
#[derive(Clone, PartialEq, Eq)]
pub struct LandingUrl<Text = Box<str>>(Text);

impl LandingUrl {
    /// Parses an `https` template.
    ///
    /// # Errors
    /// The first byte that is not allowed, and why.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let url = Self::parse_allowing_http(text)?;
        if !url.is_https() {
            return Err(InvalidUrl::new(0, "http is only taken with \"allowHttp\": true; use https"));
        }
        Ok(url)
    }

    /// Parses an `https` or `http` template.
    ///
    /// # Errors
    /// As [`LandingUrl::parse`].
    pub fn parse_allowing_http(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidUrl::new(URL_BYTES_MAX, "a URL has at most 4096 bytes"));
        }
        check_bytes(text)?;
        let (authority_at, default_port) = if starts_with_scheme(text, "https://") {
            (8, "443")
        } else if starts_with_scheme(text, "http://") {
            (7, "80")
        } else {
            return Err(InvalidUrl::new(0, "does not start with https://"));
        };
        let authority_end =
            text[authority_at..].find(['/', '?', '#']).map_or(text.len(), |at| at + authority_at);
        host::check(text, authority_at..authority_end, default_port)?;
        check_macros(text, authority_end)?;
        Ok(Self(text.into()))
    }
}

impl<'t> LandingUrl<&'t str> {
    /// A text that was parsed before.
    pub(crate) fn of_parsed(text: &'t str) -> Self {
        Self(text)
    }
}

impl<Text: AsRef<str>> LandingUrl<Text> {
    /// The text of the template.
    pub fn as_str(&self) -> &str {
        self.0.as_ref()
    }

    /// Whether the scheme is `https` rather than `http`.
    pub fn is_https(&self) -> bool {
        starts_with_scheme(self.as_str(), "https:")
    }

    /// Whether rendering replaces anything.
    pub fn has_macros(&self) -> bool {
        self.as_str().contains('{')
    }

    /// Appends the URL to `out`. `param` returns the decoded value of a parameter. A missing one
    /// renders as nothing, and so do values that would turn a path segment into `.` or `..`.
    pub fn render<'v>(&self, click_id: &str, param: impl Fn(&str) -> Option<&'v str>, out: &mut String) {
        let write = |macro_: Macro<'_>, out: &mut String| match macro_ {
            Macro::ClickId => percent_encode(click_id, out),
            Macro::Parameter(name) => percent_encode(param(name).unwrap_or_default(), out),
        };
        render::render(self.as_str(), write, out);
    }
}

/// Ignoring case, as RFC 3986 requires.
fn starts_with_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn check_bytes(text: &str) -> Result<(), InvalidUrl> {
    for (at, byte) in text.bytes().enumerate() {
        let reason = match byte {
            b'\r' | b'\n' => "a line break",
            0..0x20 | 0x7f => "a control character",
            b' ' => "a space; write %20",
            b'\\' => "a backslash, which browsers read as a slash",
            0x80.. => "not ASCII; percent-encode it, or write the host in punycode",
            _ => continue,
        };
        return Err(InvalidUrl::new(at, reason));
    }
    Ok(())
}

/// Everything but RFC 3986's unreserved characters.
fn percent_encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

impl<Text: AsRef<str>> fmt::Display for LandingUrl<Text> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<Text: AsRef<str>> fmt::Debug for LandingUrl<Text> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<Text: AsRef<str>> Serialize for LandingUrl<Text> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A landing URL without macros: where a refused click is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct FallbackUrl(LandingUrl);

impl FallbackUrl {
    /// Parses an `https` URL.
    ///
    /// # Errors
    /// As [`LandingUrl::parse`]; also for a macro, since a refused hit has no values.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        Self::plain(LandingUrl::parse(text)?)
    }

    /// Parses an `https` or `http` URL.
    ///
    /// # Errors
    /// As [`FallbackUrl::parse`].
    pub fn parse_allowing_http(text: &str) -> Result<Self, InvalidUrl> {
        Self::plain(LandingUrl::parse_allowing_http(text)?)
    }

    fn plain(url: LandingUrl) -> Result<Self, InvalidUrl> {
        match url.0.find('{') {
            Some(at) => Err(InvalidUrl::new(at, "a macro in a fallback URL")),
            None => Ok(Self(url)),
        }
    }

    /// The URL as it was given.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the scheme is `https` rather than `http`.
    pub fn is_https(&self) -> bool {
        self.0.is_https()
    }
}

impl fmt::Display for FallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for FallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for FallbackUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// For a program's JSON, where `allowHttp` is checked after all keys are read.
pub(crate) fn read_landing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<LandingUrl>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    LandingUrl::parse_allowing_http(&text).map(Some).map_err(de::Error::custom)
}

/// As [`read_landing`].
pub(crate) fn read_fallback<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<FallbackUrl>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    FallbackUrl::parse_allowing_http(&text).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
