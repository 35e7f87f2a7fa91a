//! What a start finds after a crash, after rot, after a removal, after an upgrade.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::simulated::SimulatedDisk;
use crate::lane::core::LaneCore;
use crate::lane::syncer::Syncer;
use crate::tests::{commit, read_all, small_segments};
use crate::*;

fn open(disk: &SimulatedDisk) -> Result<Log, OpenError> {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), small_segments(&["table"]), false, None)
}

fn salvage(disk: &SimulatedDisk) -> Log {
    Log::open_on(Arc::new(disk.clone()), "/log".into(), small_segments(&["table"]), true, None).unwrap()
}

fn append(core: &mut LaneCore, text: &str) -> Number {
    core.append(Class::Click, RecordKind::Event, |_, body| body.extend_from_slice(text.as_bytes())).unwrap()
}

/// Each text in a batch of its own.
fn write(core: &mut LaneCore, texts: &[&str]) {
    for text in texts {
        append(core, text);
        assert!(core.flush());
    }
}

/// Everything that a new reader of `log` finds: events, abandoned numbers, ends.
fn read(log: &Log) -> (Vec<String>, u64, Vec<(Number, bool)>) {
    let mut events = Vec::new();
    let mut abandoned = 0;
    let mut ends = Vec::new();
    let mut source = log.source("table").unwrap();
    while let Some(batch) = source.read(1 << 20).unwrap() {
        for item in batch.items {
            match item {
                Item::Record(record) if record.kind == RecordKind::Event => {
                    events.push(String::from_utf8(record.payload.to_vec()).unwrap());
                }
                Item::Record(_) => {}
                Item::Abandoned { count, .. } => abandoned += count,
                Item::End { issued, clean } => ends.push((issued, clean)),
                Item::Foreign(_) => panic!("a log has no foreign records"),
            }
        }
    }
    (events, abandoned, ends)
}

fn segments(disk: &SimulatedDisk) -> Vec<PathBuf> {
    use crate::disk::Disk;
    let mut names = disk.list(Path::new("/log")).unwrap();
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    names.iter().map(|name| Path::new("/log").join(name)).collect()
}

/// A world with one lane that has written and synced `texts`.
fn synced(texts: &[&str]) -> (SimulatedDisk, LaneCore, Syncer) {
    let disk = SimulatedDisk::default();
    let log = open(&disk).unwrap();
    let (mut core, mut syncer) = log.open_core().unwrap();
    write(&mut core, texts);
    syncer.step();
    (disk, core, syncer)
}

