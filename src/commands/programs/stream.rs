//! `clickgate programs import --stream`: lines of core data, as they come, into the log
//! `programs`.
//!
//! Lines go in chunks: what has arrived by now, at most [`CHUNK_BYTES_MAX`] and
//! [`CHUNK_LINES_MAX`]. A feed that is slow is passed on at once, and one that is fast
//! costs a disk sync every few thousand lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use proto::core_data::MESSAGE_BYTES_MAX;
use serde_json::{Value as Json, json};

use super::Busy;
use crate::client::{Client, ClientError};
use crate::commands::Context;
use crate::exit::Failure;
use crate::ops::{Op, OpError};
use crate::render;

const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNK_LINES_MAX: usize = 10_000;
/// What one read of a file or a pipe may bring.
const BUFFER_BYTES: usize = 256 << 10;
/// Refused lines that the answer in JSON repeats; standard error has the first of each chunk.
const REPEATED_MAX: usize = 100;

/// Sends `file`, or standard input if it is `-`.
///
/// # Errors
/// It cannot be read or sent; or a line was refused, which does not stop the others.
pub fn run(context: &mut Context, file: &str) -> Result<(), Failure> {
    let name = if file == "-" { "stdin" } else { file };
    let bad = |error: io::Error| Failure::BadInput(format!("cannot read {name}: {error}"));
    let from: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin()),
        file => Box::new(File::open(file).map_err(bad)?),
    };
    context.data.create()?;
    let mut sending = Sending::new(name, context.client()?);
    let mut lines = Lines { from: BufReader::with_capacity(BUFFER_BYTES, from), number: 0 };
    while let Some(chunk) = lines.chunk().map_err(bad)? {
        sending.send(&chunk)?;
    }
    let answer = sending.answer();
    context.out.document(&answer, render::streamed)?;
    match sending.refused {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 line was refused; the others were accepted".to_owned())),
        refused => Err(Failure::Failed(format!("{refused} lines were refused; the others were accepted"))),
    }
}

/// A line and its number, from 1; or why it is none.
struct Line {
    number: u64,
    text: Result<String, String>,
}

/// Cuts what arrives into lines.
struct Lines<R> {
    from: BufReader<R>,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The lines that have arrived, waiting for the first; `None` at the end.
    fn chunk(&mut self) -> io::Result<Option<Vec<Line>>> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while let Some(line) = self.line()? {
            bytes += line.text.as_ref().map_or(0, String::len);
            chunk.push(line);
            let waits = !self.from.buffer().contains(&b'\n');
            if waits || bytes >= CHUNK_BYTES_MAX || chunk.len() >= CHUNK_LINES_MAX {
                break;
            }
        }
        Ok(if chunk.is_empty() { None } else { Some(chunk) })
    }

    /// The next line that is not empty. Of one that is too long nothing is kept.
    fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let limit = MESSAGE_BYTES_MAX as u64 + 2;
            let mut bytes = Vec::new();
            if (&mut self.from).take(limit).read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let is_whole = bytes.ends_with(b"\n") || (bytes.len() as u64) < limit;
            if !is_whole {
                self.from.skip_until(b'\n')?;
                let reason = format!("has more than {MESSAGE_BYTES_MAX} bytes");
                return Ok(Some(Line { number: self.number, text: Err(reason) }));
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let text = String::from_utf8(bytes.trim_ascii_end().to_vec());
            let text = text.map_err(|error| format!("is not UTF-8: {}", error.utf8_error()));
            return Ok(Some(Line { number: self.number, text }));
        }
    }
}

/// What was sent so far.
struct Sending<'n> {
    name: &'n str,
    client: Client,
    accepted: u64,
    refused: u64,
    /// The first refusals.
    repeated: Vec<Json>,
    /// Whether a program bridge takes it up at once.
    bridge: bool,
    busy: Busy,
}

impl<'n> Sending<'n> {
    fn new(name: &'n str, client: Client) -> Self {
        let busy = Busy::start(format!("importing {name}"));
        Self { name, client, accepted: 0, refused: 0, repeated: Vec::new(), bridge: false, busy }
    }

    fn send(&mut self, chunk: &[Line]) -> Result<(), Failure> {
        let mut good = Vec::new();
        for line in chunk {
            match &line.text {
                Ok(text) => good.push((line.number, text.as_str())),
                Err(reason) => self.refuse(line.number, 1, "", reason),
            }
        }
        self.send_lines(&good)?;
        let last = chunk.last().map_or(0, |line| line.number);
        self.busy.say(format!("importing {}: {last} lines, {} refused", self.name, self.refused));
        Ok(())
    }

