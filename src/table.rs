//! The table that the configuration chooses: a file of this machine, or DynamoDB for a region.
//!
//! Everybody asks it through [`Table`]. Known when the process starts and one of two, so an enum.

use std::sync::Arc;

use consumers::{
    Checked, Cost, Count, Cursor, DynamoTable, Given, GivenLimits, LedgerRow, LettersHeld, Listing,
    LocalTable, Query, Replayed, Start, Table, TableError, WhenFull, WriteBatch, Written,
};
use proto::{DeadLetter, Rejected, TrackingEvent, Uuid};
use stream::aws_sdk_config;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Settings;

/// One of them, open.
#[derive(Clone, Debug)]
pub enum AnyTable {
    Local(LocalTable),
    Dynamo(DynamoTable),
}

/// The table in DynamoDB that the settings name. Connects to nothing yet.
pub async fn dynamo(settings: &Settings) -> DynamoTable {
    let dynamo =
        consumers::DynamoConfig { name: settings.table.name.clone(), ..settings.table.dynamo.clone() };
    let sdk = aws_sdk_config(&settings.aws, dynamo.connect_timeout, dynamo.request_timeout).await;
    let mut client = aws_sdk_dynamodb::config::Builder::from(&sdk);
    client.set_endpoint_url(settings.aws.dynamodb_endpoint.clone());
    let client = aws_sdk_dynamodb::Client::from_conf(client.build());
    DynamoTable::new(client, &settings.consumer, &dynamo)
}

impl AnyTable {
    /// Whether it takes what is written. A file that could be opened does.
    pub async fn check(&self) -> Checked {
        match self {
            Self::Local(_) => Checked::Fit,
            Self::Dynamo(table) => table.check().await,
        }
    }
}

impl AnyTable {
    /// What this process has spent; a file costs nothing.
    pub fn cost(&self) -> Cost {
        match self {
            Self::Local(_) => Cost::default(),
            Self::Dynamo(table) => table.cost(),
        }
    }
}

/// Asks the one that it is.
macro_rules! ask {
    ($table:ident . $call:ident ( $($argument:expr),* )) => {
        match $table {
            AnyTable::Local(table) => table.$call($($argument),*).await,
            AnyTable::Dynamo(table) => table.$call($($argument),*).await,
        }
    };
}

impl Table for AnyTable {
    async fn write(&self, work: Arc<WriteBatch>) -> Result<Written, TableError> {
        ask!(self.write(work))
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        ask!(self.get(program, id))
    }

    async fn query(&self, query: Query) -> Result<Listing<TrackingEvent>, TableError> {
        ask!(self.query(query))
    }

    async fn tail(
        &self,
        program: Option<&str>,
        start: Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        ask!(self.tail(program, start, limit))
    }

    async fn count(&self, program: Option<&str>) -> Result<Count, TableError> {
        ask!(self.count(program))
    }

    async fn count_by_scan(&self, program: Option<&str>) -> Result<u64, TableError> {
        ask!(self.count_by_scan(program))
    }

    async fn has_had(&self, program: &str) -> Result<bool, TableError> {
        ask!(self.has_had(program))
    }

    async fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        ask!(self.rejected(start, limit, reason))
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        ask!(self.ledger())
    }

    async fn dead_letters(&self, start: Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        ask!(self.dead_letters(start, limit))
    }

    async fn dead_letters_held(&self) -> Result<LettersHeld, TableError> {
        ask!(self.dead_letters_held())
    }

    async fn dead_letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, TableError> {
        ask!(self.dead_letter(id))
    }

    async fn replay_dead_letter(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, TableError> {
        ask!(self.replay_dead_letter(id, now_ms))
    }

    async fn orphaned_by(&self, letter: &DeadLetter) -> Result<Option<Uuid>, TableError> {
        ask!(self.orphaned_by(letter))
    }

    async fn drop_dead_letter(&self, id: &Cursor) -> Result<bool, TableError> {
        ask!(self.drop_dead_letter(id))
    }

    async fn give_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, TableError> {
        ask!(self.give_dead_letters(letters, limits, when_full))
    }

    async fn maintain(&self, stop: watch::Receiver<Option<Instant>>) {
        ask!(self.maintain(stop));
    }
}
