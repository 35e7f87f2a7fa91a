//! The registry of a region: one Redis that many writers and many trackers share.
//!
//! Redis 7.0 or later, Valkey, ElastiCache; alone, with replicas, or in cluster mode. Its
//! eviction policy must be `noeviction` or a `volatile` one: our keys have no TTL.
//!
//! # What is in Redis
//!
//! With the prefix `clickgate`:
//!
//! ```text
//! {clickgate}:meta      hash   format 1, epoch 67e55044-10b1-…, version 17, ready 1, server 5b92e…
//! {clickgate}:programs  hash   212312 → 17 00000000001763812345 {"programId":"212312",…}
//!                              212313 → 16 00000000001763812001      (a tombstone: no JSON)
//! {clickgate}:versions  zset   212313 → 16, 212312 → 17              (the change log)
//! {clickgate}:changes   channel, each message one of
//!     1 67e55044-10b1-… 17 212312 00000000001763812345 {"programId":"212312",…}
//!     1 67e55044-10b1-… 273 256     (256 changes up to version 273: read them)
//! ```
//!
//! The braces keep all of it in one slot of a cluster; the channel is then a sharded one. A
//! value is version, revision and JSON: one field, since a hash per program would cost
//! Redis more memory than the program. The revision has 20 digits, since Lua's numbers are exact
//! only up to 2^53.
//!
//! The change log has one entry per program, at the version of its last change, which is all
//! that a follower needs. It needs no trimming; a follower that is more than
//! [`CHANGE_LOG_MAX`](super::CHANGE_LOG_MAX) versions behind is told to reload nevertheless.
//!
//! # One script per change
//!
//! `apply.lua` checks the revisions, counts the version, writes the programs and the log, and
//! publishes. Redis runs a script atomically. It decides everything before it writes anything,
//! so an error leaves nothing behind.
//!
//! - **Epoch.** Created with the first change. Replaced, with programs, version and ready mark
//!   kept, by the first write to another server process, even one that changes nothing: a
//!   replica that was promoted, a server that restarted from a file. Replication is asynchronous,
//!   so that process may lack the last changes and would reuse versions that followers have seen.
//!   Within one epoch a version has one meaning. The price is one reload per failover.
//! - **Ready mark.** The last script of an [import](Registry::import) sets it, even an import
//!   of nothing; puts and removals never do. So an emptied Redis is not ready until
//!   everything is imported again. An operator who knows that a store is complete imports `[]`.
//! - **Import.** Scripts of up to 256 programs and 1 MiB, because a script blocks Redis
//!   while it runs: about 5 ms. Each becomes visible as a whole, one after the other. The ready
//!   mark comes with the last, so followers see all or nothing of a store's first import; of a
//!   later one they may see the first scripts before the last. An interrupted import is simply
//!   repeated.
//! - **Messages.** Up to 16 changes and 16 KiB of a script are published one by one, and a
//!   follower needs no read. More are published as a count.
//!
//! # What a failure looks like
//!
//! | what happens | detected by | result |
//! |---|---|---|
//! | Redis unreachable or frozen | every call, within its timeouts | [`RegistryError::Unavailable`]; connecting again, see `link.rs` |
//! | the answer to a write is lost | the writer | [`RegistryError::Unavailable`]; repeating it says [`Put::Unchanged`] |
//! | connection of the subscription cut, or silent for 7 s | PING, the socket | [`Notice::Closed`](super::Notice) |
//! | slot moves to another node | an unsubscribe push | [`Notice::Closed`](super::Notice); calls follow by themselves |
//! | message lost on the way | a hole in the versions, the follower's comparison | [`Registry::changes_since`] |
//! | message that cannot be read | the subscription, counted | [`Notice::Lagged`](super::Notice) |
//! | restarted empty, FLUSHALL | another epoch, no ready mark | [`Changes::Reload`]; followers keep what they hold |
//! | failover to a replica that lags | a version that fell back, then another epoch | [`Changes::Reload`] |
//! | write to a replica | `READONLY` | [`RegistryError::Unavailable`]; the address is looked up again |
//! | wrong password, a missing right | the call; a write before it changes anything | [`RegistryError::Denied`]; nothing written; tried again at the next call |
//! | memory full | `OOM` | [`RegistryError::Unavailable`]; nothing written, reads go on |
//! | one of the keys evicted or overwritten | every script | [`RegistryError::Damaged`], until all three are deleted and imported again |
//! | one unreadable row | each read, counted | the row is skipped, followers keep what they hold; a put overwrites it, valid JSON only with a higher revision |
//! | one row deleted by hand | a read of everything, counted | a look-up of its program says unknown, until it is put again |
//! | keys restored from different copies | a read of the change log | [`RegistryError::Damaged`], until all three are deleted and imported again |
//! | a newer release wrote rows with new keys | – | unknown keys are ignored |
//! | a newer release wrote another format | every script | [`RegistryError::Newer`] |
//! | script cache emptied (restart, `SCRIPT FLUSH`) | the call | the text is sent, once |
//!
//! A replica may be read (its state is one that the master had), but not in cluster mode.
//!
//! # The rights of a user
//!
//! ```text
//! user writer on >… ~{clickgate}:* &{clickgate}:changes +eval +evalsha +eval_ro +evalsha_ro
//!      +hmget +hget +hset +hlen +zcard +zadd +zrangebyscore +info +publish +subscribe +ping
//! user reader on >… %R~{clickgate}:* &{clickgate}:changes +eval_ro +evalsha_ro
//!      +hmget +hget +hlen +zcard +zrangebyscore +subscribe +ping
//! ```
//!
//! In cluster mode also `+cluster|slots`, `+spublish` and `+ssubscribe`; with the AWS sample all
//! keys, `&channel1` and `+hgetall +scan`. `INFO` identifies the server process. A script that
//! writes checks all its rights first, and names the one that is missing; for a missing right to
//! read, Redis 7.0 does not say which.
//!
//! # With the AWS sample
//!
//! With [`RedisConfig::aws_sample`], the hashes that its updater writes are programs too, unless
//! we have a program with the same id, and `channel1` is followed. They have version 0 and
//! revision 0, below any of ours. The updater sets no ready mark: an operator who knows that its
//! programs are complete imports `[]`. See `sample.rs`.

