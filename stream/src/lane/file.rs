//! The lane file: what is known of a lane beside its segments.
//!
//! `<boot>-<lane>.lane` holds how far the lane was written and synced, and how it
//! ended. The syncer writes it after each sync, without syncing it: a killed
//! process leaves it in the page cache, and after a power loss an older slot merely
//! knows less. It is synced when the lane is closed and when recovery has ended
//! it. Because of it, a removed segment is noticed even if it was the last one, and
//! damage below `synced` is recognised without a later batch that says so.
//!
//! Two slots of 64 bytes are written in turn; the valid one with the higher
//! counter holds. Little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `CGLN` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 1 | state: 0 open, 1 closed, 2 ended by recovery |
//! | 7 | 1 | zero |
//! | 8 | 8 | counter |
//! | 16 | 16 | boot id |
//! | 32 | 4 | lane |
//! | 36 | 4 | sequence of the newest segment |
//! | 40 | 8 | written: numbers below it were written |
//! | 48 | 8 | synced: numbers below it were synced |
//! | 56 | 4 | zero |
//! | 60 | 4 | CRC-32C of bytes 0..60 |

use std::io;
use std::path::Path;
use std::sync::Arc;

use proto::BootId;
use serde::Serialize;

use crate::disk::{Disk, DiskFile, read_all, write_all};
use crate::format::WrittenByNewer;
use crate::record::Number;

const SLOT_BYTES: usize = 64;
const MAGIC: &[u8; 4] = b"CGLN";
const VERSION: u16 = 1;

/// How a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// Its process runs, or died without closing it.
    Open,
    /// Closed by its process: nothing is unknown about it.
    Closed,
    /// Ended by recovery after its process died.
    Unclean,
}

/// The content of a lane file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneFacts {
    pub state: LaneState,
    pub newest_sequence: u64,
    pub written: Number,
    pub synced: Number,
}

pub(crate) fn file_name(boot: BootId, lane: u32) -> String {
    format!("{}-{lane:05}.lane", boot.simple())
}

/// The (boot, lane) of a lane file's name.
pub(crate) fn parse_name(name: &str) -> Option<(BootId, u32)> {
    let (boot, lane) = name.strip_suffix(".lane")?.split_once('-')?;
    let boot = BootId::try_parse(boot).ok()?;
    let lane = lane.parse().ok()?;
    (file_name(boot, lane) == name).then_some((boot, lane))
}

/// An open lane file.
pub(crate) struct LaneFile {
    boot: BootId,
    lane: u32,
    counter: u64,
    file: Arc<dyn DiskFile>,
}

impl LaneFile {
    /// Creates it. The caller syncs the directory.
    pub fn create(disk: &dyn Disk, dir: &Path, boot: BootId, lane: u32) -> io::Result<Self> {
        let file = disk.create(&dir.join(file_name(boot, lane)))?;
        file.set_len(2 * SLOT_BYTES as u64)?;
        file.sync_all()?;
        Ok(Self { boot, lane, counter: 0, file })
    }

    /// Opens it; `None` facts if neither slot is valid, as after a power loss
    /// right after its creation.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        boot: BootId,
        lane: u32,
    ) -> io::Result<(Self, Option<LaneFacts>)> {
        let file = disk.open(&dir.join(file_name(boot, lane)))?;
        let bytes = read_all(&*file)?;
        let mut newest: Option<(u64, LaneFacts)> = None;
        for slot in bytes.chunks_exact(SLOT_BYTES) {
            if let Some((counter, facts)) = decode(slot, boot, lane)?
                && newest.is_none_or(|(known, _)| counter > known)
            {
                newest = Some((counter, facts));
            }
        }
        let counter = newest.map_or(0, |(counter, _)| counter);
        Ok((Self { boot, lane, counter, file }, newest.map(|(_, facts)| facts)))
    }

    /// Writes the facts into the older slot, unsynced.
    pub fn write(&mut self, facts: &LaneFacts) -> io::Result<()> {
        self.counter += 1;
        let mut slot = [0; SLOT_BYTES];
        slot[..4].copy_from_slice(MAGIC);
        slot[4..6].copy_from_slice(&VERSION.to_le_bytes());
        slot[6] = facts.state as u8;
        slot[8..16].copy_from_slice(&self.counter.to_le_bytes());
        slot[16..32].copy_from_slice(self.boot.as_bytes());
        slot[32..36].copy_from_slice(&self.lane.to_le_bytes());
        slot[36..40].copy_from_slice(&(facts.newest_sequence as u32).to_le_bytes());
        slot[40..48].copy_from_slice(&facts.written.to_le_bytes());
        slot[48..56].copy_from_slice(&facts.synced.to_le_bytes());
        let crc = crc32c::crc32c(&slot[..60]);
        slot[60..].copy_from_slice(&crc.to_le_bytes());
        write_all(&*self.file, &slot, (self.counter % 2) * SLOT_BYTES as u64)
    }

    /// Writes the facts and makes them survive the machine.
    pub fn write_synced(&mut self, facts: &LaneFacts) -> io::Result<()> {
        self.write(facts)?;
        self.file.sync_all()
    }
}

fn decode(slot: &[u8], boot: BootId, lane: u32) -> io::Result<Option<(u64, LaneFacts)>> {
    let u32_at = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
    let at_home = &slot[..4] == MAGIC && &slot[16..32] == boot.as_bytes() && u32_at(32) == lane;
    if !at_home || u32_at(60) != crc32c::crc32c(&slot[..60]) {
        return Ok(None);
    }
    let version = u16::from_le_bytes([slot[4], slot[5]]);
    if version > VERSION {
        return Err(io::Error::other(WrittenByNewer(version)));
    }
    let state = match slot[6] {
        0 => LaneState::Open,
        1 => LaneState::Closed,
        _ => LaneState::Unclean,
    };
    let facts =
        LaneFacts { state, newest_sequence: u32_at(36).into(), written: u64_at(40), synced: u64_at(48) };
    Ok(Some((u64_at(8), facts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const BOOT: BootId = proto::Uuid::from_u128(7);

    fn facts(written: Number) -> LaneFacts {
        LaneFacts { state: LaneState::Open, newest_sequence: 3, written, synced: written / 2 }
    }

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LaneFile::create(&RealDisk, dir.path(), BOOT, 1).unwrap();
        file.write(&facts(10)).unwrap();
        file.write(&facts(20)).unwrap();
        drop(file);
        let path = dir.path().join(file_name(BOOT, 1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[41] ^= 1; // counter 2 lies in slot 0
        std::fs::write(&path, bytes).unwrap();

        let (mut file, known) = LaneFile::open(&RealDisk, dir.path(), BOOT, 1).unwrap();
        assert_eq!(known, Some(facts(10)));
        file.write(&facts(30)).unwrap();
        assert_eq!(LaneFile::open(&RealDisk, dir.path(), BOOT, 1).unwrap().1, Some(facts(30)));
    }

    #[test]
    fn a_name_is_read_back_and_nothing_else_is() {
        assert_eq!(parse_name(&file_name(BOOT, 12)), Some((BOOT, 12)));
        for other in ["lock", "a-1.lane", "-.lane", "00000000000000000000000000000007-1.lane"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
