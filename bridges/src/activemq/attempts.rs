//! Counts how often the bridge died over a message, on disk, so that one message cannot kill it for ever.
//!
//! ```text
//! clean ──start──► running ──end in order──► clean
//!                   │ died
//!                   ▼
//!                 guarded: the id of each message is written before it is looked at
//!                   │ died again: the message whose id is there has one attempt more
//!                   └ GUARDED_MESSAGES later ──► running
//! ```
//!
//! A broker says of every message that was in flight that it was redelivered, processed or not, and counts
//! nothing. So we find out which one it was by looking closer after a death, which costs two writes a
//! message then, and nothing otherwise. The writes survive the death of the process, which is what is
//! counted; they are not synced.
//!
//! Bound: [`MESSAGES_MAX`] messages with attempts; the longest unchanged is forgotten first.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proto::Uuid;
use supervise::files;

/// Messages whose attempts are remembered.
pub const MESSAGES_MAX: usize = 10_000;
/// Messages that are looked at closely after a death, in windows of the broker's prefetch.
const GUARDED_WINDOWS: u64 = 2;

const CLEAN: &[u8; 36] = b"clean                               ";
const RUNNING: &[u8; 36] = b"running                             ";
const GUARDED: &[u8; 36] = b"guarded                             ";

/// The attempts of one queue.
#[derive(Debug)]
pub struct Attempts {
    list: PathBuf,
    /// What is being done; 36 bytes, the length of an id.
    state: File,
    /// Oldest first.
    counts: VecDeque<(Uuid, u32)>,
    guarded_left: u64,
}

impl Attempts {
    /// Opens the files of the queue `name` below `dir`, and counts an attempt if the last process died over
    /// a message.
    ///
    /// # Errors
    /// The operating system's; a file that cannot be understood counts as empty.
    pub fn open(dir: &Path, name: &str, prefetch: u32) -> std::io::Result<Self> {
        files::create_private_dir(dir)?;
        let list = dir.join(format!("{name}.attempts"));
        let path = dir.join(format!("{name}.working"));
        let mut state = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut last = String::new();
        // What is no text is a state that nobody wrote.
        let _ = (&mut state).take(36).read_to_string(&mut last);
        let mut attempts = Self { counts: read(&list), list, state, guarded_left: 0 };
        let died = ![String::from_utf8_lossy(CLEAN).as_ref(), ""].contains(&last.as_str());
        if died {
            attempts.guarded_left = u64::from(prefetch) * GUARDED_WINDOWS;
            if let Ok(over) = last.parse::<Uuid>() {
                attempts.add(over)?;
            }
        }
        attempts.say(if died { GUARDED } else { RUNNING })?;
        Ok(attempts)
    }

    /// How often the bridge died over this message.
    pub fn of(&self, message: &Uuid) -> u32 {
        self.counts.iter().find(|(known, _)| known == message).map_or(0, |(_, count)| *count)
    }

    /// Whether every message must be announced at the moment.
    pub fn is_guarding(&self) -> bool {
        self.guarded_left > 0
    }

    /// Says that this message is looked at from now on. Only while [`Attempts::is_guarding`].
    ///
    /// # Errors
    /// The operating system's.
    pub fn begin(&mut self, message: &Uuid) -> std::io::Result<()> {
        let mut text = Uuid::encode_buffer();
        self.state.write_all_at(message.hyphenated().encode_lower(&mut text).as_bytes(), 0)
    }

    /// Says that it was survived.
    ///
    /// # Errors
    /// The operating system's.
    pub fn survived(&mut self) -> std::io::Result<()> {
        self.guarded_left = self.guarded_left.saturating_sub(1);
        self.say(if self.is_guarding() { GUARDED } else { RUNNING })
    }

    /// Forgets a message that is done with.
    ///
    /// # Errors
    /// The operating system's.
    pub fn forget(&mut self, message: &Uuid) -> std::io::Result<()> {
        let before = self.counts.len();
        self.counts.retain(|(known, _)| known != message);
        if self.counts.len() == before { Ok(()) } else { self.write() }
    }

