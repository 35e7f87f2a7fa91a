//! An error with its chain of causes.

use std::error::Error;

/// The error and its causes in one line, outermost first. A cause that is part of the text already
/// is not repeated.
///
/// For logging: "the registry cannot be reached" alone sends an operator to the network when the
/// certificate is wrong.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn each_cause_is_said_once_from_the_outside_in() {
        let layer = |text, cause: Option<Layer>| Layer(text, cause.map(Box::new));
        let away = layer("away", Some(layer("no answer", Some(layer("timed out", None)))));
        assert_eq!(causes(&away), "away: no answer: timed out");
        let named = layer("cannot put: away", Some(layer("away", Some(layer("timed out", None)))));
        assert_eq!(causes(&named), "cannot put: away: timed out");
        assert_eq!(causes(&layer("alone", None)), "alone");
    }
}
