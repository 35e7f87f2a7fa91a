//! One tracker with its own log, registry and port, and a client that speaks raw TCP.

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use programs::catalog::CatalogConfig;
use programs::{LocalRegistry, Program, Registry};
use proto::{LaneReport, Message, Rejected, TrackingEvent};
use stream::{Item, Log, LogConfig, RecordKind, Source};
use tempfile::TempDir;
use tracker::{Config, RunError, Tracker, TrackerAdmin, TrackerHandle};

/// The cursor that the tests read the log with.
const CURSOR: &str = "table";

pub struct World {
    pub address: SocketAddr,
    pub log: Log,
    pub registry: Arc<LocalRegistry>,
    pub admin: TrackerAdmin,
    pub handle: TrackerHandle,
    snapshotter: Snapshotter,
    counted: Mutex<HashMap<String, u64>>,
    thread: JoinHandle<Result<(), RunError>>,
    _dir: TempDir,
}

/// What the log held when the tracker had stopped.
#[derive(Default)]
pub struct Logged {
    pub events: Vec<TrackingEvent>,
    pub rejected: Vec<Rejected>,
    /// The last report of each lane.
    pub reports: HashMap<u32, LaneReport>,
}

pub fn config() -> Config {
    // A miss that waits its turn on a busy machine is no outage.
    let catalog = CatalogConfig { registry_timeout_ms: 60_000, ..CatalogConfig::default() };
    Config { listen: ([127, 0, 0, 1], 0).into(), workers: 2, catalog, ..Config::default() }
}

pub fn log_config() -> LogConfig {
    LogConfig {
        cursors: vec![CURSOR.into()],
        segment_bytes: 1 << 20,
        lane_bytes_max: 1 << 18,
        ..LogConfig::default()
    }
}

impl World {
    /// A ready tracker that knows `programs`.
    pub fn start(config: Config, programs: &str) -> Self {
        let world = Self::start_with(config, log_config(), programs);
        world.eventually("ready", |world| world.get("/health/ready").starts_with("HTTP/1.1 200"));
        world
    }

    pub fn start_with(config: Config, log_config: LogConfig, programs: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), "events", log_config).unwrap();
        let registry = Arc::new(LocalRegistry::open(&dir.path().join("programs.redb")).unwrap());
        let programs = programs::read_programs(programs).unwrap();
        block_on(registry.import(programs.into_iter().map(|program| program.or_revision(1)).collect()))
            .unwrap();
        Self::start_on(config, log, registry, dir)
    }

    fn start_on(config: Config, log: Log, registry: Arc<LocalRegistry>, dir: TempDir) -> Self {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let tracker = metrics::with_local_recorder(&recorder, || {
            Tracker::bind(config, log.clone(), Arc::clone(&registry)).unwrap()
        });
        let handle = tracker.handle();
        let admin = tracker.admin();
        let address = admin.address();
        let thread = std::thread::spawn(move || actix_rt::System::new().block_on(tracker.run()));
        Self {
            address,
            log,
            registry,
            admin,
            handle,
            snapshotter,
            counted: Mutex::default(),
            thread,
            _dir: dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self._dir.path()
    }

    pub fn get(&self, target: &str) -> String {
        self.request("GET", target, &[])
    }

    /// The whole answer, as text; bytes that are not UTF-8 are replaced.
    pub fn request(&self, method: &str, target: &str, headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: t.example\r\n{headers}Connection: close\r\n\r\n");
        String::from_utf8_lossy(&self.raw(request.as_bytes())).into_owned()
    }

    pub fn post(&self, target: &str, body: &[u8]) -> String {
        self.post_with(target, &[], body)
    }

    pub fn post_with(&self, target: &str, headers: &[&str], body: &[u8]) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let mut request = format!("POST {target} HTTP/1.1\r\nHost: t.example\r\n{headers}").into_bytes();
        let length = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        request.extend_from_slice(length.as_bytes());
        request.extend_from_slice(body);
        String::from_utf8_lossy(&self.raw(&request)).into_owned()
    }

    /// Sends `request` as it is and reads until the tracker closes the connection.
    pub fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // The tracker may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no end of the answer to {:?}: {error}", String::from_utf8_lossy(request)),
        }
        answer
    }

    pub fn put(&self, json: &str) {
        let program = program(json);
        block_on(self.registry.put(program)).unwrap();
    }

    /// Waits for what another thread is about to do.
    pub fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < end, "never {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All counters since the start that are not 0: `name{key=value,…}`.
    pub fn counters(&self) -> HashMap<String, u64> {
        let mut counted = self.counted.lock().unwrap();
        // A snapshot takes the counts away.
        for (key, _, _, value) in self.snapshotter.snapshot().into_vec() {
            let DebugValue::Counter(count) = value else { continue };
            let labels: Vec<_> = key.key().labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            if count > 0 {
                *counted.entry(format!("{}{{{}}}", key.key().name(), labels.join(","))).or_default() += count;
            }
        }
        counted.clone()
    }

    /// Stops as SIGTERM does and reads the log to its end.
    pub fn stop(self) -> Logged {
        self.handle.stop();
        self.thread.join().unwrap().unwrap();
        self.log.close();
        read(&self.log)
    }
}

pub fn program(json: &str) -> Program {
    programs::read_programs(json).unwrap().remove(0)
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub fn read(log: &Log) -> Logged {
    let mut source = log.source(CURSOR).unwrap();
    let mut logged = Logged::default();
    while let Some(batch) = block_on(source.next(1 << 20)).unwrap() {
        for item in batch.items {
            let Item::Record(record) = item else { continue };
            let payload = record.payload;
            match record.kind {
                RecordKind::Event => {
                    let event = TrackingEvent::decode(payload).unwrap();
                    assert_eq!((event.lane, event.number), (batch.lane, record.number));
                    logged.events.push(event);
                }
                RecordKind::Rejected => logged.rejected.push(Rejected::decode(payload).unwrap()),
                RecordKind::LaneReport => {
                    let report = LaneReport::decode(payload).unwrap();
                    logged.reports.insert(report.lane, report);
                }
                other => panic!("a tracker wrote {other:?}"),
            }
        }
    }
    logged
}
