//! The last-good snapshot: the programs on disk, so that a tracker can start while the registry is
//! unreachable.
//!
//! The file has every program that was followed, not only those still in memory: it is written from
//! a full load, and later writes merge the changes into the previous file ([`keeper`]). It is never
//! authoritative: the registry replaces all of it once it is reachable, and a program that is not in
//! the file is *unverified*, never unknown.
//!
//! # How old is it?
//!
//! As old as the last comparison: the file has the last time at which it was known to equal the
//! registry ([`Saved::in_step_at_ms`]), updated with each comparison. A program read from it has
//! that age, so it is served no longer than without a restart (`fresh_seconds` + `stale_seconds`).
//! If the clock was set back, it counts as read at the start. With the AWS sample a comparison
//! proves nothing, and the file is as old as the last load.
//!
//! # The file, little-endian
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `CLKGPRG\n` |
//! | 8 | 2 | format version, now 1 |
//! | 10 | 2 | where the records begin, 80 |
//! | 12 | 4 | zero |
//! | 16 | 16 | epoch of the registry |
//! | 32 | 8 | version of the registry |
//! | 40 | 8 | in step at, ms since 1970, when the file was written |
//! | 48 | 12 | zero |
//! | 60 | 4 | CRC-32C of bytes 0..60 |
//! | 64 | 8 | in step at, ms since 1970, later: the only bytes that are written in place |
//! | 72 | 4 | CRC-32C of bytes 64..72, started from the one before; if it does not check (a torn write), the earlier moment holds |
//! | 76 | 4 | zero |
//! | 80 | – | records |
//!
//! A record is: length of the rest `u32`, version `u64`, length of the id `u8`, id, the
//! program's JSON. After the last one: `u32` zero, number of records `u64`, CRC-32C of
//! everything from byte 80 to here.
//!
//! A newer program reads older formats; an older one ignores a newer file. A golden file of
//! each format is in `golden/`.

mod keeper;
mod write;

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
    sync::Arc,
};

use crate::{Epoch, Program, State, Version};

pub(crate) use keeper::{LastGood, SnapshotCounters, SnapshotStatus};

const MAGIC: [u8; 8] = *b"CLKGPRG\n";
const FORMAT: u16 = 1;
const RECORDS_AT: usize = 80;
const STAMP_AT: usize = 64;
/// Of a record: twice the longest imported JSON, as defaults may be written out.
const RECORD_BYTES_MAX: u32 = 2 << 20;

/// The content of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Saved {
    /// The position of the registry.
    pub state: State,
    /// When it was last known to equal the registry, milliseconds since 1970.
    pub in_step_at_ms: u64,
    /// The programs, each with the version of its last change.
    pub programs: Vec<(Version, Arc<Program>)>,
}

/// Why a file is unusable. It is left as it is, and replaced by the next write.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a snapshot of programs")]
    Foreign,
    #[error("it was written by format version {0}, this release reads up to {FORMAT}")]
    Newer(u16),
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// Reads the file at `path`, at most `programs_max` of its programs; `None` if there is none.
///
/// # Errors
/// See [`SnapshotError`]; all of the file was checked.
pub(crate) fn read(path: &Path, programs_max: u64) -> Result<Option<Saved>, SnapshotError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let (head, mut records) = open(file)?;
    let mut programs = Vec::new();
    while let Some(record) = records.next()? {
        if (programs.len() as u64) < programs_max {
            let program: Program = serde_json::from_slice(record.json())
                .map_err(|error| SnapshotError::Damaged(format!("program {}: {error}", record.id_text())))?;
            programs.push((record.version(), Arc::new(program)));
        }
    }
    Ok(Some(Saved { state: head.state, in_step_at_ms: head.in_step_at_ms, programs }))
}

/// The fixed part of a file.
struct Head {
    state: State,
    in_step_at_ms: u64,
}

fn open<R: Read>(source: R) -> Result<(Head, Records<R>), SnapshotError> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut bytes = [0; RECORDS_AT];
    source.read_exact(&mut bytes).map_err(cut_short)?;
    let number = |at: usize| u64::from_le_bytes(array(&bytes[at..]));
    if bytes[..8] != MAGIC {
        return Err(SnapshotError::Foreign);
    }
    let format = u16::from_le_bytes(array(&bytes[8..]));
    if format > FORMAT {
        return Err(SnapshotError::Newer(format));
    }
    let crc = crc32c::crc32c(&bytes[..60]);
    if u32::from_le_bytes(array(&bytes[60..])) != crc {
        return Err(SnapshotError::Damaged("its header has a wrong checksum".to_owned()));
    }
    let stamp_checks =
        u32::from_le_bytes(array(&bytes[72..])) == crc32c::crc32c_append(crc, &bytes[STAMP_AT..72]);
    let later = if stamp_checks { number(STAMP_AT) } else { 0 };
    let epoch = Epoch::from_u128(u128::from_le_bytes(array(&bytes[16..])));
    let state = State { epoch, version: number(32), ready: true };
    let head = Head { state, in_step_at_ms: number(40).max(later) };
    Ok((head, Records { source, crc: 0, count: 0, record: Vec::new() }))
}

/// Reads the records of a file in order; they are verified only once the end is reached.
struct Records<R> {
    source: BufReader<R>,
    crc: u32,
    count: u64,
    record: Vec<u8>,
}

/// Its bytes after the length.
struct Record<'a>(&'a [u8]);

impl<R: Read> Records<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, SnapshotError> {
        let mut length = [0; 4];
        self.take(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            return self.end().map(|()| None);
        }
        if length > RECORD_BYTES_MAX {
            return Err(SnapshotError::Damaged(format!("record {} has {length} bytes", self.count)));
        }
        let mut bytes = std::mem::take(&mut self.record);
        bytes.resize(length as usize, 0);
        let taken = self.take(&mut bytes);
        self.record = bytes;
        taken?;
        self.count += 1;
        let record = Record(&self.record);
        if record.0.len() < 9 || record.0.len() < 9 + record.id_len() {
            return Err(SnapshotError::Damaged(format!("record {} is too short", self.count)));
        }
        Ok(Some(record))
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        let mut count = [0; 8];
        self.take(&mut count)?;
        let crc = self.crc;
        let mut expected = [0; 4];
        self.source.read_exact(&mut expected).map_err(cut_short)?;
        if u64::from_le_bytes(count) != self.count || u32::from_le_bytes(expected) != crc {
            return Err(SnapshotError::Damaged("its records have a wrong checksum".to_owned()));
        }
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.source.read_exact(bytes).map_err(cut_short)?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }
}

impl Record<'_> {
    fn version(&self) -> Version {
        u64::from_le_bytes(array(self.0))
    }

    fn id_len(&self) -> usize {
        usize::from(self.0[8])
    }

    fn id(&self) -> &[u8] {
        &self.0[9..9 + self.id_len()]
    }

    fn id_text(&self) -> String {
        String::from_utf8_lossy(self.id()).into_owned()
    }

    fn json(&self) -> &[u8] {
        &self.0[9 + self.id_len()..]
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("a slice of N bytes is an array of N bytes")
}

fn cut_short(error: io::Error) -> SnapshotError {
    match error.kind() {
        ErrorKind::UnexpectedEof => SnapshotError::Damaged("it is cut short".to_owned()),
        _ => SnapshotError::Io(error),
    }
}

#[cfg(test)]
mod tests;
