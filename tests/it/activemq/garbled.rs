//! A frame that is garbled once, on its way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::broker::ActiveMq;
use super::clients::publish_orders;
use super::{messages, unvalidated_at};
use crate::documents::{scrape, value};
use crate::world::eventually;

/// A proxy to a broker; of its first connection the first MESSAGE is none.
fn garbling(target: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut garbles = true;
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let mut to_server = server.try_clone().unwrap();
            let mut from_client = client.try_clone().unwrap();
            thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            pass(server, client, &mut garbles);
        }
    });
    port
}

fn pass(mut server: TcpStream, mut client: TcpStream, garbles: &mut bool) {
    let mut chunk = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = server.read(&mut chunk) {
        let at = chunk[..read].windows(8).position(|bytes| bytes == b"MESSAGE\n");
        if let Some(at) = at.filter(|_| std::mem::take(garbles)) {
            chunk[at] = b'm';
        }
        if client.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn after_a_frame_that_was_garbled_once_the_queue_goes_on_first_one_by_one_then_in_windows() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = unvalidated_at(&format!("stomp://127.0.0.1:{}", garbling(broker.port)))
        .with("bridge.activemq.queues.orders.prefetch", "5");
    publish_orders(&broker, 0, 60);
    let bridge = world.start("bridge activemq");
    eventually("all are acknowledged", || messages(&bridge, "acknowledged") == 60);
    assert!(bridge.output().contains("mESSAGE"), "{}", bridge.output());
    let scraped = scrape(&bridge);
    // The garbled one; one by one for two windows; and the rest.
    assert_eq!(value(&scraped, "clickgate_activemq_sessions_total{queue=\"orders\"}"), 3.0);
    assert_eq!(value(&scraped, "clickgate_activemq_stopped{queue=\"orders\"}"), 0.0);
}
