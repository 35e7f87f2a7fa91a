//! Questions about events and refused hits.
//!
//! A listing visits the hours in which there is something, and merges an hour's partitions by time.
//! What was received in the last moments is not shown by a tail yet ([`TAIL_SETTLES_MS`]): events
//! come through many lanes and shards, and a tail that had gone past one would never show it.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::iter;
use proto::{Message, Rejected, TrackingEvent, Uuid, ids};

use super::DynamoTable;
use super::fault::Fault;
use super::item::{EVENT, Item, REJECTED, SK, bytes_of, is_expired, text_of};
use super::keys::{self, EVENT_BUCKETS, HOUR_MS, Position, REJECTED_BUCKETS, is_program};
use super::scan::{FIRST_SORT, LAST_SORT, Merged, Parallel, Range, Selection};
use crate::table::{Cursor, Listing, PAGE_MAX, Query, Start, TableError};

/// How long ago an event was received before a tail shows it: by then those of other lanes that
/// were received before it are stored, unless a part of the way is held up.
pub(super) const TAIL_SETTLES_MS: u64 = 2_000;

/// Refused hits that one listing of one reason reads at most; its `next` says where to continue.
const LOOKED_AT_MAX: usize = 10_000;

/// What a listing is of.
#[derive(Clone, Copy)]
enum Sort<'a> {
    EventsOf(&'a str),
    Rejected,
}

impl Sort<'_> {
    fn hours(self) -> String {
        match self {
            Self::EventsOf(program) => keys::hours_partition(program),
            Self::Rejected => keys::REJECTED_HOURS.to_owned(),
        }
    }

    fn partitions(self, hour: u64) -> Vec<String> {
        match self {
            Self::EventsOf(program) => {
                (0..EVENT_BUCKETS).map(|bucket| keys::event_partition(program, hour, bucket)).collect()
            }
            Self::Rejected => {
                (0..REJECTED_BUCKETS).map(|bucket| keys::rejected_partition(hour, bucket)).collect()
            }
        }
    }
}

/// A part of a listing, by sort keys.
struct Part {
    from: String,
    /// Included.
    to: String,
    is_descending: bool,
    limit: usize,
}

/// The items of a listing, one after the other, through all hours.
struct Walk<'a> {
    table: &'a DynamoTable,
    sort: Sort<'a>,
    part: Part,
    hours: VecDeque<u64>,
    merged: Option<Merged<'a>>,
    now_ms: u64,
}

impl<'a> Walk<'a> {
    async fn begin(table: &'a DynamoTable, sort: Sort<'a>, part: Part) -> Result<Self, Fault> {
        let now_ms = table.now_ms();
        let from = Position::at(&part.from).hour();
        let to = match part.to.as_str() {
            LAST_SORT => ids::TIME_MS_MAX / HOUR_MS,
            to => Position::at(to).hour(),
        };
        let mut hours = table.db.hours(sort.hours(), from, to, now_ms).await?;
        if part.is_descending {
            hours.reverse();
        }
        Ok(Self { table, sort, part, hours: hours.into(), merged: None, now_ms })
    }

    async fn next(&mut self) -> Result<Option<Item>, Fault> {
        loop {
            if let Some(merged) = &mut self.merged {
                if let Some(item) = merged.next().await? {
                    return Ok(Some(item));
                }
                self.merged = None;
            }
            let Some(hour) = self.hours.pop_front() else { return Ok(None) };
            let partitions = self.sort.partitions(hour);
            let page = i32::try_from(2 * self.part.limit / partitions.len() + 8).unwrap_or(1_000);
            let range = |partition| Range {
                from: self.part.from.clone(),
                to: self.part.to.clone(),
                is_descending: self.part.is_descending,
                now_ms: Some(self.now_ms),
                page,
                ..Range::all(partition)
            };
            let ranges = partitions.into_iter().map(range).collect();
            self.merged = Some(Merged::new(&self.table.db, ranges));
        }
    }
}

