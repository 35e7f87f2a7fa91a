//! Writes a snapshot atomically: after a power loss a reader finds the old file or the new one.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{FORMAT, MAGIC, RECORDS_AT, STAMP_AT, SnapshotError, open};
use crate::{Program, ProgramId, State, Version};

/// The last change of each changed program; `None` was removed.
pub(super) type Changed = HashMap<ProgramId, (Version, Option<Arc<Program>>)>;

/// Writes `all`, merged with `changed`.
pub(super) fn whole(
    path: &Path,
    state: State,
    in_step_at_ms: u64,
    all: &[(Version, Arc<Program>)],
    changed: &Changed,
) -> Result<(), SnapshotError> {
    replace(path, state, in_step_at_ms, |writer| {
        for (version, program) in all {
            if !changed.contains_key(&program.id) {
                writer.program(*version, program)?;
            }
        }
        writer.changed(changed)
    })
}

/// Rewrites the file, merged with `changed`. Memory does not grow with the file.
///
/// # Errors
/// Also if the file is not a snapshot, or of another epoch; it is then unchanged.
pub(super) fn merged(
    path: &Path,
    state: State,
    in_step_at_ms: u64,
    changed: &Changed,
) -> Result<(), SnapshotError> {
    let (head, mut records) = open(File::open(path)?)?;
    if head.state.epoch != state.epoch {
        return Err(SnapshotError::Foreign);
    }
    replace(path, state, in_step_at_ms, |writer| {
        while let Some(record) = records.next()? {
            let id = std::str::from_utf8(record.id());
            let is_changed = id.is_ok_and(|id| changed.contains_key(id));
            if !is_changed {
                writer.record(record.0)?;
            }
        }
        writer.changed(changed)
    })
}

/// Updates the time at which the file at `path` was last known to be correct.
///
/// # Errors
/// Also if the file is not the one of `state`.
pub(super) fn stamp(path: &Path, state: State, in_step_at_ms: u64) -> Result<(), SnapshotError> {
    let file = File::options().read(true).write(true).open(path)?;
    let (head, _) = open(&file)?;
    if head.state != (State { ready: true, ..state }) {
        return Err(SnapshotError::Foreign);
    }
    let mut crc = [0; 4];
    file.read_exact_at(&mut crc, 60)?;
    file.write_all_at(&stamp_bytes(u32::from_le_bytes(crc), in_step_at_ms), STAMP_AT as u64)?;
    Ok(file.sync_data()?)
}

fn stamp_bytes(header_crc: u32, in_step_at_ms: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&in_step_at_ms.to_le_bytes());
    bytes[8..]
        .copy_from_slice(&crc32c::crc32c_append(header_crc, &in_step_at_ms.to_le_bytes()).to_le_bytes());
    bytes
}

/// Writes a temporary file, syncs it, and renames it to `path`.
fn replace(
    path: &Path,
    state: State,
    in_step_at_ms: u64,
    fill: impl FnOnce(&mut Writer) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let unfinished = unfinished(path);
    let written = (|| {
        let file = supervise::files::create_private_file(&unfinished)?;
        let mut writer = Writer::begin(file, state, in_step_at_ms)?;
        fill(&mut writer)?;
        writer.end()?.sync_all()?;
        fs::rename(&unfinished, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(dir)?.sync_all()?)
    })();
    if written.is_err() {
        // A leftover is replaced by the next attempt.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

struct Writer {
    out: BufWriter<File>,
    crc: u32,
    count: u64,
}

impl Writer {
    fn begin(file: File, state: State, in_step_at_ms: u64) -> io::Result<Self> {
        let mut head = [0; RECORDS_AT];
        head[..8].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&FORMAT.to_le_bytes());
        head[10..12].copy_from_slice(&(RECORDS_AT as u16).to_le_bytes());
        head[16..32].copy_from_slice(&state.epoch.as_u128().to_le_bytes());
        head[32..40].copy_from_slice(&state.version.to_le_bytes());
        head[40..48].copy_from_slice(&in_step_at_ms.to_le_bytes());
        let crc = crc32c::crc32c(&head[..60]);
        head[60..64].copy_from_slice(&crc.to_le_bytes());
        head[64..76].copy_from_slice(&stamp_bytes(crc, in_step_at_ms));
        let mut out = BufWriter::with_capacity(1 << 16, file);
        out.write_all(&head)?;
        Ok(Self { out, crc: 0, count: 0 })
    }

    fn changed(&mut self, changed: &Changed) -> Result<(), SnapshotError> {
        for (version, program) in changed.values() {
            if let Some(program) = program {
                self.program(*version, program)?;
            }
        }
        Ok(())
    }

    fn program(&mut self, version: Version, program: &Program) -> Result<(), SnapshotError> {
        let id = program.id.as_str().as_bytes();
        let id_len = u8::try_from(id.len()).expect("a program's id is shorter than 256 bytes");
        let mut record = Vec::with_capacity(512);
        record.extend(version.to_le_bytes());
        record.push(id_len);
        record.extend(id);
        serde_json::to_writer(&mut record, program).map_err(io::Error::from)?;
        self.record(&record)
    }

    fn record(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        let length = u32::try_from(record.len()).expect("a program's JSON is bounded");
        self.put(&length.to_le_bytes())?;
        self.put(record)?;
        self.count += 1;
        Ok(())
    }

    fn end(mut self) -> io::Result<File> {
        self.put(&0_u32.to_le_bytes())?;
        self.put(&self.count.to_le_bytes())?;
        self.out.write_all(&self.crc.to_le_bytes())?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.out.write_all(bytes)
    }
}