/// Offset of `text` in the file.
fn find(disk: &SimulatedDisk, path: &Path, text: &str) -> usize {
    let bytes = disk.contents(path);
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

#[test]
fn after_a_kill_all_that_was_written_is_there_and_the_lane_ended_unclean() {
    let (disk, mut core, _) = synced(&["one", "two"]);
    write(&mut core, &["three"]);
    append(&mut core, "never flushed");
    disk.kill();
    let log = open(&disk).unwrap();
    assert_eq!(read(&log), (vec!["one".into(), "two".into(), "three".into()], 0, vec![(4, false)]));
}

#[test]
fn damage_below_what_was_synced_refuses_to_start_and_changes_nothing() {
    let (disk, ..) = synced(&["one", "two", "three"]);
    disk.kill();
    let path = &segments(&disk)[0];
    disk.rot(path, find(&disk, path, "two"));
    let before = disk.contents(path);

    let error = open(&disk).err().expect("refused");
    let OpenError::Rot { first, last, lane, .. } = &error else { panic!("{error}") };
    assert_eq!((*lane, *first, *last), (0, 2, 2));
    assert!(error.to_string().contains("log salvage"), "it says the way out: {error}");
    assert_eq!(&disk.contents(path), &before);
}

#[test]
fn a_salvage_goes_on_without_the_damage_keeps_it_beside_and_calls_it_missing() {
    let (disk, ..) = synced(&["one", "two", "three"]);
    disk.kill();
    let path = segments(&disk)[0].clone();
    disk.rot(&path, find(&disk, &path, "two"));

    let log = salvage(&disk);
    assert_eq!(log.lanes()[0].in_log, [(0, 2), (3, 4)], "number 2 is nowhere");
    assert_eq!(read(&log), (vec!["one".into(), "three".into()], 0, vec![(4, false)]));
    let torn = disk.contents(&PathBuf::from(format!("{}.torn", path.display())));
    assert!(torn.windows(5).any(|window| window == b"three"), "the damaged part is kept");
    drop(log);
    disk.kill();
    let log = open(&disk).expect("what was salvaged opens as any log does");
    assert_eq!(log.lanes()[0].in_log, [(0, 2), (3, 4)]);
}

#[test]
fn damage_above_what_was_synced_is_cut_and_whole_batches_behind_it_are_kept() {
    let (disk, mut core, _) = synced(&["one"]);
    write(&mut core, &["two", "three", "four"]);
    disk.kill();
    let path = segments(&disk)[0].clone();
    disk.rot(&path, find(&disk, &path, "three"));

    let log = open(&disk).unwrap();
    assert_eq!(read(&log), (vec!["one".into(), "two".into(), "four".into()], 1, vec![(5, false)]));
    let torn = disk.contents(&PathBuf::from(format!("{}.torn", path.display())));
    assert!(torn.windows(4).any(|window| window == b"four"));
}

#[test]
fn a_lost_header_does_not_lose_the_batches_behind_it() {
    let (disk, ..) = synced(&["one", "two"]);
    disk.kill();
    disk.rot(&segments(&disk)[0], 17);
    let log = open(&disk).unwrap();
    assert_eq!(read(&log), (vec!["one".into(), "two".into()], 0, vec![(3, false)]));
}

/// Writes until the lane is in its fourth segment; returns how many numbers there are.
fn four_segments(core: &mut LaneCore, syncer: &mut Syncer) -> Number {
    let mut next = 0;
    while core.shared.segments().len() < 4 {
        next = append(core, &format!("{next} {}", "x".repeat(300))) + 1;
        core.flush();
        syncer.step();
    }
    next
}

#[test]
fn a_segment_that_somebody_removed_is_in_no_range_and_the_log_starts() {
    use crate::disk::Disk;
    for removed in 0..4 {
        let (disk, mut core, mut syncer) = synced(&[]);
        let issued = four_segments(&mut core, &mut syncer);
        let lanes = [(core.shared.boot, core.shared.id)];
        let bounds: Vec<(Number, Number)> =
            core.shared.segments().iter().map(|segment| (segment.first, segment.end())).collect();
        assert_eq!(bounds.last().unwrap().1, issued);
        disk.kill();
        disk.remove(&segments(&disk)[removed]).unwrap();

        let log = open(&disk).unwrap();
        let status = &log.lanes()[0];
        assert_eq!((status.boot, status.lane), lanes[0]);
        assert_eq!(status.issued, issued, "the lane file knows, with segment {removed} gone");
        let held: u64 = status.in_log.iter().map(|(first, end)| end - first).sum();
        let (first, end) = bounds[removed];
        assert_eq!(held, issued - (end - first), "segment {removed} of {bounds:?}");
        assert!(status.in_log.iter().all(|range| range.1 <= first || range.0 >= end));
        assert_eq!(read(&log).1, 0, "nothing is called abandoned");
    }
}

#[test]
fn segments_are_trimmed_below_every_cursor_and_not_above() {
    let disk = SimulatedDisk::default();
    let config = LogConfig { cursors: vec!["table".into(), "shipper".into()], ..small_segments(&["table"]) };
    let log = Log::open_on(Arc::new(disk.clone()), "/log".into(), config, false, None).unwrap();
    let (mut core, mut syncer) = log.open_core().unwrap();
    four_segments(&mut core, &mut syncer);
    let files = || segments(&disk).len();
    let before = files();
    let mut table = log.source("table").unwrap();
    let batches = read_all(&mut table);
    commit(&mut table, &batches);
    assert_eq!(files(), before, "the shipper has not read them");
    let mut shipper = log.source("shipper").unwrap();
    let batches = read_all(&mut shipper);
    assert_eq!(files(), before, "the shipper has not committed");
    commit(&mut shipper, &batches);
    assert_eq!(files(), before - 3, "the current segment and the prepared one stay");
}

#[test]
fn a_reader_goes_on_where_it_committed_also_in_the_middle_of_a_batch_of_batches() {
    let (disk, mut core, _) = synced(&["one", "two", "three"]);
    disk.kill();
    let log = open(&disk).unwrap();
    let mut source = log.source("table").unwrap();
    let first = source.read(1).unwrap().expect("something is there");
    assert!(!first.items.is_empty());
    commit(&mut source, std::slice::from_ref(&first));
    let mut handed = first.items.len();
    while let Some(batch) = source.read(1).unwrap() {
        handed += batch.items.len();
    }
    drop((source, log));
    let log = open(&disk).unwrap();
    let mut source = log.source("table").unwrap();
    let mut again = 0;
    while let Some(batch) = source.read(1 << 20).unwrap() {
        again += batch.items.len();
    }
    assert_eq!(again, handed - first.items.len(), "committed items do not come again, the others do");
    assert!(core.append(Class::Click, RecordKind::Event, |_, _| ()).is_ok(), "the old handle is only memory");
}

#[test]
fn a_failed_sync_ends_the_lane_and_is_not_tried_again() {
    let (disk, mut core, mut syncer) = synced(&["one"]);
    write(&mut core, &["two"]);
    disk.fail_syncs(1);
    assert_eq!(syncer.step(), crate::lane::syncer::Step::Ended);
    assert!(core.shared.is_poisoned());
    let refused = core.append(Class::Conversion, RecordKind::Event, |_, _| ());
    assert_eq!(refused, Err(Shed::Poisoned));
    assert_eq!(syncer.step(), crate::lane::syncer::Step::Ended);
    assert_eq!(core.shared.synced.load(std::sync::atomic::Ordering::Relaxed), 2, "report and one");
}

#[test]
fn without_room_for_a_segment_the_lane_sheds_and_goes_on_when_there_is_room() {
    let (disk, mut core, mut syncer) = synced(&[]);
    disk.limit_room(Some(disk.used_bytes() + 100));
    let filler = "x".repeat(300);
    let mut taken = Vec::new();
    let shed = loop {
        match core
            .append(Class::Conversion, RecordKind::Event, |_, body| body.extend_from_slice(filler.as_bytes()))
        {
            Ok(number) => taken.push(number),
            Err(shed) => break shed,
        }
        core.flush();
        syncer.step();
    };
    assert_eq!(shed, Shed::Full(Class::Conversion));
    assert!(taken.len() >= 5, "the prepared segment was used up first: {taken:?}");
    disk.limit_room(None);
    syncer.step();
    let next = append(&mut core, "room again");
    assert!(core.flush());
    assert_eq!(next, taken.last().unwrap() + 1, "what was shed took no number");
}

#[test]
fn a_restart_reads_the_golden_segment_of_each_version() {
    use crate::disk::Disk;
    // The golden segment is the third of its lane, which has no lane file.
    let hex: String = include_str!("../../golden/segment.v1.hex").split_whitespace().collect();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let disk = SimulatedDisk::default();
    let name = "01920000000070008000000000000001-00003-0000000002.seg";
    let file = disk.create(&Path::new("/log").join(name)).unwrap();
    file.write_at(&bytes, 0).unwrap();

    let log = open(&disk).unwrap();
    let expected = ["first", "second", "", "after the abandoned"].map(str::to_owned).to_vec();
    assert_eq!(read(&log), (expected, 3, vec![(47, false)]));
    drop(log);
    disk.kill();
    let (mut core, _) = open(&disk).unwrap().open_core().unwrap();
    write(&mut core, &["of this version"]);
}

#[test]
fn a_newer_format_is_refused_by_name_and_version() {
    use crate::disk::Disk;
    let disk = SimulatedDisk::default();
    let (disk2, ..) = synced(&["one"]);
    let path = segments(&disk2)[0].clone();
    let mut bytes = disk2.contents(&path);
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    disk.create(&path).unwrap().write_at(&bytes, 0).unwrap();
    let error = open(&disk).err().expect("refused").to_string();
    assert!(error.contains("written by version 9") && error.contains(".seg"), "{error}");
}

#[test]
fn a_lost_beginning_behind_trimmed_segments_is_accounted_for() {
    let (disk, mut core, mut syncer) = synced(&[]);
    four_segments(&mut core, &mut syncer);
    let log_of = |disk: &SimulatedDisk| open(disk).unwrap();
    // The last segment is written and not synced.
    while core.shared.segments().len() < 5 {
        append(&mut core, &"x".repeat(300));
        assert!(core.flush());
    }
    write(&mut core, &["lost as well", "kept"]);
    let segment = core.shared.segments().back().unwrap().clone();
    let path = Path::new("/log").join(segment.id.file_name());
    disk.kill();
    for earlier in &segments(&disk)[..4] {
        crate::disk::Disk::remove(&disk, earlier).unwrap();
    }
    disk.rot(&path, 17);
    disk.rot(&path, 64 + 50);
    disk.rot(&path, find(&disk, &path, "lost as well"));

    let log = log_of(&disk);
    let status = &log.lanes()[0];
    let [(first, end)] = status.in_log[..] else { panic!("{:?}", status.in_log) };
    assert!(first <= segment.first && end == segment.end(), "{first}..{end} of {}", segment.first);
    let (events, abandoned, _) = read(&log);
    assert_eq!(events, ["kept"]);
    assert_eq!(abandoned, end - first - 1);
}
