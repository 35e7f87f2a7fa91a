//! The programs of the AWS sample (`reactive-refarch-cloudformation`), as its updater leaves
//! them in Redis.
//!
//! The updater writes a hash per program, whose key is the program id and whose values are
//! all text (`userAgent`, `programId`, `programName`, `checksum`, `customerId`,
//! `customerName`, `messageId`, `valid`), and publishes the same as JSON on `channel1`. It
//! has no versions, revisions or deletes, and stores with one command and publishes with another. So:
//!
//! - Such a program has version 0 and revision 0: below any of ours. A program that was once put
//!   or removed through the registry is ours for good.
//! - A message is only a hint that something changed; the next comparison reads everything.
//!   As there is no version to advance, the epoch that this process reports changes with each
//!   message and each subscription: no follower mistakes an old position for a current one.
//! - Comparing versions proves nothing, so a follower is never in step with the sample: a lost
//!   message is made up for when the connection is made again, or when a hit finds the program
//!   older than `fresh_seconds` and has it read again.
//! - The sample has no ready mark, and existing keys prove nothing: after the next update, or with
//!   keys of another application, an emptied Redis has some as well. So our ready mark counts here
//!   too: an operator who knows that the sample's programs are complete imports `[]`, once, and
//!   again after Redis was emptied.
//!
//! Reading everything walks the whole keyspace, one hash at a time: made for the sample's
//! size, and for a migration.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use redis::Value;
use tracing::warn;

use super::{fault::Fault, link::Link};
use crate::{
    id::ProgramId,
    program::Program,
    registry::{Epoch, RegistryError},
};

/// Where the sample publishes.
pub(super) const CHANNEL: &str = "channel1";
/// Keys that one step of the walk looks at.
const STEP_KEYS: usize = 1_000;
/// Fields of the sample's hash, with room for more; a hash with more is not one of its programs.
const FIELDS_MAX: usize = 64;

/// Changes of the sample that this process has seen.
#[derive(Debug, Default)]
pub(super) struct Sample {
    changes: AtomicU64,
}

impl Sample {
    /// Something may have changed.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, SeqCst);
    }

    /// The epoch that followers see: another one after each change.
    pub(super) fn mark(&self, epoch: Epoch) -> Epoch {
        Epoch::from_u128(epoch.as_u128() ^ u128::from(self.changes.load(SeqCst)))
    }
}

/// The sample's program of this id.
pub(super) async fn get(link: &Link, id: &ProgramId) -> Result<Option<Arc<Program>>, RegistryError> {
    let mut command = redis::cmd("HLEN");
    command.arg(id.as_str());
    match link.call::<usize>(&command).await {
        Ok(1..=FIELDS_MAX) => {}
        Ok(_) => return Ok(None),
        Err(Fault::Redis(error)) if error.code() == Some("WRONGTYPE") => return Ok(None),
        Err(fault) => return Err(fault.into()),
    }
    let mut command = redis::cmd("HGETALL");
    command.arg(id.as_str());
    let fields: HashMap<String, String> = match link.call::<Value>(&command).await {
        Ok(value) => match redis::from_redis_value(value) {
            Ok(fields) => fields,
            Err(_) => return Ok(None),
        },
        Err(fault) => return Err(fault.into()),
    };
    let program = read(id, fields);
    if program.is_none() {
        warn!(program = %id, "skipped a hash that is not a program of the sample");
    }
    Ok(program)
}

/// All of the sample's programs that `ours` does not have; both a program and a tombstone count.
pub(super) async fn add_all<T>(
    link: &Link,
    ours: &BTreeMap<ProgramId, T>,
) -> Result<Vec<Arc<Program>>, RegistryError> {
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor).arg("COUNT").arg(STEP_KEYS).arg("TYPE").arg("hash");
        let (next, keys): (String, Vec<Vec<u8>>) = link.call(&command).await?;
        for key in keys {
            let Ok(key) = String::from_utf8(key) else { continue };
            let Ok(id) = key.parse::<ProgramId>() else { continue };
            // SCAN may return a key twice.
            if !ours.contains_key(&id)
                && !found.contains_key(&id)
                && let Some(program) = get(link, &id).await?
            {
                found.insert(id, program);
            }
        }
        if next == "0" {
            return Ok(found.into_values().collect());
        }
        cursor = next;
    }
}

fn read(id: &ProgramId, fields: HashMap<String, String>) -> Option<Arc<Program>> {
    let fields = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
    let program: Program = serde_json::from_value(serde_json::Value::Object(fields)).ok()?;
    (program.id == *id).then(|| Arc::new(Program { revision: Some(0), ..program }))
}
