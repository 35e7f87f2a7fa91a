//! Follows the registry and writes what it learns into the catalog.
//!
//! Subscribe first, load second: a change that lands between the two is then seen twice
//! instead of never, and versions make twice harmless. A hole in the versions is filled
//! from the registry's change log. A publish that was lost without a hole behind it is found
//! by comparing ([`Follower::compare`]), every three seconds.
//!
//! | the registry | what we do |
//! |---|---|
//! | is away, slow, or ends the subscription | keep what we hold, not fresh; connect again for ever |
//! | was never filled (no ready mark: an emptied Redis) | the same: nothing becomes unknown |
//! | has another epoch, or our epoch and a version below ours (a replica that lagged was promoted, an emptied one filled again) | load it, and keep what it lost until its source says it again, see [`crate::catalog`]'s `fallback` |
//! | is away when we start | serve the last-good snapshot ([`crate::snapshot`]), at its age, not fresh |
//!
//! So no older revision replaces a newer one that was seen, unless its source does not repeat it
//! within ten minutes (`fresh_seconds`).

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
    catalog::{CatalogWriter, Renewal},
    snapshot::{LastGood, Saved},
};

/// Longest wait for a subscription, a snapshot or the change log.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for a program that is read again, at least: no hit waits for it, so a registry may
/// take longer than on a miss. Changes do wait for it.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before the next program is read again, after a reading without an answer.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Programs that a registry may have lost in a failover; each is asked for.
const LACKING_MAX: usize = 1_000;

/// Follows one registry. The plain core of the refresher.
pub(crate) struct Follower<R> {
    registry: Arc<R>,
    catalog: CatalogWriter,
    /// What the catalog holds; `None` before the first load.
    position: Option<State>,
    /// Where it is from the disk, so that the registry must be loaded whatever it says.
    unconfirmed: bool,
    /// It did not answer when a program was read again.
    silent_until: Option<Instant>,
    /// When to look again for what becomes too old.
    renew_after: Option<Instant>,
    last_good: Option<LastGood>,
    counters: FollowCounters,
}

impl<R: Registry> Follower<R> {
    /// Follows nothing yet.
    pub(crate) fn new(registry: Arc<R>, catalog: CatalogWriter, last_good: Option<LastGood>) -> Self {
        let counters = FollowCounters::new();
        Self {
            registry,
            catalog,
            position: None,
            unconfirmed: false,
            silent_until: None,
            renew_after: None,
            last_good,
            counters,
        }
    }

    /// The catalog's writer.
    pub fn catalog(&self) -> &CatalogWriter {
        &self.catalog
    }

