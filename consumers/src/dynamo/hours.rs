//! The hours in which a program has events, so that readers visit no others.
//!
//! An hour's item is written before the first event of it, by each worker once; it expires when the
//! last event of the hour has.

use std::collections::HashSet;
use std::sync::Mutex;

use super::client::{Condition, Db};
use super::fault::Fault;
use super::item::{EXPIRES_AT, PK, SK, expires_at, keyed, number, text_of};
use super::keys::{HOUR_MS, Key, hour_text};
use super::scan::{Range, Selection};

/// Hours that a worker remembers; with more, it forgets all and writes them again.
const REMEMBERED_MAX: usize = 16_384;

/// The hours that this worker has written.
#[derive(Debug, Default)]
pub(super) struct Hours {
    known: Mutex<HashSet<(String, u64)>>,
}

impl Hours {
    /// Makes sure that a partition of hours has this one. `kept_ms`: how long its events are kept.
    pub async fn ensure(&self, db: &Db, partition: String, hour: u64, kept_ms: u64) -> Result<(), Fault> {
        let id = (partition, hour);
        if self.lock().contains(&id) {
            return Ok(());
        }
        let expires_at = expires_at((hour + 1).saturating_mul(HOUR_MS), kept_ms);
        let mut item = keyed(&Key { pk: id.0.clone(), sk: hour_text(hour) });
        item.insert(EXPIRES_AT.to_owned(), number(expires_at));
        // Another worker may keep events longer.
        let condition = Condition {
            expression: "attribute_not_exists(#pk) OR #expires_at < :expires_at",
            names: &[("#pk", PK), ("#expires_at", EXPIRES_AT)],
            values: vec![(":expires_at", number(expires_at))],
        };
        match db.put(&item, Some(&condition)).await {
            Ok(()) | Err(Fault::Condition(_)) => {}
            Err(fault) => return Err(fault),
        }
        let mut known = self.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(id);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(String, u64)>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Db {
    /// The hours of a partition from one to another, both included, in order.
    pub async fn hours(&self, partition: String, from: u64, to: u64, now_ms: u64) -> Result<Vec<u64>, Fault> {
        let range =
            Range { from: hour_text(from), to: hour_text(to), now_ms: Some(now_ms), ..Range::all(partition) };
        let items = self.all_in(&range, &Selection::Attributes(&[SK])).await?;
        let hour = |text: &str| text.parse().map_err(|_| Fault::Damaged(format!("{text:?} is no hour")));
        items.iter().map(|item| hour(text_of(item, SK)?)).collect()
    }
}
