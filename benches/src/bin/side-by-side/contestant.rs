//! The two servers that are compared, each alone on the first core.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stream::{Item, Log, LogConfig, RecordKind, Source};

use crate::Bench;
use crate::machine::{cpu, processes, resident_bytes};

/// Longest wait for a server to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// The process that answers; with nginx the only worker.
    pub pid: u32,
    pub address: SocketAddr,
    /// From the start of the process to the first answer that it is ready.
    pub ready_after: Duration,
}

impl Server {
    /// user+sys of the process so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(cpu(self.pid)?.own)
    }

    pub fn resident_bytes(&self) -> io::Result<u64> {
        resident_bytes(self.pid)
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        eventually("the server ends", || Ok(self.child.try_wait()?.is_some()))
    }

    fn start(mut command: Command, address: SocketAddr, log: &Path, ready: &str) -> io::Result<Self> {
        let output = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let start = Instant::now();
        let mut child = command.spawn()?;
        eventually(&format!("{command:?} is ready"), || {
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(log)?;
                return Err(io::Error::other(format!("{command:?} ended with {status}: {said}")));
            }
            Ok(get(address, ready).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })?;
        let pid = child.id();
        Ok(Self { child, pid, address, ready_after: start.elapsed() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx with `empty_gif` and a buffered access log: the cost of a pixel that is neither validated
/// nor durable.
pub struct Nginx;

impl Nginx {
    pub fn start(bench: &Bench) -> io::Result<Server> {
        let dir = bench.dir.path().join("nginx");
        std::fs::create_dir_all(&dir)?;
        let [address] = free_addresses()?;
        let root = dir.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|part| format!("{part}_temp_path {root}/{part};\n"))
            .concat();
        let config = format!(
            "daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;\n\
             user root;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n{temporary}\
             access_log {root}/access.log combined buffer=64k flush=1s;\n\
             keepalive_requests 1000000000;\n\
             server {{ listen {address} backlog=1024; location / {{ empty_gif; }} }}\n}}\n"
        );
        let file = dir.join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "nginx", "-c"]).arg(file);
        let mut server = Server::start(command, address, &dir.join("output"), "/")?;
        let worker = processes()?.into_iter().find(|(_, process)| process.parent == server.pid);
        server.pid = worker.ok_or_else(|| io::Error::other("nginx has no worker"))?.0;
        Ok(server)
    }
}

/// Ours.
pub struct Clickgate;

impl Clickgate {
    /// The command with the bench's data directory.
    pub fn command(bench: &Bench) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(&bench.clickgate).arg("--data").arg(bench.data());
        command
    }

    /// The tracker, alone, with one worker.
    pub fn tracker(bench: &Bench, settings: &[(&str, &str)]) -> io::Result<Server> {
        Self::start(bench, &["tracker"], settings)
    }

    /// A role with one worker, ready.
    pub fn start(bench: &Bench, role: &[&str], settings: &[(&str, &str)]) -> io::Result<Server> {
        let [tracker, admin] = free_addresses()?;
        let mut command = Self::command(bench);
        command
            .args(role)
            .env("CLICKGATE__TRACKER__LISTEN", tracker.to_string())
            .env("CLICKGATE__TRACKER__WORKERS", "1")
            .env("CLICKGATE__ADMIN__LISTEN", admin.to_string())
            .env("CLICKGATE__DRAIN__GRACE_MS", "0")
            .envs(settings.iter().copied());
        let log = bench.dir.path().join("clickgate.output");
        match role {
            ["consumer"] | ["bridge", ..] => Server::start(command, admin, &log, "/log"),
            _ => Server::start(command, tracker, &log, "/health/ready"),
        }
    }

    pub fn log_dir(bench: &Bench) -> PathBuf {
        bench.data().join("log")
    }

    /// Events in the log of a process that has ended, by reading it from its start to its end.
    pub fn events_in_log(bench: &Bench) -> io::Result<u64> {
        Self::each_event_in_log(bench, |_payload| {})
    }

    /// The same, and shows the payload of each.
    pub fn each_event_in_log(bench: &Bench, mut show: impl FnMut(&[u8])) -> io::Result<u64> {
        const CURSOR: &str = "table";
        let config = LogConfig { cursors: vec![CURSOR.into()], ..LogConfig::default() };
        let log = Log::open(&Self::log_dir(bench), "events", config).map_err(io::Error::other)?;
        let mut source = log.source(CURSOR).map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut events = 0;
        runtime.block_on(async {
            while let Some(batch) = source.next(4 << 20).await.map_err(io::Error::other)? {
                for item in &batch.items {
                    if let Item::Record(record) = item
                        && record.kind == RecordKind::Event
                    {
                        events += 1;
                        show(&record.payload);
                    }
                }
            }
            Ok(events)
        })
    }
}

/// Removes what both have written, except the programs. Otherwise the kernel would write dirty pages
/// back half a minute later, during another contestant's round.
pub fn clear(bench: &Bench) -> io::Result<()> {
    let access_log = bench.dir.path().join("nginx/access.log");
    for path in [Clickgate::log_dir(bench), bench.data().join("table.redb"), access_log] {
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One request on a connection of its own; the answer as text.
pub fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Polls until the condition holds.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("not within {} s: {what}", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Addresses of free ports. All are held until all are known: one that is given back
/// first may be handed out again as the next.
fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}
