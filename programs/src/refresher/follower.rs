//! Follows the registry and writes what it learns into the catalog.
//!
//! Subscribe first, load second: a change between the two is then seen twice instead of never, and
//! versions make twice harmless. A hole in the versions is filled from the registry's change log. A
//! lost notice with none behind it is found by comparing ([`Follower::compare`]), every three seconds.
//!
//! | the registry | what we do |
//! |---|---|
//! | is unreachable, slow, or ends the subscription | keep what we hold, not fresh; reconnect for ever |
//! | was never filled (no ready mark: an emptied Redis) | the same: no program becomes unknown |
//! | has another epoch, or our epoch and a lower version (a lagging replica was promoted, an emptied store refilled) | load it, and keep what it lost until its source sends it again, see [`crate::catalog`]'s `fallback` |
//! | is unreachable at the start | serve the last-good snapshot ([`crate::snapshot`]), at its age, not fresh |
//!
//! So no older revision replaces a newer one that was seen, unless the source does not send it again
//! within ten minutes (`fresh_seconds`): then what was kept is discarded, see [`Follower::compare`].

use std::{collections::HashSet, sync::Arc, time::Duration};

use supervise::now_ms;
use tokio::time::Instant;
use tracing::info;

use super::{
    FollowError,
    counters::{FollowCounters, FollowEvent},
};
use crate::{
    Change, Changes, Entry, Notice, ProgramId, Registry, RegistryError, Snapshot, State, Subscription,
};
use crate::{
    catalog::CatalogWriter,
    snapshot::{LastGood, Saved},
};

/// Longest wait for a subscription, a snapshot or the change log.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Missing programs that are looked up one by one after a failover; more mean another store.
const LACKING_MAX: usize = 1_000;

/// Follows one registry. The plain core of the refresher.
pub(crate) struct Follower<R> {
    registry: Arc<R>,
    catalog: CatalogWriter,
    /// What the catalog holds; `None` before the first load.
    position: Option<State>,
    /// `position` is the one of the snapshot on disk, so the registry must be loaded in any case.
    is_from_disk: bool,
    /// When to discard what is kept although the registry lost it; `None` while nothing is kept.
    discard_kept_at: Option<Instant>,
    last_good: Option<LastGood>,
    counters: FollowCounters,
}

impl<R: Registry> Follower<R> {
    /// A follower that is not connected yet.
    pub(crate) fn new(registry: Arc<R>, catalog: CatalogWriter, last_good: Option<LastGood>) -> Self {
        let counters = FollowCounters::new();
        Self {
            registry,
            catalog,
            position: None,
            is_from_disk: false,
            discard_kept_at: None,
            last_good,
            counters,
        }
    }

    /// Connects or reconnects; on return the catalog is in step with the registry.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then unchanged, or loaded from disk if it was empty, and
    /// not in step.
    pub async fn connect(&mut self) -> Result<Subscription, FollowError> {
        self.catalog.set_following(false);
        let connected = self.subscribe_and_load().await;
        match &connected {
            Ok(_) => {
                self.counters.count(FollowEvent::Connected);
                self.catalog.set_following(true);
            }
            Err(_) if !self.catalog.is_loaded() => self.start_from_disk().await,
            Err(_) => {}
        }
        connected
    }

    /// Handles one notice of the subscription.
    ///
    /// # Errors
    /// See [`FollowError`]: connect again.
    pub async fn handle_notice(&mut self, notice: Notice) -> Result<(), FollowError> {
        match notice {
            Notice::Change(change) => self.follow(change).await,
            Notice::Lagged { missed } => {
                info!(missed, "program changes were lost on the way");
                self.counters.count(FollowEvent::Lagged);
                self.catch_up().await
            }
            Notice::Closed => Err(FollowError::Closed),
        }
    }

