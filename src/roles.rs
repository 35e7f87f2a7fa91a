//! A role at work: claim the directory, open it, serve until a signal, drain.
//!
//! ```text
//! claim ─► log (recovery) ─► table ─► admin address ─► registry ─► tracker's address
//!       ─► shipper, consumer thread, program bridge, a bridge per queue ─► run.json ─► tracker workers
//!       ─► … a signal, or a part dies …
//!       ─► drain: not ready ─► linger ─► no new connections ─► hits finish ─► lanes closed
//!       ─► shipper, consumer and bridge catch up, within drain.grace_ms ─► rescue, if the disk ends with us
//!       ─► exit 0, or 3 with what is left
//! ```
//!
//! What runs is a list of parts ([`Part`]); only [`start_parts`] names them. The tracker's
//! workers are threads of their own; the shipper and the consumer's pull loop have a thread each, so
//! that none waits for another. A part that dies ends the process, the others being
//! drained first; but a program bridge that dies is started again, and the hits go on.

mod activemq;
mod admin;
mod consumer;
mod drain;
mod program_bridge;
mod rescue;
mod role;
mod shipper;
mod signals;
mod tracker;
mod welcome;

use std::sync::Arc;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use programs::{Registry, samples};
use tracing::info;
use uuid::Uuid;

use crate::admin::Admin;
use crate::cli::VERSION;
use crate::config::Settings;
use crate::cursors::EventSinks;
use crate::data::{DataDir, RunFile};
use crate::exit::{Failure, failed};
use crate::owner::Owner;
use crate::part::Part;
use crate::registry::AnyRegistry;
pub use activemq::poll;
use drain::Running;
pub use role::Role;
use signals::Signals;

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

/// Starts what `role` has beside the admin address. Adding a part is adding a line.
async fn start_parts(role: Role, owner: &Arc<Owner>) -> Result<Vec<Box<dyn Part>>, Failure> {
    let sinks = EventSinks::of(&owner.settings);
    let mut parts: Vec<Box<dyn Part>> = Vec::new();
    if role.tracks() {
        parts.push(Box::new(tracker::TrackerPart::bind(owner).await?));
    }
    if role.ships() && sinks.stream {
        parts.push(Box::new(shipper::ShipperPart::start(owner).await?));
    }
    if role.consumes() && (sinks.table || EventSinks::consumes_stream(&owner.settings)) {
        parts.push(Box::new(consumer::ConsumerPart::start(owner).await?));
    }
    if role.bridges_programs() {
        parts.push(Box::new(program_bridge::ProgramBridgePart::start(owner).await?));
    }
    if role.bridges_activemq() && !owner.settings.bridge.activemq.queues.is_empty() {
        parts.push(Box::new(activemq::ActiveMqPart::start(owner).await?));
    }
    Ok(parts)
}

async fn start(
    role: Role,
    settings: Settings,
    data: DataDir,
    prometheus: PrometheusHandle,
) -> Result<Running, Failure> {
    let owner = Arc::new(Owner::new(settings, data));
    let settings = &owner.settings;
    owner.log().await.map_err(failed("cannot start"))?;
    // A directory without a table has nothing for a consumer alone to do.
    if role == Role::Consumer || (role.consumes() && EventSinks::of(settings).table) {
        owner.events().await.map_err(failed("cannot start"))?;
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
    let first_start = role == Role::Up && import_samples(&owner).await?;
    let mut parts = start_parts(role, &owner).await?;
    owner.set_reports(parts.iter().filter_map(|part| part.report()).collect());
    let server =
        admin.serve(Arc::clone(&owner), prometheus).map_err(failed("cannot serve the admin address"))?;
    parts.push(Box::new(admin::AdminPart::start(server)));
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
        let hits = owner.running_tracker().map(|tracker| tracker.address());
        let stream = settings.shipper.config.stream.as_deref().filter(|_| role.ships());
        let screen = welcome::screen(role, &owner.data, hits, stream, admin_address, token, first_start);
        eprint!("{screen}");
    }
    parts.iter_mut().for_each(|part| part.begin());
    Ok(Running { owner: Arc::clone(&owner), parts, stores_events: role != Role::ProgramBridge })
}

/// On the first start, so that there is something to click on. Never into a registry that is
/// shared: that it is empty may be an accident, and three programs would make it one that was
/// filled, in which all others do not exist.
async fn import_samples(owner: &Owner) -> Result<bool, Failure> {
    let registry = owner.registry().await.map_err(failed("cannot start"))?;
    let AnyRegistry::Local(registry) = &**registry else { return Ok(false) };
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
