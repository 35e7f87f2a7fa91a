//! The registry of a region: one Redis that many writers and many trackers share.

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
/// Needs a tokio runtime with a clock to be called; its connections live on a thread of
/// its own, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct RedisRegistry {
    link: Arc<Link>,
    keys: Arc<Keys>,
    counters: Arc<Counters>,
    sample: Option<Arc<Sample>>,
}

impl RedisRegistry {
    /// Makes ready to connect; the first call connects. Reads [`RedisConfig::ca_file`].
    ///
    /// # Errors
    /// All settings that cannot be used. That Redis is away is none.
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
            // An error says that the process has chosen one already.
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

    /// What it has been through.
    pub fn counts(&self) -> RedisCounts {
        self.counters.read()
    }

    /// The state as a follower sees it.
    async fn shown(&self, state: State) -> Result<State, RegistryError> {
        let Some(sample) = &self.sample else { return Ok(state) };
        let ready = state.ready || sample::is_filled(&self.link).await?;
        Ok(State { epoch: sample.mark(state.epoch), ready, ..state })
    }
}

impl Registry for RedisRegistry {
    async fn state(&self) -> Result<State, RegistryError> {
        let answer = script::GET.run(&self.link, &self.keys, &[Vec::new()]).await?;
        self.shown(answer.state).await
    }

    async fn get(&self, id: &ProgramId) -> Result<Versioned, RegistryError> {
        let arguments = [id.as_str().as_bytes().to_vec()];
        let mut answer = script::GET.run(&self.link, &self.keys, &arguments).await?;
        let entry = match answer.rest.next() {
            None | Some(Value::Nil) => Entry::Absent,
            row => Row::read(id, &script::bytes(row)?)?.into_entry(),
        };
        let state = self.shown(answer.state).await?;
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

    async fn import(&self, programs: Vec<Program>) -> Result<ImportReport, RegistryError> {
        writes::import(&self.link, &self.keys, programs).await
    }

    async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        // Before the walk: what changes during it is then compared once more.
        let mark = self.sample.as_ref().map(|sample| sample.mark(Epoch::from_u128(0)));
        let read = pages::read_from(&self.link, &self.keys, 0).await?;
        let mut state = self.shown(read.state).await?;
        let mut programs = Vec::with_capacity(read.rows.len());
        if let Some(mark) = mark {
            state.epoch = Epoch::from_u128(read.state.epoch.as_u128() ^ mark.as_u128());
            let found = sample::add_all(&self.link, &read.rows).await?;
            programs.extend(found.into_iter().map(|program| (0, program)));
        }
        let ours = read.rows.into_values();
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
        let state = self.shown(read.state).await?;
        if pages::is_reload(state, epoch, version) {
            return Ok(Changes::Reload);
        }
        Ok(Changes::List { state, changes: read.into_changes(state.epoch) })
    }

    async fn subscribe(&self) -> Result<Subscription, RegistryError> {
        follow::subscribe(&self.link, &self.keys, self.sample.as_ref()).await
    }
}