    /// Compares with the registry, in case a notice was lost. Also does the periodic work: discards
    /// what was kept long enough, and loads everything if the last-good snapshot needs it.
    ///
    /// # Errors
    /// See [`FollowError`]: connect again.
    pub async fn compare(&mut self) -> Result<(), FollowError> {
        if self.discard_kept_at.is_some_and(|at| Instant::now() >= at) {
            return self.load(Lost::Discard).await.map(|_| ());
        }
        if self.last_good.as_ref().is_some_and(LastGood::needs_all) {
            return self.reload().await.map(|_| ());
        }
        let registry = Arc::clone(&self.registry);
        // Taken before the request: the answer is at least as recent.
        let asked_at_ms = now_ms();
        let state = in_time(registry.state()).await?;
        if self.position != Some(state) {
            self.counters.count(FollowEvent::Missed);
            return self.catch_up().await;
        }
        self.in_step(asked_at_ms);
        Ok(())
    }

    /// The connection has ended: programs begin to age.
    pub fn stop_following(&self) {
        self.catalog.set_following(false);
        self.counters.count(FollowEvent::Lost);
    }

    /// Loads everything again; returns the number of programs held.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was.
    pub async fn reload(&mut self) -> Result<u64, FollowError> {
        self.load(Lost::Keep).await
    }

    async fn load(&mut self, lost: Lost) -> Result<u64, FollowError> {
        self.catalog.set_out_of_step();
        let asked_at_ms = now_ms();
        let mut snapshot = in_time(self.registry.snapshot()).await?;
        let state = snapshot.state;
        self.require_ready(state)?;
        let may_have_lost = self.may_have_lost(state);
        let (programs, kept) = match lost {
            // Not if this load discovers a new loss, whose own period only starts now.
            Lost::Discard if !may_have_lost => (self.catalog.replace_all(&snapshot, asked_at_ms).await, 0),
            Lost::Discard | Lost::Keep => {
                let untraced = self.untraced(&snapshot).await?;
                self.catalog.replace_but_keep_newer(&mut snapshot, &untraced, asked_at_ms).await
            }
        };
        self.schedule_discard(kept, may_have_lost);
        self.record_load(&snapshot, asked_at_ms);
        self.counters.count(FollowEvent::Loaded);
        self.position = Some(state);
        self.is_from_disk = false;
        self.in_step(asked_at_ms);
        info!(programs, kept, version = state.version, epoch = %state.epoch, "loaded the programs");
        Ok(programs)
    }

    /// Whether the registry, which is now at `state`, may lack changes that we have seen.
    fn may_have_lost(&self, state: State) -> bool {
        let Some(before) = self.position else { return false };
        if before.epoch != state.epoch {
            self.counters.count(FollowEvent::OtherStore);
            return true;
        }
        let fell_back = state.version < before.version;
        if fell_back {
            self.counters.count(FollowEvent::FellBack);
        }
        fell_back
    }

    /// Starts the period after which what this load kept is discarded.
    fn schedule_discard(&mut self, kept: u64, may_have_lost: bool) {
        if kept == 0 {
            self.discard_kept_at = None;
            return;
        }
        // A load for another reason (an operator, the snapshot) does not extend the period. Neither
        // does a message of the AWS sample, each of which looks like another store.
        let is_another_loss = may_have_lost && self.registry.has_version_per_change();
        if self.discard_kept_at.is_none() || is_another_loss {
            self.discard_kept_at = Some(Instant::now() + self.catalog.fresh_for());
        }
    }

    async fn subscribe_and_load(&mut self) -> Result<Subscription, FollowError> {
        let registry = Arc::clone(&self.registry);
        let subscription = in_time(registry.subscribe()).await?;
        self.catch_up().await?;
        Ok(subscription)
    }

    /// Programs that we hold and of which the registry has not even a tombstone. Empty if very many
    /// are missing: then it is another store, not one that lost its last changes.
    async fn untraced(&self, snapshot: &Snapshot) -> Result<HashSet<ProgramId>, FollowError> {
        let lacking = self.catalog.lacking_in(snapshot);
        let mut untraced = HashSet::new();
        if lacking.len() > LACKING_MAX {
            return Ok(untraced);
        }
        for id in lacking {
            if in_time(self.registry.get(&id)).await?.entry == Entry::Absent {
                untraced.insert(id);
            }
        }
        Ok(untraced)
    }

