//! A disk that forgets.
//!
//! It keeps what was synced. Of the rest a power loss keeps anything: each sector
//! of 512 bytes ends in any of the states it had since its last sync, torn at any
//! byte; each file has any of its lengths; each unsynced creation, rename and
//! removal happened or did not. It can be full, and a sync can fail; what a failed
//! sync should have kept is then never kept by a later one, as on Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;
const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Default)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    synced: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    /// Starts anew at each crash; descriptors of an earlier one are dead.
    life: u64,
    files: BTreeMap<u64, File>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    next_file: u64,
    /// Bytes of all files that are allowed, if limited.
    room_bytes: Option<u64>,
    failing_syncs: u32,
    /// Of content only, begun so far.
    syncs: u64,
    /// They take until this changes.
    syncs_are_held: bool,
    short_writes: u32,
    /// Blocks of 4 KiB that cannot be read, until they are written.
    unreadable: BTreeSet<(u64, usize)>,
    /// Changes after which the process dies.
    steps_left: Option<u32>,
}

#[derive(Default, Clone)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(_, path, _) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, file) => _ = names.insert(path.clone(), *file),
            Self::Remove(path) => _ = names.remove(path),
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl SimulatedDisk {
    /// A process that died here on purpose leaves no lock behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process dies, the machine lives: what was written stays.
    pub fn kill(&self) {
        self.lock().life += 1;
    }

    /// The machine dies.
    pub fn lose_power(&self, random: &mut fastrand::Rng) {
        let mut state = self.lock();
        state.life += 1;
        let mut names = state.durable_names.clone();
        for change in std::mem::take(&mut state.unsynced_names) {
            if random.bool() {
                change.apply(&mut names);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        for file in state.files.values_mut() {
            file.lose_power(random);
        }
    }

    pub fn limit_room(&self, bytes: Option<u64>) {
        self.lock().room_bytes = bytes;
    }

    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    pub fn fail_syncs(&self, count: u32) {
        self.lock().failing_syncs = count;
    }

    /// How often content was synced.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Syncs of content begin, and do not end before they may.
    pub fn hold_syncs(&self, held: bool) {
        self.lock().syncs_are_held = held;
        self.synced.notify_all();
    }

    /// A disk of its own with the same content.
    pub fn fork(&self) -> Self {
        let state = self.lock();
        let copy = State {
            life: state.life,
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            next_file: state.next_file,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copy)), ..Self::default() }
    }

    /// Panics at the change after so many.
    pub fn stop_after(&self, changes: u32) {
        self.lock().steps_left = (changes < u32::MAX).then_some(changes);
    }

    /// Zeros, as a power loss may leave a file that was allocated and not synced.
    pub fn erase(&self, path: &Path) {
        let mut state = self.lock();
        let file = state.names[path];
        let file = state.files.get_mut(&file).unwrap();
        file.now.fill(0);
        file.durable = file.now.clone();
    }

    pub fn make_unreadable(&self, path: &Path, at: usize) {
        let mut state = self.lock();
        let file = state.names[path];
        state.unreadable.insert((file, at / BLOCK_BYTES));
    }

    /// The next writes stop half-way, as on a disk that has just become full.
    pub fn shorten_writes(&self, count: u32) {
        self.lock().short_writes = count;
    }

    /// Changes a byte of a file, behind everybody's back.
    pub fn rot(&self, path: &Path, at: usize) {
        let mut state = self.lock();
        let file = state.names[path];
        let file = state.files.get_mut(&file).unwrap();
        file.now[at] ^= 0x40;
        file.durable[at] ^= 0x40;
    }

    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.lock();
        state.files[&state.names[path]].now.clone()
    }
}

impl State {
    fn step(&mut self) {
        if let Some(left) = &mut self.steps_left {
            assert!(*left > 0, "the process dies here");
            *left -= 1;
        }
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[file].now.len() as u64).sum()
    }

    fn room_for(&self, more: usize) -> usize {
        let Some(room) = self.room_bytes else { return more };
        usize::try_from(room.saturating_sub(self.used_bytes())).unwrap().min(more)
    }
}

impl File {
    fn sync(&mut self) {
        // Not a copy of `now`: what a failed sync dropped stays dropped.
        for change in self.unsynced.drain(..) {
            match change {
                Change::Length(length) => self.durable.resize(length, 0),
                Change::Write { offset, bytes } => {
                    let end = offset + bytes.len();
                    let length = self.durable.len().max(end);
                    self.durable.resize(length, 0);
                    self.durable[offset..end].copy_from_slice(&bytes);
                }
            }
        }
    }

