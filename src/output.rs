//! What a command writes: tables and lines for people, or JSON for programs.
//!
//! A reader that closes the pipe (`| head`) ends the command quietly.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value as Json;

/// Standard output, in the form that was asked for.
pub struct Output {
    json: bool,
    out: io::StdoutLock<'static>,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json, out: io::stdout().lock() }
    }

    /// Writes `json` as a document, or else what `human` makes of it.
    ///
    /// # Errors
    /// The reader is gone, or the disk full.
    pub fn document(&mut self, json: &Json, human: impl FnOnce(&Json) -> String) -> io::Result<()> {
        let mut text = if self.json { serde_json::to_string_pretty(json)? } else { human(json) };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes one of many as a line.
    ///
    /// # Errors
    /// As [`Output::document`].
    pub fn line(&mut self, json: &Json, human: impl FnOnce(&Json) -> String) -> io::Result<()> {
        if self.json {
            writeln!(self.out, "{json}")?;
        } else {
            writeln!(self.out, "{}", human(json))?;
        }
        self.out.flush()
    }
}

/// Columns that are as wide as their longest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row of as many cells as there are headings.
    pub fn row<const CELLS: usize>(&mut self, cells: [String; CELLS]) {
        debug_assert_eq!(CELLS, self.rows[0].len());
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Whether there are only headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows[0].len();
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text without what would steer a terminal: event data comes from strangers.
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

/// A field as a person reads it: text without quotes, nothing for null.
pub fn cell(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => printable(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut table = Table::new(&["id", "name"]);
        table.row(["1".into(), "äöü".into()]);
        table.row(["22222".into(), String::new()]);
        assert_eq!(table.to_string(), "id     name\n1      äöü\n22222\n");
    }

    #[test]
    fn event_data_cannot_steer_the_terminal() {
        assert_eq!(cell(&Json::from("a\u{1b}[31mred\r\n")), "a\u{fffd}[31mred\u{fffd}\u{fffd}");
    }
}
