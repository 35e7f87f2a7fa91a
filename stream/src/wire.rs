//! What a lane says, in the form in which it travels through a stream. Pure.
//!
//! | item | on the wire |
//! |---|---|
//! | an event that says its place | the event as it was appended: readers need not know of lanes |
//! | any other record, abandoned numbers, a lane's end | a [`proto::Envelope`] |
//!
//! Nothing is lost on the way: a record of a kind that this version does not know keeps
//! its kind and its bytes, and so does an event that does not say the place at which it
//! was logged. An envelope of a kind that only a newer version knows arrives as a record
//! of kind [`UNREAD_ENVELOPE`], to be read again after an upgrade.

use bytes::Bytes;
use proto::envelope::Kind;
use proto::{AbandonedNumbers, BootId, DecodeError, Envelope, EventPlace, LaneEnd, Message, OtherRecord};

use crate::record::{Record, RecordKind};
use crate::source::Item;

/// The kind of a record whose payload is an envelope that this version could not read.
pub const UNREAD_ENVELOPE: RecordKind = RecordKind::Other(255);

/// An item, with the lane that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneItem {
    /// The process start that wrote it.
    pub boot: BootId,
    /// Its lane.
    pub lane: u32,
    /// What the lane says.
    pub item: Item,
}

/// Why bytes of a stream are no item of a lane. They are kept by whoever read them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Neither an event nor an envelope.
    #[error("neither an event nor an envelope")]
    Malformed(#[from] DecodeError),
    /// An event or an envelope that does not say which lane it belongs to: somebody else
    /// wrote it.
    #[error("it does not say which lane it belongs to")]
    NoPlace,
    /// Its kind is not one of a record in a log.
    #[error("its record kind is {0}, which is above 255")]
    KindTooLarge(u32),
}

impl LaneItem {
    /// The form in which it travels. An event shares the memory of its record.
    pub fn to_wire(&self) -> Bytes {
        let (number, kind) = match &self.item {
            Item::Record(record) if record.kind == RecordKind::Event && self.is_place_of(record) => {
                return record.payload.clone();
            }
            // It is sent again as it came, for a reader that understands it.
            Item::Record(record) if record.kind == UNREAD_ENVELOPE && self.is_unread_envelope(record) => {
                return record.payload.clone();
            }
            Item::Record(record) => (record.number, kind_of(record)),
            Item::Abandoned { first, count } => (*first, Kind::Abandoned(AbandonedNumbers { count: *count })),
            // It travels as it came: it is no lane's.
            Item::Foreign(foreign) => return foreign.payload.clone(),
            Item::End { issued, clean } => (*issued, Kind::LaneEnd(LaneEnd { clean: *clean })),
        };
        let boot = self.boot.as_bytes().to_vec();
        Envelope { boot, lane: self.lane, number, kind: Some(kind) }.to_wire().into()
    }

    /// The item in `bytes`, whose memory an event shares.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn from_wire(bytes: Bytes) -> Result<Self, WireError> {
        match Envelope::from_wire(&bytes)? {
            Some(envelope) => Self::from_envelope(envelope, bytes),
            None => Self::from_event(bytes),
        }
    }

    fn from_envelope(envelope: Envelope, bytes: Bytes) -> Result<Self, WireError> {
        let number = envelope.number;
        let record = |kind, payload: Vec<u8>| Item::Record(Record { number, kind, payload: payload.into() });
        let item = match envelope.kind {
            Some(Kind::Rejected(payload)) => record(RecordKind::Rejected, payload),
            Some(Kind::LaneReport(payload)) => record(RecordKind::LaneReport, payload),
            Some(Kind::Abandoned(AbandonedNumbers { count })) => Item::Abandoned { first: number, count },
            Some(Kind::LaneEnd(LaneEnd { clean })) => Item::End { issued: number, clean },
            Some(Kind::Other(OtherRecord { kind, payload })) => {
                let code = u8::try_from(kind).map_err(|_| WireError::KindTooLarge(kind))?;
                record(RecordKind::from_code(code), payload)
            }
            None => Item::Record(Record { number, kind: UNREAD_ENVELOPE, payload: bytes }),
        };
        Ok(Self { boot: boot(&envelope.boot)?, lane: envelope.lane, item })
    }

    fn from_event(bytes: Bytes) -> Result<Self, WireError> {
        let place = EventPlace::decode(&bytes[..])?;
        let record = Record { number: place.number, kind: RecordKind::Event, payload: bytes };
        Ok(Self { boot: boot(&place.boot)?, lane: place.lane, item: Item::Record(record) })
    }

    fn is_unread_envelope(&self, record: &Record) -> bool {
        Envelope::from_wire(&record.payload).is_ok_and(|envelope| {
            envelope.is_some_and(|Envelope { boot, lane, number, kind }| {
                kind.is_none() && boot == self.boot.as_bytes() && lane == self.lane && number == record.number
            })
        })
    }

    /// Whether the event in `record` says by itself where it was logged.
    fn is_place_of(&self, record: &Record) -> bool {
        EventPlace::decode(&record.payload[..]).is_ok_and(|place| {
            let EventPlace { boot, lane, number } = place;
            boot == self.boot.as_bytes() && lane == self.lane && number == record.number
        })
    }
}

fn kind_of(record: &Record) -> Kind {
    let payload = record.payload.to_vec();
    match record.kind {
        RecordKind::Rejected => Kind::Rejected(payload),
        RecordKind::LaneReport => Kind::LaneReport(payload),
        RecordKind::Event | RecordKind::CoreData | RecordKind::Other(_) => {
            Kind::Other(OtherRecord { kind: record.kind.code().into(), payload })
        }
    }
}

fn boot(bytes: &[u8]) -> Result<BootId, WireError> {
    BootId::from_slice(bytes).map_err(|_| WireError::NoPlace)
}
