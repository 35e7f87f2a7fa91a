//! Rarely used fields of a program.
//!
//! Most programs run without end and accept any parameter. Empty fields would cost 120 bytes each,
//! 12 MB in a region, so they are behind a pointer that is set only if one of them is used.

use std::ops::{Deref, DerefMut};

use crate::{landing::FallbackUrl, rules::ParameterRules};

/// When a program runs, what it demands of parameters, and where a refused click goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// From when on hits count, in ms since 1970, inclusive.
    pub starts_at: Option<u64>,
    /// From when on hits count no more, in ms since 1970.
    pub ends_at: Option<u64>,
    /// Where a refused click is sent.
    pub fallback_url: Option<FallbackUrl>,
    /// What the parameters must be; at most [`RULES_MAX`](crate::rules::RULES_MAX).
    pub parameters: ParameterRules,
    /// Groups of parameters of which at most one may be present; at most
    /// [`CONFLICTS_MAX`](crate::rules::CONFLICTS_MAX).
    pub conflicts: Vec<Vec<String>>,
}

/// [`Terms`] at the price of a pointer if they are empty. Dereferences to them.
#[derive(Clone, Debug, Default)]
pub struct BoxedTerms(Option<Box<Terms>>);

static NONE: Terms = Terms {
    starts_at: None,
    ends_at: None,
    fallback_url: None,
    parameters: ParameterRules::new(),
    conflicts: Vec::new(),
};

impl From<Terms> for BoxedTerms {
    fn from(terms: Terms) -> Self {
        Self((terms != NONE).then(|| Box::new(terms)))
    }
}

impl Deref for BoxedTerms {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

/// Allocates, if there is no pointer yet.
impl DerefMut for BoxedTerms {
    fn deref_mut(&mut self) -> &mut Terms {
        self.0.get_or_insert_default()
    }
}

/// Empty terms are equal with and without a pointer.
impl PartialEq for BoxedTerms {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_say_nothing_are_equal_with_and_without_a_pointer() {
        let mut touched = BoxedTerms::from(Terms { ends_at: Some(1), ..Terms::default() });
        assert_ne!(touched, BoxedTerms::default());
        touched.ends_at = None;
        assert!(touched.0.is_some());
        assert_eq!(touched, BoxedTerms::default());
        assert!(BoxedTerms::from(Terms::default()).0.is_none());
    }

    #[test]
    fn a_program_takes_nine_words_beside_its_texts() {
        assert_eq!(size_of::<crate::Program>(), 72);
    }
}
