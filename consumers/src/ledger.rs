//! What became of each number of a lane.
//!
//! The ledger of a lane is written in the same transaction as the items it counts.
//! So it answers two questions: after a crash, which numbers of a redelivered batch are done
//! already; and for `reconcile`, what became of every number.

use std::collections::BTreeMap;

use proto::{BootId, LaneReport};
use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A new item in the table.
    Stored,
    /// The table had this event already, from another number.
    Duplicate,
    /// In the dead letters.
    Dead,
    /// A dead letter that an operator dropped.
    Dropped,
    /// A refused hit, kept for some days.
    Rejected,
    /// A lane report.
    Report,
}

/// How many records had each fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fates {
    /// See [`Fate::Stored`].
    pub stored: u64,
    /// See [`Fate::Duplicate`].
    pub duplicates: u64,
    /// See [`Fate::Dead`].
    pub dead_letters: u64,
    /// See [`Fate::Dropped`].
    pub dropped: u64,
    /// See [`Fate::Rejected`].
    pub rejected: u64,
    /// See [`Fate::Report`].
    pub reports: u64,
}

impl Fates {
    /// All records.
    pub fn sum(&self) -> u64 {
        self.stored + self.duplicates + self.dead_letters + self.dropped + self.rejected + self.reports
    }

    pub(crate) fn add(&mut self, fate: Fate) {
        *self.of(fate) += 1;
    }

    fn of(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Stored => &mut self.stored,
            Fate::Duplicate => &mut self.duplicates,
            Fate::Dead => &mut self.dead_letters,
            Fate::Dropped => &mut self.dropped,
            Fate::Rejected => &mut self.rejected,
            Fate::Report => &mut self.reports,
        }
    }
}

impl std::ops::AddAssign for Fates {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.dead_letters += other.dead_letters;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.reports += other.reports;
    }
}

/// How a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneEnd {
    /// Numbers issued; the last one is `issued - 1`.
    pub issued: u64,
    /// Closed, rather than ended by a crash.
    pub clean: bool,
}

/// The newest of a lane's reports; its figures count from the lane's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Numbers issued, the report's own included.
    pub issued: u64,
    /// Numbers that the lane abandoned.
    pub abandoned: u64,
    /// Refused hits by reason.
    pub refused: BTreeMap<String, u64>,
    /// Shed hits by class.
    pub shed: BTreeMap<String, u64>,
    /// The edge's clock, milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it is the lane's last.
    pub closing: bool,
}

impl From<LaneReport> for Report {
    fn from(report: LaneReport) -> Self {
        let counts = |counts: Vec<proto::Count>| counts.into_iter().map(|it| (it.name, it.count)).collect();
        Self {
            issued: report.issued,
            abandoned: report.abandoned,
            refused: counts(report.refused),
            shed: counts(report.shed),
            at_ms: report.at_ms,
            closing: report.closing,
        }
    }
}

/// The ledger of one lane.
///
/// Invariant: `seen.count() == fates.sum()`. Both grow when a record is entered, and a changed fate
/// keeps the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneLedger {
    seen: Ranges,
    fates: Fates,
    abandoned: Ranges,
    end: Option<LaneEnd>,
    report: Option<Report>,
}

impl LaneLedger {
    /// The numbers whose records were processed.
    pub fn seen(&self) -> &Ranges {
        &self.seen
    }

    /// What became of them.
    pub fn fates(&self) -> Fates {
        self.fates
    }

    /// Numbers that never became durable. If the record turned up later all the same, it is in
    /// [`seen`](Self::seen) too, and counts there.
    pub fn abandoned(&self) -> &Ranges {
        &self.abandoned
    }

    /// How the lane ended, once it has.
    pub fn end(&self) -> Option<LaneEnd> {
        self.end
    }

    /// The newest report.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Enters the record `number`; false, without a change, if it is entered already.
    pub(crate) fn record(&mut self, number: u64, fate: Fate) -> bool {
        let new = !self.seen.contains(number);
        if new {
            self.seen.insert(number, number.saturating_add(1));
            self.fates.add(fate);
        }
        new
    }

    /// Gives a dead letter of this lane another fate; false if the lane has no dead letter.
    pub(crate) fn resolve_dead(&mut self, fate: Fate) -> bool {
        let had = self.fates.dead_letters > 0;
        if had {
            self.fates.dead_letters -= 1;
            self.fates.add(fate);
        }
        had
    }

    pub(crate) fn abandon(&mut self, first: u64, end: u64) {
        self.abandoned.insert(first, end);
    }

    /// Records the end. A second one, from an adopted log, may report more numbers, never fewer.
    pub(crate) fn record_end(&mut self, end: LaneEnd) {
        let known = self.end.map_or(0, |known| known.issued);
        if end.issued >= known {
            self.end = Some(end);
        }
    }

    /// Records a report. They may come out of order; the one with more numbers is newer.
    pub(crate) fn record_report(&mut self, report: Report) {
        if self.report.as_ref().is_none_or(|known| known.issued <= report.issued) {
            self.report = Some(report);
        }
    }
}

/// One lane with its ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerRow {
    /// The process start.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// What became of its numbers.
    #[serde(flatten)]
    pub ledger: LaneLedger,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once_however_often_it_comes() {
        let mut ledger = LaneLedger::default();
        assert!(ledger.record(4, Fate::Stored));
        assert!(!ledger.record(4, Fate::Duplicate));
        assert_eq!(ledger.fates(), Fates { stored: 1, ..Fates::default() });
        assert_eq!(ledger.seen().count(), ledger.fates().sum());
    }

    #[test]
    fn a_dead_letter_is_revived_once() {
        let mut ledger = LaneLedger::default();
        ledger.record(0, Fate::Dead);
        assert!(ledger.resolve_dead(Fate::Stored));
        assert!(!ledger.resolve_dead(Fate::Stored));
        assert_eq!(ledger.fates(), Fates { stored: 1, ..Fates::default() });
    }

    #[test]
    fn an_older_report_does_not_replace_a_newer_one() {
        let mut ledger = LaneLedger::default();
        ledger.record_report(Report { issued: 20, ..Report::default() });
        ledger.record_report(Report { issued: 10, ..Report::default() });
        assert_eq!(ledger.report().map(|report| report.issued), Some(20));
    }

    #[test]
    fn a_ledger_of_a_newer_version_with_more_fields_is_read() {
        let json = r#"{"seen":[[0,2]],"fates":{"stored":2,"novel":0},"novel":1}"#;
        let ledger: LaneLedger = serde_json::from_str(json).unwrap();
        assert_eq!((ledger.seen().count(), ledger.fates().stored), (2, 2));
    }
}
