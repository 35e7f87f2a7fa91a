//! From the command line to an operation, and from its answer to the terminal.

mod bridge;
mod events;
mod programs;
mod table;

use std::path::Path;

use consumers::{Cursor, Start};
use serde_json::{Value as Json, json};
use tracker::ExplainRequest;

use crate::cli::{self, Cli, Command};
use crate::client::Client;
use crate::config::{self, Diagnostics, Loaded, LogFilter, Settings, TableKind};
use crate::cursors::{core_data_log, events_log};
use crate::data::{Access, DataDir, RunFile};
use crate::exit::Failure;
use crate::ops::{Op, Part, moment_ms};
use crate::output::Output;
use crate::owner::{CORE_DATA, EVENTS};
use crate::registry::RegistryKind;
use crate::render;
use crate::roles::{self, Role};

/// What every command needs.
struct Context {
    settings: Settings,
    /// Of the configuration.
    warnings: Vec<String>,
    data: DataDir,
    out: Output,
}

impl Context {
    fn client(&self) -> Result<Client, Failure> {
        Ok(Client::open(&self.settings, &self.data)?)
    }

    /// A client for operations like `op`.
    fn client_for(&self, op: &Op) -> Result<Client, Failure> {
        let is_of_table =
            op.needs_only_the_table() || (op.may_do_without_directory() && !self.data.path().is_dir());
        let is_elsewhere = (op.needs_only_the_registry() && self.is_registry_shared())
            || (is_of_table && self.is_table_shared());
        match is_elsewhere {
            true => Ok(Client::of_what_is_shared(&self.settings, &self.data)?),
            false => self.client(),
        }
    }

    fn ask(&self, op: Op) -> Result<Json, Failure> {
        Ok(self.client_for(&op)?.ask(&op)?)
    }

    /// Whether the events are elsewhere, and every machine reaches them.
    fn is_table_shared(&self) -> bool {
        self.settings.table.kind == TableKind::DynamoDb
    }

    /// Whether the programs are elsewhere, and every machine reaches them.
    fn is_registry_shared(&self) -> bool {
        self.settings.registry.kind == RegistryKind::Redis
    }
}

