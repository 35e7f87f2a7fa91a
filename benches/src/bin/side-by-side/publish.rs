//! The propagation delay of a program change: from the call that changes it in Redis, in this
//! process, to the first HTTP answer of a tracker, another process, that shows it.
//!
//! The figure includes the write in Redis, the publish, the tracker's update in memory, and one
//! request: an upper bound of PUBLISH to L1. The tracker holds 100,000 programs and is polled for
//! the changed one over one connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use programs::{Put, RedisConfig, RedisRegistry, Registry, read_programs};
use world::programs::{id, json};

use crate::contestant::{Clickgate, clear, eventually};
use crate::{Bench, PUBLISH};

/// Changes of a round; p99 is the 20th longest.
const CHANGES: u64 = 2_000;
const ROUNDS_MAX: usize = 3;
/// Between two changes: 200 a second at most.
const PAUSE: Duration = Duration::from_millis(5);
/// A change that is not visible by then is lost, and the run fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A round, in milliseconds.
pub struct Publish {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub disturbed: bool,
}

/// Every round; none without redis-server.
pub fn measure(bench: &Bench) -> io::Result<Vec<Publish>> {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        bench.say("publish: left out, redis-server is missing (apt-get install -y redis-server)");
        return Ok(Vec::new());
    }
    let redis = Redis::start(bench)?;
    let urls = vec![format!("redis://{}", redis.address)];
    let config = RedisConfig { urls: urls.clone(), response_timeout_ms: 10_000, ..RedisConfig::default() };
    let wrong = |errors: Vec<programs::RedisConfigError>| io::Error::other(format!("{errors:?}"));
    let registry = RedisRegistry::connect(&config).map_err(wrong)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = read_programs(&json()).map_err(|errors| io::Error::other(format!("{errors:?}")))?;
    runtime.block_on(registry.import(all)).map_err(io::Error::other)?;
    clear(bench)?;
    let settings = [("CLICKGATE__REGISTRY__KIND", "redis"), ("CLICKGATE__REGISTRY__REDIS__URLS", &urls[0])];
    let server = Clickgate::start(bench, &["tracker"], &settings)?;
    let mut viewer = Viewer::open(server.address)?;
    let mut rounds = Vec::new();
    for at in bench.rounds(PUBLISH).take(ROUNDS_MAX) {
        bench.say(&format!("publish, round {at}: {CHANGES} changes"));
        bench.wait_for_quiet(PUBLISH)?;
        let watch = bench.quiet.watch()?;
        let mut took = Vec::new();
        for change in 0..CHANGES {
            let revision = u64::from(at) * CHANGES + change + 2;
            took.push(runtime.block_on(change_and_see(&registry, &mut viewer, change, revision))?);
            sleep(PAUSE);
        }
        took.sort_unstable();
        let disturbed = watch.disturbed()?;
        let [p50, p99, max] =
            [50, 99, 100].map(|percent| took[took.len() * percent / 100 - 1].as_secs_f64() * 1_000.0);
        rounds.push(Publish { p50, p99, max, disturbed });
    }
    server.stop()?;
    clear(bench)?;
    Ok(rounds)
}

async fn change_and_see(
    registry: &RedisRegistry,
    viewer: &mut Viewer,
    nth: u64,
    revision: u64,
) -> io::Result<Duration> {
    let id = id(nth as usize);
    let name = format!("changed {revision}");
    let text = format!(
        r#"{{"programId":"{id}","programName":"{name}","customerId":1,"customerName":"Customer","valid":true,"revision":{revision}}}"#
    );
    let program = read_programs(&text).expect("what we write is what the importer reads").remove(0);
    let begin = Instant::now();
    let put = registry.put(program).await.map_err(io::Error::other)?;
    if !matches!(put, Put::Stored { .. }) {
        return Err(io::Error::other(format!("{id}: {put:?}")));
    }
    while !viewer.get(&format!("/event/{id}"))?.contains(&name) {
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{id} was changed, but the change is not visible")));
        }
    }
    Ok(begin.elapsed())
}

/// One connection to the tracker.
struct Viewer(BufReader<TcpStream>, SocketAddr);

impl Viewer {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream), address))
    }

    /// The body of the answer.
    fn get(&mut self, path: &str) -> io::Result<String> {
        write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.1)?;
        let mut line = String::new();
        let mut length = 0;
        loop {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().map_err(io::Error::other)?;
                }
                None if line == "\r\n" => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        String::from_utf8(body).map_err(io::Error::other)
    }
}

/// A server of our own; killed when dropped.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    fn start(bench: &Bench) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(bench.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let redis = Self { child, address };
        eventually("redis-server answers", || {
            let Ok(mut stream) = TcpStream::connect(address) else { return Ok(false) };
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            Ok(stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG")
        })?;
        Ok(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
