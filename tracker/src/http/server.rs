//! Wires up the listener, the workers with their lanes, and the refresher.
//!
//! # Stopping
//!
//! [`TrackerHandle::drain`] makes `/health/ready` answer 503 while hits are still
//! served; [`TrackerHandle::stop`] closes open connections gracefully (see
//! [`crate::http::closing`]), closes the listener, lets hits in flight finish, and drops the
//! lanes. [`Tracker::run`] returns after the last lane is dropped, so the log may be closed then.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::{Arc, Mutex, atomic::Ordering},
};

use actix_server::Server;
use actix_service::{fn_factory, fn_service};
use programs::Registry;
use programs::refresher::{RefresherAddress, keep_refreshing};
use stream::{LaneError, Log};
use supervise::causes;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tracing::{error, info};

use crate::{
    admin::TrackerAdmin,
    config::{Config, ConfigError},
    edge::Edge,
    edge::site::Site,
    http::{budget::Budget, buffers::BufferPool, closing::Closing, connection::Worker, encode::Encoder},
    metrics::latency::Latencies,
};

/// Connections that may wait in the kernel for a worker.
const BACKLOG: u32 = 1_024;

/// A tracker that is bound to its address and not yet running.
pub struct Tracker<R> {
    site: Arc<Site>,
    registry: Arc<R>,
    listener: TcpListener,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    refresher: RefresherAddress,
    latencies: Arc<Latencies>,
}

