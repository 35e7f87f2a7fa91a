//! Every message becomes an event, once, whoever dies.

use std::collections::BTreeSet;
use std::time::Duration;

use super::broker::ActiveMq;
use super::clients::{publish_orders, publish_orders_by_stomp_rs, read_all};
use super::{messages, stored, world};
use crate::world::eventually;

const MESSAGES: usize = 20_000;
const BRIDGE_KILLS: usize = 20;
const BROKER_KILLS: usize = 5;

#[test]
fn twenty_thousand_persistent_messages_are_twenty_thousand_events() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker);
    let up = world.start("up");
    publish_orders(&broker, 0, MESSAGES / 2);
    publish_orders_by_stomp_rs(&broker, MESSAGES / 2, MESSAGES);
    eventually("all are acknowledged", || messages(&up, "acknowledged") == MESSAGES as u64);
    eventually("all are stored", || world.count() == MESSAGES);
    assert_eq!(stored(&world), ((0..MESSAGES).collect::<BTreeSet<usize>>(), MESSAGES));
    assert_eq!((messages(&up, "received"), messages(&up, "redelivered")), (MESSAGES as u64, 0));
    let (status, said) = up.stop_and_read();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("subscribed"), "{said}");
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0, "nothing is left at the broker");
    let reconciled = world.json(&["reconcile"]);
    assert_eq!(reconciled["totals"]["missing"], 0);
}

#[test]
fn nothing_is_missing_and_nothing_is_stored_twice_over_many_kills_of_bridge_and_broker() {
    let Some(mut broker) = ActiveMq::start() else { return };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = world(&broker);
    publish_orders(&broker, 0, MESSAGES);
    // Small, so that a kill comes between read and acknowledged all the time.
    world.set("bridge.activemq.queues.orders.prefetch", "400");
    let mut broker_kills = 0;
    let mut acknowledged = 0;
    for round in 0..BRIDGE_KILLS {
        let up = world.start("up");
        // So that each round gets on, and the queue lasts for all of them.
        let target = acknowledged + random.u64(1..=(MESSAGES / BRIDGE_KILLS / 2) as u64);
        let so_far = acknowledged;
        if round % 4 == 1 {
            broker.kill();
            broker_kills += 1;
            broker.run();
        }
        eventually("the bridge gets on", || so_far + messages(&up, "acknowledged") >= target);
        acknowledged = so_far + messages(&up, "acknowledged");
        // The random moment.
        std::thread::sleep(Duration::from_millis(random.u64(0..30)));
        up.kill();
    }
    assert_eq!(broker_kills, BROKER_KILLS);
    let up = world.start("up");
    eventually("the queue is empty and all is stored", || world.count() == MESSAGES);
    eventually("nothing is in flight", || {
        let status = world.json(&["log", "cursor"]);
        status["activemq"][0]["in_flight"] == 0 && status["cursors"][0]["lag"] == 0
    });
    let redelivered = messages(&up, "redelivered");
    let (status, said) = up.stop_and_read();
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
    assert_eq!(
        read_all(broker.port, "", "/queue/orders.QUARANTINE").len(),
        0,
        "a kill is no message's fault"
    );
    let (found, events) = stored(&world);
    let reconciled = world.json(&["reconcile"]);
    let fates = &reconciled["totals"];
    println!(
        "{BRIDGE_KILLS} kills of the bridge, {broker_kills} of the broker: {} of {MESSAGES} there, {events} events, \
         {} duplicates refused, {redelivered} redelivered to the last bridge",
        found.len(),
        fates["duplicates"]
    );
    assert_eq!((found, events), ((0..MESSAGES).collect(), MESSAGES));
    assert_eq!(fates["missing"], 0);
}
