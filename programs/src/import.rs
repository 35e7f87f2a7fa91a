//! Parses core data from text: either all of it is valid, or every error is reported.
//!
//! An operator can repair a file of 100,000 programs in one go only if every bad entry is reported
//! with its place, so the text is first split into entries, then each is parsed separately.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::{
    id::ProgramId,
    program::{Program, ProgramJson, REVISION_MAX},
};

/// Errors that are reported per text; parsing stops there.
pub const IMPORT_ERRORS_MAX: usize = 100;
/// Longest JSON of one program, in bytes.
pub const PROGRAM_BYTES_MAX: usize = 1024 * 1024;

/// An error in a text, and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {}{reason}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct ImportError {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1: about where the offending value ends, else where its program starts.
    pub column: usize,
    /// Such as `[1].customerId`; empty when it is about the whole text.
    pub path: String,
    /// What is wrong, as a fragment.
    pub reason: String,
}

/// Reads an array of programs, a single program, or one program per line.
///
/// # Errors
/// All errors, in the order of the text, at most [`IMPORT_ERRORS_MAX`].
pub fn read_programs(text: &str) -> Result<Vec<Program>, Vec<ImportError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { text, programs: Vec::new(), starts: HashMap::new(), errors: Vec::new() };
    if text.trim_start().starts_with('[') {
        reader.read_array();
    } else if is_one_a_line(text) {
        reader.read_lines();
    } else {
        reader.read_one();
    }
    if reader.errors.is_empty() { Ok(reader.programs) } else { Err(reader.errors) }
}

/// Distinguishes one object per line from one object over several lines, even if the first object
/// is malformed: the second line of a single object does not start with `{`.
fn is_one_a_line(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first_is_whole = lines.next().is_some_and(|line| serde_json::from_str::<&RawValue>(line).is_ok());
    first_is_whole || lines.next().is_some_and(|line| line.trim_start().starts_with('{'))
}

struct Reader<'t> {
    text: &'t str,
    programs: Vec<Program>,
    /// Where each program began, in bytes.
    starts: HashMap<ProgramId, usize>,
    errors: Vec<ImportError>,
}

impl<'t> Reader<'t> {
    fn read_array(&mut self) {
        match serde_json::from_str::<Vec<&'t RawValue>>(self.text) {
            Err(error) => self.refuse_json(0, String::new(), &error),
            Ok(entries) => {
                self.programs.reserve(entries.len());
                for (index, entry) in entries.into_iter().enumerate() {
                    self.read_program(entry.get(), format_args!("[{index}]"));
                    if self.is_full() {
                        break;
                    }
                }
            }
        }
    }

    fn read_lines(&mut self) {
        for line in self.text.lines() {
            if !line.trim().is_empty() {
                self.read_program(line, format_args!(""));
            }
            if self.is_full() {
                break;
            }
        }
    }

    fn read_one(&mut self) {
        if self.text.trim().is_empty() {
            self.refuse(0, String::new(), "there is no program in it".into());
        } else {
            self.read_program(self.text, format_args!(""));
        }
    }

    fn is_full(&self) -> bool {
        self.errors.len() >= IMPORT_ERRORS_MAX
    }

    /// Reads `entry`, a part of the text. Only a bad entry is parsed a second, slower time to find the
    /// path of its error.
    fn read_program(&mut self, entry: &'t str, path: std::fmt::Arguments<'_>) {
        let start = entry.as_ptr().addr() - self.text.as_ptr().addr();
        let start = start + (entry.len() - entry.trim_start().len());
        let entry = entry.trim();
        if entry.len() > PROGRAM_BYTES_MAX {
            let reason = format!("has {} bytes, at most {PROGRAM_BYTES_MAX} are taken", entry.len());
            return self.refuse(start, path.to_string(), reason);
        }
        let json = match serde_json::from_str::<ProgramJson>(entry) {
            Ok(json) => json,
            Err(error) => return self.refuse_json(start, path_to(entry, path), &error),
        };
        match Program::try_from(json) {
            Err(error) => self.refuse(start, join(path, error.field), error.reason),
            Ok(Program { revision: Some(revision), .. }) if revision > REVISION_MAX => {
                let reason = format!("{revision} is more than {REVISION_MAX}, the highest revision there is");
                self.refuse(start, join(path, "revision"), reason);
            }
            Ok(program) => match self.starts.insert(program.id.clone(), start) {
                None => self.programs.push(program),
                Some(first) => {
                    let (line, column) = self.place(first);
                    let reason =
                        format!("{} is given twice, first at line {line}, column {column}", program.id);
                    self.refuse(start, join(path, "programId"), reason);
                }
            },
        }
    }

    fn refuse(&mut self, at: usize, path: String, reason: String) {
        let (line, column) = self.place(at);
        self.errors.push(ImportError { line, column, path, reason });
    }

    /// serde_json counts from the entry's start, and writes the place into its text.
    fn refuse_json(&mut self, start: usize, path: String, error: &serde_json::Error) {
        let (base_line, base_column) = self.place(start);
        let line = base_line + error.line().saturating_sub(1);
        let column =
            if error.line() <= 1 { base_column + error.column().saturating_sub(1) } else { error.column() };
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let reason = text.strip_suffix(&place).unwrap_or(&text).to_owned();
        self.errors.push(ImportError { line, column: column.max(1), path, reason });
    }

    /// Line and column, both from 1, of a byte of the text.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        (line, column)
    }
}

fn path_to(entry: &str, base: std::fmt::Arguments<'_>) -> String {
    let mut json = serde_json::Deserializer::from_str(entry);
    match serde_path_to_error::deserialize::<_, ProgramJson>(&mut json) {
        Err(error) if error.path().iter().next().is_some() => join(base, &error.path().to_string()),
        _ => base.to_string(),
    }
}

fn join(base: std::fmt::Arguments<'_>, field: &str) -> String {
    let base = base.to_string();
    if base.is_empty() { field.to_owned() } else { format!("{base}.{field}") }
}

#[cfg(test)]
mod tests;