    /// Begins, or begins again: the catalog is up to date and fresh on return.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was, or what was on the disk if there was
    /// nothing, and not fresh.
    pub async fn connect(&mut self) -> Result<Subscription, FollowError> {
        self.catalog.set_fresh(false);
        let connected = self.subscribe_and_load().await;
        match &connected {
            Ok(_) => {
                self.counters.count(FollowEvent::Connected);
                self.catalog.set_fresh(true);
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
    pub async fn hear(&mut self, notice: Notice) -> Result<(), FollowError> {
        match notice {
            Notice::Change(change) => self.follow(change).await,
            Notice::Lagged { missed } => {
                info!(missed, "program changes were lost on their way");
                self.counters.count(FollowEvent::Lagged);
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
        if self.last_good.as_ref().is_some_and(LastGood::needs_all) {
            return self.reload().await.map(|_| ());
        }
        let registry = Arc::clone(&self.registry);
        let asked_at_ms = now_ms();
        let state = in_time(registry.state()).await?;
        if self.position != Some(state) {
            self.counters.count(FollowEvent::Missed);
            return self.catch_up().await;
        }
        self.in_step(asked_at_ms);
        Ok(())
    }

    /// After a comparison, now and then: what we hold is what the registry holds, so nothing of it
    /// need become too old, whether the registry has had the time to be read or not. To be run
    /// beside what follows, one at a time.
    pub fn renewal(&mut self) -> Option<Renewal> {
        let now = Instant::now();
        if self.renew_after.is_some_and(|after| now < after) {
            return None;
        }
        self.renew_after = Some(now + self.catalog.renew_every());
        Some(self.catalog.renewal())
    }

    /// Says that this connection has ended.
    pub fn count_lost(&self) {
        self.counters.count(FollowEvent::Lost);
    }

    /// Reads one program again, as it has become old. What cannot be read stays as it is, and is
    /// asked for again (see [`crate::catalog::Turn`]).
    ///
    /// A registry that does not answer is left alone for [`READ_PAUSE`]: a thousand programs may
    /// wait here, each would wait for its answer, and changes wait behind them.
    pub async fn read_again(&mut self, id: &ProgramId) {
        if self.silent_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let limit = self.catalog.registry_timeout().max(READ_TIMEOUT);
        let read = tokio::time::timeout(limit, self.registry.get(id));
        match read.await {
            Ok(Ok(answer)) => {
                let change = self.catalog.renew(id.clone(), answer, now_ms()).await;
                if let (Some(last_good), Some(change)) = (&self.last_good, change) {
                    last_good.corrected(&change);
                }
            }
            Ok(Err(_)) | Err(_) => self.silent_until = Some(Instant::now() + READ_PAUSE),
        }
    }

    /// Loads everything again; returns the number of programs held.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was.
    pub async fn reload(&mut self) -> Result<u64, FollowError> {
        let asked_at_ms = now_ms();
        let mut snapshot = in_time(self.registry.snapshot()).await?;
        let state = snapshot.state;
        self.believe(state)?;
        if let Some(before) = self.position {
            match before.epoch == state.epoch {
                true if state.version >= before.version => {}
                true => self.counters.count(FollowEvent::FellBack),
                false => self.counters.count(FollowEvent::OtherStore),
            }
        }
        let never_heard = self.never_heard(&snapshot).await?;
        let (programs, kept) =
            self.catalog.replace_but_keep_newer(&mut snapshot, &never_heard, now_ms()).await;
        self.note_all(&snapshot, asked_at_ms);
        self.counters.count(FollowEvent::Loaded);
        (self.position, self.unconfirmed) = (Some(state), false);
        // All of it is young.
        self.renew_after = Some(Instant::now() + self.catalog.renew_every());
        self.catalog.set_in_step(asked_at_ms);
        // What it lost is kept for now.
        info!(programs, kept, version = state.version, epoch = %state.epoch, "loaded the programs");
        Ok(programs)
    }

    async fn subscribe_and_load(&mut self) -> Result<Subscription, FollowError> {
        let registry = Arc::clone(&self.registry);
        let subscription = in_time(registry.subscribe()).await?;
        self.catch_up().await?;
        Ok(subscription)
    }

    /// Of the programs that we hold and a registry lacks, those of which it has not even a
    /// tombstone. None if they are many: then it is another registry, not one that lost a little.
    async fn never_heard(&self, snapshot: &Snapshot) -> Result<HashSet<ProgramId>, FollowError> {
        let lacking = self.catalog.lacking_in(snapshot);
        let mut never_heard = HashSet::new();
        if lacking.len() > LACKING_MAX {
            return Ok(never_heard);
        }
        for id in lacking {
            if in_time(self.registry.get(&id)).await?.entry == Entry::Absent {
                never_heard.insert(id);
            }
        }
        Ok(never_heard)
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
            // Seen before, between subscribing and loading; unless the registry fell back.
            Some(position) if change.version <= position.version => {
                self.counters.count(FollowEvent::Repeated);
                self.compare().await
            }
            _ => {
                self.counters.count(FollowEvent::Hole);
                self.catch_up().await
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), FollowError> {
        let Some(position) = self.position.filter(|_| !self.unconfirmed) else {
            return self.reload().await.map(|_| ());
        };
        let asked_at_ms = now_ms();
        match in_time(self.registry.changes_since(position.epoch, position.version)).await? {
            Changes::List { state, changes } => {
                self.believe(state)?;
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

    /// What a store lacks that was never filled says nothing.
    fn believe(&self, state: State) -> Result<(), FollowError> {
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

    fn in_step(&self, at_ms: u64) {
        self.catalog.set_in_step(at_ms);
        if let (Some(last_good), Some(position)) = (&self.last_good, self.position) {
            last_good.in_step(position, at_ms);
        }
    }

    fn note_all(&self, snapshot: &Snapshot, at_ms: u64) {
        if let Some(last_good) = &self.last_good {
            last_good.replaced(snapshot.state, snapshot.programs.clone(), at_ms);
        }
    }

    /// Serves what the last process knew, until the registry can be had.
    async fn start_from_disk(&mut self) {
        let Some(last_good) = &self.last_good else { return };
        let (now_ms, live_ms) = (now_ms(), self.catalog.live_ms());
        let Some(saved) = last_good.load(now_ms, live_ms, self.catalog.entries_max()).await else {
            return;
        };
        // A clock that was set back makes nothing younger than it could be.
        let in_step_at_ms = saved.in_step_at_ms.min(now_ms);
        let Saved { state, programs, .. } = saved;
        self.catalog.replace_all(Snapshot { state, programs }, in_step_at_ms).await;
        self.catalog.set_in_step(in_step_at_ms);
        (self.position, self.unconfirmed) = (Some(state), true);
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
