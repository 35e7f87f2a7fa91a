//! Follows the registry and writes what it learns into the catalog.
//!
//! Subscribe first, load second: a change that lands between the two is then seen twice
//! instead of never, and versions make twice harmless. A hole in the versions is filled
//! from the registry's change log. A new epoch, or a registry that fell behind what we
//! saw, is another store: everything is loaded again and may be replaced.

use std::{sync::Arc, time::Duration};

use programs::{Change, Changes, Notice, ProgramId, Registry, RegistryError, State, Subscription};
use tracing::info;

use crate::{catalog::CatalogWriter, clock::now_ms};

/// Longest wait for a subscription, a snapshot or the change log.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Follows one registry. The plain core of the refresher.
pub struct Follower<R> {
    registry: Arc<R>,
    catalog: CatalogWriter,
    /// What the catalog holds; `None` before the first load.
    position: Option<State>,
}

/// Why following stopped. Connecting again is the answer to all of them.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The registry did not answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It did not answer in time.
    #[error("the registry did not answer within {} s", LOAD_TIMEOUT.as_secs())]
    TimedOut,
    /// It was never filled, so what it lacks says nothing: what we hold is kept.
    #[error("the registry was not filled yet (epoch {} has no ready mark)", .state.epoch)]
    NotReady {
        /// What it says of itself.
        state: State,
    },
    /// It ended the subscription.
    #[error("the registry ended the subscription")]
    Closed,
}

impl<R: Registry> Follower<R> {
    /// Follows nothing yet.
    pub fn new(registry: Arc<R>, catalog: CatalogWriter) -> Self {
        Self { registry, catalog, position: None }
    }

    /// The catalog's writer.
    pub fn catalog(&self) -> &CatalogWriter {
        &self.catalog
    }

    /// Begins, or begins again: the catalog is up to date and fresh on return.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was, and not fresh.
    pub async fn connect(&mut self) -> Result<Subscription, FollowError> {
        self.catalog.set_fresh(false);
        let registry = Arc::clone(&self.registry);
        let subscription = in_time(registry.subscribe()).await?;
        self.catch_up().await?;
        self.catalog.set_fresh(true);
        Ok(subscription)
    }

    /// Handles one notice of the subscription.
    ///
    /// # Errors
    /// See [`FollowError`]: connect again.
    pub async fn hear(&mut self, notice: Notice) -> Result<(), FollowError> {
        match notice {
            Notice::Change(change) => self.follow(change).await,
            Notice::Lagged { missed } => {
                info!(missed, "program changes came faster than we took them");
                self.catch_up().await
            }
            Notice::Closed => Err(FollowError::Closed),
        }
    }

    /// Compares with the registry, in case a notice was lost on the way.
    ///
    /// # Errors
    /// See [`FollowError`]: connect again.
    pub async fn compare(&mut self) -> Result<(), FollowError> {
        let registry = Arc::clone(&self.registry);
        let asked_at_ms = now_ms();
        let state = in_time(registry.state()).await?;
        if self.position != Some(state) {
            return self.catch_up().await;
        }
        self.catalog.set_in_step(asked_at_ms);
        Ok(())
    }

    /// Reads one program again, as it has become old. What cannot be read stays as it is.
    pub async fn read_again(&self, id: ProgramId) {
        let read = tokio::time::timeout(self.catalog.registry_timeout(), self.registry.get(&id));
        if let Ok(Ok(answer)) = read.await {
            self.catalog.renew(id, answer, now_ms()).await;
        }
    }

    /// Loads everything again; returns the number of programs held.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was.
    pub async fn reload(&mut self) -> Result<u64, FollowError> {
        let asked_at_ms = now_ms();
        let snapshot = in_time(self.registry.snapshot()).await?;
        let state = snapshot.state;
        if !state.ready {
            return Err(FollowError::NotReady { state });
        }
        let programs = self.catalog.replace_all(snapshot, now_ms()).await;
        self.position = Some(state);
        self.catalog.set_in_step(asked_at_ms);
        info!(programs, version = state.version, epoch = %state.epoch, "loaded the programs");
        Ok(programs)
    }

    async fn follow(&mut self, change: Change) -> Result<(), FollowError> {
        let position = self.position.filter(|position| position.epoch == change.epoch);
        match position {
            Some(position) if change.version == position.version + 1 => {
                self.position = Some(State { version: change.version, ..position });
                self.catalog.apply(change, now_ms()).await;
                Ok(())
            }
            // Seen before, between subscribing and loading; unless the registry fell back.
            Some(position) if change.version <= position.version => self.compare().await,
            _ => self.catch_up().await,
        }
    }

    async fn catch_up(&mut self) -> Result<(), FollowError> {
        let Some(position) = self.position else {
            return self.reload().await.map(|_| ());
        };
        let asked_at_ms = now_ms();
        match in_time(self.registry.changes_since(position.epoch, position.version)).await? {
            Changes::List { state, .. } if !state.ready => Err(FollowError::NotReady { state }),
            Changes::List { state, changes } => {
                for change in changes {
                    self.catalog.apply(change, now_ms()).await;
                }
                self.position = Some(state);
                self.catalog.set_in_step(asked_at_ms);
                Ok(())
            }
            Changes::Reload => self.reload().await.map(|_| ()),
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, FollowError> {
    match tokio::time::timeout(LOAD_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FollowError::TimedOut),
    }
}

#[cfg(test)]
mod tests;
