//! What consumers find that were not written for us.

use std::collections::BTreeSet;

use proto::{Message, sample};

use crate::http;
use crate::kinesis::server::KinesisServer;

use super::region::Region;

#[test]
fn a_consumer_of_the_aws_sample_finds_its_eight_fields_and_nothing_but_events() {
    let Some(region) = Region::new(2) else { return };
    let control = KinesisServer::shared().unwrap().new_stream(1);
    let region = region.with("shipper.aggregate", "none").with("shipper.control_stream", control.name());
    let up = region.world.start("up");
    let answers: Vec<_> = (0..30).map(|_| http::get(up.tracker, "/event/212313?sum=124").json()).collect();
    // Refused, so that there is something else beside the lane reports.
    http::get(up.tracker, "/event/nosuch");
    assert_eq!(up.stop().code(), Some(0));

    let records = region.stream.records();
    // More than that, if a busy server was too slow to answer.
    assert!(records.len() >= answers.len());
    let keys: BTreeSet<&str> = records.iter().map(|record| record.partition_key.as_str()).collect();
    assert_eq!(keys.len(), answers.len());
    for answer in &answers {
        let id = answer["messageId"].as_str().unwrap();
        let record = records.iter().find(|record| record.partition_key == id).expect("its key is its id");
        let event = sample::TrackingEvent::decode(&record.data[..]).unwrap();
        let found = (&*event.message_id, &*event.programid, &*event.program_name, &*event.customer_name);
        let expected =
            [&answer["messageId"], &answer["programId"], &answer["programName"], &answer["customerName"]]
                .map(|value| value.as_str().unwrap());
        assert_eq!(found, expected.into());
        assert_eq!(event.customer_id, answer["customerId"].as_i64().unwrap_or_default() as i32);
        assert_eq!((&*event.user_agent, event.is_valid), ("it/1", true));
        assert_eq!(event.checksum, answer["checksum"].as_str().unwrap());
    }
    let others = crate::kinesis::consumers::items(&control.records());
    let kinds: Vec<String> = others.iter().map(|(_, said)| format!("{:?}", said.item)).collect();
    for kind in ["Rejected", "LaneReport", "End {"] {
        assert!(kinds.iter().any(|said| said.contains(kind)), "no {kind} in {kinds:?}");
    }
    assert!(!kinds.iter().any(|said| said.contains("kind: Event")));
}
