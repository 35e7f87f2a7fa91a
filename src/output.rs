//! What a command writes: tables and lines for people, or JSON for programs.
//!
//! A reader that closes the pipe (`| head`) ends the command quietly. What would steer a terminal
//! is escaped in both forms, see [`visible`](crate::visible).

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value as Json;

use crate::visible::{escaped, escaped_json, escaped_lines};

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
        let mut text = if self.json { document(json) } else { escaped_lines(&human(json)).into_owned() };
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
            writeln!(self.out, "{}", escaped_json(&json.to_string()))?;
        } else {
            writeln!(self.out, "{}", escaped_lines(&human(json)))?;
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
        self.rows.push(cells.into_iter().map(|cell| escaped(&cell).into_owned()).collect());
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

/// JSON over several lines.
pub fn document(json: &Json) -> String {
    escaped_json(&format!("{json:#}")).into_owned()
}

/// A field as a person reads it: text without quotes, nothing for null.
pub fn cell(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => escaped(text).into_owned(),
        other => escaped_json(&other.to_string()).into_owned(),
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
        assert_eq!(cell(&Json::from("a\u{1b}[31mred\r\n")), "a\\u{1b}[31mred\\r\\n");
        assert_eq!(cell(&Json::from(vec!["\u{9b}\u{202e}"])), "[\"\\u009b\\u202e\"]");
    }
}
