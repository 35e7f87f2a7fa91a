//! What cannot become an event is put aside, and nothing waits behind it.

use proto::ids;
use serde_json::{Value, json};

use super::broker::{ActiveMq, Setup};
use super::clients::{look, publish, publish_as, read_all};
use super::{messages, order, world, world_at};
use crate::world::{World, eventually, text as text_of};

const QUARANTINE: &str = "/queue/orders.QUARANTINE";

fn text(body: &str) -> Value {
    json!({ "to": "/queue/orders", "text": body })
}

fn reasons(aside: &[Value]) -> Vec<String> {
    let reason = |message: &Value| message["headers"]["x-clickgate-reason"].as_str().unwrap().to_owned();
    aside.iter().map(reason).collect()
}

#[test]
fn poison_ends_in_the_quarantine_with_its_reason_and_nothing_behind_it_waits() {
    let Some(broker) = ActiveMq::start() else { return };
    let world = world(&broker);
    // More than are in flight at a time, so that each that stayed would stop the queue.
    let world = world.with("bridge.activemq.queues.orders.prefetch", "8");
    let mut sent = Vec::new();
    for n in 0..100 {
        sent.push(text("{ no json"));
        sent.push(text(&order(n)));
    }
    sent.push(
        json!({ "to": "/queue/orders", "text": r#"{"program": "nosuch"}"#, "headers": { "shop": "a:b\nc" } }),
    );
    publish(broker.port, &sent);
    let up = world.start("up");
    eventually("the good ones are stored", || world.count() == 100);
    eventually("the others are put aside", || messages(&up, "quarantined") == 101);
    let aside = read_all(broker.port, "", QUARANTINE);
    assert_eq!(aside.len(), 101);
    let reasons = reasons(&aside);
    assert_eq!(reasons.iter().filter(|reason| reason.starts_with("the body is no JSON")).count(), 100);
    let refused = aside.iter().find(|it| reasons_of(it).starts_with("unknown_program: ")).unwrap();
    assert_eq!(refused["headers"]["x-orig-shop"], "a:b\nc");
    assert!(refused["headers"]["x-orig-message-id"].as_str().unwrap().starts_with("ID:"));
    assert_eq!(refused["headers"]["persistent"], "true");
    assert_eq!(refused["hex"], hex(br#"{"program": "nosuch"}"#));
    let scraped = crate::documents::scrape(&up);
    let refused = "clickgate_activemq_aside_total{queue=\"orders\",reason=\"refused\"}";
    assert_eq!(crate::documents::value(&scraped, refused), 1.0);
    up.stop();
    assert_eq!(read_all(broker.port, "", "/queue/orders").len(), 0);
}

fn reasons_of(message: &Value) -> &str {
    message["headers"]["x-clickgate-reason"].as_str().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn where_the_broker_takes_no_quarantined_message_it_becomes_a_dead_letter_that_can_be_replayed() {
    let setup = Setup {
        users: vec![("bridge", "secret"), ("admin", "secret")],
        quarantine_writer: Some("admin"),
        ..Setup::default()
    };
    let Some(broker) = ActiveMq::start_with(setup) else { return };
    let world = world(&broker)
        .with("bridge.activemq.brokers.main.username", "bridge")
        .with("bridge.activemq.brokers.main.password", "secret");
    let later = json!({
        "to": "/queue/orders", "text": r#"{"program": "later", "n": 7}"#, "headers": { "shop": "a:b\nc" },
    });
    publish_as(broker.port, "admin:secret", &[text("poison"), text(&order(1)), later]);
    let up = world.start("up");
    eventually("both are dead letters", || messages(&up, "dead") == 2);
    eventually("the good one is stored", || world.count() == 1);
    assert_eq!(messages(&up, "quarantined"), 0);
    let letters = || world.json(&["dead-letters", "list"])["items"].as_array().unwrap().clone();
    assert_eq!(letters().len(), 2);
    assert!(letters().iter().all(|letter| letter["stage"] == "bridge-activemq"), "{:?}", letters());
    let ids: Vec<String> = letters().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    let shown = world.json(&["dead-letters", "show", &ids[0]]);
    assert!(shown["reason"].as_str().unwrap().starts_with("the body is no JSON"), "{shown}");

    // By the programs of now.
    let refusal = |id: &str| {
        let output = world.run(&["dead-letters", "replay", id]);
        assert!(!output.status.success(), "{}", text_of(&output));
        text_of(&output)
    };
    assert!(refusal(&ids[0]).contains("the body is no JSON"), "{}", refusal(&ids[0]));
    assert!(refusal(&ids[1]).contains("unknown_program"), "{}", refusal(&ids[1]));
    let program = r#"{"programId": "later", "programName": "Later", "customerId": 7, "customerName": "C", "valid": true}"#;
    let file = world.write("later.json", &format!("[{program}]"));
    world.ok(&["programs", "import", &file.display().to_string()]);
    eventually("its program is known", || world.run(&["dead-letters", "replay", &ids[1]]).status.success());
    eventually("it is an event", || world.count() == 2);
    let event = world.ok(&["--json", "events", "query", "--program", "later"]);
    assert!(event.contains(r#"["utm_content","7"]"#) && event.contains("/queue/orders"), "{event}");
    assert_eq!(letters().len(), 1);
    let (status, said) = up.stop_and_read();
    assert!(status.success(), "{said}");
    assert_eq!(read_all(broker.port, "admin:secret", "/queue/orders").len(), 0, "they were acknowledged");
    assert_eq!(read_all(broker.port, "admin:secret", QUARANTINE).len(), 0);

    // Nobody runs, and the queue is called otherwise: nothing says what the letter becomes.
    let mut world = world;
    world.set("bridge.activemq.queues.orders.destination", "/queue/renamed");
    let output = world.run(&["dead-letters", "replay", &ids[0]]);
    assert!(text_of(&output).contains("no queue is configured so"), "{}", text_of(&output));
    assert_eq!(world.json(&["reconcile"])["totals"]["missing"], 0);
}

/// The bridge dies over the message whenever it comes to it, as far as its files say.
fn die_over(world: &World, id: &str) {
    let dir = world.data().join("activemq");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("orders.working"), id).unwrap();
}

#[test]
fn a_message_over_which_the_bridge_has_died_five_times_is_put_aside() {
    let Some(broker) = ActiveMq::start() else { return };
    publish(broker.port, &[text(&order(1)), text(&order(2))]);
    let waiting = look(broker.port, "/queue/orders");
    let id = waiting[0]["headers"]["message-id"].as_str().unwrap();
    let id = ids::from_sender(&["main", "/queue/orders", id]).to_string();
    // A broker that is not there, so that only the deaths are counted.
    let mut world = world_at("stomp://127.0.0.1:1");
    let counted = |world: &World| {
        std::fs::read_to_string(world.data().join("activemq/orders.attempts")).unwrap_or_default()
    };
    for deaths in 1..=4 {
        die_over(&world, &id);
        let bridge = world.start("bridge activemq");
        eventually("its death is counted", || counted(&world) == format!("{id} {deaths}\n"));
        bridge.kill();
    }

    // Four were survivable; at the fifth it is over.
    die_over(&world, &id);
    world.set("bridge.activemq.brokers.main.urls", &broker.url());
    let up = world.start("up");
    eventually("it is put aside", || messages(&up, "quarantined") == 1);
    eventually("the other one is stored", || world.count() == 1);
    let aside = read_all(broker.port, "", QUARANTINE);
    assert_eq!(reasons(&aside), ["the bridge died 5 times while it read this message"]);
    up.stop();
    assert_eq!(counted(&world), "", "what is done with is forgotten");
}
