//! TLS: whom the bridge trusts, and who it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::broker::{ActiveMq, Setup};
use super::{is_connected, lines_with, unvalidated_at};
use crate::documents::{scrape, value};
use crate::world::{World, eventually, has};

struct Authority {
    dir: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let authority = Self { dir: dir.join(name) };
        std::fs::create_dir_all(&authority.dir).unwrap();
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
        ]);
        authority
    }

    /// A key store with a certificate for `host`.
    fn key_store(&self, host: &str) -> PathBuf {
        let subject = format!("/CN={host}");
        self.openssl(&[
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "b.key", "-out", "b.csr", "-subj", &subject,
        ]);
        std::fs::write(self.dir.join("ext"), format!("subjectAltName=DNS:{host}\n")).unwrap();
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "b.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            "b.pem",
        ]);
        self.openssl(&[
            "pkcs12",
            "-export",
            "-in",
            "b.pem",
            "-inkey",
            "b.key",
            "-passout",
            "pass:secret",
            "-out",
            "b.p12",
        ]);
        self.dir.join("b.p12")
    }

    /// A store with the authority's own certificate, for a broker that asks its clients for theirs.
    fn trust_store(&self) -> PathBuf {
        let file = self.dir.join("trust.p12");
        let status = Command::new("keytool")
            .args([
                "-importcert",
                "-noprompt",
                "-alias",
                "ca",
                "-storetype",
                "PKCS12",
                "-storepass",
                "secret",
            ])
            .arg("-file")
            .arg(self.dir.join("ca.pem"))
            .arg("-keystore")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "keytool");
        file
    }

    /// A certificate for a client, and its key.
    fn client(&self) -> [String; 2] {
        self.key_store("client");
        ["b.pem", "b.key"].map(|name| {
            let file = self.dir.join(format!("client-{name}"));
            std::fs::copy(self.dir.join(name), &file).unwrap();
            file.display().to_string()
        })
    }

    fn file(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }

    fn openssl(&self, arguments: &[&str]) {
        let status = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "openssl {arguments:?}");
    }
}

fn tls_world(broker: &ActiveMq, host: &str, ca_file: &str) -> World {
    unvalidated_at(&format!("stomp+ssl://{host}:{}", broker.port))
        .with("bridge.activemq.brokers.main.ca_file", ca_file)
}

#[test]
fn tls_trusts_the_private_authority_and_no_other_and_checks_the_name() {
    if !has("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let setup = Setup { key_store: Some(ours.key_store("localhost")), ..Setup::default() };
    let Some(broker) = ActiveMq::start_with(setup) else { return };

    let bridge = tls_world(&broker, "localhost", &ours.file());
    let bridge = bridge.start("bridge activemq");
    eventually("it is subscribed", || is_connected(&bridge));

    let other = Authority::new(dir.path(), "other");
    let of_other = tls_world(&broker, "localhost", &other.file());
    let of_other = of_other.start("bridge activemq");
    eventually("it says why", || lines_with(&of_other, "TLS failed: invalid peer certificate") == 1);
    let by_address = tls_world(&broker, "127.0.0.1", &ours.file());
    let by_address = by_address.start("bridge activemq");
    eventually("the name is checked", || lines_with(&by_address, "not valid for name") == 1);
    assert!(!is_connected(&of_other) && !is_connected(&by_address));
}

#[test]
fn a_broker_that_asks_for_a_certificate_gets_ours_and_without_the_right_one_the_reason_is_one_line() {
    if !has("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let others = Authority::new(dir.path(), "others");
    let setup = Setup {
        key_store: Some(ours.key_store("localhost")),
        client_authorities: Some(ours.trust_store()),
        ..Setup::default()
    };
    let Some(broker) = ActiveMq::start_with(setup) else { return };
    let world = |identity: Option<[String; 2]>| {
        let world = tls_world(&broker, "localhost", &ours.file());
        match identity {
            Some([certificate, key]) => world
                .with("bridge.activemq.brokers.main.certificate_file", &certificate)
                .with("bridge.activemq.brokers.main.key_file", &key),
            None => world,
        }
    };
    let right = world(Some(ours.client()));
    let right = right.start("bridge activemq");
    eventually("with the right one it is subscribed", || is_connected(&right));

    for (what, identity, reason) in [
        ("none", None, "set certificate_file and key_file"),
        ("a wrong one", Some(others.client()), "does not take the certificate of certificate_file"),
    ] {
        let refused = world(identity);
        let refused = refused.start("bridge activemq");
        let retries = "clickgate_bridge_retries_total{bridge=\"activemq:orders\"}";
        eventually("it was tried some times", || value(&scrape(&refused), retries) >= 4.0);
        let said = refused.output();
        assert_eq!(lines_with(&refused, "no messages at the moment"), 1, "{what}: {said}");
        assert!(said.contains(reason), "{what}: {said}");
        assert!(!is_connected(&refused));
    }
}
