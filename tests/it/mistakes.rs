//! Mistakes of every day at the command line and in the configuration: each is said.

use std::process::Output;

use crate::world::{World, text};

/// What a command said that must end with this code.
fn said(output: &Output, code: i32) -> String {
    let said = text(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn a_filter_that_would_mute_the_process_is_a_configuration_error() {
    for filter in ["warning", "tracker:debug", "info;x", "tracker=debug", "info,tracker", ""] {
        let world = World::new().with("log.level", filter);
        for command in [&["config", "check"][..], &["up"]] {
            let said = said(&world.run(command), 2);
            let reason = format!("CLICKGATE__LOG__LEVEL: log.level: {filter:?} is no filter: ");
            assert!(said.contains(&reason), "{reason:?} is not in {said}");
        }
        assert!(!world.data().exists(), "it has started with {filter:?}");
    }
    World::new().with("log.level", "info,tracker=debug").ok(&["config", "check"]);
}
