//! One operation, two ways.
//!
//! ```text
//! command ──► Op ──┬─ to_call ──► admin API of the owner ──► of_call ──► Op ──► run
//!                  └─ nobody owns the directory: run here
//! ```
//!
//! So a command does the same beside a running process and without one, and the admin API
//! cannot do anything that a command cannot. An answer is JSON.

mod call;
mod dead_letters;
mod error;
pub mod event_json;
mod events;
mod log;
mod programs;
mod ship;

pub use call::{check_range, moment_ms};
pub use error::OpError;
pub use log::reconciliation;

use std::path::PathBuf;
use std::sync::Arc;

use ::programs::{Program, ProgramId};
use consumers::{Cursor, Query, Start};
use proto::Uuid;
use serde_json::{Value as Json, json};
use tracker::ExplainRequest;

use crate::owner::Owner;

/// Everything that can be asked of the owner of a data directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// All programs, as an array that can be imported again.
    ProgramsList,
    ProgramsGet(ProgramId),
    ProgramsPut(Box<Program>),
    /// The revision of the removal defaults to now.
    ProgramsRemove(ProgramId, Option<u64>),
    ProgramsImport(Vec<Program>),
    /// Core data for the log `programs`: a message, or one a line.
    ProgramsStream {
        text: String,
        lines: bool,
    },
    /// Stored events in the order of storing, of one program or of all.
    EventsTail(Part, Option<ProgramId>),
    EventsGet(ProgramId, Uuid),
    EventsQuery(Query),
    /// Of one program or of all; `scan` counts by reading the whole table.
    EventsCount {
        program: Option<ProgramId>,
        scan: bool,
    },
    /// Refused hits, of one reason or all.
    EventsRejected(Part, Option<String>),
    Reconcile,
    LogStatus,
    /// Removes a cursor that nobody declares; one that holds something back only by `force`.
    LogCursorRemove {
        name: String,
        force: bool,
    },
    /// Stores the log of a dead machine; an absolute path.
    LogShip(PathBuf),
    DeadLettersList(Part),
    DeadLettersShow(Cursor),
    DeadLettersReplay(Cursor),
    DeadLettersDrop(Cursor),
    Explain(ExplainRequest),
    CacheFill,
    /// One program, or all.
    CachePurge(Option<ProgramId>),
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it starts; where an earlier answer says `next`, to go on.
    pub start: Start,
    /// Items; at most [`consumers::PAGE_MAX`].
    pub limit: usize,
}

impl Op {
    /// Whether it may be asked twice.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Explain(_)) || self.to_call().method == "GET"
    }

    /// Whether it is asked of the registry and of nothing else.
    pub fn needs_only_the_registry(&self) -> bool {
        matches!(
            self,
            Self::ProgramsList
                | Self::ProgramsGet(_)
                | Self::ProgramsPut(_)
                | Self::ProgramsRemove(..)
                | Self::ProgramsImport(_)
        )
    }

    /// Whether it is asked of the table and of nothing else.
    pub fn needs_only_the_table(&self) -> bool {
        matches!(
            self,
            Self::EventsTail(..)
                | Self::EventsGet(..)
                | Self::EventsQuery(_)
                | Self::EventsCount { .. }
                | Self::EventsRejected(..)
                | Self::DeadLettersList(_)
                | Self::DeadLettersShow(_)
                | Self::DeadLettersDrop(_)
        )
    }

    /// Whether it is asked of the table, and of a data directory only if there is one: of its log,
    /// or of the log into which a letter goes back.
    pub fn may_do_without_directory(&self) -> bool {
        matches!(self, Self::Reconcile | Self::DeadLettersReplay(_))
    }

    /// Does it with the open files of `owner`.
    ///
    /// # Errors
    /// See [`OpError`].
    pub async fn run(self, owner: &Arc<Owner>) -> Result<Json, OpError> {
        match self {
            Self::ProgramsList => programs::list(owner).await,
            Self::ProgramsGet(id) => programs::get(owner, &id).await,
            Self::ProgramsPut(program) => programs::put(owner, *program).await,
            Self::ProgramsRemove(id, revision) => programs::remove(owner, &id, revision).await,
            Self::ProgramsImport(programs) => programs::import(owner, programs).await,
            Self::ProgramsStream { text, lines } => programs::stream(owner, &text, lines).await,
            Self::EventsTail(part, program) => events::tail(owner, part, program).await,
            Self::EventsGet(program, id) => events::get(owner, &program, id).await,
            Self::EventsQuery(query) => events::query(owner, query).await,
            Self::EventsCount { program, scan } => events::count(owner, program, scan).await,
            Self::EventsRejected(part, reason) => events::rejected(owner, part, reason).await,
            Self::Reconcile => log::reconcile(owner).await,
            Self::LogStatus => log::status(owner).await,
            Self::LogCursorRemove { name, force } => log::remove_cursor(owner, &name, force).await,
            Self::LogShip(dir) => ship::ship(owner, &dir).await,
            Self::DeadLettersList(part) => dead_letters::list(owner, part).await,
            Self::DeadLettersShow(id) => dead_letters::show(owner, &id).await,
            Self::DeadLettersReplay(id) => dead_letters::replay(owner, &id).await,
            Self::DeadLettersDrop(id) => dead_letters::drop(owner, &id).await,
            Self::Explain(request) => {
                let explained = match owner.running_tracker() {
                    Some(tracker) => tracker.explain(&request).await,
                    None => owner.decider().await?.explain(&request).await,
                };
                Ok(json!(explained.map_err(|error| OpError::Invalid(error.to_string(), Vec::new()))?))
            }
            Self::CacheFill => {
                let filled = running_tracker(owner)?.fill().await;
                let programs = filled.map_err(|error| OpError::Unavailable(error.to_string()))?;
                Ok(json!({ "programs": programs }))
            }
            Self::CachePurge(id) => {
                running_tracker(owner)?.purge(id.as_ref()).await;
                Ok(json!({ "purged": id.map_or_else(|| "all".to_owned(), |id| id.to_string()) }))
            }
        }
    }
}

fn running_tracker(owner: &Owner) -> Result<&tracker::TrackerAdmin, OpError> {
    let none = || OpError::Unavailable("no tracker runs in this process".to_owned());
    owner.running_tracker().ok_or_else(none)
}
