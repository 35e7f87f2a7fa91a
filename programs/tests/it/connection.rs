//! Redis that is away, frozen, restarted, or speaks TLS.

use std::{
    io::Read,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use programs::{Put, RedisConfig, RedisRegistry, Registry, RegistryError};

use crate::{
    config,
    contract::{id, in_time, next_change, program},
    redis::RedisServer,
    registry, until,
};

/// With short waits, for tests that reach them.
fn hasty(server: &RedisServer) -> RedisRegistry {
    let config = RedisConfig { connect_timeout_ms: 300, response_timeout_ms: 300, ..config(server) };
    RedisRegistry::connect(&config).unwrap()
}

async fn refused(registry: &RedisRegistry) -> String {
    let error = in_time(registry.state()).await.unwrap_err();
    let RegistryError::Unavailable(reason) = error else { panic!("{error:?}") };
    reason.to_string()
}

#[tokio::test]
async fn redis_that_is_away_is_used_once_it_is_there() {
    let Some(mut server) = RedisServer::start() else { return };
    server.kill();
    let registry = registry(&server);
    refused(&registry).await;
    assert!(in_time(registry.subscribe()).await.is_err());

    server.restart();
    until("connected", async || registry.state().await.is_ok()).await;
    assert_eq!(registry.put(program("a", 1, "n")).await.unwrap(), Put::Stored { version: 1 });
    assert_eq!(registry.counts().connections, 1);
}

#[tokio::test]
async fn redis_that_is_frozen_holds_no_call_longer_than_its_limits() {
    let Some(server) = RedisServer::start() else { return };
    let registry = hasty(&server);
    registry.put(program("a", 1, "n")).await.unwrap();
    server.pause();
    let began = Instant::now();
    let calls = (0..100).map(|_| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.get(&id("a")).await.is_err() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(in_time(call).await.unwrap(), "a frozen server answers nothing");
    }
    for _ in 0..20 {
        refused(&registry).await;
    }
    // Once the answer, then at most two attempts to connect; the rest fails at once.
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert!(in_time(registry.subscribe()).await.is_err());

    server.resume();
    until("back", async || registry.get(&id("a")).await.is_ok()).await;
    assert_eq!(registry.put(program("a", 1, "n")).await.unwrap(), Put::Unchanged { version: 1 });
}

#[tokio::test]
async fn a_server_that_takes_connections_and_drops_them_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, SeqCst);
            // Only the first words are heard, then the door is shut.
            let _ = stream.unwrap().read(&mut [0; 64]);
        }
    });
    let registry =
        RedisRegistry::connect(&RedisConfig { urls: vec![url], ..RedisConfig::default() }).unwrap();
    let mut calls = 0_u64;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_000) {
        refused(&registry).await;
        calls += 1;
        tokio::task::yield_now().await;
    }
    // At once, at once, then after at most 100, 200, 400 and 800 ms; each of these is a half on
    // average, and may be nothing.
    let taken = taken.load(SeqCst);
    assert!((2..=12).contains(&taken), "{taken} connections in a second");
    assert!(calls > 1_000, "a call in the pause fails at once: {calls}");
    assert_eq!(registry.counts().calls_failed, calls);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_interrupt_the_connecting() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    server.pause();
    let impatient = tokio::time::timeout(Duration::from_millis(50), registry.state()).await;
    assert!(impatient.is_err(), "it is frozen");
    server.resume();
    // Nobody asks meanwhile.
    until("connected", async || registry.counts().connections == 1).await;
    registry.state().await.unwrap();
    assert_eq!(registry.counts().connections, 1, "the connection that was begun is the one that is used");
}

#[tokio::test]
async fn a_connection_outlives_the_runtime_of_its_first_caller() {
    let Some(server) = RedisServer::start() else { return };
    let registry = registry(&server);
    let first = registry.clone();
    let subscription = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { first.subscribe().await.unwrap() })
    });
    let mut subscription = subscription.join().unwrap();
    registry.put(program("a", 1, "n")).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 1);
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_server_that_forgot_them() {
    let Some(mut server) = RedisServer::start() else { return };
    let registry = registry(&server);
    registry.put(program("a", 1, "n")).await.unwrap();
    registry.state().await.unwrap();
    let sent = registry.counts().scripts_sent;
    assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
    assert_eq!(registry.put(program("a", 2, "n")).await.unwrap(), Put::Stored { version: 2 });
    assert_eq!(registry.put(program("a", 3, "n")).await.unwrap(), Put::Stored { version: 3 });
    assert_eq!(registry.counts().scripts_sent, sent + 1, "only the one that was asked for, only once");

    server.restart();
    until("back", async || registry.put(program("a", 9, "n")).await.is_ok()).await;
}

/// An authority and a certificate of it for `localhost`: authority, certificate, key.
fn certificates(directory: &std::path::Path) -> Option<[PathBuf; 3]> {
    let file = |name: &str| directory.join(name);
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.current_dir(directory).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    let authority = ["-x509", "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca.pem"];
    if openssl(&[&new[..], &authority[..]].concat()).is_err() {
        assert!(crate::redis::is_optional(), "openssl is not installed, and CLICKGATE_SERVERS_REQUIRED=1");
        crate::redis::tell_skipped("openssl");
        return None;
    }
    std::fs::write(file("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let request = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"];
    assert!(openssl(&[&new[..], &request[..]].concat()).unwrap().success());
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem"];
    let signed = ["-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "certificate.pem"];
    assert!(openssl(&[&sign[..], &signed[..]].concat()).unwrap().success());
    Some([file("ca.pem"), file("certificate.pem"), file("key.pem")])
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_that_the_authority_vouches_for_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let Some([authority, certificate, key]) = certificates(directory.path()) else { return };
    let Some(server) = RedisServer::start_tls(&certificate, &key) else { return };
    let trusting = RedisConfig { ca_file: Some(authority), ..config(&server) };
    let registry = RedisRegistry::connect(&trusting).unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    registry.import(vec![program("a", 1, "n")]).await.unwrap();
    assert_eq!(next_change(&mut subscription).await.version, 1);

    let distrusting = RedisRegistry::connect(&config(&server)).unwrap();
    let reason = refused(&distrusting).await.to_lowercase();
    assert!(reason.contains("certificate") || reason.contains("issuer"), "{reason}");
    let urls = vec![server.url().replace("localhost", "127.0.0.1")];
    let misnamed = RedisRegistry::connect(&RedisConfig { urls, ..trusting.clone() }).unwrap();
    let reason = refused(&misnamed).await.to_lowercase();
    assert!(reason.contains("not valid for name") || reason.contains("certificate"), "{reason}");

    let missing = RedisConfig { ca_file: Some(directory.path().join("none.pem")), ..trusting };
    let errors = RedisRegistry::connect(&missing).unwrap_err();
    assert_eq!(errors[0].field, "ca_file");
    assert!(errors[0].reason.contains("none.pem"), "{}", errors[0]);
}
