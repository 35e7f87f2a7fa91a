//! A real ministack, which all tests of a process share.
//!
//! It is a process on a free port of 127.0.0.1 that keeps nothing, and ends with the process that
//! started it, also if that one is killed: a shell waits for the end of its standard input.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

/// How long it may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Kills the server when standard input ends.
const UNTIL_STDIN_ENDS: &str =
    r#""$0" </dev/null >/dev/null 2>&1 & child=$!; cat >/dev/null; kill -9 $child"#;

/// A server.
pub struct Ministack {
    port: u16,
    /// Its standard input is held until this process ends.
    _process: Child,
}

impl Ministack {
    /// The one of this process; `None` if it is not installed. Keep to tables of your own there.
    ///
    /// # Panics
    /// It is not installed, and the environment requires it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Ministack>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    fn start() -> Option<Self> {
        let program = format!("{}/target/test-tools/python/bin/ministack", root());
        if !std::path::Path::new(&program).exists() {
            #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
            let required = std::env::var("CLICKGATE_SERVERS_REQUIRED").is_ok_and(|required| required == "1");
            assert!(!required, "{program} is missing, and CLICKGATE_SERVERS_REQUIRED=1");
            eprintln!("SKIPPED: ministack is not installed (config/install python-tools)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("sh")
            .args(["-c", UNTIL_STDIN_ENDS, &program])
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("LOG_LEVEL", "ERROR")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { port, _process: process };
        let began = Instant::now();
        while !server.is_ready() {
            assert!(began.elapsed() < READY_WITHIN, "ministack is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /_ministack/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The workspace, whichever of its crates is tested.
fn root() -> String {
    let crate_root = env!("CARGO_MANIFEST_DIR");
    crate_root.strip_suffix("/consumers").unwrap_or(crate_root).to_owned()
}

/// A client of what listens on this port of 127.0.0.1: one attempt a call, as the command has it.
pub fn client(port: u16, attempt_timeout: Duration) -> aws_sdk_dynamodb::Client {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt_timeout).build();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}
