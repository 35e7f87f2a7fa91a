//! Start, readiness, stop.

use crate::world::{World, config};

const SAMPLES: &str = include_str!("../../../programs/src/samples.json");

#[test]
fn a_hit_is_in_the_log_once_it_was_answered() {
    let world = World::start(config(), SAMPLES);
    let answer = world.get("/event/212313");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let logged = world.stop();
    assert_eq!(logged.events.len(), 1);
    assert_eq!(logged.events[0].program_name, "program2");
}
