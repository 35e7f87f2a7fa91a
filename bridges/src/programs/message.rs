//! Reads core-data messages.
//!
//! The wire format is specified in [`proto::core_data`].

use programs::{IMPORT_ERRORS_MAX, ImportError, Program, ProgramId, REVISION_MAX, read_programs};
use proto::core_data::MESSAGE_BYTES_MAX;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::json;

/// One change of core data.
#[derive(Clone, Debug, PartialEq)]
pub enum CoreData {
    /// This is the program now.
    Put(Box<Program>),
    /// The program no longer exists.
    Remove {
        /// Which.
        id: ProgramId,
        /// The order of its source's changes; `None` when the message did not say.
        revision: Option<u64>,
    },
}

impl CoreData {
    /// The program.
    pub fn id(&self) -> &ProgramId {
        match self {
            Self::Put(program) => &program.id,
            Self::Remove { id, .. } => id,
        }
    }

    /// The order of its source's changes; `None` when the message did not say.
    pub fn revision(&self) -> Option<u64> {
        match self {
            Self::Put(program) => program.revision,
            Self::Remove { revision, .. } => *revision,
        }
    }

    /// The change with a revision: its own, else `revision`.
    pub fn or_revision(self, revision: u64) -> Self {
        match self {
            Self::Put(program) => Self::Put(Box::new(program.or_revision(revision))),
            Self::Remove { id, revision: own } => Self::Remove { id, revision: own.or(Some(revision)) },
        }
    }

    /// A message of this change alone.
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::Put(program) => json!(program),
            Self::Remove { id, revision: None } => json!({ "programId": id, "removed": true }),
            Self::Remove { id, revision } => {
                json!({ "programId": id, "removed": true, "revision": revision })
            }
        };
        json.to_string()
    }
}

/// Reads one message.
///
/// # Errors
/// All errors; nothing of the message may be used then.
pub fn read_message(bytes: &[u8]) -> Result<Vec<CoreData>, Vec<ImportError>> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        let reason = format!("has {} bytes, at most {MESSAGE_BYTES_MAX} are taken", bytes.len());
        return Err(vec![at_start(reason)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = good.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        vec![ImportError { line, column, path: String::new(), reason: "is not UTF-8".to_owned() }]
    })?;
    read_body(text)
}

/// Reads one message from a request or a command: as [`read_message`], but of any length, as each of
/// its programs becomes a message of its own.
///
/// # Errors
/// All errors; nothing of the message may be used then.
pub fn read_body(text: &str) -> Result<Vec<CoreData>, Vec<ImportError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The substring check saves nearly every program a second parse.
    if text.contains("\"removed\"") && says_removed(text) {
        return Ok(vec![read_removal(text)?]);
    }
    Ok(read_programs(text)?.into_iter().map(|program| CoreData::Put(Box::new(program))).collect())
}

/// The changes in lines of core data, and the errors.
#[derive(Debug, Default, PartialEq)]
pub struct ReadLines {
    /// The changes of all valid lines, even if others are invalid.
    pub changes: Vec<CoreData>,
    /// The errors, with line numbers of the whole text, at most [`IMPORT_ERRORS_MAX`].
    pub errors: Vec<ImportError>,
    /// Errors beyond those.
    pub more_errors: usize,
    /// Lines that were refused because of their errors.
    pub refused: usize,
}

/// Reads one message per line.
pub fn read_lines(text: &str) -> ReadLines {
    let mut read = ReadLines::default();
    for (before, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match read_message(line.as_bytes()) {
            Ok(changes) => read.changes.extend(changes),
            Err(wrong) => {
                read.refused += 1;
                let room = IMPORT_ERRORS_MAX - read.errors.len();
                read.more_errors += wrong.len().saturating_sub(room);
                let placed = |error: ImportError| ImportError { line: before + error.line, ..error };
                read.errors.extend(wrong.into_iter().take(room).map(placed));
            }
        }
    }
    read
}

/// Whether it is an object with that key, whatever its value.
fn says_removed(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(default, deserialize_with = "is_there")]
        removed: bool,
    }
    // serde would read an array as the fields of the struct, in order.
    text.trim_start().starts_with('{') && serde_json::from_str::<Peek>(text).is_ok_and(|peek| peek.removed)
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn read_removal(text: &str) -> Result<CoreData, Vec<ImportError>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Removal {
        program_id: ProgramId,
        removed: bool,
        revision: Option<u64>,
    }
    match serde_json::from_str::<Removal>(text) {
        Ok(Removal { revision: Some(revision), .. }) if revision > REVISION_MAX => {
            let reason = format!("{revision} is more than {REVISION_MAX}, the highest revision there is");
            Err(vec![ImportError { path: "revision".to_owned(), ..at_start(reason) }])
        }
        Ok(Removal { program_id: id, removed: true, revision }) => Ok(CoreData::Remove { id, revision }),
        Ok(_) => Err(vec![ImportError {
            path: "removed".to_owned(),
            ..at_start("must be true; leave it out of a program that exists".to_owned())
        }]),
        Err(error) => {
            let line = error.line().max(1);
            let column = error.column().max(1);
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            Err(vec![ImportError { line, column, path: String::new(), reason }])
        }
    }
}

