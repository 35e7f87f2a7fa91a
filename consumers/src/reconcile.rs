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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::Uuid;

    use super::*;
    use crate::ledger::{Fate, LaneEnd, Report};

    const BOOT: BootId = Uuid::from_u128(1);

    fn ledger(fill: impl FnOnce(&mut LaneLedger)) -> Vec<LedgerRow> {
        let mut ledger = LaneLedger::default();
        fill(&mut ledger);
        vec![LedgerRow { boot: BOOT, lane: 0, ledger }]
    }

    fn log(state: LaneState, issued: u64, written: u64, in_log: &[(u64, u64)]) -> Vec<LogLane> {
        let in_log = in_log.to_vec();
        vec![LogLane { boot: BOOT, lane: 0, state, issued, written, in_log, abandoned: vec![] }]
    }

    fn stored(numbers: std::ops::Range<u64>) -> impl FnOnce(&mut LaneLedger) {
        move |ledger| numbers.for_each(|number| assert!(ledger.record(number, Fate::Stored)))
    }

    #[test]
    fn a_segment_that_was_removed_by_hand_is_missing() {
        let answer = reconcile(&ledger(stored(0..10)), &log(LaneState::Closed, 30, 30, &[(20, 30)]));
        let row = &answer.lanes[0];
        assert_eq!((row.places.fates.stored, row.places.in_log, row.places.missing), (10, 10, 10));
        assert_eq!(row.missing_ranges, [(10, 20)]);
        assert!(!answer.is_whole());
    }

    #[test]
    fn what_an_open_lane_has_not_written_yet_is_on_its_way() {
        let answer = reconcile(&[], &log(LaneState::Open, 12, 8, &[(0, 8)]));
        assert_eq!((answer.totals.issued, answer.totals.in_log, answer.totals.missing), (12, 12, 0));
        let answer = reconcile(&[], &log(LaneState::Unclean, 12, 8, &[(0, 8)]));
        assert_eq!(answer.totals.missing, 4, "a dead lane writes nothing more");
    }

    #[test]
    fn a_lane_that_the_log_has_forgotten_is_explained_by_the_ledger() {
        let clean = |clean| LaneEnd { issued: 10, clean };
        let answer = reconcile(&ledger(|lane| (stored(0..10)(lane), lane.ended(clean(true))).1), &[]);
        assert_eq!((answer.lanes[0].state, answer.is_whole()), (LaneState::Closed, true));
        let answer = reconcile(&ledger(|lane| (stored(0..9)(lane), lane.ended(clean(false))).1), &[]);
        assert_eq!((answer.lanes[0].state, answer.totals.missing), (LaneState::Unclean, 1));
    }

    #[test]
    fn a_report_tells_of_numbers_that_nobody_else_knows() {
        let report = Report {
            issued: 5,
            refused: [("expired".to_owned(), 3)].into(),
            shed: [("impression".to_owned(), 2)].into(),
            ..Report::default()
        };
        let answer = reconcile(&ledger(|lane| (stored(0..3)(lane), lane.reported(report)).1), &[]);
        assert_eq!((answer.totals.issued, answer.totals.missing), (5, 2));
        assert_eq!((answer.refused["expired"], answer.shed["impression"]), (3, 2));
        assert_eq!(answer.lanes[0].state, LaneState::Open);
    }

    #[test]
    fn missing_ranges_are_listed_up_to_a_limit_and_counted_beyond() {
        let every_other = (0..100).map(|number| number * 2).map(|number| (number, number + 1));
        let answer = reconcile(&[], &log(LaneState::Closed, 199, 199, &every_other.collect::<Vec<_>>()));
        assert_eq!((answer.totals.missing, answer.lanes[0].missing_ranges.len()), (99, MISSING_RANGES_MAX));
    }

    #[test]
    fn the_answer_is_flat_json() {
        let answer = reconcile(&ledger(stored(0..2)), &[]);
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!((&json["totals"]["stored"], &json["totals"]["missing"]), (&2.into(), &0.into()));
        assert_eq!(json["lanes"][0]["state"], "open");
        assert_eq!(json["lanes"][0]["boot"], BOOT.to_string());
    }

    /// What is known of one number: its fate in the ledger, and whether the log has it, the log
    /// gave it up, the ledger knows it as given up.
    fn number() -> impl Strategy<Value = (Option<Fate>, bool, bool, bool)> {
        let fates = [Fate::Stored, Fate::Duplicate, Fate::Dead, Fate::Dropped, Fate::Rejected, Fate::Report];
        (prop::option::of(prop::sample::select(fates.to_vec())), any::<bool>(), any::<bool>(), any::<bool>())
    }

    proptest! {
        #[test]
        fn every_number_is_in_exactly_one_place(
            numbers in prop::collection::vec(number(), 0..60),
            said in 0u64..70,
            order in any::<u64>(),
        ) {
            let mut numbered: Vec<_> = (0u64..).zip(&numbers).collect();
            numbered.rotate_left((order % 60) as usize % numbers.len().max(1));
            let mut log = log(LaneState::Closed, said, said, &[]);
            let ledger = ledger(|lane| for (number, (fate, in_log, gave_up, given_up)) in numbered {
                if let Some(fate) = fate {
                    lane.record(number, *fate);
                }
                if *in_log {
                    log[0].in_log.push((number, number + 1));
                }
                if *gave_up {
                    log[0].abandoned.push((number, number + 1));
                }
                if *given_up {
                    lane.abandon(number, number + 1);
                }
            });
            let answer = reconcile(&ledger, &log);
            let places = answer.totals;

            let known = |(fate, in_log, gave_up, given_up): &(Option<Fate>, bool, bool, bool)| {
                fate.is_some() || *in_log || *gave_up || *given_up
            };
            let last_known = numbers.iter().rposition(known).map_or(0, |last| last as u64 + 1);
            prop_assert_eq!(places.issued, last_known.max(said));
            let ledger_count = numbers.iter().filter(|it| it.0.is_some()).count() as u64;
            prop_assert_eq!(places.fates.sum(), ledger_count);
            prop_assert_eq!(places.in_log, numbers.iter().filter(|it| it.0.is_none() && it.1).count() as u64);
            let unknown = numbers.iter().filter(|it| !known(it)).count() as u64;
            let beyond = places.issued.saturating_sub(numbers.len() as u64);
            let not_issued = (numbers.len() as u64).saturating_sub(places.issued);
            prop_assert_eq!(places.missing, unknown + beyond - not_issued);
            prop_assert_eq!(
                places.fates.sum() + places.in_log + places.abandoned + places.missing,
                places.issued
            );
        }
    }
}