    fn lose_power(&mut self, random: &mut fastrand::Rng) {
        let mut kept = std::mem::take(&mut self.durable);
        let mut lengths = vec![kept.len()];
        for change in &self.unsynced {
            let before = lengths[lengths.len() - 1];
            lengths.push(match change {
                Change::Length(length) => *length,
                Change::Write { offset, bytes } => before.max(offset + bytes.len()),
            });
        }
        kept.resize(*lengths.iter().max().unwrap(), 0);
        // For each sector: how many of its changes reached the disk.
        let mut reached = BTreeMap::new();
        for (place, change) in self.unsynced.iter().enumerate() {
            let Change::Write { offset, bytes } = change else { continue };
            for (at, byte) in bytes.iter().enumerate().map(|(at, byte)| (offset + at, byte)) {
                let last = *reached
                    .entry(at / SECTOR_BYTES)
                    .or_insert_with(|| random.usize(0..=self.unsynced.len()));
                let torn = place + 1 == last && random.u8(..) < 4;
                if place < last && !torn {
                    kept[at] = *byte;
                }
            }
        }
        kept.truncate(lengths[random.usize(..lengths.len())]);
        self.unsynced.clear();
        self.now.clone_from(&kept);
        self.durable = kept;
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.step();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, File::default());
        state.names.insert(path.to_owned(), file);
        state.unsynced_names.push(NameChange::Create(path.to_owned(), file));
        Ok(Arc::new(Open { disk: self.clone(), file, life: state.life }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Open { disk: self.clone(), file, life: state.life }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let here = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(here.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step();
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), file);
        change.apply(&mut state.names);
        state.unsynced_names.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step();
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced_names.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step();
        let (here, elsewhere) = std::mem::take(&mut state.unsynced_names)
            .into_iter()
            .partition(|change| change.dir() == Some(dir));
        state.unsynced_names = elsewhere;
        let here: Vec<NameChange> = here;
        here.iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }
}

struct Open {
    disk: SimulatedDisk,
    file: u64,
    life: u64,
}

impl Open {
    fn with<T>(&self, work: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        assert_eq!(state.life, self.life, "a dead process does not touch the disk");
        work(&mut state, self.file)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.step();
            let bytes = usize::try_from(bytes).unwrap();
            let grown = bytes.saturating_sub(state.files[&file].now.len());
            if state.room_for(grown) < grown {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = state.files.get_mut(&file).unwrap();
            file.now.resize(bytes, 0);
            file.unsynced.push(Change::Length(bytes));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|state, file| {
            let fails = state.failing_syncs > 0;
            let file = state.files.get_mut(&file).unwrap();
            if fails {
                state.failing_syncs -= 1;
                // The pages count as clean now, and are not.
                file.unsynced.clear();
                return Err(io::Error::other("input/output error"));
            }
            file.sync();
            Ok(())
        })
    }
}

impl DiskFile for Open {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state, file| {
            let offset = usize::try_from(offset).unwrap();
            let rest = state.files[&file].now.get(offset..).unwrap_or_default();
            let count = rest.len().min(bytes.len());
            let mut blocks = offset / BLOCK_BYTES..(offset + count).div_ceil(BLOCK_BYTES);
            if blocks.any(|block| state.unreadable.contains(&(file, block))) {
                return Err(io::Error::other("input/output error"));
            }
            bytes[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|state, file| {
            state.step();
            let offset = usize::try_from(offset).unwrap();
            let grown = (offset + bytes.len()).saturating_sub(state.files[&file].now.len());
            let room = state.room_for(grown);
            let mut bytes = &bytes[..bytes.len().saturating_sub(grown - room)];
            if state.short_writes > 0 {
                state.short_writes -= 1;
                bytes = &bytes[..bytes.len() / 2];
            }
            if bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let file = state.files.get_mut(&file).unwrap();
            let end = offset + bytes.len();
            if file.now.len() < end {
                file.now.resize(end, 0);
            }
            file.now[offset..end].copy_from_slice(bytes);
            file.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
            Ok(bytes.len())
        })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.syncs += 1;
        let held = self.disk.synced.wait_while(state, |state| state.syncs_are_held);
        drop(held.unwrap_or_else(PoisonError::into_inner));
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(state.files[&file].now.len() as u64))
    }
}
