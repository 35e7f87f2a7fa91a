//! The bridge without its actor: source → registry → dead letters → cursor, a turn at a time.
//!
//! The order is the promise. The cursor moves only when the registry has the programs and
//! the dead letters have what cannot be read; so a crash between any two of them brings
//! the same messages again, and revisions (of letters: their place) make twice harmless.
//! What was read and could not be passed on is held, and tried again by the next turn.

use std::sync::Arc;

use programs::{Registry, RegistryError};
use proto::DeadLetter;
use stream::{Batch, Checkpoint, Source, SourceError, gather};
use supervise::{Backoff, Failure, causes, now_ms};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::config::Config;
use super::process::process;
use super::status::StatusHandle;

/// Why dead letters could not be kept; they will be given again.
pub type LettersError = Box<dyn std::error::Error + Send + Sync>;

/// Core data on its way from `source` to `registry`.
///
/// `letters` keeps what cannot be read, durable on return, and answers how many older ones
/// made room. It must know a letter that it is given again, by its stage, boot, lane and
/// number.
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

/// What a turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more at once.
    Full,
    /// The source has nothing more at the moment.
    Idle,
}

/// Why a turn did not reach its end; the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The source, in reading or in moving its cursor.
    #[error("cannot read core data: {0}")]
    Source(#[from] SourceError),
    /// The registry.
    #[error("cannot put core data into the registry: {0}")]
    Registry(#[from] RegistryError),
    /// The place for dead letters.
    #[error("cannot keep core data that cannot be read: {0}")]
    Letters(#[source] LettersError),
}

impl BridgeError {
    /// Whether a later attempt may succeed by itself; else an operator must act.
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
    /// At the last commit of `source`.
    pub fn new(source: S, registry: Arc<R>, letters: L, config: Config, status: StatusHandle) -> Self {
        let backoff = Backoff::new(config.retry_pause_max());
        Self { source, registry, letters, config, status, held: Vec::new(), backoff }
    }

    /// Takes what the source has, at most about `batch_bytes_max`, to its end. The future may
    /// be dropped: what it held is taken up by the next turn.
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

    /// A turn, and when the next one is due: after a pause that grows while turns fail.
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
                    tracing::warn!(error = chain, pause_ms, "the program bridge is held up, trying again");
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

    /// Turns until the source has nothing more, or the time is over; whether it came to the end.
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
        if self.held.is_empty() {
            gather(&mut self.source, self.config.batch_bytes_max, &mut self.held).await?;
        }
        if self.held.is_empty() {
            return Ok(Turn::Idle);
        }
        let outcome = process(&self.held, &*self.registry, now_ms()).await?;
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
