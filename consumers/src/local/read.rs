//! Queries. Each reads one snapshot: all of a transaction or nothing of it.

use proto::{Message, Rejected, TrackingEvent, Uuid, ids};
use redb::{ReadTransaction, ReadableTable, TableDefinition};

use super::schema::{
    ARRIVALS, EVENTS, Fault, IDENTITIES, Identity, LEDGER, META, PROGRAMS, REJECTED, begin_read, event_key,
    identity_key, meta, number_of, parse_event_key, parse_ledger_key, parse_timed,
};
use super::store::Store;
use crate::ledger::LedgerRow;
use crate::table::{Count, Cursor, Listing, PAGE_MAX, Query, Start, TableError};

/// Rows that one filtered listing reads at most; its `next` says where to continue.
const LOOKED_AT_MAX: usize = 100_000;

/// Where a listing of sequences starts.
#[derive(Clone, Copy)]
pub(super) enum From {
    At(u64),
    Newest,
}

/// # Errors
/// [`TableError::UnknownCursor`].
pub(super) fn sequence_of(start: &Start) -> Result<From, TableError> {
    Ok(match start {
        Start::Oldest => From::At(0),
        Start::At(cursor) => From::At(cursor.as_str().parse().map_err(|_| unknown(cursor))?),
        Start::Newest => From::Newest,
    })
}

fn unknown(cursor: &Cursor) -> TableError {
    TableError::UnknownCursor(cursor.to_string())
}

/// An event's place among a program's: 12 hex digits of the time, `-`, the id.
fn place_of(received_at_ms: u64, id: Uuid) -> Cursor {
    Cursor::new(format!("{received_at_ms:012x}-{id}"))
}

fn parse_place(cursor: &Cursor) -> Option<(u64, Uuid)> {
    let (time, id) = cursor.as_str().split_at_checked(12)?;
    let id = Uuid::try_parse(id.strip_prefix('-')?).ok()?;
    Some((u64::from_str_radix(time, 16).ok()?, id))
}

