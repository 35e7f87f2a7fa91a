//! Serves the browser tag and its example page.
//!
//! The tag finds its server by its own URL; only the beacon's path, which is configurable, is
//! filled in. It is cached for an hour with an ETag instead of as `immutable`: its URL stays the
//! same when the tag is fixed.

use bytes::Bytes;

use crate::{
    config::Prefixes,
    edge::answer::{self, Answer},
    edge::etag,
    request::head::Head,
};

const SCRIPT: &str = include_str!("../../assets/clickgate.js");
const EXAMPLE: &str = include_str!("../../assets/example.html");

/// Both files, with the configured paths filled in.
pub struct Tag {
    script: File,
    example: File,
}

struct File {
    body: Bytes,
    etag: String,
}

impl File {
    fn new(body: String) -> Self {
        // FNV-1a: it only tells versions apart, and an attacker gains nothing by a collision.
        let hash = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { body: body.into(), etag: format!("\"{hash:016x}\"") }
    }

    fn answer(&self, head: &Head<'_>, content_type: &'static str) -> Answer {
        let is_known = head.headers.if_none_match.is_some_and(|value| etag::matches(value, &self.etag));
        answer::asset(content_type, &self.etag, is_known, self.body.clone())
    }
}

impl Tag {
    /// With the paths of `prefixes`, which contain no characters that need escaping.
    pub fn new(prefixes: &Prefixes) -> Self {
        let filled =
            |text: &str| text.replace("__BEACON__", &prefixes.beacon).replace("__TAG__", &prefixes.tag);
        Self { script: File::new(without_comments(&filled(SCRIPT))), example: File::new(filled(EXAMPLE)) }
    }

    /// The tag.
    pub fn script(&self, head: &Head<'_>) -> Answer {
        self.script.answer(head, "text/javascript; charset=utf-8")
    }

    /// The page.
    pub fn example(&self, head: &Head<'_>) -> Answer {
        self.example.answer(head, "text/html; charset=utf-8")
    }
}

/// Strips indentation and comment lines from the script. The licence in the first line stays, and so
/// do the line breaks between statements.
fn without_comments(script: &str) -> String {
    let (licence, code) = script.split_once('\n').expect("the licence has a line of its own");
    let code = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    std::iter::once(licence).chain(code).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_small_and_knows_the_configured_path() {
        let renamed = Prefixes { beacon: "/x/y".into(), tag: "/z.js".into(), ..Prefixes::default() };
        let default = Tag::new(&Prefixes::default());
        let renamed = Tag::new(&renamed);
        let script = std::str::from_utf8(&default.script.body).unwrap();
        assert!(script.len() <= 2_048, "{} bytes", script.len());
        assert!(script.starts_with("// Clickgate's tag") && script.contains("MIT OR Apache-2.0"));
        assert_eq!(script.matches("//").count(), 1, "other comments stay here");
        assert!(script.is_ascii() && script.contains("\"/b\"") && !script.contains("__"));
        assert!(std::str::from_utf8(&renamed.script.body).unwrap().contains("\"/x/y\""));
        assert!(std::str::from_utf8(&renamed.example.body).unwrap().contains("src=\"/z.js\""));
        assert_ne!(default.script.etag, renamed.script.etag);
    }
}
