//! A data directory, and the processes that own it in turn.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http;

/// The AWS sample's programs, which the first start of `up` imports.
pub const PROGRAMS: [&str; 3] = ["212312", "212313", "212314"];

pub struct World {
    dir: tempfile::TempDir,
    data: PathBuf,
    pub settings: Vec<(String, String)>,
}

/// A running `clickgate`; killed when dropped, whichever way that comes, and then it must not have
/// panicked: a thread that is started again hides it from everybody else.
pub struct Process {
    child: Child,
    pub tracker: SocketAddr,
    pub admin: SocketAddr,
    /// Open, so that it can be read also when the world has gone before.
    log: File,
}

/// Two free addresses. Both are held until both are known: one that is given back
/// first may be handed out again as the second.
fn two_free_addresses() -> (SocketAddr, SocketAddr) {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = held.each_ref().map(|it| it.local_addr().unwrap());
    (first, second)
}

/// Whether a tool that a test needs is there. `./test` installs it and fails without
/// it; plain `cargo test` says what it skips.
pub fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let required = std::env::var("CLICKGATE_TEST_REQUIRE_TOOLS").is_ok();
    assert!(found || !required, "{tool} is missing");
    if !found {
        eprintln!("SKIPPED: {tool} is missing; ./test installs it");
    }
    found
}

/// Asks until the answer is yes, for 30 s at most.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let world = Self { dir, data, settings: Vec::new() };
        // Two cores run everything at once here; a miss that waits its turn is no outage.
        world.with("tracker.catalog.registry_timeout_ms", "10000")
    }

    /// With a setting, by its name in the configuration: `tracker.workers`.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    pub fn set(&mut self, key: &str, value: &str) {
        let name = format!("CLICKGATE__{}", key.to_uppercase().replace('.', "__"));
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// With its data elsewhere, as seen by the commands from now on.
    pub fn move_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    /// `clickgate` with the data directory of this world.
    pub fn clickgate(&self, arguments: &[&str]) -> Command {
        self.clickgate_under(&[], arguments)
    }

    /// The same, started by another program.
    fn clickgate_under(&self, under: &[&str], arguments: &[&str]) -> Command {
        let line = [under, &[env!("CARGO_BIN_EXE_clickgate")]].concat();
        let mut command = self.command(line[0]);
        command.args(&line[1..]).arg("--data").arg(self.data()).args(arguments);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.clickgate(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!text(&output).contains("panicked at"), "{arguments:?} panicked:\n{}", text(&output));
        output
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let out = self.ok(&[&["--json"], arguments].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Starts a role and waits until it is ready (or, without a tracker, owns the directory).
    pub fn start(&self, role: &str) -> Process {
        self.start_under(&[], role)
    }

    /// As `start`, by another program, which must become it.
    pub fn start_under(&self, under: &[&str], role: &str) -> Process {
        let (tracker, admin) = two_free_addresses();
        let log = self.dir.path().join(format!("{role}.{}.log", admin.port()));
        let output = File::create(&log).unwrap();
        let log = File::open(&log).unwrap();
        let words: Vec<&str> = role.split(' ').collect();
        let mut command = self.clickgate_under(under, &words);
        command
            .env("CLICKGATE__TRACKER__LISTEN", tracker.to_string())
            .env("CLICKGATE__ADMIN__LISTEN", admin.to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let child = command.spawn().unwrap();
        let mut process = Process { child, tracker, admin, log };
        let (address, target) = match role {
            "up" | "tracker" => (tracker, "/health/ready"),
            _ => (admin, "/log"),
        };
        eventually(&format!("{role} is ready"), || {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("{role} ended with {status}:\n{}", process.output());
            }
            let answer = http::Client::open(address).and_then(|mut client| {
                client.send(&format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
            });
            answer.is_ok_and(|answer| answer.status == 200)
        });
        process
    }

    /// The ids of all stored events, by a full scan; each must be there once.
    pub fn stored_ids(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for program in PROGRAMS {
            let lines = self.ok(&["--json", "events", "query", "--program", program, "--limit", "10000000"]);
            for line in lines.lines() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                let id =
                    event["messageId"].as_str().unwrap_or_else(|| panic!("no messageId: {line}")).to_owned();
                assert!(ids.insert(id), "stored twice: {line}");
            }
        }
        ids
    }

    /// `events count`, whose last line is the number.
    pub fn count(&self) -> usize {
        self.ok(&["events", "count"]).lines().last().unwrap().trim().parse().unwrap()
    }
}

impl Process {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, then its exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGTERM, then its exit status and all that it said.
    pub fn stop_and_read(mut self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        (self.wait(), self.output())
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    pub fn output(&self) -> String {
        let mut bytes = vec![0; self.log.metadata().unwrap().len() as usize];
        // By its place, as reading by turns would find only what is new.
        self.log.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let (process, output) = (self.child.id(), self.output());
        if std::thread::panicking() {
            eprintln!("--- process {process}\n{output}");
        } else {
            assert!(!output.contains("panicked at"), "process {process} panicked:\n{output}");
        }
    }
}

/// Both streams of a command.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
