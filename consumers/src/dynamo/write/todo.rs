//! The records of a write on their way, and what is left of it in the end. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use proto::{DeadLetter, Stage, ids};
use stream::RecordKind;
use supervise::now_ms;

use crate::decode::{Decoded, DecodedBatch, Event, WriteBatch};
use crate::dynamo::Settings;
use crate::dynamo::item::{EVENT, PAYLOAD_BYTES_MAX, REJECTED, expires_at};
use crate::dynamo::keys::{self, Key, Place};
use crate::dynamo::ledger::LaneId;
use crate::dynamo::letters::{Kind, Put};
use crate::ledger::Fate;
use crate::table::{Left, LeftReason, Written};

/// A record that is not in the ledger, on its way there.
pub(super) struct Todo<'a> {
    /// Its index among the batches of the write.
    pub batch: usize,
    pub place: Place,
    pub what: What<'a>,
    pub course: Course,
}

/// What is to be done with it.
pub(super) enum What<'a> {
    Event(&'a Event),
    Rejected {
        received_at_ms: u64,
        payload: &'a [u8],
    },
    Report,
    /// Of a record of a lane.
    Dead(Cow<'a, DeadLetter>),
    /// Of a record that no lane wrote.
    Foreign(&'a DeadLetter),
}

/// How far a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Begun,
    /// All is done but the ledger.
    Decided(Fate),
    /// It is in the ledger, or belongs in none.
    Done,
    Left(LeftReason),
}

/// Whether the batch is of a lane: one of foreign records alone is not.
pub(super) fn has_lane(batch: &DecodedBatch) -> bool {
    batch.foreign.is_empty() || !batch.records.is_empty()
}

pub(super) fn place(batch: &DecodedBatch, number: u64) -> Place {
    Place { boot: batch.boot, lane: batch.lane, number }
}

/// What is to be done with a record; one that no item can hold is poison.
pub(super) fn what(decoded: &Decoded, place: Place) -> What<'_> {
    let too_large = |kind: RecordKind, payload: &[u8]| {
        let reason = format!(
            "it has {} bytes, and an item of DynamoDB holds {PAYLOAD_BYTES_MAX} of them",
            payload.len()
        );
        What::Dead(Cow::Owned(letter(place, kind, payload, reason)))
    };
    match decoded {
        Decoded::Event(event) if event.payload.len() > PAYLOAD_BYTES_MAX => {
            too_large(RecordKind::Event, &event.payload)
        }
        Decoded::Rejected { payload, .. } if payload.len() > PAYLOAD_BYTES_MAX => {
            too_large(RecordKind::Rejected, payload)
        }
        Decoded::Event(event) => What::Event(event),
        Decoded::Rejected { received_at_ms, payload } => {
            What::Rejected { received_at_ms: *received_at_ms, payload }
        }
        Decoded::Report(_) => What::Report,
        Decoded::Poison(letter) => What::Dead(Cow::Borrowed(letter)),
    }
}

pub(super) fn letter(place: Place, kind: RecordKind, payload: &[u8], reason: String) -> DeadLetter {
    DeadLetter {
        stage: Stage::Consumer.into(),
        reason,
        failed_at_ms: now_ms(),
        boot: place.boot.as_bytes().to_vec(),
        lane: place.lane,
        number: place.number,
        record_kind: kind.code().into(),
        payload: payload.to_vec(),
        origin: None,
    }
}

pub(super) fn prost_len(letter: &DeadLetter) -> u64 {
    proto::Message::encoded_len(letter) as u64
}

impl What<'_> {
    pub fn letter(&self) -> Option<(&DeadLetter, Kind)> {
        match self {
            Self::Dead(letter) => Some((letter, Kind::Lane)),
            Self::Foreign(letter) => Some((letter, Kind::Foreign)),
            Self::Event(_) | Self::Rejected { .. } | Self::Report => None,
        }
    }

    /// The partition of hours in which a reader must find its hour, and the hour.
    pub fn hour(&self) -> Option<(String, u64)> {
        match self {
            Self::Event(event) => {
                Some((keys::hours_partition(&event.program), event.received_at_ms / keys::HOUR_MS))
            }
            Self::Rejected { received_at_ms, .. } => Some((
                keys::REJECTED_HOURS.to_owned(),
                (*received_at_ms).min(ids::TIME_MS_MAX) / keys::HOUR_MS,
            )),
            Self::Report | Self::Dead(_) | Self::Foreign(_) => None,
        }
    }

    pub fn record(&self) -> (RecordKind, &[u8]) {
        match self {
            Self::Event(event) => (RecordKind::Event, &event.payload),
            Self::Rejected { payload, .. } => (RecordKind::Rejected, payload),
            Self::Report | Self::Dead(_) | Self::Foreign(_) => (RecordKind::Event, &[]),
        }
    }
}

impl<'a> Todo<'a> {
    /// The key of its item, the name of its payload, the payload, and when it expires.
    pub fn item(&self, settings: &Settings) -> Option<(Key, &'static str, &'a [u8], u64)> {
        match &self.what {
            What::Event(event) => Some((
                keys::event(&event.program, event.received_at_ms, event.id),
                EVENT,
                &event.payload,
                expires_at(event.received_at_ms, settings.expiry_ms),
            )),
            What::Rejected { received_at_ms, payload } => Some((
                keys::rejected(*received_at_ms, self.place),
                REJECTED,
                payload,
                expires_at((*received_at_ms).min(ids::TIME_MS_MAX), settings.rejected_expiry_ms),
            )),
            What::Report | What::Dead(_) | What::Foreign(_) => None,
        }
    }

    pub fn decide_letter(&mut self, put: &Put, written: &mut Written) {
        self.course = match (&self.what, put) {
            // In no ledger, so it is done.
            (What::Foreign(_), Put::New(_)) => {
                written.fates.dead_letters += 1;
                Course::Done
            }
            (What::Foreign(_), Put::Known | Put::Gone) => {
                written.replayed += 1;
                Course::Done
            }
            // Gone, and yet not in the block that was loaded: that was an old one, and entering
            // does not change what a newer one says.
            (_, Put::New(_) | Put::Known | Put::Gone) => Course::Decided(Fate::Dead),
        };
    }
}

/// What each batch still waits for.
pub(super) fn left(work: &WriteBatch, todo: &[Todo<'_>]) -> Vec<Left> {
    let mut firsts: HashMap<usize, (u64, LeftReason)> = HashMap::new();
    for todo in todo {
        if let Course::Left(reason) = todo.course {
            firsts.entry(todo.batch).or_insert((todo.place.number, reason));
        }
    }
    let mut waiting: HashMap<LaneId, LeftReason> = HashMap::new();
    let mut left = Vec::new();
    for (index, batch) in work.batches.iter().enumerate() {
        let lane = (batch.boot, batch.lane);
        // A lane is stored in order: a batch behind one that is left is not complete either.
        let first = match waiting.get(&lane) {
            Some(reason) => Some((batch.first_number(), *reason)),
            None => firsts.remove(&index),
        };
        if let Some((first, reason)) = first {
            waiting.entry(lane).or_insert(reason);
            left.push(Left { batch: index, first, reason });
        }
    }
    left
}
