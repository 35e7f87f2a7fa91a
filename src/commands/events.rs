//! `clickgate events …`

use std::time::Duration;

use consumers::{Cursor, PAGE_MAX, Query, Start};
use programs::ProgramId;
use proto::Uuid;
use serde_json::Value as Json;

use super::Context;
use super::programs::program_id;
use crate::cli::Events;
use crate::exit::Failure;
use crate::ops::{Op, Part, check_range, moment_ms};
use crate::render;

/// How often a tail asks for more.
const POLL: Duration = Duration::from_millis(200);
/// The same of a table in DynamoDB, where each time costs some 17 read units.
const POLL_OF_A_REGION: Duration = Duration::from_secs(1);

pub fn run(context: &mut Context, command: Events) -> Result<(), Failure> {
    match command {
        Events::Tail { program, limit, all, no_follow } => {
            let program = program.as_deref().map(program_id).transpose()?;
            let part = match all {
                true => Part { start: Start::Oldest, limit: PAGE_MAX },
                false => Part { start: Start::Newest, limit: limit as usize },
            };
            tail(context, part, program, !no_follow)
        }
        Events::Get { message_id, program } => {
            let id = message_id.parse::<Uuid>();
            let id =
                id.map_err(|error| Failure::BadInput(format!("{message_id:?} is no message id: {error}")))?;
            let event = context.ask(Op::EventsGet(program_id(&program)?, id))?;
            Ok(context.out.document(&event, render::fields)?)
        }
        Events::Query { program, from, to, limit } => query(context, &program, from, to, limit),
        Events::Count { program, scan } => {
            let program = program.as_deref().map(program_id).transpose()?;
            let counted = context.ask(Op::EventsCount { program, scan })?;
            Ok(context.out.document(&counted, render::count)?)
        }
        Events::Rejected { reason, limit } => {
            let part = Part { start: Start::Newest, limit: limit as usize };
            let answer = context.ask(Op::EventsRejected(part, reason))?;
            lines(context, &answer, render::rejected)
        }
    }
}

fn tail(
    context: &mut Context,
    mut part: Part,
    program: Option<ProgramId>,
    follow: bool,
) -> Result<(), Failure> {
    let mut client = context.client_for(&Op::EventsTail(part.clone(), program.clone()))?;
    let poll = if context.is_table_shared() { POLL_OF_A_REGION } else { POLL };
    if part.limit == 0 {
        // Nothing to begin with: only where the end is.
        let newest = client.ask(&Op::EventsTail(Part { start: Start::Newest, limit: 1 }, program.clone()))?;
        part = Part { start: start_at(&newest)?, limit: PAGE_MAX };
    }
    loop {
        let answer = client.ask(&Op::EventsTail(part.clone(), program.clone()))?;
        lines(context, &answer, render::event)?;
        let shown = answer["items"].as_array().map_or(0, Vec::len);
        let is_page_full = part.start != Start::Newest && shown == part.limit;
        part = Part { start: start_at(&answer)?, limit: PAGE_MAX };
        if is_page_full {
            continue;
        }
        if !follow {
            return Ok(());
        }
        if !client.may_others_write() {
            // To wait here would keep the directory from whoever wants to start.
            eprintln!(
                "clickgate: no process runs on {}, so nothing more will come",
                context.data.path().display()
            );
            return Ok(());
        }
        std::thread::sleep(poll);
    }
}

/// Where the next part continues.
fn start_at(listing: &Json) -> Result<Start, Failure> {
    let next = listing["next"].as_str();
    let next =
        next.ok_or_else(|| Failure::Failed("the answer does not say where it continues".to_owned()))?;
    Ok(Start::At(Cursor::new(next)))
}

fn query(
    context: &mut Context,
    program: &str,
    from: Option<String>,
    to: Option<String>,
    limit: u64,
) -> Result<(), Failure> {
    let moment = |name: &str, text: Option<String>| {
        let moment = text.as_deref().map(moment_ms).transpose();
        moment.map_err(|reason| Failure::BadInput(format!("--{name} {reason}")))
    };
    let mut query = Query {
        program: program_id(program)?.to_string(),
        from_ms: moment("from", from)?.unwrap_or(0),
        to_ms: moment("to", to)?.unwrap_or(u64::MAX),
        after: None,
        limit: PAGE_MAX,
    };
    check_range(query.from_ms, query.to_ms, ["--from", "--to"]).map_err(Failure::BadInput)?;
    let mut client = context.client_for(&Op::EventsQuery(query.clone()))?;
    let mut left = limit;
    while left > 0 {
        query.limit = usize::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let page = client.ask(&Op::EventsQuery(query.clone()))?;
        lines(context, &page, render::event)?;
        left -= (page["items"].as_array().map_or(0, Vec::len) as u64).min(left);
        match page["next"].as_str() {
            Some(next) if left > 0 => query.after = Some(Cursor::new(next)),
            Some(_) => {
                eprintln!("clickgate: there are more; show them with a larger --limit than {limit}");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

fn lines(context: &mut Context, answer: &Json, human: fn(&Json) -> String) -> Result<(), Failure> {
    for item in answer["items"].as_array().into_iter().flatten() {
        context.out.line(item, human)?;
    }
    Ok(())
}
