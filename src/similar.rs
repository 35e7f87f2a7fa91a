//! "Did you mean …?"

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let (distance, nearest) = known.map(|known| (strsim::levenshtein(word, known), known)).min()?;
    (distance <= (word.len() / 3).max(2)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_proposed_and_nonsense_gets_none() {
        let known = || ["tracker.workers", "tracker.listen"].into_iter();
        assert_eq!(nearest("tracker.worker", known()), Some("tracker.workers"));
        assert_eq!(nearest("zzz", known()), None);
        assert_eq!(nearest("zzz", [].into_iter()), None);
    }
}
