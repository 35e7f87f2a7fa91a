//! The commands on a table in DynamoDB, from a machine that has nothing else.

use super::harness::{Region, boot, conversion, hit, hits, poison, record, write};
use crate::world::{World, text};
use stream::Batch;

/// A machine that knows where the table is, without a data directory.
fn machine(region: &Region) -> World {
    let mut world = World::new()
        .with("table.kind", "dynamodb")
        .with("table.name", &region.dynamo.name)
        .with("aws.region", "us-east-1")
        .with("aws.dynamodb_endpoint", &region.url());
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    world.settings.extend(environment.map(|(key, value)| (key.to_owned(), value.to_owned())));
    world
}

#[tokio::test]
async fn events_are_found_counted_and_followed_from_any_machine() {
    let Some(region) = Region::new().await else { return };
    let order = conversion("order", 50);
    let batches = [hits(boot(1), 0..20), Batch::of_lane(boot(1), 1, vec![record(0, &order), poison(1, 10)])];
    write(&region.direct(), &batches).await.unwrap();
    let world = machine(&region);
    assert!(!world.data().exists());

    let found = world.json(&["events", "get", &order.message_id, "--program", "p"]);
    assert_eq!(found["messageId"], order.message_id.as_str());
    let none = world.run(&["events", "get", &hit(99).message_id, "--program", "p"]);
    assert!(text(&none).contains("has no stored event"), "{}", text(&none));
    assert_eq!(world.ok(&["events", "count", "--program", "p"]).lines().last(), Some("21"));
    let all = world.run(&["events", "count"]);
    assert!(!all.status.success() && text(&all).contains("--scan"), "{}", text(&all));
    assert_eq!(world.ok(&["events", "count", "--scan"]).lines().last(), Some("21"));
    assert_eq!(world.ok(&["events", "query", "--program", "p", "--limit", "5"]).lines().count(), 5);
    let tail = ["events", "tail", "--program", "p", "--no-follow", "--limit", "3", "--json"];
    assert!(world.ok(&tail).lines().last().unwrap().contains(&order.message_id));
    let everybody = world.run(&["events", "tail", "--no-follow"]);
    assert!(!everybody.status.success() && text(&everybody).contains("--program"), "{}", text(&everybody));
    assert_eq!(world.ok(&["events", "rejected"]), "");
    assert!(world.ok(&["reconcile"]).contains("20"));

    let letters = world.json(&["dead-letters", "list"]);
    let id = letters["items"][0]["id"].as_str().unwrap();
    assert!(world.ok(&["dead-letters", "show", id]).contains("not a TrackingEvent"));
    assert!(!world.run(&["dead-letters", "replay", id]).status.success());
    assert!(world.ok(&["dead-letters", "drop", id]).contains("dropped"));
    assert_eq!(world.json(&["dead-letters", "list"])["held"]["letters"], 0);
    assert!(!world.data().exists(), "nothing of it needs a directory");
    let log = world.run(&["log", "cursor"]);
    assert!(text(&log).contains("there is no data directory"), "{}", text(&log));
}

#[tokio::test]
async fn a_table_is_created_once_and_what_is_wrong_with_one_is_said_with_the_way_out() {
    let Some(region) = Region::new().await else { return };
    let world = machine(&region).with("table.name", &format!("{}-new", region.dynamo.name));
    let missing = world.run(&["table", "check"]);
    assert!(
        !missing.status.success() && text(&missing).contains("clickgate table create"),
        "{}",
        text(&missing)
    );
    for said in ["creating the table", "is there already"] {
        let created = world.run(&["table", "create"]);
        assert!(created.status.success() && text(&created).contains(said), "{}", text(&created));
    }
    assert!(world.ok(&["table", "check"]).contains("can be used"));

    let other = format!("{}-other", region.dynamo.name);
    let create = serde_json::json!({
        "TableName": other, "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
    });
    assert_eq!(region.raw().call("CreateTable", &create).unwrap().status, 200);
    let checked = machine(&region).with("table.name", &other).run(&["table", "check"]);
    let said = text(&checked);
    for part in
        ["has the key id (HASH)", "must have pk (HASH) and sk (RANGE)", "removes nothing that has expired"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    let consumer = machine(&region).with("table.name", &other).with("admin.listen", "127.0.0.1:0");
    let consumer = consumer.run(&["consumer"]);
    assert!(
        !consumer.status.success() && text(&consumer).contains("must have pk (HASH)"),
        "{}",
        text(&consumer)
    );
    let nonsense = machine(&region).with("table.path", "/tmp/x").run(&["config", "check"]);
    assert!(text(&nonsense).contains("table.path"), "{}", text(&nonsense));
}