    /// Whether there is any message with attempts.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The end, in order.
    ///
    /// # Errors
    /// The operating system's.
    pub fn end(self) -> std::io::Result<()> {
        self.say(CLEAN)
    }

    fn add(&mut self, message: Uuid) -> std::io::Result<()> {
        let count = self.of(&message) + 1;
        self.counts.retain(|(known, _)| *known != message);
        self.counts.push_back((message, count));
        while self.counts.len() > MESSAGES_MAX {
            self.counts.pop_front();
        }
        self.write()
    }

    fn say(&self, what: &[u8; 36]) -> std::io::Result<()> {
        self.state.write_all_at(what, 0)
    }

    /// Replaces the list by a whole one.
    fn write(&self) -> std::io::Result<()> {
        let text: String = self.counts.iter().map(|(id, count)| format!("{id} {count}\n")).collect();
        let new = self.list.with_extension("attempts.tmp");
        let file = files::create_private_file(&new)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.sync_data()?;
        std::fs::rename(new, &self.list)
    }
}

fn read(list: &Path) -> VecDeque<(Uuid, u32)> {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (id, count) = line.split_once(' ')?;
        Some((id.parse().ok()?, count.parse().ok()?))
    });
    lines.take(MESSAGES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLY: Uuid = Uuid::from_u128(7);
    const FINE: Uuid = Uuid::from_u128(8);

    #[test]
    fn a_message_that_kills_the_bridge_again_and_again_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Attempts::open(dir.path(), "a", 4).unwrap();
        let first = open();
        assert!(!first.is_guarding(), "nobody has died yet");
        // It dies over the message, which nobody looked at closely.
        drop(first);
        for count in 0..3 {
            let mut attempts = open();
            assert_eq!((attempts.is_guarding(), attempts.of(&DEADLY)), (true, count));
            attempts.begin(&FINE).unwrap();
            attempts.survived().unwrap();
            attempts.begin(&DEADLY).unwrap();
        }
        let mut attempts = open();
        assert_eq!((attempts.of(&DEADLY), attempts.of(&FINE)), (3, 0));
        attempts.forget(&DEADLY).unwrap();
        attempts.end().unwrap();
        let attempts = open();
        assert!(attempts.is_empty() && !attempts.is_guarding());
    }

    #[test]
    fn looking_closely_ends_after_two_windows() {
        let dir = tempfile::tempdir().unwrap();
        drop(Attempts::open(dir.path(), "a", 4).unwrap());
        let mut attempts = Attempts::open(dir.path(), "a", 4).unwrap();
        for _ in 0..8 {
            assert!(attempts.is_guarding());
            attempts.begin(&FINE).unwrap();
            attempts.survived().unwrap();
        }
        assert!(!attempts.is_guarding());
        drop(attempts);
        assert_eq!(Attempts::open(dir.path(), "a", 4).unwrap().of(&FINE), 0);
    }

    #[test]
    fn the_oldest_is_forgotten_beyond_the_bound_and_damage_counts_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut attempts = Attempts::open(dir.path(), "a", 1).unwrap();
        let id = |n: usize| Uuid::from_u128(n as u128);
        attempts.counts = (0..MESSAGES_MAX).map(|n| (id(n), 1)).collect();
        attempts.add(id(MESSAGES_MAX)).unwrap();
        assert_eq!((attempts.of(&id(0)), attempts.of(&id(1)), attempts.of(&id(MESSAGES_MAX))), (0, 1, 1));
        drop(attempts);
        assert_eq!(Attempts::open(dir.path(), "a", 1).unwrap().counts.len(), MESSAGES_MAX);
        std::fs::write(dir.path().join("a.attempts"), b"\xff nonsense\n").unwrap();
        std::fs::write(dir.path().join("a.working"), b"\xff").unwrap();
        assert!(Attempts::open(dir.path(), "a", 1).unwrap().is_empty());
    }
}
