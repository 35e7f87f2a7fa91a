//! The configurable paths, and the check that each request has one route.

/// The prefixes of the tracking paths: `/` and a word, without a trailing `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// The AWS sample's route with its JSON answer.
    pub event: String,
    /// The pixel.
    pub impression: String,
    /// The redirect.
    pub click: String,
    /// The conversion.
    pub conversion: String,
    /// The beacon: the whole path, nothing follows it.
    pub beacon: String,
    /// The browser tag: the whole path; it may have dots.
    pub tag: String,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self {
            event: "/event".into(),
            impression: "/i".into(),
            click: "/c".into(),
            conversion: "/v".into(),
            beacon: "/b".into(),
            tag: "/clickgate.js".into(),
        }
    }
}

impl Prefixes {
    /// Every invalid path: its key, its value, and what is expected.
    pub(super) fn errors(&self) -> Vec<(&'static str, &str, &'static str)> {
        let prefixes = [
            ("prefixes.event", &self.event),
            ("prefixes.impression", &self.impression),
            ("prefixes.click", &self.click),
            ("prefixes.conversion", &self.conversion),
            ("prefixes.beacon", &self.beacon),
            ("prefixes.tag", &self.tag),
        ];
        let mut errors = Vec::new();
        for (at, (key, prefix)) in prefixes.iter().enumerate() {
            let mut expect = |fits: bool, expected| {
                if !fits {
                    errors.push((*key, prefix.as_str(), expected));
                }
            };
            let dots = *key == "prefixes.tag";
            expect(is_prefix(prefix, dots), "a path of letters, digits, '-', '_' and inner '/'");
            expect(!is_reserved(prefix), "different from /health, /robots.txt, /.well-known and /example");
            let apart = prefixes[..at].iter().all(|(_, other)| !overlap(prefix, other));
            expect(apart, "different from the other prefixes, and below none of them");
        }
        errors
    }
}

fn is_prefix(prefix: &str, dots: bool) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || (dots && b == b'.');
    let part_fits = |part: &str| part.bytes().any(|b| b != b'.') && part.bytes().all(fits);
    prefix.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part_fits))
}

fn is_reserved(prefix: &str) -> bool {
    ["/health", "/robots.txt", "/.well-known", "/example"].iter().any(|path| overlap(prefix, path))
}

/// Whether some path matches both.
fn overlap(one: &str, other: &str) -> bool {
    let below = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(one, other) || below(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_could_not_be_routed_is_refused() {
        for prefix in ["", "/", "i", "/i/", "//i", "/a b", "/%69", "/i?x", "/é"] {
            assert!(!is_prefix(prefix, false), "{prefix:?}");
        }
        assert!(is_prefix("/a/b-1_c", false) && !is_prefix("/t.js", false));
        assert!(is_prefix("/t.min.js", true) && !is_prefix("/../t.js", true));
        assert!(overlap("/a/b", "/a") && !overlap("/ab", "/a"));
    }

    #[test]
    fn prefixes_must_not_overlap_each_other_or_a_fixed_path() {
        let errors = |prefixes: Prefixes| prefixes.errors().iter().map(|error| error.0).collect::<Vec<_>>();
        assert!(errors(Prefixes::default()).is_empty());
        let taken = Prefixes { beacon: "/v".into(), tag: "/example".into(), ..Prefixes::default() };
        assert_eq!(errors(taken), ["prefixes.beacon", "prefixes.tag"]);
        let below = Prefixes { conversion: "/c/done".into(), tag: "/b/t.js".into(), ..Prefixes::default() };
        assert_eq!(errors(below), ["prefixes.conversion", "prefixes.tag"]);
        let dots = Prefixes { beacon: "/b.js".into(), ..Prefixes::default() };
        assert_eq!(errors(dots), ["prefixes.beacon"]);
    }
}
