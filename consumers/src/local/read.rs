//! Questions to the table. Each sees one moment: all of a transaction or nothing of it.

use std::ops::ControlFlow;

use proto::{Message, Rejected, TrackingEvent, Uuid};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::Serialize;

use super::schema::{
    ARRIVALS, EVENTS, Fault, LEDGER, LETTERS, META, PROGRAMS, REJECTED, begin_read, event_key, meta,
    number_of, parse_event_key, parse_ledger_key, parse_timed,
};
use super::store::Store;
use crate::ledger::LedgerRow;
use crate::table::{PAGE_MAX, Page, Query, TableError};

/// Rows that one filtered listing looks at, at most; its `next` says where to go on.
const LOOKED_AT_MAX: usize = 100_000;

/// Where a listing starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this sequence or the first one after it; 0 is the oldest.
    At(u64),
    /// So that it ends with the newest.
    Newest,
}

/// A part of a sequence, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<T> {
    /// Each with its sequence.
    pub items: Vec<(u64, T)>,
    /// Continue at this sequence. Asking again there is how one follows what comes later.
    pub next: u64,
}

/// How many items there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// In the table now.
    pub items: u64,
    /// Removed since the beginning because they were too old.
    pub expired: u64,
}

impl Store {
    /// The event `id` of `program`.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        self.with(|database| {
            let mut key = Vec::new();
            if !event_key(program, id, &mut key) {
                return Ok(None);
            }
            let events = begin_read(database)?.open_table(EVENTS)?;
            let found = events.get(key.as_slice())?;
            found.map(|bytes| event_of(bytes.value())).transpose()
        })
    }

    /// A page of a program's events by message id, which is by time.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn query(&self, query: &Query) -> Result<Page<Uuid>, TableError> {
        self.with(|database| {
            let (mut from, mut to) = (Vec::new(), Vec::new());
            let mut page = Page { items: Vec::new(), next: None };
            if query.from_ms >= query.to_ms || !event_key(&query.program, first_id(query.from_ms), &mut from)
            {
                return Ok(page);
            }
            event_key(&query.program, last_id_before(query.to_ms), &mut to);
            if let Some(after) = query.after.filter(|after| *after >= first_id(query.from_ms)) {
                event_key(&query.program, after, &mut from);
                from.push(0);
            }
            if from > to {
                return Ok(page);
            }
            let events = begin_read(database)?.open_table(EVENTS)?;
            let mut rows = events.range(from.as_slice()..=to.as_slice())?;
            for row in rows.by_ref().take(query.limit.clamp(1, PAGE_MAX)) {
                let (key, bytes) = row?;
                page.items.push((parse_event_key(key.value())?.1, event_of(bytes.value())?));
            }
            if rows.next().is_some() {
                page.next = page.items.last().map(|(id, _)| *id);
            }
            Ok(page)
        })
    }

    /// How many items there are, of one program or of all.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn count(&self, program: Option<&str>) -> Result<Count, TableError> {
        self.with(|database| {
            let tx = begin_read(database)?;
            if let Some(program) = program {
                let row = tx.open_table(PROGRAMS)?.get(program)?;
                let (items, expired) = row.map_or((0, 0), |row| row.value());
                return Ok(Count { items, expired });
            }
            let meta = tx.open_table(META)?;
            Ok(Count { items: number_of(&meta, meta::ITEMS)?, expired: number_of(&meta, meta::EXPIRED)? })
        })
    }

    /// Shows every item's program and message id to `visit`, until it breaks.
    ///
    /// Each pair comes once: it is the key. Reads the whole table and bypasses its counts.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn scan(&self, mut visit: impl FnMut(&str, Uuid) -> ControlFlow<()>) -> Result<(), TableError> {
        self.with(|database| {
            for row in begin_read(database)?.open_table(EVENTS)?.iter()? {
                let (key, _) = row?;
                let (program, id) = parse_event_key(key.value())?;
                if visit(program, id).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Events in the order in which they were stored; at most `limit` and [`PAGE_MAX`].
    ///
    /// A live tail asks again at [`Listing::next`] every few hundred milliseconds: simpler than
    /// a channel for each reader, nothing to bound, and a slow reader holds up nobody.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn tail(&self, start: Start, limit: usize) -> Result<Listing<TrackingEvent>, TableError> {
        self.with(|database| {
            let tx = begin_read(database)?;
            let events = tx.open_table(EVENTS)?;
            listing(&tx, ARRIVALS, meta::NEXT_ARRIVAL, start, limit, |value| {
                let (_, key) = parse_timed("arrivals", value)?;
                let event = events.get(key)?;
                let event =
                    event.ok_or_else(|| Fault::damaged("arrivals", "it names an event that is not there"))?;
                event_of(event.value()).map(Some)
            })
        })
    }

    /// Refused hits in the order in which they came, all or those of one reason; at most `limit`
    /// and [`PAGE_MAX`]. A rare reason may need several calls: each looks at 100,000 rows at most.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        self.with(|database| {
            let tx = begin_read(database)?;
            listing(&tx, REJECTED, meta::NEXT_REJECTED, start, limit, |value| {
                let (_, bytes) = parse_timed("rejected", value)?;
                let rejected = Rejected::decode(bytes).map_err(|error| Fault::damaged("rejected", error))?;
                Ok(reason.is_none_or(|reason| rejected.reason == reason).then_some(rejected))
            })
        })
    }

    /// How many dead letters wait for a person.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn dead_letters_count(&self) -> Result<u64, TableError> {
        self.with(|database| Ok(begin_read(database)?.open_table(LETTERS)?.len()?))
    }

    /// The ledgers of all lanes, by boot and lane.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        self.with(|database| {
            let mut rows = Vec::new();
            for row in begin_read(database)?.open_table(LEDGER)?.iter()? {
                let (key, json) = row?;
                let (boot, lane) = parse_ledger_key(key.value())?;
                let ledger = serde_json::from_slice(json.value()).map_err(|error| {
                    Fault::damaged("ledger", format!("lane {lane} of boot {boot}: {error}"))
                })?;
                rows.push(LedgerRow { boot, lane, ledger });
            }
            Ok(rows)
        })
    }
}

