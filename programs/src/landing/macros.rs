//! The macros of a template: `{click_id}` and `{p.NAME}`.

use super::invalid::InvalidUrl;
use crate::rules::NAME_BYTES_MAX;

const CLICK_ID: &str = "click_id";
const PARAMETER: &str = "p.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro<'t> {
    ClickId,
    /// The parameter of this name.
    Parameter(&'t str),
}

/// Checks the braces of `text` from byte `from` on; the caller has checked that there are none before.
pub(super) fn check_macros(text: &str, from: usize) -> Result<(), InvalidUrl> {
    let mut at = from;
    while let Some(brace) = text[at..].find(['{', '}']) {
        let start = at + brace;
        let rest = &text[start..];
        if rest.starts_with('}') {
            return Err(InvalidUrl::new(start, "a } that closes nothing"));
        }
        let Some(close) = rest[1..].find(['{', '}']).map(|close| close + 1) else {
            return Err(InvalidUrl::new(start, "a { that is not closed"));
        };
        if rest[close..].starts_with('{') {
            return Err(InvalidUrl::new(start + close, "a { inside a macro"));
        }
        read_macro(&rest[1..close]).map_err(|reason| InvalidUrl::new(start, reason))?;
        at = start + close + 1;
    }
    Ok(())
}

/// The macro between two braces.
///
/// # Errors
/// The reason, as a fragment.
pub(super) fn read_macro(without_braces: &str) -> Result<Macro<'_>, &'static str> {
    if without_braces == CLICK_ID {
        return Ok(Macro::ClickId);
    }
    let name = without_braces
        .strip_prefix(PARAMETER)
        .ok_or("an unknown macro; there are {click_id} and {p.name}")?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err("the name of a parameter has 1 to 64 bytes");
    }
    Ok(Macro::Parameter(name))
}
