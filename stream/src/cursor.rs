//! How far a reader has come, kept durable.
//!
//! `cursors/<name>.cursor` is replaced as a whole at each commit and synced before
//! the commit returns; `cursors/<name>.spare` keeps room for that on a full disk. Little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `CLKGCUR\n` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | count of entries |
//! | 16 | 32 each | boot id (16), lane (4), flags (4; bit 0: the lane's end was read), next number (8) |
//! | – | 4 | CRC-32C of all before |

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use proto::BootId;

use crate::disk::{Disk, is_no_room, read_all, replace};
use crate::format::WrittenByNewer;
use crate::record::Number;

const MAGIC: &[u8; 8] = b"CLKGCUR\n";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 32;
/// Room that a cursor keeps for its next replacement: two thousand lanes.
const SPARE_BYTES: u64 = 64 << 10;

/// A lane's name.
pub(crate) type LaneKey = (BootId, u32);

/// Where a reader is in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The next number to read.
    pub next: Number,
    /// The lane's end was read too.
    pub ended: bool,
}

/// Positions of a cursor; a lane that is not in it is read from its beginning.
pub(crate) type Positions = BTreeMap<LaneKey, Position>;

pub(crate) fn file_name(name: &str) -> String {
    format!("{name}.cursor")
}

fn spare_name(name: &str) -> String {
    format!("{name}.spare")
}

/// The names of the cursors that have a file in `dir`, in order.
pub(crate) fn names(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<String>> {
    let files = match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut names: Vec<String> =
        files.iter().filter_map(|file| file.strip_suffix(".cursor")).map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// Removes a cursor. Durable on return.
pub(crate) fn remove(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<()> {
    disk.remove(&dir.join(file_name(name)))?;
    match disk.remove(&dir.join(spare_name(name))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.sync_dir(dir)
}

/// Reads a cursor; empty if it was never written.
pub(crate) fn load(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<Positions> {
    let file = match disk.open(&dir.join(file_name(name))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Positions::new()),
        file => file?,
    };
    decode(&read_all(&*file)?)
}

/// Replaces a cursor. Durable on return.
///
/// Replacing needs room, and on a full disk it is the cursor that frees room, by
/// letting the log trim. So a spare file keeps some, and makes way when there is none.
pub(crate) fn save(disk: &dyn Disk, dir: &Path, name: &str, positions: &Positions) -> io::Result<()> {
    let bytes = encode(positions);
    let spare = dir.join(spare_name(name));
    match replace(disk, dir, &file_name(name), &bytes) {
        Err(error) if is_no_room(&error) => {
            disk.remove(&spare)?;
            replace(disk, dir, &file_name(name), &bytes)?;
        }
        replaced => replaced?,
    }
    // Without room for the spare the cursor is saved all the same.
    if let Ok(file) = disk.create(&spare)
        && file.allocate(SPARE_BYTES).and_then(|()| file.sync_all()).is_err()
    {
        let _ = disk.remove(&spare);
    }
    Ok(())
}

fn encode(positions: &Positions) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + positions.len() * ENTRY_BYTES + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&u32::try_from(positions.len()).expect("lanes are few").to_le_bytes());
    for ((boot, lane), position) in positions {
        bytes.extend_from_slice(boot.as_bytes());
        bytes.extend_from_slice(&lane.to_le_bytes());
        bytes.extend_from_slice(&u32::from(position.ended).to_le_bytes());
        bytes.extend_from_slice(&position.next.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> io::Result<Positions> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the cursor is damaged; delete this file to have the log read from its beginning, which stores nothing twice",
        )
    };
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if body.len() < HEADER_BYTES || &body[..8] != MAGIC || crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    let version = u16::from_le_bytes([body[8], body[9]]);
    if version > VERSION {
        return Err(io::Error::other(WrittenByNewer(version)));
    }
    let entry = |entry: &[u8]| {
        let boot = BootId::from_slice(&entry[..16]).expect("16 bytes");
        let u32_at = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes"));
        let next = u64::from_le_bytes(entry[24..].try_into().expect("eight bytes"));
        ((boot, u32_at(16)), Position { next, ended: u32_at(20) & 1 == 1 })
    };
    Ok(body[HEADER_BYTES..].chunks_exact(ENTRY_BYTES).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_cursor_is_read_back_and_damage_at_any_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let key = |lane| (BootId::from_u128(9), lane);
        let positions = Positions::from([
            (key(0), Position { next: 5, ended: false }),
            (key(3), Position { next: u64::MAX, ended: true }),
        ]);
        assert_eq!(load(&RealDisk, dir.path(), "table").unwrap(), Positions::new());
        save(&RealDisk, dir.path(), "table", &positions).unwrap();
        assert_eq!(load(&RealDisk, dir.path(), "table").unwrap(), positions);

        let whole = encode(&positions);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
