//! `clickgate programs …`

mod stream;

use std::io::{IsTerminal, Read};
use std::time::Duration;

use indicatif::ProgressBar;
use programs::{Program, ProgramId, read_programs};

use super::Context;
use crate::cli::Programs;
use crate::exit::Failure;
use crate::ops::Op;
use crate::visible::escaped_lines;
use crate::{output, render};

pub fn run(context: &mut Context, command: Programs) -> Result<(), Failure> {
    match command {
        Programs::Put { program } => put(context, &program),
        Programs::Get { id } => {
            let program = context.ask(Op::ProgramsGet(program_id(&id)?))?;
            Ok(context.out.document(&program, output::document)?)
        }
        Programs::List => {
            let programs = context.ask(Op::ProgramsList)?;
            Ok(context.out.document(&programs, render::programs)?)
        }
        Programs::Rm { id, revision } => {
            let removed = context.ask(Op::ProgramsRemove(program_id(&id)?, revision))?;
            Ok(context.out.document(&removed, |put| render::put(&id, "removed", put))?)
        }
        Programs::Import { stream: false, file } => import(context, &file),
        Programs::Import { stream: true, file } => stream::run(context, &file),
    }
}

pub fn program_id(text: &str) -> Result<ProgramId, Failure> {
    text.parse().map_err(|error| Failure::BadInput(format!("{text:?}: {error}")))
}

fn put(context: &mut Context, source: &str) -> Result<(), Failure> {
    let (name, text) = if source.trim_start().starts_with('{') {
        ("argument".to_owned(), source.to_owned())
    } else {
        read(source)?
    };
    let mut programs = parse(&name, &text)?;
    let (Some(program), true) = (programs.pop(), programs.is_empty()) else {
        return Err(Failure::BadInput(format!(
            "{name} has more than one program; `clickgate programs import` takes many"
        )));
    };
    let id = program.id.to_string();
    data_directory(context)?;
    let stored = context.ask(Op::ProgramsPut(Box::new(program)))?;
    Ok(context.out.document(&stored, |put| render::put(&id, "stored", put))?)
}

fn import(context: &mut Context, file: &str) -> Result<(), Failure> {
    let (name, text) = read(file)?;
    let busy = Busy::start(format!("importing {name}"));
    let programs = parse(&name, &text)?;
    data_directory(context)?;
    let report = context.ask(Op::ProgramsImport(programs))?;
    drop(busy);
    context.out.document(&report, render::import)?;
    match report["refused"].as_array().map_or(0, Vec::len) {
        0 => Ok(()),
        refused => Err(Failure::Failed(format!(
            "{refused} programs were refused because of their revision; the others are stored"
        ))),
    }
}

/// Core data may come before the first start; what is elsewhere needs no directory here.
fn data_directory(context: &Context) -> Result<(), Failure> {
    if context.is_registry_shared() {
        return Ok(());
    }
    Ok(context.data.create()?)
}

/// The name for messages, and the text, of a file or of standard input.
fn read(file: &str) -> Result<(String, String), Failure> {
    let bad = |error: std::io::Error| Failure::BadInput(format!("cannot read {file}: {error}"));
    if file == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(bad)?;
        return Ok(("stdin".to_owned(), text));
    }
    Ok((file.to_owned(), std::fs::read_to_string(file).map_err(bad)?))
}

/// All of it, or all that is wrong, as `file:line:column: field: reason`.
fn parse(name: &str, text: &str) -> Result<Vec<Program>, Failure> {
    read_programs(text).map_err(|errors| {
        let line = |error: &programs::ImportError| {
            let field = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path) };
            format!("{name}:{}:{}: {field}{}", error.line, error.column, error.reason)
        };
        let lines: Vec<String> = errors.iter().map(line).collect();
        let more = if errors.len() == programs::IMPORT_ERRORS_MAX { " (reading stopped there)" } else { "" };
        let count = errors.len();
        Failure::BadInput(format!("nothing was stored, {count} errors{more}:\n{}", lines.join("\n")))
    })
}

/// Shows on a terminal that something takes its time.
struct Busy(ProgressBar);

impl Busy {
    fn start(what: String) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(spinner)
    }

    fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// A line on standard error that stays.
    fn print(&self, line: &str) {
        self.0.suspend(|| eprintln!("{}", escaped_lines(line)));
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
