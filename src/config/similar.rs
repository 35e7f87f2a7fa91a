//! "Did you mean …?"

use super::KEYS;

/// What to say of a key that does not exist.
pub fn unknown(key: &str) -> String {
    let nearest = KEYS.iter().map(|known| (distance(key, known.name), known.name)).min();
    match nearest {
        Some((distance, name)) if distance <= (key.len() / 3).max(2) => {
            format!("unknown key; did you mean {name}?")
        }
        _ => "unknown key; `clickgate config keys` lists all".to_owned(),
    }
}

/// Single-character edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn the_nearest_key_is_proposed_and_nonsense_gets_none() {
        assert_eq!(unknown("tracker.worker"), "unknown key; did you mean tracker.workers?");
        assert_eq!(unknown("zzz"), "unknown key; `clickgate config keys` lists all");
    }
}