/// What `keep` makes of the rows of a table whose key is a sequence.
pub(super) fn listing<T>(
    tx: &ReadTransaction,
    table: TableDefinition<u64, &'static [u8]>,
    next_name: &str,
    start: Start,
    limit: usize,
    mut keep: impl FnMut(&[u8]) -> Result<Option<T>, Fault>,
) -> Result<Listing<T>, Fault> {
    let limit = limit.clamp(1, PAGE_MAX);
    let end = number_of(&tx.open_table(META)?, next_name)?;
    let rows = tx.open_table(table)?;
    let mut items = Vec::new();
    let mut next = end;
    match start {
        Start::At(first) => {
            for (looked_at, row) in rows.range(first..)?.enumerate() {
                let (sequence, value) = row?;
                if items.len() == limit || looked_at == LOOKED_AT_MAX {
                    next = sequence.value();
                    break;
                }
                items.extend(keep(value.value())?.map(|item| (sequence.value(), item)));
            }
        }
        Start::Newest => {
            for row in rows.iter()?.rev().take(LOOKED_AT_MAX) {
                let (sequence, value) = row?;
                items.extend(keep(value.value())?.map(|item| (sequence.value(), item)));
                if items.len() == limit {
                    break;
                }
            }
            items.reverse();
        }
    }
    Ok(Listing { items, next })
}

fn event_of(bytes: &[u8]) -> Result<TrackingEvent, Fault> {
    TrackingEvent::decode(bytes).map_err(|error| Fault::damaged("events", error))
}

/// The smallest id of a time; beyond the 48 bits of an id, the smallest of the last one.
fn first_id(time_ms: u64) -> Uuid {
    let time_ms = time_ms.min((1 << 48) - 1);
    Uuid::from_u128(u128::from(time_ms) << 80)
}

/// The largest id before a time that is not 0.
fn last_id_before(time_ms: u64) -> Uuid {
    if time_ms >= 1 << 48 {
        return Uuid::max();
    }
    Uuid::from_u128((u128::from(time_ms) << 80) - 1)
}
