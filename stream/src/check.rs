//! `log check`: what is in a log directory, without changing it.

use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use crate::disk::{Disk, RealDisk, read_all};
use crate::format::{BatchKind, SegmentId};
use crate::log::OpenError;
use crate::log::scan::Scan;
use crate::record::Number;

/// What a segment file holds.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentReport {
    /// File name.
    pub file: String,
    /// Length of the file.
    pub file_bytes: u64,
    /// Format version; `None` if the header cannot be read.
    pub version: Option<u16>,
    /// Prepared and not used yet.
    pub unused: bool,
    /// Batches that check.
    pub batches: usize,
    /// Numbers in them.
    pub records: u64,
    /// First number, if any.
    pub first: Option<Number>,
    /// The number after the last one.
    pub end: Option<Number>,
    /// Where something that does not check begins.
    pub damaged_at: Option<usize>,
}

/// Reads every segment of the log `name` below `dir`, oldest first. The log may be
/// in use; its current segments are then read up to wherever their writer is.
///
/// # Errors
/// [`OpenError::Io`] or [`OpenError::Newer`].
pub fn check(dir: &Path, name: &str) -> Result<Vec<SegmentReport>, OpenError> {
    let dir = dir.join(name);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let names = RealDisk.list(&dir).map_err(io(&dir))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::parse(name)).collect();
    ids.sort_unstable();
    ids.iter()
        .map(|id| {
            let path = dir.join(id.file_name());
            let file = RealDisk.open(&path).map_err(io(&path))?;
            let bytes = Bytes::from(read_all(&*file).map_err(io(&path))?);
            let scan = Scan::of(&bytes, id).map_err(|version| OpenError::Newer { path, version })?;
            Ok(report(id, &bytes, &scan))
        })
        .collect()
}

fn report(id: &SegmentId, bytes: &[u8], scan: &Scan) -> SegmentReport {
    let records = scan.batches.iter().filter(|(_, batch)| batch.kind == BatchKind::Records);
    SegmentReport {
        file: id.file_name(),
        file_bytes: bytes.len() as u64,
        version: scan.header.map(|header| header.version),
        unused: scan.unused,
        batches: scan.batches.len(),
        records: records.map(|(_, batch)| batch.count).sum(),
        first: scan.first(),
        end: scan.batches.last().map(|(_, batch)| batch.end()),
        damaged_at: scan.damaged_at,
    }
}
