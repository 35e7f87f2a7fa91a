//! Accounts for every number: compares the ledger with the log. Pure.
//!
//! Every number of `0..issued` is in exactly one place, looked for in this order:
//! the ledger's records (split there into what they became), the ledger's abandoned
//! numbers, the log. A number in none of them is **missing**. So the columns add up
//! to `issued` by construction, and a missing number is one without an explanation.
//!
//! Read the log first and the ledger second: a record that is stored and trimmed between the two
//! is then in the ledger; in the reverse order it would be in neither.

use std::collections::{BTreeMap, BTreeSet};

use proto::BootId;
use serde::Serialize;
use stream::{LaneState, LaneStatus};

use crate::ledger::{Fates, LaneLedger, LedgerRow};
use crate::ranges::Ranges;

/// Missing ranges that are listed per lane; more are only counted.
const MISSING_RANGES_MAX: usize = 16;

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
    /// Half-open ranges of numbers in segment files, as records or as abandoned.
    pub in_log: Vec<(u64, u64)>,
}

impl From<&LaneStatus> for LogLane {
    fn from(lane: &LaneStatus) -> Self {
        let in_log = lane.in_log.clone();
        Self { boot: lane.boot, lane: lane.lane, state: lane.state, issued: lane.issued, in_log }
    }
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

/// Compares the ledger with the log. A lane that is in only one of them is explained by that one
/// alone.
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
    let mut in_log: Ranges = log.iter().flat_map(|log| log.in_log.iter().copied()).collect();
    if let Some(log) = log.filter(|log| log.state == LaneState::Open) {
        // Issued while the log was being read: on the way to the file.
        let known = in_log.end().max(ledger.seen().end()).max(ledger.abandoned().end());
        in_log.insert(known, log.issued);
    }

    let issued = [
        ledger.end().map_or(0, |end| end.issued),
        ledger.report().map_or(0, |report| report.issued),
        log.map_or(0, |log| log.issued),
        ledger.seen().end(),
        in_log.end(),
        ledger.abandoned().end(),
    ];
    let issued = issued.into_iter().max().unwrap_or(0);

