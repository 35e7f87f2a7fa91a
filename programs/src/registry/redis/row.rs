//! One program as it is stored and published: `version revision json`, without JSON a tombstone.
//!
//! The revision has 20 digits, so that Lua compares it as text: its numbers are floats, exact only
//! up to 2^53.

use std::sync::Arc;

use super::fault::damaged;
use crate::{
    id::ProgramId,
    program::Program,
    registry::{Change, Entry, Epoch, RegistryError, Version},
};

/// The first word of every message.
const MESSAGE_FORMAT: &str = "1";

/// What is stored under an id.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) version: Version,
    pub(super) revision: u64,
    /// `None` was removed.
    pub(super) program: Option<Arc<Program>>,
}

impl Row {
    /// # Errors
    /// [`RegistryError::Damaged`], about this row alone.
    pub(super) fn read(id: &ProgramId, stored: &[u8]) -> Result<Self, RegistryError> {
        let strange = || damaged(format!("the row of {id} is malformed"));
        let mut words = stored.splitn(3, |byte| *byte == b' ');
        let mut number = || str::from_utf8(words.next()?).ok()?.parse().ok();
        let (version, revision) = number().zip(number()).ok_or_else(strange)?;
        let program = match words.next().ok_or_else(strange)? {
            [] => None,
            json => Some(read_json(id, json)?),
        };
        Ok(Self { version, revision, program })
    }

    pub(super) fn into_entry(self) -> Entry {
        match self {
            Self { version, program: Some(program), .. } => Entry::Program { version, program },
            Self { version, revision, program: None } => Entry::Removed { version, revision },
        }
    }

    pub(super) fn into_change(self, epoch: Epoch, id: ProgramId) -> Change {
        Change { epoch, version: self.version, id, program: self.program }
    }
}

pub(super) fn read_json(id: &ProgramId, json: &[u8]) -> Result<Arc<Program>, RegistryError> {
    match Program::read_stored(json) {
        Ok(program) if program.id == *id => Ok(Arc::new(program)),
        Ok(program) => Err(damaged(format!("it holds program {} under {id}", program.id))),
        Err(error) => Err(damaged(format!("program {id} cannot be read: {error}"))),
    }
}

pub(super) fn write_json(program: &Program) -> Vec<u8> {
    serde_json::to_vec(program).expect("a program has no key that JSON cannot hold")
}

pub(super) fn write_revision(revision: u64) -> Vec<u8> {
    format!("{revision:020}").into_bytes()
}

/// A message of the channel.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Change(Change),
    /// A count of changes that were too many or too large to publish, and must be read.
    Many(u64),
}

impl Message {
    /// `1 epoch version id revision json` or `1 epoch version count`; `None` if it is neither.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let (head, rest) = message.split_at_checked(MESSAGE_FORMAT.len())?;
        let mut words = rest.strip_prefix(b" ")?.splitn(3, |byte| *byte == b' ');
        let mut word = || str::from_utf8(words.next()?).ok();
        let epoch = Epoch::parse(word()?)?;
        let version = word()?.parse::<Version>().ok()?;
        if head != MESSAGE_FORMAT.as_bytes() {
            return None;
        }
        let rest = words.next()?;
        let Some(space) = rest.iter().position(|byte| *byte == b' ') else {
            return str::from_utf8(rest).ok()?.parse().ok().map(Self::Many);
        };
        let id: ProgramId = str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        // What follows the id is a row without its version, which came first.
        let row = [version.to_string().as_bytes(), &rest[space..]].concat();
        Row::read(&id, &row).ok().map(|row| Self::Change(row.into_change(epoch, id)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn id(text: &str) -> ProgramId {
        text.parse().unwrap()
    }

    #[test]
    fn a_removal_and_a_count_are_read() {
        let message = Message::read(format!("1 {EPOCH} 7 a 00000000000000000009 ").as_bytes());
        let epoch = Epoch::parse(EPOCH).unwrap();
        assert_eq!(message, Some(Message::Change(Change { epoch, version: 7, id: id("a"), program: None })));
        let message = Message::read(format!("1 {EPOCH} 7 500").as_bytes());
        assert_eq!(message, Some(Message::Many(500)));
    }

    #[test]
    fn an_unknown_format_is_not_a_message() {
        for message in [
            "",
            "1",
            "1 ",
            "1  ",
            "hello",
            "{}",
            "1 x 7 500",
            "1 67e55044-10b1-426f-9247-bb680e5fe0c8 7",
            "2 67e55044-10b1-426f-9247-bb680e5fe0c8 7 500",
            "1 67e55044-10b1-426f-9247-bb680e5fe0c8 -7 500",
            "1 67e55044-10b1-426f-9247-bb680e5fe0c8 7 a 9",
            "1 67e55044-10b1-426f-9247-bb680e5fe0c8 7 a 9 {}",
            "1 67e55044-10b1-426f-9247-bb680e5fe0c8 7 a/b 9 ",
        ] {
            assert_eq!(Message::read(message.as_bytes()), None, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn a_row_and_a_message_say_what_was_written(
            program in crate::program::tests::any_program(),
            version in 0..u64::MAX,
            revision in any::<u64>(),
        ) {
            let program = Program { revision: Some(revision), ..program };
            let json = String::from_utf8(write_json(&program)).unwrap();
            let row = format!("{version} {revision:020} {json}");
            let read = Row::read(&program.id, row.as_bytes()).unwrap();
            let message = format!("1 {EPOCH} {version} {} {revision:020} {json}", program.id);
            let id = program.id.clone();
            let program = Some(Arc::new(program));
            prop_assert_eq!(&read, &Row { version, revision, program: program.clone() });
            let change = Change { epoch: Epoch::parse(EPOCH).unwrap(), version, id, program };
            prop_assert_eq!(Message::read(message.as_bytes()), Some(Message::Change(change)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Message::read(&bytes);
            let _ = Row::read(&id("a"), &bytes);
        }
    }
}