impl DynamoTable {
    pub(super) async fn event(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, Fault> {
        if !is_program(program) {
            return Ok(None);
        }
        let now_ms = self.now_ms();
        let received_at_ms = if ids::is_from_sender(&id) {
            match self.db.identity(program, id, now_ms).await? {
                Some(identity) => identity.received_at_ms,
                None => return Ok(None),
            }
        } else {
            ids::time_ms(&id)
        };
        let item = self.db.get(&keys::event(program, received_at_ms, id)).await?;
        item.filter(|item| !is_expired(item, now_ms)).map(|item| event_of(&item)).transpose()
    }

    pub(super) async fn events(&self, query: &Query) -> Result<Listing<TrackingEvent>, TableError> {
        let unknown = |after: &Cursor| TableError::UnknownCursor(after.to_string());
        let after = query.after.as_ref().map(|after| Position::parse(after).ok_or_else(|| unknown(after)));
        let after = after.transpose()?;
        let to_ms = query.to_ms.min(ids::TIME_MS_MAX + 1);
        let mut page = Listing { items: Vec::new(), next: None };
        if query.from_ms >= to_ms || !is_program(&query.program) {
            return Ok(page);
        }
        let from = keys::event_sort(query.from_ms, Uuid::nil());
        let from = after.map_or(from.clone(), |after| from.max(first_behind(&after.sort)));
        let to = keys::event_sort(to_ms - 1, Uuid::max());
        if from > to {
            return Ok(page);
        }
        let limit = query.limit.clamp(1, PAGE_MAX);
        let part = Part { from, to, is_descending: false, limit: limit + 1 };
        let mut walk = Walk::begin(self, Sort::EventsOf(&query.program), part).await?;
        while let Some(item) = walk.next().await? {
            if page.items.len() == limit {
                page.next = page.items.last().map(|(place, _)| place.clone());
                break;
            }
            page.items.push((Cursor::new(text_of(&item, SK)?), event_of(&item)?));
        }
        Ok(page)
    }

    pub(super) async fn newest_events(
        &self,
        program: &str,
        start: &Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        let until_ms = self.now_ms().saturating_sub(TAIL_SETTLES_MS).min(ids::TIME_MS_MAX);
        let until = keys::event_sort(until_ms, Uuid::max());
        self.listing(Sort::EventsOf(program), start, limit, until, |item| event_of(item).map(Some)).await
    }

    pub(super) async fn refused(
        &self,
        start: &Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        let keep = |item: &Item| {
            let rejected = Rejected::decode(bytes_of(item, REJECTED)?);
            let rejected = rejected.map_err(|error| Fault::Damaged(format!("a refused hit: {error}")))?;
            Ok(reason.is_none_or(|reason| rejected.reason == reason).then_some(rejected))
        };
        self.listing(Sort::Rejected, start, limit, LAST_SORT.to_owned(), keep).await
    }

    /// A part of what a program or everybody has, by time; `keep` decodes or skips an item.
    async fn listing<T>(
        &self,
        sort: Sort<'_>,
        start: &Start,
        limit: usize,
        until: String,
        keep: impl Fn(&Item) -> Result<Option<T>, Fault>,
    ) -> Result<Listing<T>, TableError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let position = match start {
            Start::Oldest | Start::Newest => Position::first(),
            Start::At(cursor) => {
                Position::parse(cursor).ok_or_else(|| TableError::UnknownCursor(cursor.to_string()))?
            }
        };
        let is_descending = *start == Start::Newest;
        let from = if position.is_behind { first_behind(&position.sort) } else { position.sort.clone() };
        let mut next = position;
        let mut items = Vec::new();
        if from <= until {
            let part = Part { from, to: until, is_descending, limit };
            let mut walk = Walk::begin(self, sort, part).await?;
            let mut looked_at = 0;
            while items.len() < limit && looked_at < LOOKED_AT_MAX {
                let Some(item) = walk.next().await? else { break };
                let sort = text_of(&item, SK)?;
                // Of the newest, the first that is seen is the last one.
                if !is_descending || looked_at == 0 {
                    next = Position::behind(sort);
                }
                looked_at += 1;
                items.extend(keep(&item)?.map(|kept| (Position::at(sort).cursor(), kept)));
            }
        }
        if is_descending {
            items.reverse();
        }
        Ok(Listing { items, next: Some(next.cursor()) })
    }

    /// How many events of a program there are, by counting its keys.
    pub(super) async fn count_of(&self, program: &str) -> Result<u64, Fault> {
        if !is_program(program) {
            return Ok(0);
        }
        let now_ms = self.now_ms();
        let sort = Sort::EventsOf(program);
        let hours = self.db.hours(sort.hours(), 0, ids::TIME_MS_MAX / HOUR_MS, now_ms).await?;
        let partitions = hours.into_iter().flat_map(|hour| sort.partitions(hour));
        let ranges = partitions.map(|partition| Range { now_ms: Some(now_ms), ..Range::all(partition) });
        let mut counts = iter(ranges)
            .map(async |range| self.db.count_in(&range).await)
            .buffer_unordered(self.db.calls_max);
        let mut total = 0;
        while let Some(count) = counts.next().await {
            total += count?;
        }
        Ok(total)
    }

    /// How many events there are, by reading the whole table in parts at the same time.
    pub(super) async fn count_all(&self) -> Result<u64, Fault> {
        let now_ms = self.now_ms();
        let parts = Parallel::of(self.db.calls_max);
        let mut counts = iter(parts.segments())
            .map(async |segment| self.db.count_segment(segment, parts, EVENT, now_ms).await)
            .buffer_unordered(self.db.calls_max);
        let mut total = 0;
        while let Some(count) = counts.next().await {
            total += count?;
        }
        Ok(total)
    }

    /// Whether an event of a program is, or lately was, in the table.
    pub(super) async fn has_hours_of(&self, program: &str) -> Result<bool, Fault> {
        if !is_program(program) {
            return Ok(false);
        }
        let one = Range { page: 1, ..Range::all(keys::hours_partition(program)) };
        let page = self.db.page(&one, None, &Selection::Whole).await?;
        Ok(!page.items.is_empty())
    }
}

/// The smallest sort key behind one.
fn first_behind(sort: &str) -> String {
    format!("{sort}{FIRST_SORT}")
}

fn event_of(item: &Item) -> Result<TrackingEvent, Fault> {
    let event = TrackingEvent::decode(bytes_of(item, EVENT)?);
    event.map_err(|error| Fault::Damaged(format!("the event {}: {error}", text_of(item, SK).unwrap_or("?"))))
}
