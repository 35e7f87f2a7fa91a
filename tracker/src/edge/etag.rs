//! Evaluates `If-None-Match`.

/// Whether the value of `If-None-Match` matches `etag`: by weak comparison, in a list, or as `*`
/// (RFC 9110, section 13.1.2). A malformed list matches nothing.
pub fn matches(value: &[u8], etag: &str) -> bool {
    let etag = etag.as_bytes();
    let mut list = value.trim_ascii();
    if list == b"*" {
        return true;
    }
    let mut found = false;
    while !list.is_empty() {
        let tag = list.strip_prefix(b"W/").unwrap_or(list);
        let Some(end) = tag.iter().skip(1).position(|byte| *byte == b'"').filter(|_| tag[0] == b'"') else {
            return false;
        };
        let (tag, rest) = tag.split_at(end + 2);
        found |= tag == etag;
        list = match rest.trim_ascii_start() {
            [] => rest,
            [b',', rest @ ..] => rest.trim_ascii_start(),
            _ => return false,
        };
        list = list.trim_ascii_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_weak_or_strong_alone_or_in_a_list() {
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\" , \"c,d\"", "*", " * ", "\"a\","] {
            assert!(matches(value.as_bytes(), "\"a\""), "{value}");
        }
        for value in
            ["", "a", "\"b\"", "\"a", "w/\"a\"", "\"a\" \"b\"", "\"a\";", "\"b\",,\"a", "**", "W/a", "\""]
        {
            assert!(!matches(value.as_bytes(), "\"a\""), "{value}");
        }
    }
}
