//! What waits to be sent, in which request it goes, and when a failed one goes again. Pure.
//!
//! ```text
//! push ─► ready ──────────────┬─► request ─► acknowledged
//!           ▲                 │      │
//!           ├── delayed ◄─────│──────┤ throttled with a random key, or failed: a pause of its own
//!           ├── held ◄────────│──────┤ throttled with a bucket's key: waits behind the bucket's gate
//!           └── isolated ◄────│──────┘ refused: halves of the request, each in one of its own
//!                             └ a stream's gate, after a request that failed as a whole
//! ```
//!
//! A request that was not answered in time was perhaps too large for the way to the stream, or for the
//! stream: the next ones are half as large. So that it does not come to that, they shrink when an
//! answer takes more than half of its time, and grow, to `request_bytes_max`, when it takes less than
//! a quarter. Without this a slow way would never bring a full request to its end.
//!
//! Bounded by `in_flight_bytes_max` over everything that was pushed and not acknowledged: nobody
//! pushes when [`Outbox::has_room`] says no.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use supervise::Backoff;
use tokio::time::Instant;

use super::config::ShipperConfig;
use super::entry::{Entry, Key, Target};
use super::gate::Gate;
use super::rate::Rate;

#[cfg(test)]
mod tests;

/// How small requests become that are not answered in time: a few aggregates.
const REQUEST_BYTES_MIN: usize = 128 << 10;

/// Entries of one PutRecords request.
#[derive(Debug)]
pub(crate) struct Request {
    pub target: Target,
    pub entries: Vec<Entry>,
    pub sent_at: Instant,
}

pub(crate) struct Outbox {
    config: ShipperConfig,
    events: Queue,
    control: Queue,
    /// Each waits for its own pause.
    delayed: BTreeMap<(Instant, u64), Entry>,
    delayed_so_far: u64,
    /// Buckets whose shard throttles.
    held: BTreeMap<u8, Held>,
    rate: Rate,
    /// Bytes of all that was pushed and is neither acknowledged nor put aside.
    bytes: usize,
    held_bytes: usize,
    requests: usize,
}

/// What goes to one stream.
struct Queue {
    gate: Gate,
    /// Bytes of a request at the moment.
    request_bytes: usize,
    ready: VecDeque<Entry>,
    /// Parts of what was refused, each to be sent alone.
    isolated: VecDeque<Vec<Entry>>,
}

struct Held {
    gate: Gate,
    entries: VecDeque<Entry>,
}

impl Outbox {
    pub fn new(config: ShipperConfig, now: Instant) -> Self {
        let queue = || Queue {
            gate: Gate::new(config.retry_pause_max),
            request_bytes: config.request_bytes_max,
            ready: VecDeque::new(),
            isolated: VecDeque::new(),
        };
        Self {
            events: queue(),
            control: queue(),
            delayed: BTreeMap::new(),
            delayed_so_far: 0,
            held: BTreeMap::new(),
            rate: Rate::new(config.bytes_per_second_max, now),
            bytes: 0,
            held_bytes: 0,
            requests: 0,
            config,
        }
    }