    let unseen = Ranges::of(0, issued).subtract(ledger.seen());
    let not_given_up = unseen.subtract(ledger.abandoned());
    let missing = not_given_up.subtract(&in_log);
    let places = Places {
        issued,
        fates: ledger.fates(),
        abandoned: unseen.count() - not_given_up.count(),
        in_log: not_given_up.count() - missing.count(),
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

    fn log(state: LaneState, issued: u64, in_log: &[(u64, u64)]) -> Vec<LogLane> {
        vec![LogLane { boot: BOOT, lane: 0, state, issued, in_log: in_log.to_vec() }]
    }

    fn stored(numbers: std::ops::Range<u64>) -> impl FnOnce(&mut LaneLedger) {
        move |ledger| numbers.for_each(|number| assert!(ledger.record(number, Fate::Stored)))
    }

    #[test]
    fn a_segment_that_was_removed_by_hand_is_missing() {
        let answer = reconcile(&ledger(stored(0..10)), &log(LaneState::Closed, 30, &[(20, 30)]));
        let row = &answer.lanes[0];
        assert_eq!((row.places.fates.stored, row.places.in_log, row.places.missing), (10, 10, 10));
        assert_eq!(row.missing_ranges, [(10, 20)]);
        assert!(!answer.is_whole());
    }

    #[test]
    fn what_an_open_lane_gave_out_last_is_on_its_way() {
        let answer = reconcile(&[], &log(LaneState::Open, 12, &[(0, 8)]));
        assert_eq!((answer.totals.issued, answer.totals.in_log, answer.totals.missing), (12, 12, 0));
        let answer = reconcile(&[], &log(LaneState::Unclean, 12, &[(0, 8)]));
        assert_eq!(answer.totals.missing, 4, "a dead lane writes nothing more");
        let answer = reconcile(&ledger(stored(6..9)), &log(LaneState::Open, 12, &[(6, 8)]));
        assert_eq!((answer.totals.in_log, answer.totals.missing), (3, 6), "only behind all that is known");
    }

    #[test]
    fn a_lane_that_the_log_has_forgotten_is_explained_by_the_ledger() {
        let clean = |clean| LaneEnd { issued: 10, clean };
        let answer = reconcile(&ledger(|lane| (stored(0..10)(lane), lane.record_end(clean(true))).1), &[]);
        assert_eq!((answer.lanes[0].state, answer.is_whole()), (LaneState::Closed, true));
        let answer = reconcile(&ledger(|lane| (stored(0..9)(lane), lane.record_end(clean(false))).1), &[]);
        assert_eq!((answer.lanes[0].state, answer.totals.missing), (LaneState::Unclean, 1));
    }

    #[test]
    fn a_report_reveals_numbers_that_are_found_nowhere_else() {
        let report = Report {
            issued: 5,
            refused: [("expired".to_owned(), 3)].into(),
            shed: [("impression".to_owned(), 2)].into(),
            ..Report::default()
        };
        let answer = reconcile(&ledger(|lane| (stored(0..3)(lane), lane.record_report(report)).1), &[]);
        assert_eq!((answer.totals.issued, answer.totals.missing), (5, 2));
        assert_eq!((answer.refused["expired"], answer.shed["impression"]), (3, 2));
        assert_eq!(answer.lanes[0].state, LaneState::Open);
    }

    #[test]
    fn missing_ranges_are_listed_up_to_a_limit_and_counted_beyond() {
        let every_other = (0..100).map(|number| number * 2).map(|number| (number, number + 1));
        let answer = reconcile(&[], &log(LaneState::Closed, 199, &every_other.collect::<Vec<_>>()));
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

    #[test]
    fn a_number_that_was_given_up_counts_as_stored_if_it_turns_up_and_never_as_in_the_log() {
        let ledger = ledger(|lane| (stored(0..3)(lane), lane.abandon(2, 5)).1);
        let places = reconcile(&ledger, &log(LaneState::Unclean, 5, &[(0, 5)])).totals;
        assert_eq!((places.fates.stored, places.abandoned, places.in_log), (3, 2, 0));
    }

    /// What is known of one number: its fate in the ledger, whether the ledger has it as given up,
    /// whether the log has it.
    type Known = (Option<Fate>, bool, bool);

    fn number() -> impl Strategy<Value = Known> {
        let fates = [Fate::Stored, Fate::Duplicate, Fate::Dead, Fate::Dropped, Fate::Rejected, Fate::Report];
        (prop::option::of(prop::sample::select(fates.to_vec())), any::<bool>(), any::<bool>())
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
            let mut log = log(LaneState::Closed, said, &[]);
            let ledger = ledger(|lane| for (number, (fate, given_up, in_log)) in numbered {
                if let Some(fate) = fate {
                    lane.record(number, *fate);
                }
                if *given_up {
                    lane.abandon(number, number + 1);
                }
                if *in_log {
                    log[0].in_log.push((number, number + 1));
                }
            });
            let places = reconcile(&ledger, &log).totals;

            let known = |it: &&Known| it.0.is_some() || it.1 || it.2;
            let count = |is: &dyn Fn(&&Known) -> bool| {
                numbers.iter().take(places.issued as usize).filter(is).count() as u64
            };
            let last_known = numbers.iter().rposition(|it| known(&it)).map_or(0, |last| last as u64 + 1);
            prop_assert_eq!(places.issued, last_known.max(said));
            prop_assert_eq!(places.fates.sum(), count(&|it| it.0.is_some()));
            prop_assert_eq!(places.abandoned, count(&|it| it.0.is_none() && it.1));
            prop_assert_eq!(places.in_log, count(&|it| it.0.is_none() && !it.1 && it.2));
            let beyond = places.issued.saturating_sub(numbers.len() as u64);
            prop_assert_eq!(places.missing, count(&|it| !known(it)) + beyond);
            prop_assert_eq!(
                places.fates.sum() + places.in_log + places.abandoned + places.missing,
                places.issued
            );
        }
    }
}
