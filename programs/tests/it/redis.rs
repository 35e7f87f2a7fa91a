//! A real redis-server, or a cluster of them, for one test.
//!
//! Each has a free port and a temporary folder, and is killed through its handle. Only the
//! standard library and `tempfile` are needed, so other crates' tests take this file by its
//! path. Without redis-server a test is skipped and says so; with
//! `CLICKGATE_SERVERS_REQUIRED=1` it fails.
#![allow(dead_code, reason = "shared by several test binaries, none of which uses all of it")]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longest wait for a server to do what it was told.
const DEADLINE: Duration = Duration::from_secs(20);

/// Whether there is a redis-server. Logs to stderr if not.
///
/// # Panics
/// There is no redis-server, and the environment requires one.
pub fn is_installed() -> bool {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok() {
        return true;
    }
    assert!(is_optional(), "redis-server is not installed, and CLICKGATE_SERVERS_REQUIRED=1");
    tell_skipped("redis-server");
    false
}

/// Whether tests may be skipped.
pub fn is_optional() -> bool {
    env::var_os("CLICKGATE_SERVERS_REQUIRED").is_none_or(|required| required != "1")
}

/// Says on stderr that this test is skipped for lack of `tool`.
pub fn tell_skipped(tool: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    // Not `eprintln!`, which the test harness hides.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {tool} is not installed");
}

/// Waits until `holds`, at most 20 s.
///
/// # Panics
/// It never held.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "never {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// One server; dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    /// User and password with which [`RedisServer::command`] introduces itself.
    login: Option<(String, String)>,
    tls: bool,
}

impl RedisServer {
    /// A server that keeps nothing on disk; `None` if there is no redis-server.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with more options, such as `["--maxmemory", "1mb"]`.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        is_installed().then(|| Self::start_as(options, false, None))
    }

    /// A server that speaks only TLS, with the files that `certificate.pem` and `key.pem` name.
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        let certificate = certificate.display().to_string();
        let key = key.display().to_string();
        let options = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
        is_installed().then(|| Self::start_as(&options, true, None))
    }

    /// A server whose default user has this password, and which has the users of `acl`.
    pub fn start_with_password(password: &str, acl: &[&str]) -> Option<Self> {
        let mut options = vec!["--requirepass", password];
        for user in acl {
            options.extend(["--user", user]);
        }
        let login = Some(("default".to_owned(), password.to_owned()));
        is_installed().then(|| Self::start_as(&options, false, login))
    }

    fn start_as(options: &[&str], tls: bool, login: Option<(String, String)>) -> Self {
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        // Somebody else may take the port before the server does.
        for attempt in 1.. {
            let directory = tempfile::tempdir().expect("a temporary folder can be made");
            let port = free_port();
            let mut process = spawn(&directory, port, &options, tls);
            match wait_until_up(&mut process, port, tls) {
                Ok(()) => return Self { process, directory, port, options, login, tls },
                Err(error) => {
                    let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
                    assert!(attempt < 5, "redis-server does not start: {error}\n{log}");
                }
            }
        }
        unreachable!("the fifth attempt panics")
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `redis://` or `rediss://`.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", if self.tls { "rediss" } else { "redis" }, self.port)
    }

    /// Its folder.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Freezes it: connections are still taken by the kernel, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Kills it, if it runs, and starts it again on the same port; what was only in its memory is gone.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.directory, self.port, &self.options, self.tls);
        wait_until_up(&mut self.process, self.port, self.tls).expect("it started before");
    }

    /// Asks it, over a connection of its own; an error of the server begins with `-`. Texts are
    /// given as they are, numbers in digits, lists one element a line.
    pub fn command(&self, words: &[&str]) -> String {
        assert!(!self.tls, "this small client speaks no TLS");
        let login = self.login.as_ref().map(|(user, password)| ["AUTH", user.as_str(), password.as_str()]);
        ask(self.port, login.as_ref().map(|words| words.as_slice()), words).expect("redis answers")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(sent.expect("kill is a part of every system").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(directory: &TempDir, port: u16, options: &[String], tls: bool) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.path().join("log"));
    let port = port.to_string();
    let ports = if tls { ["--port", "0", "--tls-port", &port] } else { ["--port", &port, "--tls-port", "0"] };
    Command::new("redis-server")
        .args(ports)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--enable-debug-command", "local", "--dir"])
        .arg(directory.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.expect("a file can be made"))
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is there")
}