/// Why a tracker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Invalid settings; all of them are listed.
    #[error("{}", list(.0))]
    Config(Vec<ConfigError>),
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// Why a running tracker ended without being stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker could not open its lane of the log; it cannot serve without one.
    #[error("a worker could not open its lane of the log")]
    Lane(#[source] LaneError),
    /// The workers could not be started, or ended.
    #[error("the workers ended")]
    Workers(#[source] io::Error),
}

/// Drains and stops a tracker. Cheap to clone.
#[derive(Clone)]
pub struct TrackerHandle {
    site: Arc<Site>,
    stop: watch::Sender<bool>,
}

impl TrackerHandle {
    /// Makes `/health/ready` answer 503; hits are served as before.
    pub fn drain(&self) {
        self.site.draining.store(true, Ordering::Release);
    }

    /// Refuses new connections and lets hits in flight finish, within `shutdown_timeout_seconds`.
    /// [`Tracker::run`] returns when that is done.
    pub fn stop(&self) {
        self.drain();
        self.stop.send_replace(true);
    }
}

impl<R: Registry> Tracker<R> {
    /// Checks the settings and binds the address; port 0 means any free port.
    ///
    /// Metrics go to the recorder of the calling thread.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(config: Config, log: Log, registry: Arc<R>) -> Result<Self, BindError> {
        config.check().map_err(BindError::Config)?;
        let listen = |source| BindError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let site = Site::new(config, log, Arc::clone(&registry));
        let (stop, _) = watch::channel(false);
        Ok(Self {
            site: Arc::new(site),
            registry,
            listener,
            address,
            stop,
            refresher: RefresherAddress::default(),
            latencies: Arc::default(),
        })
    }

    /// A handle to drain and stop it.
    pub fn handle(&self) -> TrackerHandle {
        TrackerHandle { site: Arc::clone(&self.site), stop: self.stop.clone() }
    }

    /// Its side for the admin address.
    pub fn admin(&self) -> TrackerAdmin {
        TrackerAdmin {
            site: Arc::clone(&self.site),
            refresher: self.refresher.clone(),
            latencies: Arc::clone(&self.latencies),
            address: self.address,
        }
    }

    /// Serves until [`TrackerHandle::stop`]. Must be called inside an actix system.
    ///
    /// # Errors
    /// See [`RunError`]; the process should exit.
    pub async fn run(self) -> Result<(), RunError> {
        let mut stop = self.stop.subscribe();
        let keeper = actix_rt::spawn(keep_refreshing(
            self.site.decider.catalog.clone(),
            Arc::clone(&self.registry),
            self.refresher.clone(),
        ));
        let (lanes, mut lanes_gone) = LaneGuard::channel();
        let failure: Arc<Mutex<Option<LaneError>>> = Arc::default();
        let shared = Arc::new(Shared {
            site: Arc::clone(&self.site),
            closing: Arc::default(),
            latencies: Arc::clone(&self.latencies),
        });
        let listener = self.listener.try_clone().ok();
        info!(address = %self.address, workers = self.site.config().workers_or_cores(), "tracker is listening");

        let served = match start(&shared, self.listener, lanes, Arc::clone(&failure)) {
            Ok(server) => {
                let handle = server.handle();
                // Spawned, as a server dropped by `select!` would abandon its clients.
                let mut server = actix_rt::spawn(server);
                tokio::select! {
                    ended = &mut server => ended,
                    _ = stop.wait_for(|stop| *stop) => {
                        shared.closing.drain(listener).await;
                        handle.stop(true).await;
                        server.await
                    }
                }
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            Err(error) => Err(error),
        };
        keeper.abort();
        self.refresher.clear();
        // Completes when the last guard is dropped; nothing is ever sent.
        let _ = lanes_gone.recv().await;
        let refused = failure.lock().expect("nothing panics while it is held").take();
        match (refused, served) {
            (Some(error), _) => Err(RunError::Lane(error)),
            (None, Err(error)) => Err(RunError::Workers(error)),
            (None, Ok(())) if *stop.borrow() => Ok(()),
            (None, Ok(())) => Err(RunError::Workers(io::Error::other("the server stopped by itself"))),
        }
    }
}

/// Dropped with a worker's lane, so that [`Tracker::run`] can wait for the last one.
#[derive(Clone)]
struct LaneGuard {
    _alive: mpsc::Sender<()>,
}

impl LaneGuard {
    fn channel() -> (Self, mpsc::Receiver<()>) {
        let (alive, gone) = mpsc::channel(1);
        (Self { _alive: alive }, gone)
    }
}

/// Builds the workers; each opens its lane on its own thread.
fn start(
    shared: &Arc<Shared>,
    listener: TcpListener,
    lanes: LaneGuard,
    failure: Arc<Mutex<Option<LaneError>>>,
) -> io::Result<Server> {
    let config = shared.site.config();
    let workers = config.workers_or_cores();
    let builder = Server::build()
        .workers(workers)
        .backlog(BACKLOG)
        .max_concurrent_connections(config.connections_per_worker_max)
        .shutdown_timeout(config.shutdown_timeout_seconds)
        .disable_signals();
    let shared = Arc::clone(shared);
    let factory = move || {
        let shared = Arc::clone(&shared);
        let lanes = lanes.clone();
        let failure = Arc::clone(&failure);
        fn_factory(move || {
            let opened = open(&shared, lanes.clone(), workers, &failure);
            async move {
                let guarded = Rc::new(opened?);
                Ok::<_, ()>(fn_service(move |socket: TcpStream| {
                    let guarded = Rc::clone(&guarded);
                    async move {
                        let peer = socket.peer_addr().ok();
                        guarded.worker.serve(socket, peer).await;
                        Ok::<(), ()>(())
                    }
                }))
            }
        })
    };
    Ok(builder.listen("tracker", listener, factory)?.run())
}

/// Opens a lane and builds the worker on it; called on the worker's thread.
fn open(
    shared: &Shared,
    lanes: LaneGuard,
    workers: usize,
    failure: &Mutex<Option<LaneError>>,
) -> Result<Guarded, ()> {
    let site = Arc::clone(&shared.site);
    let lane = site.log.open_lane().map_err(|error| {
        error!(error = causes(&error), "a worker could not open its lane");
        failure.lock().expect("nothing panics while it is held").get_or_insert(error);
    })?;
    let worker = Worker {
        edge: Edge::new(Arc::clone(&site), lane, workers),
        closing: Arc::clone(&shared.closing),
        latencies: shared.latencies.worker(),
        buffers: BufferPool::new(Budget::new(site.config().limits.bodies_bytes_max)),
        encoder: Encoder::default(),
        site,
    };
    Ok(Guarded { worker, _lanes: lanes })
}

/// State shared by all workers.
struct Shared {
    site: Arc<Site>,
    closing: Arc<Closing>,
    latencies: Arc<Latencies>,
}

struct Guarded {
    // Fields drop in this order: the guard must outlive the lane.
    worker: Worker,
    _lanes: LaneGuard,
}

fn list(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