/// Runs the command line.
///
/// # Errors
/// See [`Failure`].
pub fn run(cli: Cli) -> Result<(), Failure> {
    let mut out = Output::new(cli.global.json);
    let command = cli.command.unwrap_or(Command::Up);
    if let Command::Config(cli::Config::Keys { markdown }) = command {
        let text =
            |_: &Json| if markdown { config::keys_markdown() } else { config::keys_table().to_string() };
        return Ok(out.document(&config::keys_json(), text)?);
    }
    let Loaded { mut settings, warnings } = config::load(cli.global.config.as_deref())?;
    settings.log.json |= cli.global.log_json;
    if !matches!(command, Command::Config(_)) {
        require_directory(&cli.global.data)?;
    }
    let data = DataDir::new(&cli.global.data);
    let role = match command {
        Command::Up => Some(Role::Up),
        Command::Tracker => Some(Role::Tracker),
        Command::Consumer => Some(Role::Consumer),
        Command::Bridge(cli::Bridge::Programs) => Some(Role::ProgramBridge),
        Command::Bridge(cli::Bridge::Activemq { poll_seconds: None }) => Some(Role::ActiveMqBridge),
        _ => None,
    };
    if role == Some(Role::ActiveMqBridge) {
        bridge::require_queues(&settings)?;
    }
    if let Some(role) = role {
        crate::diagnostics::start(&settings.log);
        warn(&warnings);
        drop(out);
        return roles::run(role, settings, data);
    }
    // A tool says only what went wrong; its answer is on standard output.
    crate::diagnostics::start(&Diagnostics { level: LogFilter::WARNINGS, json: settings.log.json });
    if !matches!(command, Command::Config(cli::Config::Check)) {
        warn(&warnings);
    }
    let mut context = Context { settings, warnings, data, out };
    match command {
        Command::Programs(command) => programs::run(&mut context, command),
        Command::Events(command) => events::run(&mut context, command),
        Command::Table(command) => table::run(&mut context, &command),
        Command::Reconcile => reconcile(&mut context),
        Command::DeadLetters(command) => dead_letters(&mut context, command),
        Command::Log(command) => log(&mut context, &command),
        Command::Config(command) => show_config(&mut context, &command),
        Command::Explain(explain) => explained(&mut context, explain),
        Command::Bridge(cli::Bridge::Activemq { poll_seconds: Some(seconds) }) => {
            bridge::poll(context, seconds)
        }
        Command::Bridge(cli::Bridge::Check { queue, message, headers }) => {
            bridge::check(&mut context, queue.as_deref(), &message, headers)
        }
        Command::Up | Command::Tracker | Command::Consumer | Command::Bridge(_) => {
            unreachable!("roles were run above")
        }
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// What is there, or the nearest thing above it, must be a directory.
fn require_directory(data: &Path) -> Result<(), Failure> {
    let above = data.ancestors().find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
    match above {
        Some((above, found)) if !found.is_dir() => Err(Failure::BadInput(format!(
            "--data {}: {} is a file, and must be a directory",
            data.display(),
            if above == data { "it".to_owned() } else { above.display().to_string() }
        ))),
        _ => Ok(()),
    }
}

fn reconcile(context: &mut Context) -> Result<(), Failure> {
    let answer = context.ask(Op::Reconcile)?;
    context.out.document(&answer, render::reconciliation)?;
    match answer["totals"]["missing"].as_u64() {
        Some(0) => Ok(()),
        missing => Err(Failure::Failed(format!(
            "{} records are missing: they were given a number and are neither stored, nor in the log, nor \
             given up; the ranges above say which{}",
            missing.map_or_else(|| "some".to_owned(), |missing| missing.to_string()),
            if answer["log"] == false { NO_LOG } else { "" }
        ))),
    }
}

const NO_LOG: &str = ". There is no log here to look at, so what is in a tracker's log or on its way counts as \
                      missing: run it again with --data where the log is, or in a minute; what is missing \
                      then is lost";

fn dead_letters(context: &mut Context, command: cli::DeadLetters) -> Result<(), Failure> {
    match command {
        cli::DeadLetters::List { limit } => {
            let answer =
                context.ask(Op::DeadLettersList(Part { start: Start::Newest, limit: limit as usize }))?;
            Ok(context.out.document(&answer, render::dead_letters)?)
        }
        cli::DeadLetters::Show { id } => {
            let answer = context.ask(Op::DeadLettersShow(Cursor::new(id)))?;
            Ok(context.out.document(&answer, render::fields)?)
        }
        cli::DeadLetters::Replay { ids } => each(context, ids, Op::DeadLettersReplay),
        cli::DeadLetters::Drop { ids } => each(context, ids, Op::DeadLettersDrop),
    }
}

/// Does one after the other, and goes on behind one that fails.
fn each(context: &mut Context, ids: Vec<String>, op: fn(Cursor) -> Op) -> Result<(), Failure> {
    let mut failed = Vec::new();
    let ops: Vec<Op> = ids.into_iter().map(|id| op(Cursor::new(id))).collect();
    let Some(first) = ops.first() else { return Ok(()) };
    let mut client = context.client_for(first)?;
    for op in &ops {
        match client.ask(op) {
            Ok(answer) => context.out.line(&answer, render::dead_letter_result)?,
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Failed(failed.join("\n"))) }
}

fn log(context: &mut Context, command: &cli::Log) -> Result<(), Failure> {
    match command {
        cli::Log::Check => {
            let logs = [EVENTS, CORE_DATA].map(|name| (name, context.data.log().join(name).is_dir()));
            if logs.iter().all(|(_, is_there)| !is_there) {
                let place = context.data.path().display();
                return Err(Failure::Failed(format!("there is no log in {place}; name another with --data")));
            }
            let mut segments = Vec::new();
            for (name, _) in logs.into_iter().filter(|(_, is_there)| *is_there) {
                let checked = stream::check(&context.data.log(), name);
                segments.extend(checked.map_err(|error| Failure::Failed(error.to_string()))?);
            }
            let damaged = segments.iter().filter(|segment| segment.damaged_at.is_some()).count();
            context.out.document(&json!(segments), render::segments)?;
            match damaged {
                0 => Ok(()),
                _ => Err(Failure::Failed(format!(
                    "{damaged} segments have a part that cannot be read. What a crash tore off is cut by the \
                     next start; if that start refuses, `clickgate log salvage` goes on without it"
                ))),
            }
        }
        cli::Log::Salvage => salvage(context),
        cli::Log::Cursor { command: None } => {
            let answer = context.ask(Op::LogStatus)?;
            Ok(context.out.document(&answer, render::log_status)?)
        }
        cli::Log::Cursor { command: Some(cli::Cursor::Rm { name, force }) } => {
            let answer = context.ask(Op::LogCursorRemove { name: name.clone(), force: *force })?;
            Ok(context.out.document(&answer, render::removed_cursor)?)
        }
        cli::Log::Ship { dir } => ship(context, dir),
    }
}

/// Ships slice by slice, and says after each how far it is.
fn ship(context: &mut Context, dir: &Path) -> Result<(), Failure> {
    let dir = std::path::absolute(dir).map_err(|error| Failure::BadInput(error.to_string()))?;
    let mut client = context.client()?;
    loop {
        let answer = client.ask(&Op::LogShip(dir.clone()))?;
        context.out.line(&answer, render::shipped)?;
        if answer["done"] == true {
            return Ok(());
        }
    }
}

fn salvage(context: &mut Context) -> Result<(), Failure> {
    let _claim = match context.data.access()? {
        Access::Ours(claim) => claim,
        Access::Theirs(owner) => {
            let RunFile { role, pid, .. } = owner;
            return Err(Failure::Failed(format!(
                "`clickgate {role}` (pid {pid}) runs on this log, so it has been opened and needs no salvage"
            )));
        }
    };
    let salvage = |name: &str, config| {
        let log = stream::Log::salvage(&context.data.log(), name, config);
        log.map_err(|error| Failure::Failed(error.to_string()))
    };
    let log = salvage(EVENTS, events_log(&context.settings))?;
    if context.data.log().join(CORE_DATA).is_dir() {
        salvage(CORE_DATA, core_data_log(&context.settings))?;
    }
    let answer = json!({ "lanes": log.lanes(), "cursors": log.cursors() });
    context.out.document(&answer, |_| {
        "the log can be opened; `clickgate reconcile` lists the numbers that were given up".to_owned()
    })?;
    Ok(())
}

fn show_config(context: &mut Context, command: &cli::Config) -> Result<(), Failure> {
    let printed = config::print(&context.settings);
    match command {
        cli::Config::Check => {
            let mut text = "the configuration can be used\n".to_owned();
            for warning in &context.warnings {
                text.push_str(&format!("warning: {warning}\n"));
            }
            let answer = json!({ "usable": true, "warnings": context.warnings });
            Ok(context.out.document(&answer, |_| text)?)
        }
        cli::Config::Print => {
            let table: toml::Table = printed.parse().map_err(|error| Failure::Failed(format!("{error}")))?;
            Ok(context.out.document(&json!(table), |_| printed)?)
        }
        cli::Config::Keys { .. } => unreachable!("it needs no settings and was answered before"),
    }
}

/// A header of a request or a message.
fn header(header: String) -> Result<(String, String), Failure> {
    match header.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => Err(Failure::BadInput(format!("--header {header:?} is not 'Name: value'"))),
    }
}

fn explained(context: &mut Context, explain: cli::Explain) -> Result<(), Failure> {
    let at_ms = explain.at.as_deref().map(moment_ms).transpose();
    let request = ExplainRequest {
        method: explain.method,
        url: explain.url,
        headers: explain.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        at_ms: at_ms.map_err(|reason| Failure::BadInput(format!("--at {reason}")))?,
    };
    let answer = context.ask(Op::Explain(request))?;
    Ok(context.out.document(&answer, render::explanation)?)
}
