//! The log's side of [`Source`]: the reader of a named cursor.
//!
//! It reads what is written, whether or not it is synced: the consumer's own storage
//! decides how safe its copy is. A writer publishes how far it has written and wakes
//! nobody, so readers poll.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use bytes::Bytes;

use crate::cursor::{LaneKey, Position, Positions};
use crate::disk::DiskFile;
use crate::format::{BATCH_HEADER_BYTES, BatchKind, SEGMENT_HEADER_BYTES, check_batch, records};
use crate::lane::file::LaneState;
use crate::lane::segment::Segment;
use crate::lane::shared::LaneShared;
use crate::log::shared::LogShared;
use crate::record::Record;
use crate::source::{Batch, Checkpoint, Item, Source, SourceError};

/// Least that is read at once.
const READ_BYTES_MIN: u64 = 64 << 10;

/// A reader of the log, at one place in each lane. At most one lives per cursor.
pub struct LogSource {
    log: Arc<LogShared>,
    name: String,
    positions: Positions,
    open: BTreeMap<LaneKey, OpenFile>,
    /// The lane that was read last, so that each gets its turn.
    last: Option<LaneKey>,
}

/// Where a lane is being read.
struct OpenFile {
    segment: Arc<Segment>,
    /// `None` if somebody removed it.
    file: Option<Arc<dyn DiskFile>>,
    offset: u64,
}

impl Source for LogSource {
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Batch>, SourceError> {
        self.read(bytes_max)
    }

    async fn commit(&mut self, checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
        self.save(checkpoints)
    }
}

impl Drop for LogSource {
    fn drop(&mut self) {
        self.log.taken().remove(&self.name);
    }
}

impl LogSource {
    pub(crate) fn new(log: Arc<LogShared>, name: String, positions: Positions) -> Self {
        Self { log, name, positions, open: BTreeMap::new(), last: None }
    }

    pub(crate) fn read(&mut self, bytes_max: usize) -> Result<Option<Batch>, SourceError> {
        let lanes: Vec<(LaneKey, Arc<LaneShared>)> =
            self.log.lanes().iter().map(|(key, lane)| (*key, lane.clone())).collect();
        // The lanes take turns, so that a busy one does not starve the others.
        let behind = lanes.partition_point(|(key, _)| self.last.is_some_and(|last| *key <= last));
        // A lane that cannot be read does not keep the others from being read.
        let mut unreadable = None;
        for (key, lane) in lanes[behind..].iter().chain(&lanes[..behind]) {
            match self.read_lane(*key, lane, bytes_max) {
                Ok(items) if items.is_empty() => {}
                Ok(items) => {
                    self.last = Some(*key);
                    let (boot, lane) = *key;
                    let Position { next, ended } = self.positions[key];
                    let checkpoint = Checkpoint::Lane { boot, lane, next, ended };
                    return Ok(Some(Batch { boot, lane, items, checkpoint }));
                }
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    pub(crate) fn save(&mut self, checkpoints: &[Checkpoint]) -> Result<(), SourceError> {
        self.log.commit(&self.name, checkpoints).map_err(SourceError::Unavailable)?;
        let lanes = self.log.lanes();
        self.positions.retain(|key, _| lanes.contains_key(key));
        self.open.retain(|key, _| lanes.contains_key(key));
        Ok(())
    }

    /// The next items of a lane; empty if there is nothing new.
    fn read_lane(
        &mut self,
        key: LaneKey,
        lane: &LaneShared,
        bytes_max: usize,
    ) -> Result<Vec<Item>, SourceError> {
        let position = self.positions.entry(key).or_default();
        if position.ended {
            return Ok(Vec::new());
        }
        // Looked at before the segments: if the lane has ended by now, all of them are listed.
        let state = lane.state();
        loop {
            let Some(open) = enter(&self.log, &mut self.open, key, lane, position)? else {
                return Ok(match state {
                    // Its next segment is still to come.
                    LaneState::Open => Vec::new(),
                    state => {
                        position.ended = true;
                        let issued = lane.written.load(Acquire);
                        vec![Item::End { issued, clean: state == LaneState::Closed }]
                    }
                });
            };
            // In this order: what is sealed by now has its final length.
            let sealed = open.segment.is_sealed();
            let readable = open.segment.bytes.load(Acquire);
            if let Some(file) = &open.file
                && open.offset < readable
            {
                let items =
                    read_batches(&open.segment, &**file, &mut open.offset, readable, bytes_max, position)
                        .map_err(|error| damaged(&self.log, &open.segment, error))?;
                // Batches before the cursor, or only a mark of lost numbers: there may be more.
                if !items.is_empty() {
                    return Ok(items);
                }
            } else if sealed {
                // Read to its end, or removed by somebody: on to the next one.
                position.next = position.next.max(open.segment.end());
                self.open.remove(&key);
            } else {
                return Ok(Vec::new());
            }
        }
    }
}

/// The file in which `position` lies, opened; `None` if the reader has read all.
fn enter<'a>(
    log: &LogShared,
    open: &'a mut BTreeMap<LaneKey, OpenFile>,
    key: LaneKey,
    lane: &LaneShared,
    position: &Position,
) -> Result<Option<&'a mut OpenFile>, SourceError> {
    let vacant = match open.entry(key) {
        Entry::Occupied(occupied) => return Ok(Some(occupied.into_mut())),
        Entry::Vacant(vacant) => vacant,
    };
    // Whether or not it holds something new, nothing follows a segment that is being written.
    let ahead = |segment: &&Arc<Segment>| !segment.is_sealed() || segment.end() > position.next;
    let Some(segment) = lane.segments().iter().find(ahead).cloned() else { return Ok(None) };
    let path = log.dir.join(segment.id.file_name());
    let file = match log.disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::error!(
                segment = %path.display(), first = segment.first,
                "a segment that was not read yet is gone; reconcile will count its numbers as missing"
            );
            None
        }
        file => Some(file.map_err(SourceError::Unavailable)?),
    };
    Ok(Some(vacant.insert(OpenFile { segment, file, offset: SEGMENT_HEADER_BYTES as u64 })))
}