    async fn follow(&mut self, change: Change) -> Result<(), FollowError> {
        let position = self.position.filter(|position| position.epoch == change.epoch);
        match position {
            Some(position) if change.version == position.version + 1 => {
                self.counters.count(FollowEvent::Change);
                self.position = Some(State { version: change.version, ..position });
                self.apply(change).await;
                Ok(())
            }
            // Either loaded after the subscription began, or the registry fell back; comparing
            // tells which.
            Some(position) if change.version <= position.version => {
                self.counters.count(FollowEvent::Repeated);
                self.compare().await
            }
            // Versions are missing before it, or it is of another epoch.
            _ => {
                self.counters.count(FollowEvent::Hole);
                self.catch_up().await
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), FollowError> {
        // The snapshot on disk may be incomplete, so its version cannot be a start for the change log.
        let Some(position) = self.position.filter(|_| !self.is_from_disk) else {
            return self.reload().await.map(|_| ());
        };
        self.catalog.set_out_of_step();
        let asked_at_ms = now_ms();
        match in_time(self.registry.changes_since(position.epoch, position.version)).await? {
            Changes::List { state, changes } => {
                self.require_ready(state)?;
                for change in changes {
                    self.apply(change).await;
                }
                self.position = Some(state);
                self.in_step(asked_at_ms);
                Ok(())
            }
            Changes::Reload => self.reload().await.map(|_| ()),
        }
    }

    /// Refuses a store that was never filled: its lack of a program proves nothing.
    fn require_ready(&self, state: State) -> Result<(), FollowError> {
        if state.ready {
            return Ok(());
        }
        self.counters.count(FollowEvent::NotReady);
        Err(FollowError::NotReady { state })
    }

    async fn apply(&self, change: Change) {
        let change = self.catalog.apply(change, now_ms()).await;
        if let Some(last_good) = &self.last_good {
            last_good.changed(&change);
        }
    }

    /// The catalog holds what the registry held at `at_ms`.
    fn in_step(&self, at_ms: u64) {
        // Changes without a version of their own leave the registry's version as it is, so an equal
        // version proves nothing.
        if !self.registry.has_version_per_change() {
            return;
        }
        self.catalog.set_in_step(at_ms);
        if let (Some(last_good), Some(position)) = (&self.last_good, self.position) {
            last_good.in_step(position, at_ms);
        }
    }

    fn record_load(&self, snapshot: &Snapshot, at_ms: u64) {
        if let Some(last_good) = &self.last_good {
            last_good.replaced(snapshot.state, snapshot.programs.clone(), at_ms);
        }
    }

    /// Serves the last-good snapshot until the registry is reachable.
    async fn start_from_disk(&mut self) {
        let Some(last_good) = &self.last_good else { return };
        let now_ms = now_ms();
        let age_ms_max = self.catalog.served_ms();
        let Some(saved) = last_good.load(now_ms, age_ms_max, self.catalog.entries_max()).await else {
            return;
        };
        // If the clock was set back, the snapshot counts as read now, never in the future.
        let in_step_at_ms = saved.in_step_at_ms.min(now_ms);
        let Saved { state, programs, .. } = saved;
        self.catalog.replace_all(&Snapshot { state, programs }, in_step_at_ms).await;
        self.position = Some(state);
        self.is_from_disk = true;
    }
}

/// What to do with changes that we have seen and the registry has lost.
#[derive(Clone, Copy)]
enum Lost {
    /// Keep them until their source sends them again.
    Keep,
    /// Undo them, as their source did not send them again.
    Discard,
}

async fn in_time<T>(answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, FollowError> {
    match tokio::time::timeout(LOAD_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FollowError::TimedOut { limit: LOAD_TIMEOUT }),
    }
}

#[cfg(test)]
mod tests;