fn wait_until_up(process: &mut Child, port: u16, tls: bool) -> io::Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = process.try_wait()? {
            return Err(io::Error::other(format!("it ended with {status}")));
        }
        let up = match tls {
            true => TcpStream::connect(("127.0.0.1", port)).is_ok(),
            // Also an answer that asks for a password.
            false => ask(port, None, &["PING"]).is_ok_and(|answer| !answer.starts_with("-LOADING")),
        };
        if up {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(io::Error::other("it does not answer"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// One that is free now, also 10,000 above it, where a cluster's nodes would talk.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn ask(port: u16, login: Option<&[&str]>, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    for words in login.into_iter().chain([words]) {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes())?;
        let answer = read_answer(&mut reader)?;
        if std::ptr::eq(words, login.unwrap_or_default()) {
            assert_eq!(answer, "OK", "the login is refused");
        } else {
            return Ok(answer);
        }
    }
    unreachable!("the last words return")
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let Some(kind) = line.chars().next() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let length = || line[1..].parse::<i64>().map_err(io::Error::other);
    match kind {
        '$' => match usize::try_from(length()?) {
            Err(_) => Ok(String::new()),
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        },
        '*' => {
            let answers: io::Result<Vec<_>> = (0..length()?.max(0)).map(|_| read_answer(reader)).collect();
            Ok(answers?.join("\n"))
        }
        '-' => Ok(line.to_owned()),
        _ => Ok(line[1..].to_owned()),
    }
}

/// Several servers in cluster mode; the first ones are masters and share the slots evenly.
#[derive(Debug)]
pub struct RedisCluster {
    /// Masters, then replicas: the first replica is that of the first master, and so on.
    pub nodes: Vec<RedisServer>,
    masters: usize,
}

impl RedisCluster {
    /// A cluster in which every node knows every other and all slots are served; `None` if
    /// there is no redis-server. A replica takes over about 2 s after its master is gone, for
    /// which at least three masters are needed.
    pub fn start(masters: usize, replicas: usize) -> Option<Self> {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let nodes: Option<Vec<_>> =
            (0..masters + replicas).map(|_| RedisServer::start_with(&options)).collect();
        let cluster = Self { nodes: nodes?, masters };
        cluster.assemble();
        Some(cluster)
    }

    /// The addresses of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port)).collect()
    }

    /// Which node serves this key: the first one that does not send us on.
    pub fn owner_of(&self, key: &str) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let asked = ask(node.port, None, &["GET", key]);
            asked.is_ok_and(|answer| !answer.starts_with("-MOVED") && !answer.starts_with("-CLUSTERDOWN"))
        })
    }

    /// Gives the slot of `key` to another master, with what is in it.
    pub fn move_slot_of(&self, key: &str, to: usize) {
        let from = self.owner_of(key).expect("a node serves it");
        let slot = self.nodes[from].command(&["CLUSTER", "KEYSLOT", key]);
        let from = &self.nodes[from];
        let to = &self.nodes[to];
        let from_id = from.command(&["CLUSTER", "MYID"]);
        let to_id = to.command(&["CLUSTER", "MYID"]);
        assert_eq!(to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]), "OK");
        assert_eq!(from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]), "OK");
        let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let port = to.port.to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
        words.extend(keys.lines());
        assert_eq!(from.command(&words), "OK");
        for node in [to, from].into_iter().chain(&self.nodes) {
            assert_eq!(node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]), "OK");
        }
    }

    fn assemble(&self) {
        for (at, node) in self.nodes.iter().take(self.masters).enumerate() {
            let first = 16_384 * at / self.masters;
            let end = 16_384 * (at + 1) / self.masters;
            let range = [first.to_string(), (end - 1).to_string()];
            assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]), "OK");
            assert_eq!(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]), "OK");
        }
        for node in &self.nodes[1..] {
            let port = node.port.to_string();
            assert_eq!(self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port]), "OK");
        }
        self.wait_until("whole");
        for (at, replica) in self.nodes.iter().skip(self.masters).enumerate() {
            let master = self.nodes[at].command(&["CLUSTER", "MYID"]);
            eventually("replica", || replica.command(&["CLUSTER", "REPLICATE", &master]) == "OK");
            eventually("in step", || {
                replica.command(&["INFO", "replication"]).contains("master_link_status:up")
            });
        }
    }

    fn wait_until(&self, what: &str) {
        let known = format!("cluster_known_nodes:{}\r\n", self.nodes.len());
        for node in &self.nodes {
            eventually(what, || {
                let info = node.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&known)
            });
        }
    }
}
