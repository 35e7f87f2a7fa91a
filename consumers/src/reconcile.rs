//! Where every number has gone: the ledger beside the log. Pure.
//!
//! Every number of `0..issued` is in exactly one place, looked for in this order:
//! the ledger (split there into what its record became), the log, the abandoned
//! ones. What is in none of them is **missing**. So the columns add up to `issued`
//! by construction, and a missing number is one that nobody can explain.
//!
//! Read the log first and the ledger second: a record that is stored and trimmed
//! between the two readings is then in the ledger; the other way round it would be
//! in neither.

use std::collections::{BTreeMap, BTreeSet};

use proto::BootId;
use serde::Serialize;

use crate::ledger::{Fates, LaneLedger, LedgerRow};
use crate::ranges::Ranges;

/// Missing ranges that one lane lists; more are counted only.
const MISSING_RANGES_MAX: usize = 16;

/// How a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Its process writes to it, or was last heard of while it did.
    Open,
    /// It was closed.
    Closed,
    /// A crash ended it.
    Unclean,
}

/// What the log knows of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLane {
    /// The process start.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// How it is.
    pub state: LaneState,
    /// Numbers given out.
    pub issued: u64,
    /// The number below which all is written. Of an open lane, `written..issued` is on its way
    /// to the file and counts as in the log.
    pub written: u64,
    /// Half-open ranges of numbers whose records are in segment files.
    pub in_log: Vec<(u64, u64)>,
    /// Half-open ranges of numbers that never became durable.
    pub abandoned: Vec<(u64, u64)>,
}

/// Numbers by where they are; all but `issued` add up to `issued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Places {
    /// Numbers given out.
    pub issued: u64,
    /// Records in the ledger, by what they became.
    #[serde(flatten)]
    pub fates: Fates,
    /// In the log and not yet in the ledger.
    pub in_log: u64,
    /// Never became durable, so never acknowledged at a durable level.
    pub abandoned: u64,
    /// Nowhere.
    pub missing: u64,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneRow {
    /// The process start.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// How it is.
    pub state: LaneState,
    /// Its numbers.
    #[serde(flatten)]
    pub places: Places,
    /// The first missing half-open ranges, at most 16.
    pub missing_ranges: Vec<(u64, u64)>,
}

/// The answer to "did we lose anything?".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// By boot and lane, which is by time.
    pub lanes: Vec<LaneRow>,
    /// All lanes.
    pub totals: Places,
    /// Refused hits by reason, from the newest report of each lane.
    pub refused: BTreeMap<String, u64>,
    /// Shed hits by class, from the newest report of each lane.
    pub shed: BTreeMap<String, u64>,
}

impl Reconciliation {
    /// Whether no number is missing.
    pub fn is_whole(&self) -> bool {
        self.totals.missing == 0
    }
}

/// Sets the ledger beside the log. A lane that the log no longer knows is explained by the
/// ledger alone; one that the ledger does not know, by the log alone.
pub fn reconcile(ledger: &[LedgerRow], log: &[LogLane]) -> Reconciliation {
    let ledger: BTreeMap<_, _> = ledger.iter().map(|row| ((row.boot, row.lane), &row.ledger)).collect();
    let log: BTreeMap<_, _> = log.iter().map(|lane| ((lane.boot, lane.lane), lane)).collect();
    let lanes: BTreeSet<_> = ledger.keys().chain(log.keys()).copied().collect();
    let nothing = LaneLedger::default();
    let mut all = Reconciliation::default();
    for place @ (boot, lane) in lanes {
        let ledger = ledger.get(&place).copied().unwrap_or(&nothing);
        let row = row(boot, lane, ledger, log.get(&place).copied());
        all.totals.add(&row.places);
        all.lanes.push(row);
        if let Some(report) = ledger.report() {
            add_counts(&mut all.refused, &report.refused);
            add_counts(&mut all.shed, &report.shed);
        }
    }
    all
}

fn row(boot: BootId, lane: u32, ledger: &LaneLedger, log: Option<&LogLane>) -> LaneRow {
    let in_files: Ranges = log.iter().flat_map(|log| log.in_log.iter().copied()).collect();
    let on_the_way = match log {
        Some(log) if log.state == LaneState::Open => Ranges::of(log.written, log.issued),
        _ => Ranges::new(),
    };
    let in_log = in_files.union(&on_the_way);
    let abandoned: Ranges = log.iter().flat_map(|log| log.abandoned.iter().copied()).collect();
    let abandoned = abandoned.union(ledger.abandoned());

    let issued = [
        ledger.end().map_or(0, |end| end.issued),
        ledger.report().map_or(0, |report| report.issued),
        log.map_or(0, |log| log.issued),
        ledger.seen().end(),
        in_log.end(),
        abandoned.end(),
    ];
    let issued = issued.into_iter().max().unwrap_or(0);

    let unseen = Ranges::of(0, issued).subtract(ledger.seen());
    let not_in_log = unseen.subtract(&in_log);
    let missing = not_in_log.subtract(&abandoned);
    let places = Places {
        issued,
        fates: ledger.fates(),
        in_log: unseen.count() - not_in_log.count(),
        abandoned: not_in_log.count() - missing.count(),
        missing: missing.count(),
    };
    let missing_ranges = missing.as_slice().iter().copied().take(MISSING_RANGES_MAX).collect();
    LaneRow { boot, lane, state: state(ledger, log), places, missing_ranges }
}

fn state(ledger: &LaneLedger, log: Option<&LogLane>) -> LaneState {
    if let Some(log) = log {
        return log.state;
    }
    match (ledger.end(), ledger.report()) {
        (Some(end), _) if end.clean => LaneState::Closed,
        (Some(_), _) => LaneState::Unclean,
        (None, Some(report)) if report.closing => LaneState::Closed,
        (None, _) => LaneState::Open,
    }
}

fn add_counts(totals: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (name, count) in counts {
        let total = totals.entry(name.clone()).or_default();
        *total = total.saturating_add(*count);
    }
}

impl Places {
    fn add(&mut self, other: &Self) {
        self.issued += other.issued;
        self.fates += other.fates;
        self.in_log += other.in_log;
        self.abandoned += other.abandoned;
        self.missing += other.missing;
    }
}
