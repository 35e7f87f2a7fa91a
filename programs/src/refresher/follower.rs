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
//! within ten minutes (`fresh_seconds`): then what was kept is given up, see
//! [`Follower::compare`].

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
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// When to give up what is kept although the registry lost it; `None` while nothing is.
    give_up_at: Option<Instant>,
    last_good: Option<LastGood>,
    counters: FollowCounters,
}

impl<R: Registry> Follower<R> {
    /// Follows nothing yet.
    pub(crate) fn new(registry: Arc<R>, catalog: CatalogWriter, last_good: Option<LastGood>) -> Self {
        let counters = FollowCounters::new();
        Self { registry, catalog, position: None, unconfirmed: false, give_up_at: None, last_good, counters }
    }

    /// Begins, or begins again: the catalog is in step with the registry on return.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was, or what was on the disk if there was
    /// nothing, and not in step.
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

    /// Compares with the registry, in case a notice was lost on the way. Also does what is to be
    /// done now and then: gives up what was kept for long enough, and loads everything for a file
    /// that cannot be kept without.
    ///
    /// # Errors
    /// See [`FollowError`]: connect again.
    pub async fn compare(&mut self) -> Result<(), FollowError> {
        if self.give_up_at.is_some_and(|at| Instant::now() >= at) {
            return self.load(Lost::GivenUp).await.map(|_| ());
        }
        if self.last_good.as_ref().is_some_and(LastGood::needs_all) {
            return self.reload().await.map(|_| ());
        }
        let registry = Arc::clone(&self.registry);
        // Asked before the answer was made, so what the answer says holds at this moment at least.
        let asked_at_ms = now_ms();
        let state = in_time(registry.state()).await?;
        if self.position != Some(state) {
            self.counters.count(FollowEvent::Missed);
            return self.catch_up().await;
        }
        self.in_step(asked_at_ms);
        Ok(())
    }

    /// This connection has ended: what is held begins to age.
    pub fn stop_following(&self) {
        self.catalog.set_following(false);
        self.counters.count(FollowEvent::Lost);
    }

    /// Loads everything again; returns the number of programs held.
    ///
    /// # Errors
    /// See [`FollowError`]; the catalog is then as it was.
    pub async fn reload(&mut self) -> Result<u64, FollowError> {
        self.load(Lost::Kept).await
    }

    async fn load(&mut self, lost: Lost) -> Result<u64, FollowError> {
        self.catalog.set_out_of_step();
        let asked_at_ms = now_ms();
        let mut snapshot = in_time(self.registry.snapshot()).await?;
        let state = snapshot.state;
        self.require_ready(state)?;
        let may_have_lost = self.may_have_lost(state);
        let (programs, kept) = match lost {
            // What it has lost just now has not had its time yet.
            Lost::GivenUp if !may_have_lost => (self.catalog.replace_all(&snapshot, asked_at_ms).await, 0),
            Lost::GivenUp | Lost::Kept => {
                let never_heard = self.never_heard(&snapshot).await?;
                self.catalog.replace_but_keep_newer(&mut snapshot, &never_heard, asked_at_ms).await
            }
        };
        self.set_give_up(kept, may_have_lost);
        self.note_all(&snapshot, asked_at_ms);
        self.counters.count(FollowEvent::Loaded);
        self.position = Some(state);
        self.unconfirmed = false;
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

    /// Starts the time after which what this load kept is given up.
    fn set_give_up(&mut self, kept: u64, may_have_lost: bool) {
        if kept == 0 {
            self.give_up_at = None;
            return;
        }
        // A load for another reason (somebody asked for it, the file did) makes nothing be kept for
        // longer. Neither does a message of the AWS sample, each of which looks like another store.
        let is_another_loss = may_have_lost && self.registry.has_version_per_change();
        if self.give_up_at.is_none() || is_another_loss {
            self.give_up_at = Some(Instant::now() + self.catalog.fresh_for());
        }
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
            // Seen before, between subscribing and loading; unless the registry fell back, which
            // comparing shows.
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
        // What is on the disk was never compared, and it may lack programs: its version says little.
        let Some(position) = self.position.filter(|_| !self.unconfirmed) else {
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

    /// What a store lacks that was never filled says nothing.
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

    /// We are where the registry was at this moment.
    fn in_step(&self, at_ms: u64) {
        // A change without a version leaves the registry's where it was, so that being there proves
        // nothing: neither memory nor the file is any younger for it.
        if !self.registry.has_version_per_change() {
            return;
        }
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
        let now_ms = now_ms();
        let age_ms_max = self.catalog.served_ms();
        let Some(saved) = last_good.load(now_ms, age_ms_max, self.catalog.entries_max()).await else {
            return;
        };
        // A clock that was set back makes nothing younger than it could be.
        let in_step_at_ms = saved.in_step_at_ms.min(now_ms);
        let Saved { state, programs, .. } = saved;
        self.catalog.replace_all(&Snapshot { state, programs }, in_step_at_ms).await;
        self.position = Some(state);
        self.unconfirmed = true;
    }
}

/// What becomes of changes that we have seen and the registry has lost.
#[derive(Clone, Copy)]
enum Lost {
    /// They stay, until their source says them again.
    Kept,
    /// They are undone, as nobody has said them again.
    GivenUp,
}

async fn in_time<T>(answer: impl Future<Output = Result<T, RegistryError>>) -> Result<T, FollowError> {
    match tokio::time::timeout(LOAD_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(FollowError::TimedOut),
    }
}

#[cfg(test)]
mod tests;
