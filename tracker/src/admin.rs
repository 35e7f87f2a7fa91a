//! The interface of a running tracker to the admin address, which the command serves.

use std::net::SocketAddr;
use std::sync::Arc;

use programs::ProgramId;
use programs::catalog::{Catalog, CatalogStatistics};
use programs::refresher::{FillError, RefresherAddress};

use crate::{
    edge::explain::{ExplainError, ExplainRequest, Explanation},
    edge::site::{Health, Site},
    metrics::latency::{Histogram, Latencies},
};

/// Inspects and controls a running tracker. Cheap to clone.
#[derive(Clone)]
pub struct TrackerAdmin {
    pub(crate) site: Arc<Site>,
    pub(crate) refresher: RefresherAddress,
    pub(crate) latencies: Arc<Latencies>,
    pub(crate) address: SocketAddr,
}

impl TrackerAdmin {
    /// Explains step by step why `request` is accepted or refused. Records nothing.
    ///
    /// # Errors
    /// It is not a request to a tracking route.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
        self.site.decider.explain(request).await
    }

    /// The address that hits arrive at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The health, as `/health/check` answers it.
    pub fn health(&self) -> Health {
        self.site.health()
    }

    /// The latencies of answers, a histogram per route.
    pub fn latencies(&self) -> Vec<Histogram> {
        self.latencies.histograms()
    }

    /// The programs that hits are checked against, for what else is judged in this process.
    pub fn programs(&self) -> Catalog {
        self.site.decider.catalog.clone()
    }

    /// The catalog's statistics.
    pub async fn catalog(&self) -> CatalogStatistics {
        self.site.decider.catalog.statistics().await
    }

    /// When the last-good snapshot on disk was last in step with the registry, in milliseconds since
    /// 1970; `None` without a snapshot.
    pub fn snapshot_in_step_at_ms(&self) -> Option<u64> {
        self.refresher.snapshot_in_step_at_ms()
    }

    /// Reloads all programs and returns their number. Hits are served meanwhile.
    ///
    /// # Errors
    /// See [`FillError`].
    pub async fn fill(&self) -> Result<u64, FillError> {
        self.refresher.fill().await
    }

    /// Evicts one program, or all; the next hit on each loads it again.
    pub async fn purge(&self, id: Option<&ProgramId>) {
        match id {
            Some(id) => self.site.decider.catalog.purge(id).await,
            None => self.site.decider.catalog.purge_all().await,
        }
    }
}