mod address;
mod config;
mod counts;
mod fault;
mod follow;
mod keys;
mod link;
mod pages;
mod row;
mod sample;
mod script;
mod writes;

use std::{fs, sync::Arc};

use redis::{TlsCertificates, Value};

use self::{counts::Counters, keys::Keys, link::Link, row::Row, sample::Sample};
use super::{
    Changes, Entry, Epoch, ImportReport, Put, Registry, RegistryError, Snapshot, State, Subscription,
    Version, Versioned,
};
use crate::{id::ProgramId, program::Program};

pub use config::{RedisConfig, RedisConfigError};
pub use counts::RedisCounts;

/// A registry in Redis; a clone is another handle to it.
///
/// Needs a tokio runtime with a clock to be called; its connections live on a separate thread, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct RedisRegistry {
    link: Arc<Link>,
    keys: Arc<Keys>,
    counters: Arc<Counters>,
    sample: Option<Arc<Sample>>,
}

impl RedisRegistry {
    /// Prepares the client; the first call connects. Reads [`RedisConfig::ca_file`].
    ///
    /// # Errors
    /// All invalid settings. An unreachable Redis is not an error here.
    pub fn connect(config: &RedisConfig) -> Result<Self, Vec<RedisConfigError>> {
        let errors = config.check();
        if !errors.is_empty() {
            return Err(errors);
        }
        let certificates = match &config.ca_file {
            None => None,
            Some(path) => {
                let read = fs::read(path).map_err(|error| {
                    vec![RedisConfigError {
                        field: "ca_file",
                        reason: format!("{}: {error}", path.display()),
                    }]
                })?;
                Some(TlsCertificates { client_tls: None, root_cert: Some(read) })
            }
        };
        if config.is_tls() {
            // An error means that the process has installed one already.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let counters = Arc::<Counters>::default();
        let link = Link::new(config, certificates, Arc::clone(&counters)).map_err(|error| {
            vec![RedisConfigError {
                field: "urls",
                reason: format!("no thread for the connections: {error}"),
            }]
        })?;
        let sample = config.aws_sample.then(Arc::default);
        Ok(Self { link: Arc::new(link), keys: Arc::new(Keys::new(config)), counters, sample })
    }

    /// Counts of its connections, calls and messages.
    pub fn counts(&self) -> RedisCounts {
        self.counters.read()
    }

    /// The state with the epoch that followers see.
    fn shown(&self, state: State) -> State {
        let epoch = self.sample.as_ref().map_or(state.epoch, |sample| sample.mark(state.epoch));
        State { epoch, ..state }
    }
}

impl Registry for RedisRegistry {
    fn has_version_per_change(&self) -> bool {
        self.sample.is_none()
    }

