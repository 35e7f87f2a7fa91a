//! From a template to the URL of one hit.
//!
//! # Why is a segment looked at?
//!
//! A dot needs no encoding, so a value `..` would stand as a segment of the path, and a browser
//! takes such a segment, or one written with `%2e`, for the step to the folder above: a stranger
//! would choose the page. Values and text make such a segment also together, as `.{p.a}{p.b}` or
//! `%{p.a}` do. So each segment with a macro is looked at as it was rendered, and where it is a dot
//! segment, its values are left out. What the template's own text says stays: one that writes
//! `..` means it.

use super::{Macro, percent_encode, read_macro};

/// The values of one hit.
pub(super) struct Values<'v, P> {
    pub(super) click_id: &'v str,
    pub(super) param: P,
}

impl<'v, P: Fn(&str) -> Option<&'v str>> Values<'v, P> {
    /// Appends the URL; allocates nothing but what `out` grows by.
    pub(super) fn render(&self, template: &str, out: &mut String) {
        let path_end = find_in_text(template, &['?', '#']).unwrap_or(template.len());
        let (mut path, behind) = template.split_at(path_end);
        // Nearly all have their macros only behind the path. Scheme and host have none, so it does
        // not matter that they are taken for segments here.
        while path.contains('{') {
            let end = find_in_text(path, &['/']);
            let (segment, rest) = path.split_at(end.unwrap_or(path.len()));
            self.render_segment(segment, out);
            let Some(after) = rest.strip_prefix('/') else { return self.fill(behind, out) };
            out.push('/');
            path = after;
        }
        out.push_str(path);
        self.fill(behind, out);
    }

    fn render_segment(&self, segment: &str, out: &mut String) {
        let start = out.len();
        self.fill(segment, out);
        if segment.contains('{') && is_dot_segment(&out[start..]) {
            out.truncate(start);
            pieces(segment, out, |_, _| {});
        }
    }

    /// Text with its macros replaced.
    fn fill(&self, text: &str, out: &mut String) {
        pieces(text, out, |macro_, out| match macro_ {
            Macro::ClickId => percent_encode(self.click_id, out),
            Macro::Parameter(name) => percent_encode((self.param)(name).unwrap_or_default(), out),
        });
    }
}

/// Appends the text as it is, and of each macro what `write` appends.
fn pieces(text: &str, out: &mut String, write: impl Fn(Macro<'_>, &mut String)) {
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
    fn a_name_in_a_macro_is_no_text() {
        assert_eq!(find_in_text("/{p.a/b?c}/d?e", &['?', '#']), Some(12));
        assert_eq!(find_in_text("{p.a/b}", &['/']), None);
    }
}
