//! Core data: programs, their rules for hits, and the registry that stores them.
//!
//! # The path of a change
//!
//! ```text
//! JSON ── read_programs ── Program ── put / import ──► registry: value, version, change log
//!         all good, or     checked    one transaction     │ committed
//!         every error      once       at a time           ▼
//!                                                      subscription ──► refresher ──► catalog (L1)
//!                                                         ╎ a hole          │            │
//!                                                         └╌╌► changes_since│            ▼
//!                                                              ╎            │         decision
//!                                                              └╌► all      └──► snapshot on disk
//! ```
//!
//! Every check against programs goes through [`catalog`] and [`decision::decide`]: the tracker's for
//! hits, and later those of bridges for broker messages.
//!
//! | what waits | bound | when it is full |
//! |---|---|---|
//! | errors of one text | [`IMPORT_ERRORS_MAX`], 100 | reading stops, nothing is imported |
//! | JSON of one program | [`PROGRAM_BYTES_MAX`], 1 MiB | the entry is an error |
//! | writers of the local registry | one at a time | they wait |
//! | notices of one subscriber | [`registry::SUBSCRIPTION_CHANGES_MAX`], 1,024 | the oldest are lost, [`Notice::Lagged`] says how many |
//! | change log | [`registry::CHANGE_LOG_MAX`], 100,000 | the oldest are forgotten, [`Changes::Reload`] |
//! | programs in the catalog | `tracker.catalog.entries_max`, 100,000 | the least recently used is evicted; its next hit reads it again |
//! | registry reads | `tracker.catalog.loads_max`, 1,024, one per id | a miss is unverified at once, nothing is read in the background |
//! | the refresher's mailbox | 16 requests for a full load | the next one waits |
//! | changes waiting for the last-good snapshot | 100,000 | all programs are loaded and rewritten |
//! | callers of the registry in Redis | their own (the catalog's `loads_max`); one connection, timeouts | [`RegistryError::Unavailable`] |
//!
//! A writer never waits for a follower. The guarantees for followers and writers are in
//! [`registry`].
//!
//! [`Program::validity`], [`ParameterRule::check`] and [`LandingUrl::render`] are pure, and
//! [`decision::decide`] puts them together.

mod absent;
pub mod catalog;
pub mod decision;
mod id;
mod import;
mod landing;
mod program;
pub mod refresher;
pub mod registry;
pub mod rfc3339;
pub mod rules;
mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use id::{InvalidProgramId, PROGRAM_ID_BYTES_MAX, ProgramId};
pub use import::{IMPORT_ERRORS_MAX, ImportError, PROGRAM_BYTES_MAX, read_programs};
pub use landing::{FallbackUrl, InvalidUrl, LandingUrl, URL_BYTES_MAX};
pub use program::{BoxedTerms, Invalid, Program, REVISION_MAX, TEXT_BYTES_MAX, Terms, Texts};
pub use registry::{
    Change, Changes, Entry, Epoch, ImportReport, LocalRegistry, Notice, Put, RedisConfig, RedisConfigError,
    RedisCounts, RedisRegistry, Refused, Registry, RegistryError, Snapshot, State, Subscription, Version,
    Versioned,
};
pub use rules::{ParameterKind, ParameterRule, ParameterRules};

/// The AWS sample's three programs (212312, 212313, 212314), with landing URLs and
/// without revisions; the first start on a machine imports them.
pub fn samples() -> Vec<Program> {
    read_programs(include_str!("samples.json")).expect("the file is compiled in and tested")
}
