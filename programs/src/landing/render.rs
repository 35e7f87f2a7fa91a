//! Renders a template into the URL of one hit.
//!
//! # Why are path segments checked?
//!
//! Dots are not percent-encoded, so a value `..` could become a path segment, and browsers resolve
//! such a segment, or one with `%2e`, to the parent folder: an untrusted value would choose the
//! page. Values and text can also form one together, as in `.{p.a}{p.b}` or `%{p.a}`. So each
//! rendered segment with a macro is checked, and if it is a dot segment, its values are left out.
//! A `..` in the template's own text is kept.

use super::macros::{Macro, read_macro};

/// Appends the URL of a checked template; `write` appends the value of each macro. Allocates only
/// to grow `out`.
pub(super) fn render(template: &str, write: impl Fn(Macro<'_>, &mut String), out: &mut String) {
    let path_end = find_in_text(template, &['?', '#']).unwrap_or(template.len());
    let (mut path, behind) = template.split_at(path_end);
    // Fast path: most templates have macros only after the path. Scheme and host have none, so
    // treating them as segments is harmless.
    while path.contains('{') {
        let segment_end = find_in_text(path, &['/']).unwrap_or(path.len());
        let (segment, rest) = path.split_at(segment_end);
        render_segment(segment, &write, out);
        path = match rest.strip_prefix('/') {
            Some(next) => {
                out.push('/');
                next
            }
            None => rest,
        };
    }
    out.push_str(path);
    fill(behind, &write, out);
}

fn render_segment(segment: &str, write: &impl Fn(Macro<'_>, &mut String), out: &mut String) {
    let start = out.len();
    fill(segment, write, out);
    if segment.contains('{') && is_dot_segment(&out[start..]) {
        out.truncate(start);
        fill(segment, &|_: Macro<'_>, _: &mut String| {}, out);
    }
}

/// Appends the text as it is, and what `write` appends for each macro.
fn fill(text: &str, write: &impl Fn(Macro<'_>, &mut String), out: &mut String) {
    let mut rest = text;
    while let Some((before, from_macro)) = rest.split_once('{') {
        let (inside, after) = from_macro.split_once('}').expect("every brace was checked to be closed");
        out.push_str(before);
        write(read_macro(inside).expect("every macro was checked"), out);
        rest = after;
    }
    out.push_str(rest);
}

/// The first of `chars` outside the macros: a parameter's name may hold any character.
fn find_in_text(template: &str, chars: &[char]) -> Option<usize> {
    let mut is_in_macro = false;
    template.find(|char| {
        match char {
            '{' => is_in_macro = true,
            '}' => is_in_macro = false,
            _ => {}
        }
        !is_in_macro && chars.contains(&char)
    })
}

/// The single-dot and double-dot URL path segments of the WHATWG URL standard.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        let is_encoded = rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2e"));
        rest = match rest.strip_prefix('.') {
            Some(behind) => behind,
            None if is_encoded => &rest[3..],
            None => return false,
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_those_of_the_url_standard() {
        for dots in [".", "%2e", "%2E", "..", ".%2e", "%2E.", "%2e%2E"] {
            assert!(is_dot_segment(dots), "{dots}");
        }
        for other in ["", "...", "%2e..", "a", ".a", "a.", "%2", "%2f", ".%2", "%252e", "%", ". "] {
            assert!(!is_dot_segment(other), "{other}");
        }
    }

    #[test]
    fn a_name_in_a_macro_is_not_text() {
        assert_eq!(find_in_text("/{p.a/b?c}/d?e", &['?', '#']), Some(12));
        assert_eq!(find_in_text("{p.a/b}", &['/']), None);
    }
}
