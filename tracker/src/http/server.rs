//! Connects: sockets, workers with their lanes, the refresher, the end.
//!
//! # Stopping
//!
//! [`TrackerHandle::drain`] makes `/health/ready` answer 503 while hits are still
//! served; [`TrackerHandle::stop`] tells the open connections that this is the end (see
//! [`crate::http::closing`]), closes the listener, lets the hits in flight finish, and drops the
//! lanes. [`Tracker::run`] returns after the last lane is gone, so the
//! log may be closed then.

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
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tracing::{error, info};

use crate::{
    admin::TrackerAdmin,
    config::{Config, ConfigError},
    edge::{Edge, Site},
    http::{budget::Budget, buffers::Buffers, closing::Closing, connection::Worker, encode::Wire},
    metrics::latency::Latencies,
};

/// Connections that wait in the kernel for a worker.
const BACKLOG: u32 = 1_024;

/// A tracker with its address taken, not yet running.
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
    /// Settings that cannot be used; all of them are listed.
    #[error("{}", list(.0))]
    Config(Vec<ConfigError>),
    /// The address cannot be taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// Why a running tracker ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A worker could not get its lane of the log; nothing is served without one.
    #[error("a worker could not open its lane of the log: {0}")]
    Lane(LaneError),
    /// The workers could not be started, or ended.
    #[error("the workers ended: {0}")]
    Workers(io::Error),
}

/// Steers a tracker from outside. Cheap to clone.
#[derive(Clone)]
pub struct TrackerHandle {
    site: Arc<Site>,
    stop: watch::Sender<bool>,
}

impl TrackerHandle {
    /// `/health/ready` answers 503 from now on; hits are served as before.
    pub fn drain(&self) {
        self.site.draining.store(true, Ordering::Release);
    }

    /// No further connections; the open ones are told, and hits in flight finish, within `shutdown_timeout_seconds`.
    /// [`Tracker::run`] returns when that is done.
    pub fn stop(&self) {
        self.drain();
        self.stop.send_replace(true);
    }
}

impl<R: Registry> Tracker<R> {
    /// Checks the settings and takes the address; with port 0 a free one.
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

    /// To stop it.
    pub fn handle(&self) -> TrackerHandle {
        TrackerHandle { site: Arc::clone(&self.site), stop: self.stop.clone() }
    }

    /// For the admin address.
    pub fn admin(&self) -> TrackerAdmin {
        TrackerAdmin {
            site: Arc::clone(&self.site),
            refresher: self.refresher.clone(),
            latencies: Arc::clone(&self.latencies),
            address: self.address,
        }
    }

    /// Serves until [`TrackerHandle::stop`]; to be called inside an actix system.
    ///
    /// # Errors
    /// See [`RunError`]: the process should end.
    pub async fn run(self) -> Result<(), RunError> {
        let mut stop = self.stop.subscribe();
        let keeper = actix_rt::spawn(keep_refreshing(
            self.site.decider.catalog.clone(),
            Arc::clone(&self.registry),
            self.refresher.clone(),
        ));
        let (lanes, mut lanes_gone) = LaneGuard::channel();
        let failure: Arc<Mutex<Option<LaneError>>> = Arc::default();
        let common = Arc::new(Common {
            site: Arc::clone(&self.site),
            closing: Arc::default(),
            latencies: Arc::clone(&self.latencies),
        });
        let listener = self.listener.try_clone().ok();
        info!(address = %self.address, workers = self.site.config().workers_or_cores(), "tracker listens");

        let served = match start(&common, self.listener, lanes, Arc::clone(&failure)) {
            Ok(server) => {
                let handle = server.handle();
                // Spawned, so that a stop waits for it: a server that is dropped lets go of its clients.
                let mut server = actix_rt::spawn(server);
                tokio::select! {
                    ended = &mut server => ended,
                    _ = stop.wait_for(|stop| *stop) => {
                        common.closing.quieten(listener).await;
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
        // Every lane holds a guard; none sends anything.
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

/// Lives as long as the lane beside it, so that the end of the last one is noticed.
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
    common: &Arc<Common>,
    listener: TcpListener,
    lanes: LaneGuard,
    failure: Arc<Mutex<Option<LaneError>>>,
) -> io::Result<Server> {
    let config = common.site.config();
    let workers = config.workers_or_cores();
    let builder = Server::build()
        .workers(workers)
        .backlog(BACKLOG)
        .max_concurrent_connections(config.connections_per_worker_max)
        .shutdown_timeout(config.shutdown_timeout_seconds)
        .disable_signals();
    let common = Arc::clone(common);
    let factory = move || {
        let (common, lanes, failure) = (Arc::clone(&common), lanes.clone(), Arc::clone(&failure));
        fn_factory(move || {
            let opened = open(&common, lanes.clone(), workers, &failure);
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

/// A worker and its lane, on the worker's thread.
fn open(
    common: &Common,
    lanes: LaneGuard,
    workers: usize,
    failure: &Mutex<Option<LaneError>>,
) -> Result<Guarded, ()> {
    let site = Arc::clone(&common.site);
    let lane = site.log.open_lane().map_err(|error| {
        error!(%error, "a worker could not open its lane");
        failure.lock().expect("nothing panics while it is held").get_or_insert(error);
    })?;
    let worker = Worker {
        edge: Edge::new(Arc::clone(&site), lane, workers),
        closing: Arc::clone(&common.closing),
        latencies: common.latencies.worker(),
        buffers: Buffers::new(Budget::new(site.config().limits.bodies_bytes_max)),
        wire: Wire::default(),
        site,
    };
    Ok(Guarded { worker, _lanes: lanes })
}

/// What all workers share.
struct Common {
    site: Arc<Site>,
    closing: Arc<Closing>,
    latencies: Arc<Latencies>,
}

struct Guarded {
    // Dropped in this order: the guard tells that the lane is gone.
    worker: Worker,
    _lanes: LaneGuard,
}

fn list(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
