//! Connects: sockets, workers with their lanes, the refresher, the end.
//!
//! # Why not `actix_web::App`?
//!
//! The edge has a handful of prefixes and fixed paths, and must count every request, also
//! those that match nothing or are no HTTP. A plain `HttpService` gives us both: the
//! request as it came, and, as the service's error, what its parser refused. In front of it,
//! [`crate::http::connection`] answers the hits.
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
    time::{Duration, Instant},
};

use actix_http::{HttpService, KeepAlive, Request, Response, body::BoxBody, error::DispatchError};
use actix_server::Server;
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use programs::Registry;
use stream::{LaneError, Log};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tracing::{error, info};

use crate::{
    admin::TrackerAdmin,
    answer::Answer,
    config::{Config, ConfigError},
    edge::{Edge, Site},
    http::closing::Closing,
    http::{buffers::Buffers, connection::Short, encode::Wire, rewound::Rewound},
    latency::{Latencies, WorkerLatencies},
    refresher::{RefresherAddress, keep_refreshing},
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

    /// Where it listens.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        vec![self.address]
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
        }
    }

    /// Serves until [`TrackerHandle::stop`]; to be called inside an actix system.
    ///
    /// # Errors
    /// See [`RunError`]: the process should end.
    pub async fn run(self) -> Result<(), RunError> {
        let mut stop = self.stop.subscribe();
        let keeper = actix_rt::spawn(keep_refreshing(
            self.site.catalog.clone(),
            Arc::clone(&self.registry),
            self.site.config.catalog.refresh_queue_max,
            self.refresher.clone(),
        ));
        let (lanes, mut lanes_gone) = LaneGuard::channel();
        let failure: Arc<Mutex<Option<LaneError>>> = Arc::default();
        let common = Arc::new(Common {
            site: Arc::clone(&self.site),
            closing: Closing::default(),
            latencies: Arc::clone(&self.latencies),
        });
        let listener = self.listener.try_clone().ok();
        info!(address = %self.address, workers = self.site.config.workers_or_cores(), "tracker listens");

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
    let config = &common.site.config;
    let workers = config.workers_or_cores();
    let builder = Server::build()
        .workers(workers)
        .backlog(BACKLOG)
        .max_concurrent_connections(config.connections_per_worker_max)
        .shutdown_timeout(config.shutdown_timeout_seconds)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let common = Arc::clone(common);
    let worker = move || {
        let (common, lanes, failure) = (Arc::clone(&common), lanes.clone(), Arc::clone(&failure));
        let stopping = stopping.clone();
        fn_factory(move || {
            let lane = common.site.log.open_lane();
            let (common, lanes, failure) = (Arc::clone(&common), lanes.clone(), Arc::clone(&failure));
            let stopping = stopping.clone();
            async move {
                match lane {
                    Ok(lane) => {
                        let edge = Edge::new(Arc::clone(&common.site), lane, workers);
                        let latencies = common.latencies.worker();
                        let (buffers, wire) = (Rc::default(), Wire::default());
                        let worker = Worker { edge, common, latencies, buffers, wire, _lanes: lanes };
                        http(worker, stopping).await
                    }
                    Err(error) => {
                        error!(%error, "a worker could not open its lane");
                        failure.lock().expect("nothing panics while it is held").get_or_insert(error);
                        Err(())
                    }
                }
            }
        })
    };
    Ok(builder.listen("tracker", listener, worker)?.run())
}

/// What all workers share, and what is counted around them.
struct Common {
    site: Arc<Site>,
    closing: Closing,
    latencies: Arc<Latencies>,
}

struct Worker {
    // Dropped in this order: the guard tells that the lane is gone.
    edge: Edge,
    common: Arc<Common>,
    latencies: Arc<WorkerLatencies>,
    buffers: Rc<Buffers>,
    wire: Wire,
    _lanes: LaneGuard,
}

impl Worker {
    fn short_way(&self) -> Short<'_> {
        Short {
            edge: &self.edge,
            site: &self.common.site,
            closing: &self.common.closing,
            latencies: &self.latencies,
            buffers: &self.buffers,
            wire: &self.wire,
        }
    }
}

/// What serves a connection: the short way for hits, and for the rest HTTP/1 by actix-http with
/// our limits, and what it refuses counted.
async fn http(
    worker: Worker,
    stopping: actix_server::GracefulShutdownSignal,
) -> Result<impl Service<TcpStream, Response = (), Error = ()> + use<>, ()> {
    let worker = Rc::new(worker);
    let long = Rc::new(long_way(Rc::clone(&worker), stopping).new_service(()).await?);
    Ok(fn_service(move |socket: TcpStream| {
        let (worker, long) = (Rc::clone(&worker), Rc::clone(&long));
        async move {
            // Without it pipelined answers wait for the client's delayed acknowledgement.
            let _ = socket.set_nodelay(true);
            let peer = socket.peer_addr().ok();
            let Some(rest) = worker.short_way().serve(socket, peer).await else { return Ok(()) };
            long.call((rest, peer)).await.map_err(|error| {
                if let DispatchError::Parse(_) = error {
                    worker.common.site.counters.http_malformed.increment(1);
                }
            })
        }
    }))
}

fn long_way(
    worker: Rc<Worker>,
    stopping: actix_server::GracefulShutdownSignal,
) -> impl ServiceFactory<
    (Rewound, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> + use<> {
    let site = Arc::clone(&worker.common.site);
    let config = &site.config;
    HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(config.keep_alive_seconds)))
        .client_request_timeout(Duration::from_millis(config.client_request_timeout_ms))
        .client_disconnect_timeout(Duration::from_millis(config.client_disconnect_timeout_ms))
        .h1(fn_service(move |mut request: Request| {
            let worker = Rc::clone(&worker);
            let body = request.take_payload();
            async move {
                let began = Instant::now();
                let answer = worker.edge.answer(request.head(), body).await;
                worker.latencies.observe(request.path(), &worker.common.site.config.prefixes, began);
                Ok::<Answer, Response<BoxBody>>(worker.common.closing.mark(answer))
            }
        }))
}

fn list(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
