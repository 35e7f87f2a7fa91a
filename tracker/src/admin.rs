//! What the admin address, which belongs to the command, needs from a running tracker.

use std::net::SocketAddr;
use std::sync::Arc;

use programs::ProgramId;
use programs::catalog::CatalogStatistics;
use programs::refresher::{FillError, RefresherAddress};

use crate::{
    edge::explain::{ExplainError, ExplainRequest, Explanation},
    edge::{Health, Site},
    metrics::latency::{Histogram, Latencies},
};

/// Questions to, and orders for, a running tracker. Cheap to clone.
#[derive(Clone)]
pub struct TrackerAdmin {
    pub(crate) site: Arc<Site>,
    pub(crate) refresher: RefresherAddress,
    pub(crate) latencies: Arc<Latencies>,
    pub(crate) address: SocketAddr,
}

impl TrackerAdmin {
    /// Why `request` is taken or refused, step by step. Records nothing.
    ///
    /// # Errors
    /// It is not a request to a tracking route.
    pub async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
        self.site.decider.explain(request).await
    }

    /// Where hits arrive.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `/health/check`.
    pub fn health(&self) -> Health {
        self.site.health()
    }

    /// How long answers took, a histogram per route.
    pub fn latencies(&self) -> Vec<Histogram> {
        self.latencies.histograms()
    }

    /// Figures of the catalog.
    pub async fn catalog(&self) -> CatalogStatistics {
        self.site.decider.catalog.statistics().await
    }

    /// When the last-good snapshot on disk was last known to be right, milliseconds since 1970;
    /// `None` without one.
    pub fn snapshot_in_step_at_ms(&self) -> Option<u64> {
        self.refresher.snapshot_in_step_at_ms()
    }

    /// Loads all programs again; returns how many are held. Hits go on meanwhile.
    ///
    /// # Errors
    /// See [`FillError`].
    pub async fn fill(&self) -> Result<u64, FillError> {
        self.refresher.fill().await
    }

    /// Forgets one program, or all; the next hit on each reads it again.
    pub async fn purge(&self, id: Option<&ProgramId>) {
        match id {
            Some(id) => self.site.decider.catalog.purge(id).await,
            None => self.site.decider.catalog.purge_all().await,
        }
    }
}
