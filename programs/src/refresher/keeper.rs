//! Keeps a refresher running.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Recipient, Supervisor};
use supervise::{ArbiterOwner, lifeline};
use tracing::error;

use super::{Fill, FollowError, Follower, Refresher};
use crate::Registry;
use crate::{
    catalog::Catalog,
    snapshot::{LastGood, SnapshotCounters, SnapshotStatus},
};

/// Pause before a refresher that panicked is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for the last write of the snapshot when the tracker ends.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// The address of the current refresher, and the age of its snapshot.
#[derive(Clone, Default)]
pub struct RefresherAddress {
    fill: Arc<Mutex<Option<Recipient<Fill>>>>,
    snapshot: SnapshotStatus,
}

impl RefresherAddress {
    /// Loads all programs again; returns how many are held.
    ///
    /// # Errors
    /// See [`FillError`].
    pub async fn fill(&self) -> Result<u64, FillError> {
        let refresher = self.fill.lock().expect("nothing panics while it is held").clone();
        let filled = refresher.ok_or(FillError::Away)?.send(Fill).await;
        Ok(filled.map_err(|_| FillError::Away)??)
    }

    /// When the last-good snapshot on disk was last known to be correct, milliseconds since 1970;
    /// `None` without one.
    pub fn snapshot_in_step_at_ms(&self) -> Option<u64> {
        self.snapshot.in_step_at_ms()
    }

    fn set(&self, refresher: Recipient<Fill>) {
        *self.fill.lock().expect("nothing panics while it is held") = Some(refresher);
    }

    /// Forgets the refresher, when the tracker ends.
    pub fn clear(&self) {
        *self.fill.lock().expect("nothing panics while it is held") = None;
    }
}

/// Why the catalog was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The refresher is starting or has ended; try again.
    #[error("the refresher is restarting, try again")]
    Away,
    /// The programs could not be loaded; the catalog is unchanged.
    #[error(transparent)]
    Registry(#[from] FollowError),
}

/// The last-good snapshot, if one is configured. The tracker follows without it, too.
fn last_good(catalog: &Catalog, address: &RefresherAddress) -> Option<LastGood> {
    let counters = SnapshotCounters::new();
    let (path, every) = catalog.snapshot_place()?;
    let started = LastGood::start(path, every, address.snapshot.clone(), counters);
    started.inspect_err(|error| error!(%error, "cannot start the writer of the last-good snapshot")).ok()
}

/// Runs a refresher on a thread of its own, and replaces it after a panic.
pub async fn keep_refreshing<R: Registry>(catalog: Catalog, registry: Arc<R>, address: RefresherAddress) {
    let last_good = last_good(&catalog, &address);
    let _finish = Finish(last_good.clone());
    loop {
        let arbiter = ArbiterOwner::start();
        let (line, snapped) = lifeline();
        // Without a writer the last refresher is not dropped yet: try again after the pause.
        if let Some(writer) = catalog.writer() {
            let follower = Follower::new(Arc::clone(&registry), writer, last_good.clone());
            let refresher = Refresher::new(follower, line);
            // Held here: a supervised actor without an address ends after its next stop.
            let actor = Supervisor::start_in_arbiter(&arbiter.handle(), move |_| refresher);
            address.set(actor.clone().recipient());
            snapped.await;
            error!("the refresher died; starting another");
        }
        drop(arbiter);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Finishes the snapshot when the tracker ends, after the last hit.
struct Finish(Option<LastGood>);

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(last_good) = &self.0 {
            last_good.finish(FINISH_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::{
        catalog::CatalogConfig,
        catalog::CatalogCounters,
        testing::{Held, program},
    };

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let held = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), held).await.is_ok(), "never {what}");
    }

    #[test]
    fn a_refresher_that_panicked_is_replaced_and_the_catalog_is_fresh_again() {
        actix_rt::System::new().block_on(async {
            let registry = Held::new();
            registry.put(program("1", "one", 1)).await.unwrap();
            let config = CatalogConfig::default();
            let catalog = Catalog::new(config, Arc::clone(&registry), CatalogCounters::new());
            let address = RefresherAddress::default();
            let keeper = keep_refreshing(catalog.clone(), Arc::clone(&registry), address.clone());
            let keeper = actix_rt::spawn(keeper);
            until("fresh", || catalog.is_fresh()).await;

            // At the next comparison.
            registry.panics.store(true, SeqCst);
            until("not fresh", || !catalog.is_fresh()).await;
            registry.panics.store(false, SeqCst);
            until("fresh again", || catalog.is_fresh()).await;
            assert_eq!(address.fill().await.unwrap(), 1);
            keeper.abort();
        });
    }
}
