//! The pull loop: source → table → cursor, for as long as the process lives.
//!
//! The order is the promise: the cursor moves only after the table's commit. A
//! crash between the two brings the same batches again, and the ledger knows them.
//!
//! A table or a source that is away is asked again for ever, after a pause drawn
//! between zero and a limit that doubles (full jitter), with a warning each time:
//! what waits is in the log, which is bounded and sheds by class. What is damaged
//! ends the loop, because a person must decide.

use std::fmt::Display;
use std::time::Duration;

use stream::{Batch, Checkpoint, Source, SourceError, gather};
use supervise::{Backoff, now_ms};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::config::Config;
use crate::process::process;
use crate::status::StatusHandle;
use crate::table::{Table, TableError};

/// How the loop is told to stop: until when it may catch up, once it is told.
///
/// A sender that is gone means: stop now.
pub type Stop = watch::Receiver<Option<Instant>>;

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that the source had is in the table, and the cursor says so.
    CaughtUp,
    /// The time to catch up was over first; the rest is still in the source.
    OutOfTime,
}

/// Why the loop gave up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source is damaged.
    #[error("cannot read what is to be stored: {0}")]
    Source(#[source] SourceError),
    /// The table is damaged.
    #[error("cannot store events: {0}")]
    Table(#[source] TableError),
}

/// Persists what `source` has in `table` until it is told to stop, then catches up.
///
/// Holds at most `batch_bytes_max` of payload and one source batch more. The future may be
/// dropped at any time: what was in flight comes again.
///
/// # Errors
/// See [`RunError`]; what can pass is tried again instead.
pub async fn run<S: Source, T: Table>(
    mut source: S,
    table: &T,
    config: &Config,
    mut stop: Stop,
    status: &StatusHandle,
) -> Result<Ended, RunError> {
    loop {
        // Before the turn: what was appended before the stop must be seen after it.
        let (stopping, began_ms) = (asked_to_stop(&stop), now_ms());
        let turn = tokio::select! {
            biased;
            turn = turn(&mut source, table, config, status) => turn?,
            () = out_of_time(&mut stop) => return Ok(ended(Ended::OutOfTime)),
        };
        status.update(|status| {
            status.caught_up = turn == Turn::Idle;
            if turn != Turn::Full {
                status.stored_until_ms = began_ms;
            }
        });
        let pause = match turn {
            Turn::Full => continue,
            Turn::Partial => config.commit_pause(),
            Turn::Idle if stopping => return Ok(ended(Ended::CaughtUp)),
            Turn::Idle => config.poll(),
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(Option::is_some) => {}
        }
    }
}

fn ended(how: Ended) -> Ended {
    match how {
        Ended::CaughtUp => info!("the consumer has stored everything and stops"),
        Ended::OutOfTime => warn!("the consumer stops before it has stored everything"),
    }
    how
}

fn asked_to_stop(stop: &Stop) -> bool {
    stop.borrow().is_some() || stop.has_changed().is_err()
}

/// Completes when the time to catch up is over, which is never before there is a deadline.
async fn out_of_time(stop: &mut Stop) {
    let deadline = match stop.wait_for(Option::is_some).await {
        Ok(deadline) => *deadline,
        Err(_sender_gone) => None,
    };
    if let Some(deadline) = deadline {
        sleep_until(deadline).await;
    }
}

/// What one turn found in the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Idle,
    Partial,
    Full,
}

async fn turn<S: Source, T: Table>(
    source: &mut S,
    table: &T,
    config: &Config,
    status: &StatusHandle,
) -> Result<Turn, RunError> {
    let pause_max = Duration::from_millis(config.retry_pause_ms_max);
    let mut retry = Retry { status, backoff: Backoff::new(pause_max) };
    let mut batches = Vec::new();
    while let Err(error) = gather(source, config.batch_bytes_max, &mut batches).await {
        if !error.is_retryable() {
            return Err(RunError::Source(error));
        }
        retry.pause("the source cannot be read", &error).await;
    }
    if batches.is_empty() {
        return Ok(Turn::Idle);
    }
    let full = batches.iter().map(Batch::bytes).sum::<usize>() >= config.batch_bytes_max;
    let written = loop {
        let now_ms = now_ms();
        match process(&batches, table, now_ms).await {
            Ok(written) => {
                status.update(|status| status.stored(&written, now_ms));
                break written;
            }
            Err(error) if error.may_pass() => retry.pause("events cannot be stored", &error).await,
            Err(error) => return Err(RunError::Table(error)),
        }
    };
    if written.fates.dead_letters > 0 {
        warn!(dead_letters = written.fates.dead_letters, "records that cannot be stored became dead letters");
    }
    let checkpoints = Checkpoint::of(&batches);
    while let Err(error) = source.commit(&checkpoints).await {
        if !error.is_retryable() {
            return Err(RunError::Source(error));
        }
        retry.pause("the cursor cannot be moved", &error).await;
    }
    Ok(if full { Turn::Full } else { Turn::Partial })
}

/// The pauses of one turn.
struct Retry<'a> {
    status: &'a StatusHandle,
    backoff: Backoff,
}

impl Retry<'_> {
    async fn pause(&mut self, what: &str, error: &impl Display) {
        let pause = self.backoff.pause();
        warn!(%error, pause_ms = pause.as_millis(), "{what}, trying again");
        self.status.update(|status| status.failed(format!("{what}: {error}"), now_ms()));
        sleep(pause).await;
    }
}
