//! The sweep: removes expired events (after 30 days) from the front of the arrivals.
//!
//! Arrivals are in the order of storing, which is nearly the order of receiving.
//! The sweep stops at the first one that has not expired; an event that was stored late,
//! from an adopted log for instance, is removed together with its neighbours. A clock that was
//! far ahead for a while would block the front, so an arrival from more than a day in the future
//! is set to now.

use std::time::Duration;

use proto::{Uuid, ids};
use redb::{ReadableTable, WriteTransaction};
use supervise::causes;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::schema::{
    ARRIVALS, EVENTS, Fault, IDENTITIES, Identity, META, PROGRAMS, REJECTED, begin_write, identity_key, meta,
    number_of, parse_event_key, parse_timed, timed,
};
use super::store::Store;
use crate::table::TableError;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What one pass of the sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Events.
    pub events: u64,
    /// Rejected hits.
    pub rejected: u64,
    /// The pass reached its limit; there may be more.
    pub more: bool,
}

/// Runs `pass` every `interval`, or again at once while there is more, until `stop` has a value or
/// its sender is gone.
///
/// An error is logged, and the next pass tries again.
pub(super) async fn sweep<F>(
    interval: Duration,
    pass: impl Fn() -> F,
    mut stop: watch::Receiver<Option<Instant>>,
) where
    F: Future<Output = Result<Swept, TableError>>,
{
    let mut more = false;
    loop {
        let pause = if more { Duration::ZERO } else { interval };
        tokio::select! {
            _ = stop.wait_for(Option::is_some) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let swept = pass().await;
        more = swept.as_ref().is_ok_and(|swept| swept.more);
        match swept {
            Ok(swept) if swept.events + swept.rejected > 0 => {
                info!(events = swept.events, rejected = swept.rejected, "removed expired items");
            }
            Ok(_) => {}
            Err(error) => warn!(error = causes(&error), "cannot sweep the table, trying again later"),
        }
    }
}

impl Store {
    /// One pass: looks at no more than `sweep_items_max` events and as many rejected hits.
    ///
    /// # Errors
    /// See [`TableError`]; nothing was removed then.
    pub(crate) fn sweep(&self, now_ms: u64) -> Result<Swept, TableError> {
        let limit = self.sweep_items_max;
        self.with(|database| {
            let tx = begin_write(database)?;
            let events_before = now_ms.saturating_sub(self.expiry_ms);
            let rejected_before = now_ms.saturating_sub(self.rejected_expiry_ms);
            let (events, more_events) = sweep_events(&tx, now_ms, events_before, limit)?;
            let (rejected, more_rejected) = sweep_rejected(&tx, now_ms, rejected_before, limit)?;
            if events + rejected > 0 || more_events || more_rejected {
                tx.commit()?;
            } else {
                tx.abort()?;
            }
            Ok(Swept { events, rejected, more: more_events || more_rejected })
        })
    }
}

/// The front of a table of arrivals.
struct Front {
    expired: Vec<(u64, Vec<u8>)>,
    from_the_future: Vec<(u64, Vec<u8>)>,
    more: bool,
}

fn front(
    rows: &impl ReadableTable<u64, &'static [u8]>,
    name: &'static str,
    now_ms: u64,
    before_ms: u64,
    limit: usize,
) -> Result<Front, Fault> {
    let mut front = Front { expired: Vec::new(), from_the_future: Vec::new(), more: false };
    for (looked_at, row) in rows.iter()?.enumerate() {
        let (sequence, value) = row?;
        let (time, rest) = parse_timed(name, value.value())?;
        let kept = time >= before_ms && time <= now_ms.saturating_add(DAY_MS);
        front.more = !kept && looked_at >= limit;
        if kept || front.more {
            break;
        }
        let list = if time < before_ms { &mut front.expired } else { &mut front.from_the_future };
        list.push((sequence.value(), rest.to_vec()));
    }
    Ok(front)
}

fn sweep_events(
    tx: &WriteTransaction,
    now_ms: u64,
    before_ms: u64,
    limit: usize,
) -> Result<(u64, bool), Fault> {
    let mut arrivals = tx.open_table(ARRIVALS)?;
    let front = front(&arrivals, "arrivals", now_ms, before_ms, limit)?;
    set_to_now(&mut arrivals, &front, now_ms)?;
    let mut events = tx.open_table(EVENTS)?;
    let mut identities = tx.open_table(IDENTITIES)?;
    let mut programs = tx.open_table(PROGRAMS)?;
    let mut meta = tx.open_table(META)?;
    for (sequence, key) in &front.expired {
        arrivals.remove(sequence)?;
        events.remove(key.as_slice())?;
        let (program, received_at_ms, id) = parse_event_key(key)?;
        if ids::is_from_sender(&id) {
            forget_identity(&mut identities, program, id, received_at_ms)?;
        }
        let (items, expired) = programs.get(program)?.map_or((0, 0), |row| row.value());
        programs.insert(program, (items.saturating_sub(1), expired + 1))?;
    }
    let swept = front.expired.len() as u64;
    let items = number_of(&meta, meta::ITEMS)?.saturating_sub(swept);
    let expired = number_of(&meta, meta::EXPIRED)? + swept;
    meta.insert(meta::ITEMS, items)?;
    meta.insert(meta::EXPIRED, expired)?;
    Ok((swept, front.more))
}

/// Removes the identity entry of an expired event, unless a younger event has the id by now.
fn forget_identity(
    identities: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    program: &str,
    id: Uuid,
    received_at_ms: u64,
) -> Result<(), Fault> {
    let mut key = Vec::new();
    identity_key(program, id, &mut key);
    let held = identities.get(key.as_slice())?.map(|entry| Identity::decode(entry.value())).transpose()?;
    if held.is_some_and(|held| held.received_at_ms == received_at_ms) {
        identities.remove(key.as_slice())?;
    }
    Ok(())
}

fn sweep_rejected(
    tx: &WriteTransaction,
    now_ms: u64,
    before_ms: u64,
    limit: usize,
) -> Result<(u64, bool), Fault> {
    let mut rejected = tx.open_table(REJECTED)?;
    let front = front(&rejected, "rejected", now_ms, before_ms, limit)?;
    set_to_now(&mut rejected, &front, now_ms)?;
    for (sequence, _) in &front.expired {
        rejected.remove(sequence)?;
    }
    Ok((front.expired.len() as u64, front.more))
}

fn set_to_now(
    rows: &mut redb::Table<'_, u64, &'static [u8]>,
    front: &Front,
    now_ms: u64,
) -> Result<(), Fault> {
    let mut value = Vec::new();
    for (sequence, rest) in &front.from_the_future {
        timed(now_ms, rest, &mut value);
        rows.insert(*sequence, value.as_slice())?;
    }
    Ok(())
}
