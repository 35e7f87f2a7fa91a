//! Identity entries: which record has a sender's id.

use proto::{BootId, Uuid};

use super::client::{Condition, Db};
use super::fault::Fault;
use super::item::{EXPIRES_AT, Item, PK, bytes, bytes_of, damaged, expires_at, keyed, number, u64_of};
use super::keys::{self, Place};
use crate::decode::Event;

const RECEIVED_AT_MS: &str = "received_at_ms";
const BOOT: &str = "boot";
const LANE: &str = "lane";
const NUMBER: &str = "number";

/// The record that has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub received_at_ms: u64,
    pub place: Place,
}

impl Identity {
    fn of(item: &Item) -> Result<Self, Fault> {
        let boot = BootId::from_slice(bytes_of(item, BOOT)?).map_err(|_| damaged(item, BOOT))?;
        let lane = u32::try_from(u64_of(item, LANE)?).map_err(|_| damaged(item, LANE))?;
        let place = Place { boot, lane, number: u64_of(item, NUMBER)? };
        Ok(Self { received_at_ms: u64_of(item, RECEIVED_AT_MS)?, place })
    }
}

impl Db {
    /// Claims the sender's id of an event for the record at `place`; false if another has it.
    ///
    /// One of this very record, from an earlier attempt, counts as claimed. One that had expired when
    /// this event was received is replaced, whether or not DynamoDB has removed it.
    pub async fn claim(&self, event: &Event, place: Place, expiry_ms: u64) -> Result<bool, Fault> {
        let mut item = keyed(&keys::identity(&event.program, event.id));
        item.insert(RECEIVED_AT_MS.to_owned(), number(event.received_at_ms));
        item.insert(BOOT.to_owned(), bytes(*place.boot.as_bytes()));
        item.insert(LANE.to_owned(), number(place.lane.into()));
        item.insert(NUMBER.to_owned(), number(place.number));
        item.insert(EXPIRES_AT.to_owned(), number(expires_at(event.received_at_ms, expiry_ms)));
        let condition = Condition {
            expression: "attribute_not_exists(#pk) OR (#boot = :boot AND #lane = :lane AND #number = :number) \
                         OR #received < :live",
            names: &[
                ("#pk", PK),
                ("#boot", BOOT),
                ("#lane", LANE),
                ("#number", NUMBER),
                ("#received", RECEIVED_AT_MS),
            ],
            values: vec![
                (":boot", bytes(*place.boot.as_bytes())),
                (":lane", number(place.lane.into())),
                (":number", number(place.number)),
                (":live", number(event.received_at_ms.saturating_sub(expiry_ms))),
            ],
        };
        match self.put(&item, Some(&condition)).await {
            Ok(()) => Ok(true),
            Err(Fault::Condition(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The record that has a sender's id, unless its entry is over.
    pub async fn identity(&self, program: &str, id: Uuid, now_ms: u64) -> Result<Option<Identity>, Fault> {
        let item = self.get(&keys::identity(program, id)).await?;
        let item = item.filter(|item| !super::item::is_expired(item, now_ms));
        item.as_ref().map(Identity::of).transpose()
    }
}
