//! A private ActiveMQ, set up as `config/local-servers activemq` does.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Bench;
use crate::contestant::eventually;
use crate::machine::cpu;

const HOME: &str = "/usr/share/activemq";
const SETUP: &str = include_str!("../../../../config/local-activemq.xml");

/// A running broker; killed when dropped.
pub struct Broker {
    child: Child,
    pub address: SocketAddr,
}

impl Broker {
    /// On the second core, beside the load, with an empty store; `None` if it is not installed.
    pub fn start(bench: &Bench) -> io::Result<Option<Self>> {
        let jar = Path::new(HOME).join("bin/activemq.jar");
        if !jar.exists() || Command::new("java").arg("-version").output().is_err() {
            return Ok(None);
        }
        let dir = bench.dir.path().join("activemq");
        fs::create_dir_all(dir.join("conf"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let at = dir.display().to_string();
        let setup = SETUP.replace("DIR", &at).replace("PORT", &address.port().to_string());
        fs::write(dir.join("conf/activemq.xml"), setup)?;
        let output = File::create(dir.join("output"))?;
        let child = Command::new("taskset")
            .args(["-c", "1", "java", "-Xmx512m"])
            .args([format!("-Dactivemq.home={HOME}"), format!("-Dactivemq.base={at}")])
            .args([format!("-Dactivemq.conf={at}/conf"), "-cp".to_owned()])
            .arg(format!("{at}/conf:{HOME}/lib/*:{HOME}/lib/optional/*"))
            .arg("-jar")
            .arg(jar)
            .args(["start".to_owned(), format!("xbean:file:{at}/conf/activemq.xml")])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut broker = Self { child, address };
        eventually("ActiveMQ listens", || {
            if let Some(status) = broker.child.try_wait()? {
                let said = fs::read_to_string(dir.join("output"))?;
                return Err(io::Error::other(format!("ActiveMQ ended with {status}: {said}")));
            }
            Ok(TcpStream::connect(address).is_ok())
        })?;
        Ok(Some(broker))
    }

    /// user+sys of its process so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(cpu(self.child.id())?.own)
    }

    pub fn url(&self) -> String {
        format!("stomp://{}", self.address)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