    /// Whether more may be pushed, beside `open_bytes` that will be.
    pub fn has_room(&self, open_bytes: usize) -> bool {
        self.bytes + open_bytes < self.config.in_flight_bytes_max
            && self.held_bytes < self.config.held_back_bytes_max
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that are neither acknowledged nor put aside.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of those, bytes that wait for their shard.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.requests
    }

    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.queue(entry.target).ready.push_back(entry);
    }

    /// The next request, if one may be sent now. It is under way until [`Self::answered`].
    pub fn next_request(&mut self, now: Instant) -> Option<Request> {
        self.release(now);
        if self.requests == self.config.requests_max || !self.rate.allows(now) {
            return None;
        }
        let request = self.take(Target::Events, now).or_else(|| self.take(Target::Control, now))?;
        self.requests += 1;
        self.rate.spend(request.entries.iter().map(Entry::bytes).sum());
        Some(request)
    }

    /// A request was answered by its stream, whatever became of its entries.
    pub fn answered(&mut self, target: Target, took: Duration) {
        self.requests -= 1;
        let most = self.config.request_bytes_max;
        let limit = self.config.request_timeout;
        let queue = self.queue(target);
        queue.gate.succeeded();
        let quarter = queue.request_bytes / 4;
        queue.request_bytes = match took {
            quick if quick < limit / 4 => most.min(queue.request_bytes + quarter),
            slow if slow > limit / 2 => REQUEST_BYTES_MIN.max(queue.request_bytes - quarter),
            _ => queue.request_bytes,
        };
    }

    /// A request failed as a whole: its stream's gate is closed, so its entries need no pauses of
    /// their own. Returns whether that is news, rather than the fate of what was sent before.
    /// `in_time` says whether it failed before its time was over.
    pub fn put_back(&mut self, request: Request, in_time: bool, now: Instant) -> bool {
        self.requests -= 1;
        let Request { target, entries, .. } = request;
        if !in_time {
            let half = entries.iter().map(Entry::bytes).sum::<usize>() / 2;
            let queue = self.queue(target);
            // Others that were as large fail as well, and say nothing new.
            queue.request_bytes = queue.request_bytes.min(half.max(REQUEST_BYTES_MIN));
        }
        for entry in entries.into_iter().rev() {
            match entry.key {
                // It may have been the one that asks whether the shard has room.
                Key::Bucket(bucket) if self.held.contains_key(&bucket) => self.hold(bucket, entry, now),
                _ if entry.is_suspect => self.isolate(target, vec![entry]),
                _ => self.queue(target).ready.push_front(entry),
            }
        }
        self.queue(target).gate.failed(now)
    }

    /// An entry is in the stream, or put aside for good.
    pub fn done(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        if let Key::Bucket(bucket) = entry.key
            && let Some(held) = self.held.remove(&bucket)
        {
            // Its shard takes records again: all that waited for it go on, in front.
            self.held_bytes -= held.entries.iter().map(Entry::bytes).sum::<usize>();
            for entry in held.entries.into_iter().rev() {
                self.queue(entry.target).ready.push_front(entry);
            }
        }
    }

    /// The shard of an entry has no room for it.
    pub fn throttled(&mut self, mut entry: Entry, now: Instant) {
        match entry.key {
            Key::Bucket(bucket) => self.hold(bucket, entry, now),
            Key::Random | Key::MessageId => {
                // Another shard may have room.
                let before = entry.bytes();
                entry.draw_key();
                self.bytes = self.bytes + entry.bytes() - before;
                self.delay(entry, now);
            }
        }
    }

    /// An entry failed for a reason of its own, or with its request.
    pub fn failed(&mut self, entry: Entry, now: Instant) {
        match entry.key {
            // It may have been the one that asks whether the shard has room.
            Key::Bucket(bucket) if self.held.contains_key(&bucket) => self.hold(bucket, entry, now),
            _ => self.delay(entry, now),
        }
    }

    /// A part of a request that was refused; it goes alone, so that what is at fault is found.
    pub fn isolate(&mut self, target: Target, entries: Vec<Entry>) {
        self.queue(target).isolated.push_back(entries);
    }

    /// One entry takes the place of another, as when an aggregate is split.
    pub fn replaced(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
    }

    /// When it is worth asking for a request again, if no answer comes before.
    pub fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        let held = self.held.values().filter_map(|held| held.gate.opens_at());
        if self.requests == self.config.requests_max {
            // Whatever may be sent by then, there is no place for it before an answer comes.
            return delayed.into_iter().chain(held).filter(|at| *at > now).min();
        }
        let queues = [&self.events, &self.control].into_iter().filter(|queue| !queue.is_empty());
        let gates = queues.clone().filter_map(|queue| queue.gate.opens_at());
        let rate = queues.clone().next().and_then(|_| self.rate.allows_at(now));
        delayed.into_iter().chain(held).chain(gates).chain(rate).min()
    }

    fn queue(&mut self, target: Target) -> &mut Queue {
        match target {
            Target::Events => &mut self.events,
            Target::Control => &mut self.control,
        }
    }

    fn delay(&mut self, mut entry: Entry, now: Instant) {
        let pause_max = self.config.retry_pause_max;
        let pause = entry.backoff.get_or_insert_with(|| Backoff::new(pause_max)).pause();
        self.delayed_so_far += 1;
        self.delayed.insert((now + pause, self.delayed_so_far), entry);
    }

    /// In front of its bucket: it is older than what waits there.
    fn hold(&mut self, bucket: u8, entry: Entry, now: Instant) {
        self.held_bytes += entry.bytes();
        let pause_max = self.config.retry_pause_max;
        let new = || Held { gate: Gate::new(pause_max), entries: VecDeque::new() };
        let held = self.held.entry(bucket).or_insert_with(new);
        held.gate.failed(now);
        held.entries.push_front(entry);
    }

    /// What waited long enough is ready, in front of what is new.
    fn release(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let entry = first.remove();
            match entry.is_suspect {
                true => self.isolate(entry.target, vec![entry]),
                false => self.queue(entry.target).ready.push_front(entry),
            }
        }
        let mut probes = Vec::new();
        for held in self.held.values_mut() {
            if !held.entries.is_empty() && held.gate.lets_through(now) {
                probes.extend(held.entries.pop_front());
            }
        }
        for probe in probes {
            self.held_bytes -= probe.bytes();
            // Alone in its request it asks for its shard and nobody else's.
            self.isolate(probe.target, vec![probe]);
        }
    }

    fn take(&mut self, target: Target, now: Instant) -> Option<Request> {
        let records_max = self.config.request_records_max;
        let bytes_max = self.queue(target).request_bytes;
        if self.queue(target).isolated.is_empty() {
            self.hold_back_ready(target);
        }
        let queue = self.queue(target);
        // Asked only with something in hand: after a pause the gate lets one through.
        if queue.is_empty() || !queue.gate.lets_through(now) {
            return None;
        }
        if let Some(entries) = queue.isolated.pop_front() {
            return Some(Request { target, entries, sent_at: now });
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = queue.ready.front() {
            bytes += entry.bytes();
            if entries.len() == records_max || (bytes > bytes_max && !entries.is_empty()) {
                break;
            }
            entries.extend(queue.ready.pop_front());
        }
        Some(Request { target, entries, sent_at: now })
    }

    /// What is ready and has a bucket whose shard throttles waits with the others of that bucket.
    fn hold_back_ready(&mut self, target: Target) {
        if self.held.is_empty() {
            return;
        }
        let ready = std::mem::take(&mut self.queue(target).ready);
        for entry in ready {
            let held = match entry.key {
                Key::Bucket(bucket) => self.held.get_mut(&bucket),
                Key::Random | Key::MessageId => None,
            };
            match held {
                Some(held) => {
                    self.held_bytes += entry.bytes();
                    held.entries.push_back(entry);
                }
                None => self.queue(target).ready.push_back(entry),
            }
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.isolated.is_empty()
    }
}
