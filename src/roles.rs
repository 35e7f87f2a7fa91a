//! A role at work: claim the directory, open it, serve until a signal, drain.
//!
//! ```text
//! claim ─► log (recovery) ─► table ─► registry ─► admin address ─► tracker's address
//!       ─► run.json ─► consumer thread, program bridge, tracker workers
//!       ─► … a signal, or somebody dies …
//!       ─► drain: not ready ─► linger ─► no new connections ─► hits finish ─► lanes closed
//!       ─► consumer and bridge catch up, within drain.grace_ms ─► rescue, if the disk ends with us
//!       ─► exit 0, or 3 with what is left
//! ```
//!
//! The tracker's workers are threads of their own; the consumer's pull loop has a thread and a
//! runtime of its own, so that neither waits for the other. Whoever dies with an error ends the
//! process, the others being drained first; but a program bridge that dies is started again,
//! and the hits go on.

mod bridge;
mod consumer;
mod drain;
mod rescue;
mod signals;
mod welcome;

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use bridges::programs::RunningBridge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use programs::{LocalRegistry, Registry, samples};
use supervise::causes;
use tracing::info;
use tracker::{Tracker, TrackerHandle};
use uuid::Uuid;

use crate::admin::Admin;
use crate::cli::VERSION;
use crate::config::Settings;
use crate::data::{DataDir, RunFile};
use crate::exit::Failure;
use crate::owner::Owner;
use crate::registry::AnyRegistry;
use consumer::Consumer;
use signals::Signals;

/// Which roles a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All of them.
    Up,
    Tracker,
    Consumer,
    ProgramBridge,
}

impl Role {
    /// The subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Tracker => "tracker",
            Self::Consumer => "consumer",
            Self::ProgramBridge => "bridge programs",
        }
    }

    fn tracks(self) -> bool {
        matches!(self, Self::Up | Self::Tracker)
    }

    fn consumes(self) -> bool {
        matches!(self, Self::Up | Self::Consumer)
    }

    /// Whether core data goes from the log into the registry here.
    fn bridges_programs(self) -> bool {
        matches!(self, Self::Up | Self::ProgramBridge)
    }
}

/// Everything that runs, and what is needed to stop it.
struct Running {
    role: Role,
    owner: Arc<Owner>,
    tracker: Option<RunningTracker>,
    consumer: Option<Consumer>,
    program_bridge: Option<RunningBridge>,
    admin: ServerHandle,
    admin_task: actix_rt::task::JoinHandle<std::io::Result<()>>,
}

struct RunningTracker {
    handle: TrackerHandle,
    task: actix_rt::task::JoinHandle<Result<(), tracker::RunError>>,
}

/// Runs `role` on `data` until it is told to stop.
///
/// # Errors
/// It cannot start, or it died, or records are left in the log.
pub fn run(role: Role, settings: Settings, data: DataDir) -> Result<(), Failure> {
    let signals = Signals::install().map_err(failed("cannot listen for signals"))?;
    data.create()?;
    let claim = data.claim()?;
    let prometheus = PrometheusBuilder::new().install_recorder().map_err(failed("cannot count"))?;
    let ended = actix_rt::System::new().block_on(async {
        let mut running = start(role, settings, data.clone(), prometheus).await?;
        let why = running.until_something_ends(&signals).await;
        running.drain(why).await
    });
    data.remove_run_file();
    drop(claim);
    ended
}

async fn start(
    role: Role,
    settings: Settings,
    data: DataDir,
    prometheus: PrometheusHandle,
) -> Result<Running, Failure> {
    let owner = Arc::new(Owner::new(settings, data));
    let settings = &owner.settings;
    let log = owner.log().await.map_err(failed("cannot start"))?;
    if role.consumes() {
        owner.table().await.map_err(failed("cannot start"))?;
    }
    let token = settings.admin.token.clone().unwrap_or_else(random_token);
    let admin = Admin::bind(settings.admin.listen, token.clone()).map_err(|error| {
        Failure::Failed(format!(
            "cannot listen on the admin address {}: {error}; set admin.listen to a free one, for example \
             CLICKGATE__ADMIN__LISTEN=127.0.0.1:0",
            settings.admin.listen
        ))
    })?;
    let admin_address = admin.address();
    let mut first_start = false;
    let mut hits = None;
    let mut tracker = None;
    if role.tracks() {
        let registry = owner.registry().await.map_err(failed("cannot start"))?;
        if let (Role::Up, AnyRegistry::Local(registry)) = (role, &**registry) {
            first_start = import_samples(registry).await?;
        }
        let bound = Tracker::bind(owner.tracker_config(), log.clone(), Arc::clone(registry));
        let bound = bound.map_err(failed("cannot start the tracker"))?;
        owner.set_tracker(bound.admin());
        hits = bound.local_addrs().first().copied();
        tracker = Some(bound);
    }
    let consumer = if role.consumes() { Some(Consumer::start(&owner).await?) } else { None };
    let program_bridge = if role.bridges_programs() { Some(bridge::start(&owner).await?) } else { None };
    let (server, admin) = admin
        .serve(Arc::clone(&owner), prometheus, hits)
        .map_err(failed("cannot serve the admin address"))?;
    let admin_task = actix_rt::spawn(server);
    owner.data.write_run_file(&RunFile {
        pid: std::process::id(),
        role: role.name().to_owned(),
        admin: admin_address,
        token: token.clone(),
        version: VERSION.to_owned(),
    })?;
    info!(role = role.name(), version = VERSION, data = %owner.data.path().display(), admin = %admin_address, "started");
    if !settings.log.json {
        // A token of the configuration outlives the process; it is not shown.
        let token = if settings.admin.token.is_none() { Some(token.as_str()) } else { None };
        eprint!("{}", welcome::screen(role, &owner.data, hits, admin_address, token, first_start));
    }
    let tracker = tracker
        .map(|tracker| RunningTracker { handle: tracker.handle(), task: actix_rt::spawn(tracker.run()) });
    Ok(Running { role, owner: Arc::clone(&owner), tracker, consumer, program_bridge, admin, admin_task })
}

/// On the first start, so that there is something to click on. Never into a registry that is
/// shared: that it is empty may be an accident, and three programs would make it one that was
/// filled, in which all others do not exist.
async fn import_samples(registry: &LocalRegistry) -> Result<bool, Failure> {
    let state = registry.state().await.map_err(failed("cannot read the registry"))?;
    if state.version > 0 {
        return Ok(false);
    }
    // The lowest revision: whatever an operator imports is newer.
    let programs = samples().into_iter().map(|program| program.or_revision(0)).collect();
    registry.import(programs).await.map_err(failed("cannot import the sample programs"))?;
    Ok(true)
}

/// 244 random bits.
fn random_token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// An error that ends the process, with its causes.
fn failed<E: std::error::Error>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Failed(format!("{what}: {}", causes(&error)))
}
