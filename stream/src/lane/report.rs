//! What a lane counts for its report.

use std::collections::BTreeMap;

use proto::{BootId, Count, LaneReport};

use crate::record::{Class, Number};

/// Figures since the lane's start.
#[derive(Default)]
pub(crate) struct Tally {
    refused: BTreeMap<&'static str, u64>,
    shed: [u64; Class::ALL.len()],
    changed: bool,
}

impl Tally {
    pub fn refused(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
        self.changed = true;
    }

    pub fn shed(&mut self, class: Class) {
        self.shed[class as usize] += 1;
        self.changed = true;
    }

    pub fn changed(&mut self) {
        self.changed = true;
    }

    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// The report that will have the number `number`.
    pub fn report(
        &mut self,
        boot: BootId,
        lane: u32,
        number: Number,
        abandoned: u64,
        at_ms: u64,
        closing: bool,
    ) -> LaneReport {
        self.changed = false;
        let counted = |(name, count): (&str, u64)| Count { name: name.to_owned(), count };
        let shed = Class::ALL.iter().map(|class| (class.name(), self.shed[*class as usize]));
        LaneReport {
            boot: boot.as_bytes().to_vec(),
            lane,
            issued: number + 1,
            abandoned,
            refused: self.refused.iter().map(|(name, count)| counted((name, *count))).collect(),
            shed: shed.filter(|(_, count)| *count > 0).map(counted).collect(),
            at_ms,
            closing,
        }
    }
}
