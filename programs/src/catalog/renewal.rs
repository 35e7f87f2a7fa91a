//! Makes programs young again that nobody has read again in time.
//!
//! Looking at 100,000 programs takes tens of milliseconds of a core, and for twice as long a worker
//! on the same core would answer in turns with it, of some 4 ms each: in a measurement of three
//! seconds that alone made more than one hit in a hundred late. So it is done a little at a time,
//! with pauses, and beside the following of changes, which never waits for it.

use std::{sync::Arc, time::Duration};

use moka::ops::compute::{CompResult, Op};

use super::{Catalog, slot::Slot};
use crate::ProgramId;

/// Programs that are looked at between two pauses, at least: about 0.1 ms.
const PART: u64 = 256;
/// Pauses in all, so that many programs take longer steps and not more than about 2 s.
const PARTS_MAX: u64 = 1_000;
const PAUSE: Duration = Duration::from_millis(1);

/// One look at everything that is held; see [`super::CatalogWriter::renewal`].
pub struct Renewal {
    catalog: Catalog,
    in_step_at_ms: u64,
}

impl Renewal {
    pub(super) fn of(catalog: Catalog, in_step_at_ms: u64) -> Self {
        Self { catalog, in_step_at_ms }
    }

    /// Renews what is about to become too old; returns how many. What is removed or replaced
    /// meanwhile stays removed or replaced; a reload ends it, as there is nothing old then.
    pub async fn run(self) -> u64 {
        let shared = &self.catalog.shared;
        let generation = shared.generation();
        let part = PART.max(shared.slots.entry_count() / PARTS_MAX);
        let (mut looked_at, mut renewed) = (0_u64, 0);
        for (_, slot) in &shared.slots {
            renewed += u64::from(slot.generation >= generation && self.renew(&slot).await);
            looked_at += 1;
            if looked_at.is_multiple_of(part) {
                tokio::time::sleep(PAUSE).await;
                if shared.generation() != generation {
                    break;
                }
            }
        }
        renewed
    }

    async fn renew(&self, waning: &Arc<Slot>) -> bool {
        let (shared, at_ms) = (&self.catalog.shared, self.in_step_at_ms);
        if !waning.is_waning(at_ms, &shared.config) || waning.is_dead(at_ms) {
            return false;
        }
        let young = Arc::new(waning.renewed(at_ms, &shared.config));
        let renew = |current: Option<moka::Entry<ProgramId, Arc<Slot>>>| {
            let is_same = current.is_some_and(|current| Arc::ptr_eq(current.value(), waning));
            std::future::ready(if is_same { Op::Put(Arc::clone(&young)) } else { Op::Nop })
        };
        let done = shared.slots.entry_by_ref(&waning.id).and_compute_with(renew).await;
        matches!(done, CompResult::ReplacedWith(_))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Change, Snapshot};

    use super::*;
    use crate::{
        catalog::CatalogConfig,
        catalog::CatalogCounters,
        catalog::{CatalogWriter, Verdict},
        testing::{Held, NOW, id, program},
    };

    const PROGRAMS: u64 = 10_000;
    /// Of programs that were read at [`NOW`], this long before they are too old.
    const WANING: u64 = NOW + 960_000;
    const TOO_OLD: u64 = NOW + 1_560_000;

    /// A catalog that was filled at [`NOW`], and its registry's state.
    async fn filled() -> (Catalog, CatalogWriter, crate::State) {
        let registry = Held::new();
        let catalog = Catalog::new(CatalogConfig::default(), Arc::clone(&registry), CatalogCounters::new());
        let state = crate::Registry::state(&*registry).await.unwrap();
        let writer = catalog.writer().unwrap();
        writer.replace_all(all(state), NOW).await;
        (catalog, writer, state)
    }

    fn all(state: crate::State) -> Snapshot {
        let programs = (1..=PROGRAMS).map(|at| (at, Arc::new(program(&at.to_string(), "first", 1))));
        Snapshot { state, programs: programs.collect() }
    }

    /// Time stands still but for the pauses.
    #[tokio::test(start_paused = true)]
    async fn everything_is_renewed_a_little_at_a_time_and_what_changes_meanwhile_is_not_undone() {
        let (catalog, writer, state) = filled().await;
        writer.set_in_step(WANING - 1);
        assert_eq!(writer.renewal().run().await, 0, "all of it is young");
        writer.set_in_step(WANING);
        let began = tokio::time::Instant::now();
        let meanwhile = async {
            for nth in 1..=PAUSE.as_millis() as u64 * (PROGRAMS / PART) {
                let changed = [id(&nth.to_string()), id(&(PROGRAMS - nth).to_string())];
                let contents = [Some(Arc::new(program(changed[0].as_str(), "second", 2))), None];
                for (id, program) in changed.into_iter().zip(contents) {
                    let change = Change { epoch: state.epoch, version: PROGRAMS + nth, id, program };
                    writer.apply(change, WANING).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let (renewed, ()) = tokio::join!(writer.renewal().run(), meanwhile);
        assert!(began.elapsed() >= PAUSE * (PROGRAMS / PART) as u32, "{:?}", began.elapsed());
        assert!((PROGRAMS - 2 * PROGRAMS / PART..=PROGRAMS).contains(&renewed), "{renewed}");
        for at in 1..=PROGRAMS {
            let expected = match at {
                1..=39 => "second",
                9_961..=9_999 => "gone",
                _ => "first",
            };
            match catalog.find(&at.to_string(), TOO_OLD + 1).await {
                Verdict::Known(program) => assert_eq!(&*program.name, expected, "{at}"),
                verdict => assert_eq!((verdict, expected), (Verdict::Unknown, "gone"), "{at}"),
            }
        }
    }

    #[tokio::test]
    async fn what_was_replaced_since_it_was_looked_at_is_left_alone() {
        let (catalog, writer, state) = filled().await;
        writer.set_in_step(WANING);
        let (held, renewal) = (catalog.shared.slots.get("1").await.unwrap(), writer.renewal());
        let changed = Some(Arc::new(program("1", "second", 2)));
        let change = Change { epoch: state.epoch, version: PROGRAMS + 1, id: id("1"), program: changed };
        writer.apply(change, WANING).await;
        assert!(!renewal.renew(&held).await);
        let Verdict::Known(program) = catalog.find("1", WANING).await else { panic!("it is there") };
        assert_eq!(&*program.name, "second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_ends_it() {
        let (_catalog, writer, state) = filled().await;
        writer.set_in_step(WANING);
        let reload = async {
            tokio::time::sleep(PAUSE * 3).await;
            writer.replace_all(all(state), WANING).await;
        };
        let began = tokio::time::Instant::now();
        let (renewed, _) = tokio::join!(writer.renewal().run(), reload);
        assert!(began.elapsed() <= PAUSE * 5, "it went on for {:?}", began.elapsed());
        assert!((2 * PART..=5 * PART).contains(&renewed), "{renewed}");
    }
}