/// Reads whole batches from `offset` up to `readable`, about `bytes_max` of them.
fn read_batches(
    segment: &Segment,
    file: &dyn DiskFile,
    offset: &mut u64,
    readable: u64,
    bytes_max: usize,
    position: &mut Position,
) -> Result<Vec<Item>, ReadError> {
    let wanted = (bytes_max as u64).max(READ_BYTES_MIN).min(readable - *offset);
    let mut bytes = read_exact(file, *offset, wanted)?;
    // One batch is handed out whole, however large it is.
    let needed = batch_length(&bytes).min(readable - *offset);
    if needed > bytes.len() as u64 {
        bytes = read_exact(file, *offset, needed)?;
    }
    // The position moves with what is handed out: on an error nothing is, and it stays.
    let mut items = Vec::new();
    let mut at = 0;
    let mut next = position.next;
    while at < bytes.len() {
        let rest = bytes.slice(at..);
        let Some(batch) = check_batch(&rest, &segment.id) else {
            // Cut off by our own read, unless it is the first.
            if at == 0 {
                return Err(ReadError::Damaged { offset: *offset });
            }
            break;
        };
        at += batch.total_bytes();
        // A reader enters a segment at its beginning, and the cursor may be further on.
        if batch.end() <= next {
            continue;
        }
        match batch.kind {
            BatchKind::Records => {
                let records = records(&rest, &batch).ok_or(ReadError::Damaged { offset: *offset })?;
                let new = |record: &Record| record.number >= next;
                items.extend(records.into_iter().filter(new).map(Item::Record));
            }
            BatchKind::Abandoned => {
                let first = batch.first.max(next);
                items.push(Item::Abandoned { first, count: batch.end() - first });
            }
            // They stay unaccounted for, which is what `reconcile` calls missing.
            BatchKind::Lost => {}
        }
        next = batch.end();
    }
    position.next = next;
    *offset += at as u64;
    Ok(items)
}

enum ReadError {
    Io(io::Error),
    Damaged { offset: u64 },
}

fn damaged(log: &LogShared, segment: &Segment, error: ReadError) -> SourceError {
    match error {
        ReadError::Io(error) => SourceError::Unavailable(error),
        ReadError::Damaged { offset } => SourceError::Damaged(format!(
            "{}: damaged at byte {offset}; stop the process and run `clickgate log check`",
            log.dir.join(segment.id.file_name()).display()
        )),
    }
}

/// What the first batch in `bytes` says of its own length, header included.
fn batch_length(bytes: &[u8]) -> u64 {
    let length =
        bytes.get(4..8).map_or(0, |length| u32::from_le_bytes(length.try_into().expect("four bytes")));
    (u64::from(length) + BATCH_HEADER_BYTES as u64).next_multiple_of(8)
}

fn read_exact(file: &dyn DiskFile, offset: u64, length: u64) -> Result<Bytes, ReadError> {
    let mut bytes = vec![0; usize::try_from(length).expect("a segment fits in memory")];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64).map_err(ReadError::Io)? {
            0 => return Err(ReadError::Damaged { offset: offset + done as u64 }),
            read => done += read,
        }
    }
    Ok(bytes.into())
}