fn at_start(reason: String) -> ImportError {
    ImportError { line: 1, column: 1, path: String::new(), reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = include_str!("../../../proto/golden/core_data.v1.jsonl");

    fn one(text: &str) -> CoreData {
        let mut changes = read_message(text.as_bytes()).unwrap();
        assert_eq!(changes.len(), 1, "{text}");
        changes.remove(0)
    }

    fn wrong(text: &str) -> String {
        let errors = read_message(text.as_bytes()).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_released_message_is_read_for_ever_and_reads_back_as_it_is_written() {
        let read: Vec<Vec<CoreData>> =
            GOLDEN.lines().map(|line| read_message(line.as_bytes()).unwrap()).collect();
        let said = |at: usize, of: usize| (read[at][of].id().as_str(), read[at][of].revision());
        assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2, 1, 1]);
        assert_eq!(said(0, 0), ("212312", None));
        assert_eq!(said(1, 0), ("212313", Some(7)));
        assert_eq!((said(2, 0), said(2, 1)), (("a", Some(1)), ("b", Some(REVISION_MAX))));
        assert_eq!(read[3][0], CoreData::Remove { id: "212312".parse().unwrap(), revision: None });
        assert_eq!(read[4][0], CoreData::Remove { id: "212313".parse().unwrap(), revision: Some(8) });
        for change in read.into_iter().flatten() {
            assert_eq!(one(&change.to_json()), change);
        }
    }

    #[test]
    fn a_revision_of_its_own_stands_before_any_other() {
        let lines: Vec<&str> = GOLDEN.lines().collect();
        for (line, revision) in [(0, 99), (1, 7), (3, 99), (4, 8)] {
            assert_eq!(one(lines[line]).or_revision(99).revision(), Some(revision), "line {line}");
        }
    }

    #[test]
    fn an_invalid_message_is_refused_with_reason_and_place() {
        for (text, said) in [
            ("", "there is no program in it"),
            ("nonsense", "line 1, column 2: expected ident"),
            (r#"{"programId": "1"}"#, "missing field `programName`"),
            (r#"{"programId": "1", "removed": false}"#, "removed: must be true"),
            (r#"{"programId": "1", "removed": null}"#, "invalid type: null, expected a boolean"),
            (r#"{"programId": "a/b", "removed": true}"#, "line 1, column 19:"),
            (r#"{"programId": "1", "removed": true, "revison": 3}"#, "unknown field `revison`"),
            (r#"{"programId": "1", "removed": true, "revision": -1}"#, "invalid value: integer `-1`"),
            (
                r#"{"programId": "1", "removed": true, "revision": 9223372036854775808}"#,
                "revision: 9223372036854775808 is more than 9223372036854775807",
            ),
            (r#"[{"programId": "1", "removed": true}]"#, "unknown field `removed`"),
        ] {
            assert!(wrong(text).contains(said), "{text:?}: {}", wrong(text));
        }
        let errors = read_message(b"{\n \"a\xff\"").unwrap_err();
        assert_eq!(errors[0].to_string(), "line 2, column 4: is not UTF-8");
        let long = vec![b' '; MESSAGE_BYTES_MAX + 1];
        assert!(read_message(&long).unwrap_err()[0].reason.contains("at most 1048576 are taken"));
        assert!(!read_message(&long[1..]).unwrap_err()[0].reason.contains("at most"));
    }

    #[test]
    fn of_lines_each_good_one_is_kept_and_each_bad_one_is_named_by_its_line() {
        let lines: Vec<&str> = GOLDEN.lines().collect();
        // A broken line first, and arrays among them: what is on a line is all that counts.
        let text = format!("x\n{}\n\n{{\"programId\": 3}}\n{}\n[\n{}\n", lines[1], lines[2], lines[3]);
        let read = read_lines(&text);
        let ids: Vec<&str> = read.changes.iter().map(|change| change.id().as_str()).collect();
        assert_eq!(ids, ["212313", "a", "b", "212312"]);
        assert_eq!(read.errors.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 4, 6]);
        assert_eq!((read.refused, read.more_errors), (3, 0));
    }

    #[test]
    fn errors_of_lines_stop_at_their_limit_and_the_good_lines_behind_it_are_kept() {
        let good = GOLDEN.lines().nth(1).unwrap();
        // Two errors a line, so that the limit falls between lines and, after the single one, inside one.
        let two = r#"[{"programId": 1}, {"programId": 2}]"#;
        let text = format!("x\n{}\n{good}", vec![two; 200].join("\n"));
        let read = read_lines(&text);
        assert_eq!((read.changes.len(), read.refused), (1, 201));
        assert_eq!(read.errors.len(), IMPORT_ERRORS_MAX);
        assert_eq!(read.errors.len() + read.more_errors, 401);
    }

    #[test]
    fn what_is_handed_in_may_be_spread_over_lines_and_longer_than_a_message() {
        let one = |n: usize| {
            format!(
                "{{\n \"programId\": \"p{n}\", \"programName\": \"{}\", \"customerId\": 1,\n \"customerName\": \"C\", \"valid\": true}}",
                "x".repeat(200)
            )
        };
        let all: Vec<String> = (0..5_000).map(one).collect();
        let text = format!("\u{feff}[\n{}\n]", all.join(",\n"));
        assert!(text.len() > MESSAGE_BYTES_MAX);
        assert_eq!(read_body(&text).unwrap().len(), 5_000);
        assert!(read_message(text.as_bytes()).is_err());
        let removal = "{\n \"programId\": \"a\",\n \"removed\": true\n}";
        assert_eq!(read_body(removal).unwrap()[0].revision(), None);
        let errors = read_body(&text.replace("\"p3\"", "3")).unwrap_err();
        assert_eq!((errors.len(), errors[0].line), (1, 12), "{errors:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_has_one_error_or_a_change(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            match read_message(&bytes) {
                Ok(changes) => prop_assert!(!changes.is_empty() || bytes.contains(&b'[')),
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}
