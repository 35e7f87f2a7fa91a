//! DynamoDB's side of [`Table`]: one table a region, for any number of workers.
//!
//! Partition key `pk` and sort key `sk`, both text; `expires_at`, in seconds, is the TTL attribute.
//! In keys an hour is eight digits of hours since 1970, a time twelve hex digits of milliseconds, a
//! place `boot-lane-number` in hex; a `#` in a program id is escaped, so none is mistaken for ours.
//!
//! | item | `pk` | `sk` | holds | written |
//! |---|---|---|---|---|
//! | event | `program#hour#bucket` (32 by the id's hash) | time`-`message id | `event`: its bytes, unchanged | in batches, without condition: it is a function of the record |
//! | identity | `id#program#message id` | `-` | time, boot, lane, number of the record that has a sender's id | if there is none, or it is this record's, or it had expired when this record was received |
//! | hour | `hours#program`, `rejected-hours` | hour | nothing: there is something in this hour | by each worker once, before the first item of the hour |
//! | refused hit | `rejected#hour-bucket` (8) | time`-`place | `rejected`: its bytes | in batches, without condition |
//! | block | `ledger#boot-lane` | number / 256 | a bitmap per fate, `token` | if its token is the one that was read |
//! | lane | `lanes#bucket` (16) | `boot-lane` | abandoned ranges, end, newest report; `token` | if its token is the one that was read |
//! | letter's head | `letters` | stage`-`place | `kind`, when it died, bytes, `token`, `claims` | if there is none |
//! | letter's piece | `letter#`stage`-`place | token`-`piece | 350,000 bytes of the letter | before its head |
//!
//! A lease of a shard has `lease#stream`, and is not ours. Events and identities expire together,
//! after `expiry_days`; DynamoDB removes what is expired within days, and until then it is not
//! shown, not counted, and stands in nobody's way. Blocks and lanes do not expire.
//!
//! # What a crash leaves
//!
//! The order of a write is letters, hours, identities, items, lanes, blocks, what lanes say. A record
//! is done once its block says so; until then it comes again.
//!
//! | after | there is | and the record, when it comes again |
//! |---|---|---|
//! | a piece of a letter | a piece that nobody reads | writes other pieces, and the head |
//! | a letter | a letter that no ledger counts | finds it by its place |
//! | an hour | an hour without items, which readers visit in vain | goes on |
//! | an identity | an id that is taken; another record of it is a duplicate already | finds its own |
//! | an item | an event that no ledger counts | writes the same item |
//! | a lane | a lane without numbers | goes on |
//! | some blocks | numbers that are done | goes on with the others |
//! | all blocks | all but a report, abandoned ranges or the end | says those again |
//!
//! Two workers may do all of this with the same records at once. A block takes each number once: the
//! slower one reads it again and counts nothing. So the fates in the ledger add up, and only a
//! letter's bound may be passed for a moment.
//!
//! Replaying a letter stores its record, then changes its number's fate, then removes the letter;
//! dropping changes the fate first. A crash between leaves a letter that can be replayed or dropped
//! again with the same result.
//!
//! # What it costs
//!
//! A write unit is 1 KB of an item, and an event is mostly less: one unit an event, two with a
//! sender's id, one for each write of a block (so one for 256 events of a lane that come together)
//! and one for each lane report, every ten seconds. [`DynamoTable::cost`] counts what DynamoDB says.
//!
//! # What is bounded, and what happens when it is full
//!
//! | what | at most | then |
//! |---|---|---|
//! | requests at the same time | `requests_max` | callers wait |
//! | items of a request | 25, 2 MiB | another request |
//! | attempts at a request, with its unprocessed items | `attempts_max`, full jitter | throttled: [`Written::left`] says what is left; else an error |
//! | blocks, lanes and hours in memory | 4,096, 4,096, 16,384 | they are forgotten and read again |
//! | an event's bytes | 407,552 | it becomes a dead letter |

mod batch;
mod block;
mod check;
mod client;
mod config;
mod create;
mod dead;
mod fault;
mod hours;
mod identity;
mod item;
mod keys;
mod ledger;
mod letters;
mod read;
mod scan;
mod versioned;
mod write;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use proto::{DeadLetter, Rejected, TrackingEvent, Uuid};
use supervise::now_ms;
use tokio::sync::watch;
use tokio::time::Instant;

pub use check::Checked;
pub use client::Cost;
pub use config::DynamoConfig;

