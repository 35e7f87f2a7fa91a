//! A broker that talks and does not listen.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use super::broker::ActiveMq;
use super::clients::publish_orders;
use super::{messages, world_at};
use crate::documents::{scrape, value};
use crate::world::eventually;

/// A proxy to a broker that can stop taking what the client says, while it passes on what the
/// broker says, and beats in its place.
struct Deaf {
    port: u16,
    is_deaf: Arc<AtomicBool>,
}

impl Deaf {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let deaf = Arc::clone(&is_deaf);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (mut from_server, mut to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from_server, &mut to_client);
                    let _ = to_client.shutdown(std::net::Shutdown::Both);
                });
                let deaf = Arc::clone(&deaf);
                thread::spawn(move || pass(client, server, &deaf));
            }
        });
        Self { port, is_deaf }
    }
}

fn pass(mut client: TcpStream, mut server: TcpStream, is_deaf: &AtomicBool) {
    let mut chunk = vec![0; 4_096];
    loop {
        if is_deaf.load(SeqCst) {
            // The broker must not take us for dead, only the client shall.
            if server.write_all(b"\n").is_err() || client.peek(&mut [0]).is_ok_and(|read| read == 0) {
                break;
            }
            thread::sleep(std::time::Duration::from_millis(100));
            continue;
        }
        match client.read(&mut chunk) {
            Ok(read @ 1..) if server.write_all(&chunk[..read]).is_ok() => {}
            _ => break,
        }
    }
    let _ = server.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_broker_that_stops_reading_is_given_up_and_nothing_is_lost() {
    let Some(broker) = ActiveMq::start() else { return };
    let proxy = Deaf::to(broker.port);
    let world = world_at(&format!("stomp://127.0.0.1:{}", proxy.port))
        .with("bridge.activemq.brokers.main.heart_beat_ms", "1000")
        // So that their acknowledgements are more than the sockets between hold.
        .with("bridge.activemq.queues.orders.prefetch", "100000");
    let up = world.start("up");
    publish_orders(&broker, 0, 100);
    eventually("it works", || messages(&up, "acknowledged") == 100);
    proxy.is_deaf.store(true, SeqCst);
    publish_orders(&broker, 100, 100_100);
    eventually("the bridge gives it up", || up.output().contains("has not read for 2500 ms"));
    proxy.is_deaf.store(false, SeqCst);
    for target in (0..=100_100).step_by(20_020) {
        eventually(&format!("{target} messages are events"), || world.count() >= target);
    }
    assert_eq!(world.count(), 100_100);
    let sessions = value(&scrape(&up), "clickgate_activemq_sessions_total{queue=\"orders\"}");
    assert!(sessions >= 2.0, "{sessions}");
    let reconciled = world.json(&["reconcile"]);
    assert_eq!(reconciled["totals"]["missing"], 0);
}