    async fn state(&self) -> Result<State, RegistryError> {
        let answer = script::GET.run(&self.link, &self.keys, &[Vec::new()]).await?;
        Ok(self.shown(answer.state))
    }

    async fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        let arguments = [id.as_str().as_bytes().to_vec()];
        let mut answer = script::GET.run(&self.link, &self.keys, &arguments).await?;
        let row = match answer.rest.next() {
            None | Some(Value::Nil) => None,
            row => Some(Row::read(id, &script::bytes(row)?)),
        };
        let state = self.shown(answer.state);
        let entry = match row {
            None => Entry::Absent,
            Some(Ok(row)) => row.into_entry(),
            Some(Err(error)) => {
                self.counters.leave_out(id.as_str(), &error);
                return Ok(Versioned { state: State { ready: false, ..state }, entry: Entry::Absent });
            }
        };
        if entry == Entry::Absent
            && self.sample.is_some()
            && let Some(program) = sample::get(&self.link, id).await?
        {
            return Ok(Versioned { state, entry: Entry::Program { version: 0, program } });
        }
        Ok(Versioned { state, entry })
    }

    async fn put(&self, program: Program) -> Result<Put, RegistryError> {
        writes::one(&self.link, &self.keys, writes::Edit::put(program)?).await
    }

    async fn remove(&self, id: &ProgramId, revision: u64) -> Result<Put, RegistryError> {
        writes::one(&self.link, &self.keys, writes::Edit::remove(id.clone(), revision)).await
    }

    async fn put_all(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        writes::all(&self.link, &self.keys, programs, false).await
    }

    async fn import(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        writes::all(&self.link, &self.keys, programs, true).await
    }

    async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        // Read before the walk: a change during it is found by the next comparison.
        let mark = self.sample.as_ref().map(|sample| sample.mark(Epoch::from_u128(0)));
        let read = pages::read_from(&self.link, &self.keys, 0).await?;
        let mut state = self.shown(read.state);
        let mut programs = Vec::with_capacity(read.rows.len());
        if let Some(mark) = mark {
            state.epoch = Epoch::from_u128(read.state.epoch.as_u128() ^ mark.as_u128());
            let found = sample::add_all(&self.link, &read.rows).await?;
            programs.extend(found.into_iter().map(|program| (0, program)));
        }
        let ours = read.rows.into_values().flatten();
        programs.extend(ours.filter_map(|row| row.program.map(|program| (row.version, program))));
        if self.sample.is_some() {
            programs.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        }
        Ok(Snapshot { state, programs })
    }

    async fn changes_since(&self, epoch: Epoch, version: Version) -> Result<Changes, RegistryError> {
        let state = self.state().await?;
        if pages::is_reload(state, epoch, version) {
            return Ok(Changes::Reload);
        }
        let read = pages::read_from(&self.link, &self.keys, version).await?;
        let state = self.shown(read.state);
        if pages::is_reload(state, epoch, version) {
            return Ok(Changes::Reload);
        }
        Ok(Changes::List { state, changes: read.into_changes(state.epoch) })
    }

    async fn subscribe(&self) -> Result<Subscription, RegistryError> {
        follow::subscribe(&self.link, &self.keys, self.sample.as_ref()).await
    }
}