impl Store {
    /// The event `id` of `program`. The time in its key comes from the id itself, or from the identity
    /// entry if it is a sender's id.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        self.with(|database| {
            let tx = begin_read(database)?;
            let mut key = Vec::new();
            let received_at_ms = if ids::is_from_sender(&id) {
                identity_key(program, id, &mut key);
                match tx.open_table(IDENTITIES)?.get(key.as_slice())? {
                    Some(entry) => Identity::decode(entry.value())?.received_at_ms,
                    None => return Ok(None),
                }
            } else {
                ids::time_ms(&id)
            };
            if !event_key(program, received_at_ms, id, &mut key) {
                return Ok(None);
            }
            let found = tx.open_table(EVENTS)?.get(key.as_slice())?;
            found.map(|bytes| event_of(bytes.value())).transpose()
        })
    }

    /// A page of a program's events by the time at which they were received.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn query(&self, query: &Query) -> Result<Listing<TrackingEvent>, TableError> {
        let after = query.after.as_ref().map(|after| parse_place(after).ok_or_else(|| unknown(after)));
        let after = after.transpose()?;
        self.with(|database| {
            let mut page = Listing { items: Vec::new(), next: None };
            let to_ms = query.to_ms.min(ids::TIME_MS_MAX + 1);
            let mut from = Vec::new();
            if query.from_ms >= to_ms || !event_key(&query.program, query.from_ms, Uuid::nil(), &mut from) {
                return Ok(page);
            }
            if let Some((time_ms, id)) = after.filter(|(time_ms, _)| *time_ms >= query.from_ms) {
                event_key(&query.program, time_ms, id, &mut from);
                // The smallest key after it.
                from.push(0);
            }
            let mut to = Vec::new();
            event_key(&query.program, to_ms - 1, Uuid::max(), &mut to);
            if from > to {
                return Ok(page);
            }
            let events = begin_read(database)?.open_table(EVENTS)?;
            let mut rows = events.range(from.as_slice()..=to.as_slice())?;
            for row in rows.by_ref().take(query.limit.clamp(1, PAGE_MAX)) {
                let (key, bytes) = row?;
                let (_, received_at_ms, id) = parse_event_key(key.value())?;
                page.items.push((place_of(received_at_ms, id), event_of(bytes.value())?));
            }
            if rows.next().is_some() {
                page.next = page.items.last().map(|(place, _)| place.clone());
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

    /// As [`count`](Self::count), by reading every key.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn count_by_scan(&self, program: Option<&str>) -> Result<u64, TableError> {
        self.with(|database| {
            let mut counted = 0;
            for row in begin_read(database)?.open_table(EVENTS)?.iter()? {
                let (key, _) = row?;
                let (of, ..) = parse_event_key(key.value())?;
                counted += u64::from(program.is_none_or(|program| program == of));
            }
            Ok(counted)
        })
    }

    /// Events of a program, or of all, in the order in which they were stored; at most `limit` and
    /// [`PAGE_MAX`]. A rare program may need several calls: each looks at 100,000 rows at most.
    ///
    /// # Errors
    /// See [`TableError`].
    pub fn tail(
        &self,
        program: Option<&str>,
        start: &Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        let start = sequence_of(start)?;
        self.with(|database| {
            let tx = begin_read(database)?;
            let events = tx.open_table(EVENTS)?;
            listing(&tx, ARRIVALS, meta::NEXT_ARRIVAL, start, limit, |value| {
                let (_, key) = parse_timed("arrivals", value)?;
                if let Some(program) = program
                    && parse_event_key(key)?.0 != program
                {
                    return Ok(None);
                }
                let event = events.get(key)?;
                let event =
                    event.ok_or_else(|| Fault::damaged("arrivals", "it refers to a missing event"))?;
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
        start: &Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        let start = sequence_of(start)?;
        self.with(|database| {
            let tx = begin_read(database)?;
            listing(&tx, REJECTED, meta::NEXT_REJECTED, start, limit, |value| {
                let (_, bytes) = parse_timed("rejected", value)?;
                let rejected = Rejected::decode(bytes).map_err(|error| Fault::damaged("rejected", error))?;
                Ok(reason.is_none_or(|reason| rejected.reason == reason).then_some(rejected))
            })
        })
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

/// A page of a table keyed by sequence; `keep` decodes or skips a row.
pub(super) fn listing<T>(
    tx: &ReadTransaction,
    table: TableDefinition<u64, &'static [u8]>,
    next_name: &str,
    start: From,
    limit: usize,
    mut keep: impl FnMut(&[u8]) -> Result<Option<T>, Fault>,
) -> Result<Listing<T>, Fault> {
    let limit = limit.clamp(1, PAGE_MAX);
    let at = |sequence: u64| Cursor::new(sequence.to_string());
    let end = number_of(&tx.open_table(META)?, next_name)?;
    let rows = tx.open_table(table)?;
    let mut items = Vec::new();
    let mut next = end;
    match start {
        From::At(first) => {
            for (looked_at, row) in rows.range(first..)?.enumerate() {
                let (sequence, value) = row?;
                if items.len() == limit || looked_at == LOOKED_AT_MAX {
                    next = sequence.value();
                    break;
                }
                items.extend(keep(value.value())?.map(|item| (at(sequence.value()), item)));
            }
        }
        From::Newest => {
            for row in rows.iter()?.rev().take(LOOKED_AT_MAX) {
                let (sequence, value) = row?;
                items.extend(keep(value.value())?.map(|item| (at(sequence.value()), item)));
                if items.len() == limit {
                    break;
                }
            }
            items.reverse();
        }
    }
    Ok(Listing { items, next: Some(at(next)) })
}

fn event_of(bytes: &[u8]) -> Result<TrackingEvent, Fault> {
    TrackingEvent::decode(bytes).map_err(|error| Fault::damaged("events", error))
}
