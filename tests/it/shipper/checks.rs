//! What a start refuses, with the way out, and what it does not.

use serde_json::{Value, json};

use crate::aws_proxy::{Fault, Outage, Rule};
use crate::http;
use crate::world::{eventually, text};

use super::region::{Region, ask};

const DESCRIBE: &str = "DescribeStreamSummary";

/// A fault of the check, and words that the refusal must have.
fn unfit() -> Vec<(&'static str, Fault, Vec<&'static str>)> {
    let summary = |key: &'static str, value: Value| {
        Fault::edit_answer(move |answer| answer["StreamDescriptionSummary"][key] = value.clone())
    };
    vec![
        (
            "no stream",
            Fault::refuse(400, "ResourceNotFoundException"),
            vec!["there is no Kinesis stream", "aws kinesis create-stream --stream-name", "shipper.stream"],
        ),
        (
            "creating",
            summary("StreamStatus", json!("CREATING")),
            vec!["is CREATING", "start again in a minute"],
        ),
        ("deleting", summary("StreamStatus", json!("DELETING")), vec!["is DELETING", "name another"]),
        (
            "not allowed",
            Fault::refuse(400, "AccessDeniedException"),
            vec!["not allowed: kinesis:DescribeStreamSummary", "Allow this role"],
        ),
        (
            "distribution",
            summary("RecordDistributionStrategy", json!("AUTO")),
            vec!["AUTO", "USER_PARTITION_KEY", "update-stream-record-distribution-strategy"],
        ),
        (
            "region",
            summary("StreamARN", json!("arn:aws:kinesis:eu-west-3:1:stream/x")),
            vec!["is in the region eu-west-3", "aws.region is us-east-1"],
        ),
        (
            "credentials",
            Fault::refuse(400, "UnrecognizedClientException"),
            vec!["credentials cannot be used"],
        ),
        ("expired", Fault::refuse(400, "ExpiredTokenException"), vec!["credentials cannot be used"]),
    ]
}

/// Whether the reason is said in one line, on a start that fails at once.
fn refuses(region: &Region, what: &str, words: &[&str]) {
    let output = region.world.run(&["up"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word:?} in {said}");
    }
}

#[test]
fn a_start_that_would_ship_nothing_is_refused_with_the_way_out() {
    let Some(mut region) = Region::new(1) else { return };
    region.world.set("admin.listen", "127.0.0.1:0");
    region.world.set("tracker.listen", "127.0.0.1:0");
    for (what, fault, words) in unfit() {
        let rule = region.proxy.add(Rule::always(fault).on(DESCRIBE));
        refuses(&region, what, &words);
        region.proxy.remove(rule);
    }
    // A clock that is off: the date of the answer says by how much.
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for fault in [
        Fault::refuse(400, "InvalidSignatureException"),
        Fault::AnswerHeader { name: "date".into(), value: date.into() },
    ] {
        region.proxy.add(Rule::always(fault).on(DESCRIBE));
    }
    refuses(&region, "clock", &["this machine's clock is", "ahead of that of AWS", "NTP"]);
    region.proxy.remove_all();
    assert!(!region.world.data().join("log/events/cursors/shipper.cursor").exists());
}

#[test]
fn a_stream_that_is_resharded_right_now_is_fit() {
    let Some(region) = Region::new(1) else { return };
    let updating =
        Fault::edit_answer(|answer| answer["StreamDescriptionSummary"]["StreamStatus"] = json!("UPDATING"));
    region.proxy.add(Rule::always(updating).on(DESCRIBE));
    let up = region.world.start("up");
    let acknowledged = vec![http::get(up.tracker, "/event/212312").message_id().unwrap()];
    region.caught_up(&up);
    region.assert_each_is_there(&acknowledged);
}

#[test]
fn no_answer_is_a_warning_and_hits_are_taken() {
    for outage in [Outage::Refusing, Outage::Silent] {
        let Some(region) = Region::new(1) else { return };
        let region = region.with("shipper.request_timeout_ms", "500");
        region.proxy.go_down(outage);
        let up = region.world.start("up");
        let acknowledged = vec![http::get(up.tracker, "/event/212312").message_id().unwrap()];
        assert!(up.output().contains("nothing is heard of the stream"), "{}", up.output());
        region.proxy.come_back();
        region.caught_up(&up);
        region.assert_each_is_there(&acknowledged);
    }
}

#[test]
fn a_directory_that_has_shipped_before_starts_and_says_that_it_is_stalled() {
    let Some(region) = Region::new(1) else { return };
    let up = region.world.start("up");
    let mut acknowledged = vec![http::get(up.tracker, "/event/212312").message_id().unwrap()];
    assert_eq!(up.stop().code(), Some(0));
    for (what, fault, words) in unfit() {
        let rules = [
            region.proxy.add(Rule::always(fault).on(DESCRIBE)),
            region.proxy.add(Rule::always(Fault::refuse(400, "AccessDeniedException")).on("PutRecords")),
        ];
        let up = region.world.start("up");
        acknowledged.push(http::get(up.tracker, "/event/212312").message_id().unwrap());
        let shipper = region.shipper(&up);
        assert_eq!(shipper["stalled"], true, "{what}: {shipper}");
        assert!(up.output().contains(words[0]), "{what}: {}", up.output());
        eventually("the action that is missing is named", || {
            let reason = region.shipper(&up)["error"]["reason"].as_str().unwrap_or_default().to_owned();
            reason.contains("not allowed: kinesis:PutRecords")
        });
        rules.into_iter().for_each(|rule| region.proxy.remove(rule));
        let said = region.caught_up(&up);
        assert_eq!(said["shipper"]["stalled"], false, "{what}: {said}");
        assert_eq!(up.stop().code(), Some(0));
    }
    region.assert_each_is_there(&acknowledged);
}

#[test]
fn without_a_region_or_credentials_the_start_says_where_they_come_from() {
    let Some(mut region) = Region::new(1) else { return };
    region.world.set("admin.listen", "127.0.0.1:0");
    region.world.set("tracker.listen", "127.0.0.1:0");
    let without = |region: &Region, left_out: &str| {
        let mut command = region.world.clickgate(&["up"]);
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", region.world.path());
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"] {
            command.env_remove(name);
        }
        command.env_remove(left_out);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output)
    };
    let said = without(&region, "CLICKGATE__AWS__REGION");
    assert!(said.contains("set aws.region, or AWS_REGION"), "{said}");
    let said = without(&region, "AWS_ACCESS_KEY_ID");
    assert!(said.contains("the AWS credentials cannot be used"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn questions_about_stored_events_say_where_those_are() {
    let Some(region) = Region::new(1) else { return };
    let up = region.world.start("up");
    for command in [&["events", "count"][..], &["events", "tail", "--no-follow"], &["reconcile"]] {
        let output = region.world.run(command);
        let said = text(&output);
        assert!(!output.status.success() && said.contains("they go to the Kinesis stream"), "{said}");
    }
    eventually("the lag is in the metrics", || {
        let metrics = String::from_utf8(ask(&up, "/metrics").body).unwrap();
        let line = "clickgate_cursor_lag_seconds{cursor=\"shipper\"} 0";
        metrics.lines().any(|known| known == line) && metrics.contains("clickgate_shipper_acknowledged_total")
    });
}
