//! The shipper: from the log to Kinesis, losing nothing and stalling for nobody.
//!
//! # The way of one record
//!
//! ```text
//! log ── read ─► pack ─────► outbox ─────► PutRecords ─► answer, entry by entry
//!  ▲    256 KiB  ≤ 50 KiB    ≤ 16 MiB      ≤ 8 at once      │
//!  │             aggregates  with what      ≤ 500 records   ├ stored ──► progress ─► Log::advance_stream,
//!  │                         waits again    ≤ 1 MiB         │                        the cursor each second
//!  └─ reading stops when ◄──────────────────────────────────┼ throttled, failed ──► again, after a pause
//!     the outbox is full                                    └ refused ──► halved, down to one record
//!                                                                         ──► dead letters
//! ```
//!
//! | queue | capacity | when it is full |
//! |---|---|---|
//! | read and not acknowledged | `in_flight_bytes_max` (16 MiB); what is read at once goes on top | the log is not read; it fills up and sheds by class |
//! | of that, waiting for a shard | `held_back_bytes_max` (8 MiB) | the log is not read |
//! | requests under way | `requests_max` (8) | entries wait in the outbox |
//! | dead letters | as the keeper of [`Letters`] says | the record stays in the outbox, the shipper says that it is stalled |
//!
//! Nothing is given up for its age: the log is the bound. A record is in the stream at least once:
//! twice if the answer was lost, or if the process died before the cursor was moved. Whoever stores
//! it knows it by its boot, lane and number.
//!
//! The actor around it, on a thread of its own, is [`RunningShipper`].

use proto::DeadLetter;
use tokio::time::Instant;

use crate::aws::AwsConfig;
use crate::log::{LaneError, Log};
use crate::source::SourceError;

mod actor;
mod answer;
mod check;
mod client;
mod config;
mod entry;
mod gate;
mod outbox;
mod pack;
mod progress;
mod rate;
mod refuse;
mod status;
mod work;

pub use actor::RunningShipper;
pub use check::Checked;
pub use config::{Aggregation, PartitionBy, ShipperConfig};
pub use status::{ShipperStatus, ShipperStatusHandle};
pub use work::{Kept, LetterError, Letters};

use client::Client;
use work::Shipper;

/// A stream that a log can be shipped to.
#[derive(Clone, Debug)]
pub struct Destination {
    client: Client,
    config: ShipperConfig,
}

/// Why shipping ended.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The log's cursor cannot be read with.
    #[error("cannot ship the log")]
    Lane(#[from] LaneError),
    /// The log is damaged.
    #[error("cannot read the log")]
    Source(#[from] SourceError),
}

impl Destination {
    /// The stream that `config` names, if it names one. Reads what the AWS SDK reads: environment,
    /// profiles, and for the region the instance. Connects to no stream.
    pub async fn open(config: &ShipperConfig, aws: &AwsConfig) -> Option<Self> {
        let stream = config.stream.as_deref()?;
        Some(Self { client: Client::new(config, aws, stream).await, config: config.clone() })
    }

    /// Looks whether the streams are there and fit, within the limits for one request each.
    pub async fn check(&self) -> Checked {
        self.client.check(&self.config).await
    }

    /// Ships `log` with the cursor `cursor` until everything is acknowledged or `until` is there;
    /// returns whether everything is.
    ///
    /// # Errors
    /// See [`ShipError`].
    pub async fn ship<L: Letters>(
        &self,
        log: &Log,
        cursor: &str,
        letters: L,
        status: &ShipperStatusHandle,
        until: Instant,
    ) -> Result<bool, ShipError> {
        Ok(self.shipper(log, cursor, letters, status)?.drain(until).await?)
    }

    /// Sends the record of a dead letter once more.
    ///
    /// # Errors
    /// Why it is not in the stream.
    pub async fn resend(&self, letter: &DeadLetter) -> Result<(), String> {
        refuse::resend(&self.client, &self.config, letter).await
    }

    fn shipper<L: Letters>(
        &self,
        log: &Log,
        cursor: &str,
        letters: L,
        status: &ShipperStatusHandle,
    ) -> Result<Shipper<L>, LaneError> {
        let source = log.source(cursor)?;
        let (client, config) = (self.client.clone(), self.config.clone());
        Ok(Shipper::new(log.clone(), source, client, config, letters, status.clone()))
    }
}
