//! A set of numbers as sorted half-open ranges.
//!
//! A lane's numbers run without holes, so a million of them are usually one pair. Adjacent ranges
//! are merged at once; memory is two numbers per hole.

use serde::{Deserialize, Deserializer, Serialize};

/// Numbers in `first..end_exclusive` ranges: sorted, disjoint, never touching, never empty.
///
/// In JSON a list of pairs: `[[0,100],[120,130]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers `first..end`.
    pub fn of(first: u64, end: u64) -> Self {
        if first < end { Self(vec![(first, end)]) } else { Self::new() }
    }

    /// The ranges in order.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, end)| end - first).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number after the last one; 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |(_, end)| *end)
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && number < self.0[after - 1].1
    }

    /// Adds `first..end`. Constant time at the end of the set, where a lane grows.
    pub fn insert(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            Some(last) if last.1 > first => self.insert_within(first, end),
            _ => self.0.push((first, end)),
        }
    }

    /// Adds `first..end` where it may touch or cover any ranges.
    fn insert_within(&mut self, first: u64, end: u64) {
        let from = self.0.partition_point(|range| range.1 < first);
        let to = self.0.partition_point(|range| range.0 <= end);
        let merged = self.0[from..to]
            .iter()
            .fold((first, end), |merged, range| (merged.0.min(range.0), merged.1.max(range.1)));
        self.0.splice(from..to, [merged]);
    }

    /// The numbers in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        all.into_iter().collect()
    }

    /// The numbers of this set that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut left = Self::new();
        let mut holes = other.0.iter().copied().peekable();
        for &(first, end) in &self.0 {
            let mut at = first;
            while let Some(&(hole, hole_end)) = holes.peek() {
                if hole >= end {
                    break;
                }
                left.insert(at, hole.min(end));
                at = at.max(hole_end);
                if hole_end > end {
                    break;
                }
                holes.next();
            }
            left.insert(at, end);
        }
        left
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::new();
        for (first, end) in ranges {
            set.insert(first, end);
        }
        set
    }
}

/// Inserts each range, so that the invariants hold whatever was read.
impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(u64, u64)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..60, 0u64..12), 0..12)
            .prop_map(|ranges| ranges.into_iter().map(|(first, length)| (first, first + length)).collect())
    }

    fn model(ranges: &[(u64, u64)]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|&(first, end)| first..end).collect()
    }

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        model(ranges.as_slice())
    }

    proptest! {
        #[test]
        fn ranges_are_the_set_that_they_describe(a in some_ranges(), b in some_ranges()) {
            let set: Ranges = a.iter().copied().collect();
            let other: Ranges = b.iter().copied().collect();
            let model_a = model(&a);
            let model_b = model(&b);
            prop_assert_eq!(numbers(&set), model_a.clone());
            prop_assert_eq!(set.count(), model_a.len() as u64);
            prop_assert_eq!(set.end(), model_a.last().map_or(0, |last| last + 1));
            prop_assert_eq!(numbers(&set.union(&other)), &model_a | &model_b);
            prop_assert_eq!(numbers(&set.subtract(&other)), &model_a - &model_b);
            for number in 0..80 {
                prop_assert_eq!(set.contains(number), model_a.contains(&number));
            }
        }

        #[test]
        fn ranges_stay_sorted_apart_and_filled(a in some_ranges(), b in some_ranges()) {
            let set: Ranges = a.into_iter().collect();
            let other: Ranges = b.into_iter().collect();
            for result in [&set, &set.union(&other), &set.subtract(&other)] {
                for pair in result.as_slice().windows(2) {
                    prop_assert!(pair[0].1 < pair[1].0, "{:?}", result);
                }
                prop_assert!(result.as_slice().iter().all(|(first, end)| first < end));
            }
        }

        #[test]
        fn json_gives_the_same_set_back(a in some_ranges()) {
            let set: Ranges = a.into_iter().collect();
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ranges>(&json).unwrap(), set);
        }
    }

    #[test]
    fn a_lane_that_was_read_in_order_is_one_pair() {
        let mut lane = Ranges::new();
        for number in 0..100_000 {
            lane.insert(number, number + 1);
        }
        assert_eq!(lane.as_slice(), [(0, 100_000)]);
    }

    #[test]
    fn ranges_in_json_out_of_order_are_put_in_order() {
        let set: Ranges = serde_json::from_str("[[7,9],[0,3],[2,5],[4,4]]").unwrap();
        assert_eq!(set.as_slice(), [(0, 5), (7, 9)]);
    }
}