    /// Sends them together; where they are refused together, by halves, down to the one.
    fn send_lines(&mut self, lines: &[(u64, &str)]) -> Result<(), Failure> {
        let (Some((first, _)), Some((last, _))) = (lines.first(), lines.last()) else {
            return Ok(());
        };
        let text: String = lines.iter().flat_map(|(_, text)| [*text, "\n"]).collect();
        match self.client.ask(&Op::ProgramsStream { text, lines: true }) {
            Ok(answer) => {
                self.accepted += answer["accepted"].as_u64().unwrap_or(0);
                self.bridge = answer["bridge"] == true;
                let errors = answer["refused"].as_array().map_or(&[][..], Vec::as_slice);
                self.refuse_all(lines, errors, answer["refused_lines"].as_u64().unwrap_or(0));
                Ok(())
            }
            Err(ClientError::Op(OpError::Invalid(_, details))) if !details.is_empty() => {
                // It is only said of lines that are all bad.
                self.refuse_all(lines, &details, lines.len() as u64);
                Ok(())
            }
            Err(ClientError::Op(OpError::Invalid(reason, _))) if lines.len() == 1 => {
                self.refuse(*first, 1, "", &reason);
                Ok(())
            }
            Err(ClientError::Op(OpError::Invalid(..))) => {
                let (one, other) = lines.split_at(lines.len() / 2);
                self.send_lines(one)?;
                self.send_lines(other)
            }
            Err(error) => Err(Failure::Failed(format!(
                "{error}\n{name}:{first}: not confirmed, up to line {last}; {} programs before that were accepted. \
                 Send all of it again, or what begins here: what came twice changes nothing",
                self.accepted,
                name = self.name
            ))),
        }
    }

    /// Errors whose lines count from 1 within `lines`; a line may have several. Of all lines
    /// that were `refused`, these name the first ones.
    fn refuse_all(&mut self, lines: &[(u64, &str)], errors: &[Json], refused: u64) {
        let refused_before = self.refused;
        let mut before = None;
        for error in errors {
            let at = error["line"].as_u64().unwrap_or(1).saturating_sub(1);
            let number = usize::try_from(at).ok().and_then(|at| lines.get(at)).map_or(0, |line| line.0);
            let column = error["column"].as_u64().unwrap_or(1);
            let field = error["field"].as_str().unwrap_or("");
            let reason = error["reason"].as_str().unwrap_or("was refused");
            self.refused -= u64::from(before == Some(number));
            self.refuse(number, column, field, reason);
            before = Some(number);
        }
        let unnamed = (refused_before + refused).saturating_sub(self.refused);
        if let (1.., Some((last, _))) = (unnamed, lines.last()) {
            self.refused += unnamed;
            self.busy.print(&format!("{}: {unnamed} more lines up to line {last} were refused", self.name));
        }
    }

    fn refuse(&mut self, line: u64, column: u64, field: &str, reason: &str) {
        self.refused += 1;
        let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
        self.busy.print(&format!("{}:{line}:{column}: {place}{reason}", self.name));
        if self.repeated.len() < REPEATED_MAX {
            let refusal = json!({ "line": line, "column": column, "field": field, "reason": reason });
            self.repeated.push(refusal);
        }
    }

    fn answer(&self) -> Json {
        json!({
            "accepted": self.accepted,
            "refused": self.refused,
            "refused_first": self.repeated,
            "bridge": self.bridge,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(chunk: &[Line]) -> Vec<(u64, bool)> {
        chunk.iter().map(|line| (line.number, line.text.is_ok())).collect()
    }

    #[test]
    fn lines_keep_their_numbers_through_empty_ones_and_ones_that_cannot_be_sent() {
        let long = "x".repeat(3 * MESSAGE_BYTES_MAX);
        let text = [b"a\n\n \r\nb\r\n\xff\n".as_slice(), long.as_bytes(), b"\nlast"].concat();
        let mut lines = Lines { from: BufReader::with_capacity(64, text.as_slice()), number: 0 };
        let mut all = Vec::new();
        while let Some(chunk) = lines.chunk().unwrap() {
            all.extend(chunk);
        }
        assert_eq!(numbers(&all), [(1, true), (4, true), (5, false), (6, false), (7, true)]);
        assert_eq!(all[1].text.as_deref(), Ok("b"));
        assert!(all[3].text.as_ref().unwrap_err().contains("more than 1048576"), "{:?}", all[3].text);
    }

    #[test]
    fn what_has_arrived_is_one_chunk_and_a_chunk_ends_at_its_limit() {
        let text = "x\n".repeat(CHUNK_LINES_MAX + 1);
        let mut lines = Lines { from: BufReader::with_capacity(BUFFER_BYTES, text.as_bytes()), number: 0 };
        let mut next = || lines.chunk().unwrap().map_or(0, |chunk| chunk.len());
        assert_eq!([next(), next(), next()], [CHUNK_LINES_MAX, 1, 0]);

        let mut slow = Lines { from: BufReader::new("a\nb\n".as_bytes().chain("c\n".as_bytes())), number: 0 };
        let mut next = || slow.chunk().unwrap().map_or(0, |chunk| chunk.len());
        assert_eq!([next(), next(), next()], [2, 1, 0]);
    }
}
