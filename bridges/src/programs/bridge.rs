//! The bridge without its actor: source → registry → dead letters → cursor, a turn at a time.
//!
//! The order is what guarantees delivery. The cursor moves only when the registry has the programs
//! and unreadable messages are dead letters; so a crash between any two steps redelivers the same
//! messages, and revisions (of letters: their place) make that harmless. Batches that were read
//! and could not be processed are held, and retried by the next turn.

use std::sync::Arc;

use programs::{Registry, RegistryError};
use proto::DeadLetter;
use stream::{Batch, Checkpoint, Source, SourceError, gather};
use supervise::{Backoff, Failure, causes, now_ms};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::config::Config;
use super::process::process;
use super::status::StatusHandle;

/// Why dead letters could not be kept; the call is repeated.
pub type LettersError = Box<dyn std::error::Error + Send + Sync>;

/// Core data on its way from `source` to `registry`.
///
/// `letters` keeps dead letters, durable on return, and returns how many older ones it discarded.
/// It must recognise a letter that it is given again by its stage, boot, lane and number.
pub struct Bridge<S, R, L> {
    source: S,
    registry: Arc<R>,
    letters: L,
    config: Config,
    status: StatusHandle,
    /// Read and not yet committed.
    held: Vec<Batch>,
    backoff: Backoff,
}

/// The outcome of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more right now.
    Full,
    /// The source has nothing more at the moment.
    Idle,
}

/// Why a turn failed; the next one resumes at the failed step.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The source: reading it, or moving its cursor.
    #[error("cannot read core data")]
    Source(#[from] SourceError),
    /// The registry.
    #[error("cannot put core data into the registry")]
    Registry(#[from] RegistryError),
    /// The store of dead letters.
    #[error("cannot keep dead letters")]
    Letters(#[source] LettersError),
}

impl BridgeError {
    /// Whether a later attempt may succeed by itself; otherwise operator action is required.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Source(error) => error.is_retryable(),
            Self::Registry(error) => matches!(error, RegistryError::Unavailable(_)),
            Self::Letters(_) => true,
        }
    }
}

impl<S, R, L> Bridge<S, R, L>
where
    S: Source,
    R: Registry,
    L: AsyncFn(Vec<DeadLetter>) -> Result<u64, LettersError>,
{
    /// A bridge that starts at the last commit of `source`.
    pub fn new(source: S, registry: Arc<R>, letters: L, config: Config, status: StatusHandle) -> Self {
        let backoff = Backoff::new(config.retry_pause_max());
        Self { source, registry, letters, config, status, held: Vec::new(), backoff }
    }

    /// Reads at most about `batch_bytes_max` from the source and processes it completely. The future
    /// may be dropped: the next turn resumes with the batches it held.
    ///
    /// # Errors
    /// See [`BridgeError`].
    pub async fn turn(&mut self) -> Result<Turn, BridgeError> {
        let began_ms = now_ms();
        let turned = self.try_turn().await;
        self.status.update(|status| match &turned {
            Ok(turn) => {
                status.error = None;
                status.caught_up = *turn == Turn::Idle;
                if status.caught_up {
                    status.done_until_ms = began_ms;
                }
            }
            Err(error) => {
                status.retries += 1;
                status.error = Some(Failure { at_ms: now_ms(), reason: causes(error) });
            }
        });
        turned
    }

    /// Runs a turn; returns the pause before the next one, which grows while turns fail.
    pub async fn turn_and_pause(&mut self) -> std::time::Duration {
        match self.turn().await {
            Ok(turn) => {
                self.backoff.reset();
                if turn == Turn::Full { std::time::Duration::ZERO } else { self.config.poll() }
            }
            Err(error) => {
                let pause = self.backoff.pause();
                let pause_ms = pause.as_millis();
                let chain = causes(&error);
                if error.is_retryable() {
                    tracing::warn!(error = chain, pause_ms, "the program bridge is retrying after an error");
                } else {
                    tracing::error!(
                        error = chain,
                        pause_ms,
                        "the program bridge is stalled; operator action required"
                    );
                }
                pause
            }
        }
    }

    /// Runs turns until the source is drained or `until`; returns whether it was drained.
    pub async fn drain(&mut self, until: Instant) -> bool {
        loop {
            match timeout_at(until, self.turn_and_pause()).await {
                Err(_out_of_time) => return false,
                Ok(_) if self.status.get().caught_up && self.held.is_empty() => return true,
                Ok(pause) => sleep_until(until.min(Instant::now() + pause)).await,
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Turn, BridgeError> {
        // After a failed turn: retry the held batches before reading on.
        if self.held.is_empty() {
            gather(&mut self.source, self.config.batch_bytes_max, &mut self.held).await?;
        }
        if self.held.is_empty() {
            return Ok(Turn::Idle);
        }
        let outcome = process(&self.held, &*self.registry, now_ms()).await?;
        // Before the commit: once the cursor has passed, an unreadable message cannot be read again.
        let mut discarded = 0;
        if !outcome.dead.is_empty() {
            discarded = (self.letters)(outcome.dead).await.map_err(BridgeError::Letters)?;
        }
        self.source.commit(&Checkpoint::of(&self.held)).await?;
        self.held.clear();
        self.status.update(|status| {
            status.counts += outcome.counts;
            status.letters_discarded += discarded;
        });
        Ok(Turn::Full)
    }
}
