//! A real kinesis-local for one test, or one for all of them.
//!
//! Each is a process on a free port of 127.0.0.1 that keeps what it knows in a temporary folder,
//! if at all. It ends with the process that started it, also if that one is killed: it holds the
//! other end of its standard input.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::stream::Stream;
use crate::aws_json::AwsJson;
use crate::redis::server::{is_optional, tell_skipped};
use crate::world::eventually;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One server; dropping it kills it.
#[derive(Debug)]
pub struct KinesisServer {
    process: Child,
    port: u16,
    directory: TempDir,
    settings: Vec<(String, String)>,
}

/// Whether a program of `target/test-tools` is there; says what is skipped if not.
///
/// # Panics
/// It is not, and the environment requires it.
pub fn is_installed(tool: &str, place: &Path) -> bool {
    let found = place.exists();
    assert!(found || is_optional(), "{} is missing, and CLICKGATE_SERVERS_REQUIRED=1", place.display());
    if !found {
        tell_skipped(tool);
    }
    found
}

impl KinesisServer {
    /// The one that all tests of this process share; `None` if kinesis-local is not installed.
    /// Keep to streams of your own there, and do not kill it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<KinesisServer>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One that may be killed.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// One with more settings, by the names in its README: `("CREATE_STREAM_DURATION", "5s")`.
    /// With `("SHOULD_PERSIST_DATA", "true")` it knows after a restart what it had written down.
    pub fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        let package = package();
        if !is_installed("kinesis-local", Path::new(&package)) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let (process, port) = spawn(0, directory.path(), &settings);
        Some(Self { process, port, directory, settings })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it writes down what it keeps.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it, as a power cut does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it take connections and do nothing, until it is killed.
    pub fn pause(&self) {
        kill_process(Pid::from_child(&self.process), Signal::STOP).unwrap();
    }

    /// Starts it again on the same port, after [`Self::kill`].
    pub fn restart(&mut self) {
        (self.process, _) = spawn(self.port, self.directory.path(), &self.settings);
    }

    /// What happens to its standard input when this process ends.
    pub fn close_stdin(&mut self) {
        self.process.stdin = None;
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// A client of it.
    pub fn client(&self) -> AwsJson {
        AwsJson::new(self.port, "Kinesis_20131202")
    }

    /// A new stream with a name of its own.
    pub fn new_stream(&self, shards: u32) -> Stream {
        self.create_stream(&format!("stream-{:016x}", fastrand::u64(..)), shards)
    }

    /// A new stream, which can be used now and is deleted when dropped.
    pub fn create_stream(&self, name: &str, shards: u32) -> Stream {
        let stream = Stream::new(self.client(), name);
        stream.call("CreateStream", json!({ "StreamName": name, "ShardCount": shards }));
        stream.wait_until_active();
        stream
    }

    /// The names of its streams.
    pub fn streams(&self) -> Vec<String> {
        let answer = self.client().call("ListStreams", &json!({ "Limit": 10_000 })).unwrap();
        let names = answer.json()["StreamNames"].as_array().cloned().unwrap();
        names.iter().map(|name: &Value| name.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for KinesisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn package() -> String {
    format!("{ROOT}/target/test-tools/node_modules/kinesis-local")
}

/// A process that listens, and its port.
fn spawn(port: u16, directory: &Path, settings: &[(String, String)]) -> (Child, u16) {
    let mut command = Command::new("node");
    command
        .args([&format!("{ROOT}/config/kinesis-local.js"), &package()])
        .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
        .env("PERSIST_PATH", directory)
        .env("CLICKGATE_END_WITH_STDIN", "1")
        // Its own time-outs, shards and log lines are in nobody's way.
        .envs(["CREATE", "DELETE"].map(|what| (format!("{what}_STREAM_DURATION"), "5ms")))
        .envs(["SPLIT_SHARD", "MERGE_SHARDS"].map(|what| (format!("{what}_DURATION"), "5ms")))
        .envs([("SHARD_LIMIT", "100000"), ("LOG_LEVEL", "ERROR")])
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut process = command.spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
    let listens = said.next().and_then(|line| line.ok()?.rsplit_once(':')?.1.parse().ok());
    let port = listens.unwrap_or_else(|| panic!("kinesis-local did not start: {:?}", process.wait()));
    // Whatever it says later must be read, or it would wait for that.
    std::thread::spawn(move || said.for_each(drop));
    eventually("kinesis-local answers", || {
        AwsJson::new(port, "Kinesis_20131202")
            .call("ListStreams", &json!({}))
            .is_ok_and(|it| it.status == 200)
    });
    (process, port)
}
