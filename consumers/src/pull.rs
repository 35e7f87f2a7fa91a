//! The pull loop: source → table → cursor, for as long as the process lives.
//!
//! The order is what guarantees delivery: the cursor moves only after the table's commit. A crash
//! between the two redelivers the same batches, and the ledger recognises them.
//!
//! An unavailable table or source is retried for ever, with full jitter ([`Backoff`]) and a warning
//! each time: events wait in the log, which is bounded and sheds by class. Damage ends the loop:
//! operator action required.
//!
//! A record that can be neither stored nor become a dead letter, since their number is bounded,
//! stalls the loop until letters are replayed or dropped. Records of other places of the source are
//! still stored and committed, as far as they are in the current batches.

use std::time::Duration;

use stream::{Batch, Checkpoint, Source, SourceError, gather};
use supervise::{Backoff, causes, now_ms};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::process::process;
use crate::status::StatusHandle;
use crate::table::{Left, LeftReason, Table, TableError};

/// Tells the loop to stop, with the deadline for catching up.
///
/// If the sender is dropped, the loop stops at once.
pub type Stop = watch::Receiver<Option<Instant>>;

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that the source had is in the table, and the cursor is committed.
    CaughtUp,
    /// The deadline came first; the rest is still in the source.
    OutOfTime,
}

/// Why the loop failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source is damaged.
    #[error("cannot read events from the source")]
    Source(#[source] SourceError),
    /// The table is damaged.
    #[error("cannot store events")]
    Table(#[source] TableError),
}

/// Persists what `source` has in `table` until it is told to stop, then catches up.
///
/// Holds at most `batch_bytes_max` of payload and one source batch more. The future may be
/// dropped at any time: what was in flight comes again.
///
/// # Errors
/// See [`RunError`]; retryable errors are retried instead.
pub async fn run<S: Source, T: Table>(
    mut source: S,
    table: &T,
    config: &Config,
    mut stop: Stop,
    status: &StatusHandle,
) -> Result<Ended, RunError> {
    loop {
        // Read before the turn, so that the turn sees everything appended before the stop.
        let stopping = asked_to_stop(&stop);
        let began_ms = now_ms();
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
        // The pause after a partial turn bounds the disk syncs of a quiet machine.
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

/// Completes at the deadline for catching up; never before there is one.
async fn out_of_time(stop: &mut Stop) {
    let deadline = match stop.wait_for(Option::is_some).await {
        Ok(deadline) => *deadline,
        // No deadline: stop now.
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
        retry.pause("the source cannot be read", &causes(&error)).await;
    }
    if batches.is_empty() {
        return Ok(Turn::Idle);
    }
    // A full turn means that more is waiting, so the loop continues without a pause.
    let full = batches.iter().map(Batch::bytes).sum::<usize>() >= config.batch_bytes_max;
    while !batches.is_empty() {
        let now_ms = now_ms();
        let written = match process(&batches, table, now_ms).await {
            Ok(written) => written,
            Err(error) if error.is_retryable() => {
                retry.pause("events cannot be stored", &causes(&error)).await;
                continue;
            }
            Err(error) => return Err(RunError::Table(error)),
        };
        let was_stalled = status.get().stalled;
        status.update(|status| status.stored(&written, now_ms));
        if written.fates.dead_letters > 0 {
            let dead_letters = written.fates.dead_letters;
            warn!(dead_letters, "records that cannot be stored became dead letters");
        }
        let (stored, left) = split(batches, &written.left);
        batches = left;
        commit(source, &stored, &mut retry).await?;
        if let Some(Left { reason, .. }) = written.left.first() {
            retry.wait_for_room(*reason, was_stalled).await;
        }
    }
    Ok(if full { Turn::Full } else { Turn::Partial })
}

/// The checkpoints up to which each place is stored, and the remaining batches.
///
/// A checkpoint says that everything before it in its place is stored; so after a batch that is
/// left, nothing of that place is committed.
fn split(batches: Vec<Batch>, left: &[Left]) -> (Vec<Checkpoint>, Vec<Batch>) {
    let mut stored: Vec<Checkpoint> = Vec::new();
    let mut waiting: Vec<Batch> = Vec::new();
    for (index, mut batch) in batches.into_iter().enumerate() {
        let is_behind = |held: &Batch| held.checkpoint.is_same_place(&batch.checkpoint);
        match left.iter().find(|left| left.batch == index) {
            Some(left) => {
                // Keeps what is not stored, so that a retry does not repeat the whole batch.
                batch.items.retain(|item| item.end() > left.first);
                waiting.push(batch);
            }
            // Stored, but after a batch that is left: processed again, as the ledger recognises it.
            None if waiting.iter().any(is_behind) => waiting.push(batch),
            None => stored.push(batch.checkpoint),
        }
    }
    (stored, waiting)
}

async fn commit<S: Source>(
    source: &mut S,
    checkpoints: &[Checkpoint],
    retry: &mut Retry<'_>,
) -> Result<(), RunError> {
    if checkpoints.is_empty() {
        return Ok(());
    }
    while let Err(error) = source.commit(checkpoints).await {
        if !error.is_retryable() {
            return Err(RunError::Source(error));
        }
        retry.pause("the cursor cannot be moved", &causes(&error)).await;
    }
    Ok(())
}

/// The pauses of one turn.
struct Retry<'a> {
    status: &'a StatusHandle,
    backoff: Backoff,
}

impl Retry<'_> {
    async fn pause(&mut self, what: &str, error: &str) {
        let pause = self.backoff.pause();
        warn!(error, pause_ms = pause.as_millis(), "{what}, trying again");
        self.status.update(|status| status.failed(format!("{what}: {error}"), now_ms()));
        sleep(pause).await;
    }

    /// Waits before the rest is retried. A stall, which only an operator can end, is logged once.
    async fn wait_for_room(&mut self, reason: LeftReason, was_stalled: bool) {
        match reason {
            LeftReason::LettersFull { .. } if !was_stalled => {
                error!(%reason, "the consumer is stalled");
            }
            LeftReason::LettersFull { .. } => {}
            LeftReason::Throttled => warn!(%reason, "trying again"),
        }
        sleep(self.backoff.pause()).await;
    }
}