use self::client::Db;
use self::hours::Hours;
use self::ledger::Ledger;
use self::letters::Room;
use crate::config::Config;
use crate::decode::WriteBatch;
use crate::ledger::LedgerRow;
use crate::table::{
    Count, Cursor, Given, GivenLimits, LettersHeld, Listing, Query, Replayed, Start, Table, TableError,
    WhenFull, Written,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The table of a region. A clone is the same table, with the same memory of what it wrote.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    db: Db,
    settings: Settings,
    ledger: Arc<Ledger>,
    hours: Arc<Hours>,
}

/// What a worker goes by.
#[derive(Clone, Copy, Debug)]
struct Settings {
    expiry_ms: u64,
    rejected_expiry_ms: u64,
    letters_max: Room,
}

impl Settings {
    /// How long the events of a partition of hours are kept.
    fn kept_ms(&self, hours: &str) -> u64 {
        if hours == keys::REJECTED_HOURS { self.rejected_expiry_ms } else { self.expiry_ms }
    }
}

impl DynamoTable {
    /// The table, without a look at whether it is there: [`check`](Self::check) does that. `client`
    /// must make one attempt a call, as what goes again is decided here.
    pub fn new(client: Client, config: &Config, dynamo: &DynamoConfig) -> Self {
        let db = Db::new(client, dynamo);
        let settings = Settings {
            expiry_ms: u64::from(config.expiry_days) * DAY_MS,
            rejected_expiry_ms: u64::from(config.rejected_days) * DAY_MS,
            letters_max: Room { letters: config.dead_letters_max, bytes: config.dead_letters_bytes_max },
        };
        Self { db, settings, ledger: Arc::default(), hours: Arc::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.db.table
    }

    /// What the calls of this process have cost so far.
    pub fn cost(&self) -> Cost {
        self.db.cost()
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }
}

impl Table for DynamoTable {
    async fn write(&self, work: Arc<WriteBatch>) -> Result<Written, TableError> {
        Ok(self.write_all(&work).await?)
    }

    async fn get(&self, program: &str, id: Uuid) -> Result<Option<TrackingEvent>, TableError> {
        Ok(self.event(program, id).await?)
    }

    async fn query(&self, query: Query) -> Result<Listing<TrackingEvent>, TableError> {
        self.events(&query).await
    }

    async fn tail(
        &self,
        program: Option<&str>,
        start: Start,
        limit: usize,
    ) -> Result<Listing<TrackingEvent>, TableError> {
        let Some(program) = program else {
            return Err(TableError::NotOffered(
                "DynamoDB has its events by program: name one with --program".to_owned(),
            ));
        };
        self.newest_events(program, &start, limit).await
    }

    async fn count(&self, program: Option<&str>) -> Result<Count, TableError> {
        let Some(program) = program else {
            return Err(TableError::NotOffered(
                "DynamoDB keeps no count of all events: name a program with --program, or have the whole \
                 table read with --scan, which costs half a read unit for each 4 KB of it"
                    .to_owned(),
            ));
        };
        Ok(Count { items: self.count_of(program).await?, expired: 0 })
    }

    async fn count_by_scan(&self, program: Option<&str>) -> Result<u64, TableError> {
        Ok(match program {
            Some(program) => self.count_of(program).await?,
            None => self.count_all().await?,
        })
    }

    async fn has_had(&self, program: &str) -> Result<bool, TableError> {
        Ok(self.has_hours_of(program).await?)
    }

    async fn rejected(
        &self,
        start: Start,
        limit: usize,
        reason: Option<&str>,
    ) -> Result<Listing<Rejected>, TableError> {
        self.refused(&start, limit, reason).await
    }

    async fn ledger(&self) -> Result<Vec<LedgerRow>, TableError> {
        Ok(self.db.ledgers().await?)
    }

    async fn dead_letters(&self, start: Start, limit: usize) -> Result<Listing<DeadLetter>, TableError> {
        self.list_letters(&start, limit).await
    }

    async fn dead_letters_held(&self) -> Result<LettersHeld, TableError> {
        Ok(self.letters_held().await?)
    }

    async fn dead_letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, TableError> {
        Ok(self.letter(id).await?)
    }

    async fn replay_dead_letter(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, TableError> {
        Ok(self.replay(id, now_ms).await?)
    }

    async fn drop_dead_letter(&self, id: &Cursor) -> Result<bool, TableError> {
        Ok(self.drop_letter(id).await?)
    }

    async fn give_dead_letters(
        &self,
        letters: Vec<DeadLetter>,
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, TableError> {
        Ok(self.give(&letters, limits, when_full).await?)
    }

    /// DynamoDB removes what has expired.
    async fn maintain(&self, mut stop: watch::Receiver<Option<Instant>>) {
        let _ = stop.wait_for(Option::is_some).await;
    }
}
