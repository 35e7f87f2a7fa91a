//! A private ActiveMQ on a free port, killed when dropped.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START_WITHIN: Duration = Duration::from_secs(60);
const HOME: &str = "/usr/share/activemq";
const JARS: &str = "/usr/share/java";
/// What a broker needs for `jms-map-json` beside its own.
const TRANSFORMING: [&str; 2] = ["xstream.jar", "jettison.jar"];

/// How a broker is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Names with their passwords; anybody without any.
    pub users: Vec<(&'static str, &'static str)>,
    /// The one who alone may write into quarantine queues.
    pub quarantine_writer: Option<&'static str>,
    /// A PKCS #12 file with key and certificate, of password `secret`.
    pub key_store: Option<PathBuf>,
    /// Another one, with the authorities whose certificates every client must have.
    pub client_authorities: Option<PathBuf>,
    /// It speaks OpenWire too, for JMS clients, and can make JSON of Map messages.
    pub jms: bool,
}

/// A broker that runs, or was killed and can be started again.
pub struct ActiveMq {
    dir: tempfile::TempDir,
    pub port: u16,
    /// OpenWire's.
    jms_port: u16,
    setup: Setup,
    child: Option<Child>,
}

/// Whether the broker and stomp.py are there. `./test` installs them and fails without them.
pub fn is_installed() -> bool {
    let python = Command::new("/usr/bin/python3").args(["-c", "import stomp"]).stderr(Stdio::null()).status();
    let found = Path::new(HOME).join("bin/activemq.jar").exists() && python.is_ok_and(|it| it.success());
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let required = std::env::var("CLICKGATE_TEST_REQUIRE_TOOLS").is_ok();
    assert!(found || !required, "activemq or python3-stomp is missing");
    if !found {
        eprintln!("SKIPPED: activemq or python3-stomp is missing; ./test installs them");
    }
    found
}

/// Whether a JMS client can be compiled, and Map messages be made JSON.
pub fn has_jms() -> bool {
    let compiler = Command::new("javac").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let jars = TRANSFORMING.iter().all(|jar| Path::new(JARS).join(jar).exists());
    let found = compiler.is_ok() && jars;
    #[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
    let required = std::env::var("CLICKGATE_TEST_REQUIRE_TOOLS").is_ok();
    assert!(found || !required, "javac, xstream or jettison is missing");
    if !found {
        eprintln!("SKIPPED: javac, xstream or jettison is missing; ./test installs them");
    }
    found
}

/// A port below those that the system hands out: it takes seconds until a broker has its port, and
/// meanwhile another test would be given it.
fn free_port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let port = fastrand::u16(15_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
}

impl ActiveMq {
    /// One that takes anybody, or `None` if it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with(Setup::default())
    }

    pub fn start_with(setup: Setup) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Self { dir, port: free_port(), jms_port: free_port(), setup, child: None };
        std::fs::create_dir_all(broker.dir.path().join("conf")).unwrap();
        let ext = broker.dir.path().join("ext");
        std::fs::create_dir(&ext).unwrap();
        if broker.setup.jms {
            for jar in TRANSFORMING {
                std::os::unix::fs::symlink(Path::new(JARS).join(jar), ext.join(jar)).unwrap();
            }
        }
        broker.run();
        Some(broker)
    }

    pub fn url(&self) -> String {
        let scheme = if self.setup.key_store.is_some() { "stomp+ssl" } else { "stomp" };
        format!("{scheme}://localhost:{}", self.port)
    }

    /// For a JMS client.
    pub fn jms_url(&self) -> String {
        assert!(self.setup.jms, "it was not set up so");
        format!("tcp://127.0.0.1:{}", self.jms_port)
    }

    /// Starts it, at the same port and with what it kept.
    pub fn run(&mut self) {
        let conf = self.dir.path().join("conf");
        let xml = conf.join("activemq.xml");
        std::fs::write(&xml, self.xml()).unwrap();
        let output = File::create(self.dir.path().join("output")).unwrap();
        let child = Command::new("java")
            .args([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                &format!("-Dactivemq.home={HOME}"),
            ])
            .arg(format!("-Dactivemq.base={}", self.dir.path().display()))
            .arg(format!("-Dactivemq.conf={}", conf.display()))
            .args(["-jar", &format!("{HOME}/bin/activemq.jar"), "start"])
            .arg("--extdir")
            .arg(self.dir.path().join("ext"))
            .arg(format!("xbean:file:{}", xml.display()))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        self.child = Some(child);
        // A virtual machine starts slowly beside three others.
        let deadline = Instant::now() + START_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the broker does not listen within {START_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it, as a machine that hangs does, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    fn xml(&self) -> String {
        let mut plugins = String::new();
        for (name, password) in &self.setup.users {
            let _ = write!(
                plugins,
                r#"<authenticationUser username="{name}" password="{password}" groups="all,{name}"/>"#
            );
        }
        if !plugins.is_empty() {
            plugins =
                format!("<simpleAuthenticationPlugin><users>{plugins}</users></simpleAuthenticationPlugin>");
        }
        if let Some(writer) = self.setup.quarantine_writer {
            let entry = |attribute: &str, writer: &str| {
                format!(r#"<authorizationEntry {attribute} read="all" write="{writer}" admin="all"/>"#)
            };
            let _ = write!(
                plugins,
                "<authorizationPlugin><map><authorizationMap><authorizationEntries>{}{}{}</authorizationEntries>\
                 </authorizationMap></map></authorizationPlugin>",
                // Of all entries that fit, each grants; so none may fit everything.
                entry(r#"queue="orders""#, "all"),
                entry(r#"queue="*.QUARANTINE""#, writer),
                entry(r#"topic=">""#, "all"),
            );
        }
        if !plugins.is_empty() {
            plugins = format!("<plugins>{plugins}</plugins>");
        }
        let (ssl, uri) = match &self.setup.key_store {
            None => (String::new(), "stomp"),
            Some(file) => {
                let file = file.display();
                let trust = self.setup.client_authorities.as_ref().map_or(String::new(), |file| {
                    let file = file.display();
                    format!(
                        r#" trustStore="file:{file}" trustStorePassword="secret" trustStoreType="PKCS12""#
                    )
                });
                let context = format!(
                    r#"<sslContext><sslContext keyStore="file:{file}" keyStorePassword="secret" keyStoreType="PKCS12"{trust}/></sslContext>"#
                );
                (context, "stomp+ssl")
            }
        };
        let port = self.port;
        let options = if self.setup.client_authorities.is_some() { "?needClientAuth=true" } else { "" };
        let jms_port = self.jms_port;
        let jms = match self.setup.jms {
            true => format!(r#"<transportConnector name="jms" uri="tcp://127.0.0.1:{jms_port}"/>"#),
            false => String::new(),
        };
        let data = self.dir.path().join("data");
        let data = data.display();
        format!(
            r#"<beans xmlns="http://www.springframework.org/schema/beans"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
<broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" brokerName="b" dataDirectory="{data}" schedulerSupport="false">
<persistenceAdapter><kahaDB directory="{data}/kahadb"/></persistenceAdapter>
{plugins}{ssl}
<transportConnectors><transportConnector name="stomp" uri="{uri}://127.0.0.1:{port}{options}"/>{jms}</transportConnectors>
</broker></beans>"#
        )
    }
}

impl Drop for ActiveMq {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default();
            eprintln!("--- broker\n{}", said.lines().take(60).collect::<Vec<_>>().join("\n"));
        }
        self.kill();
    }
}
