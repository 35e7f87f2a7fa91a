//! Mistakes of every day at the command line and in the configuration: each is said.

use std::process::Output;

use crate::http::{self, Client};
use crate::world::{World, eventually, text};

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

#[test]
fn a_reason_that_no_hit_is_refused_for_is_refused_with_the_known_ones() {
    let world = World::new();
    let up = world.start("up");
    let look = || {
        for (reason, hint) in [
            ("expird", "did you mean expired?"),
            ("Expired", "did you mean expired?"),
            ("unknown-program", "did you mean unknown_program?"),
            ("nonsense", "there is no reason \"nonsense\""),
        ] {
            let said = said(&world.run(&["events", "rejected", "--reason", reason]), 2);
            for part in [hint, "not_started", "checksum_mismatch"] {
                assert!(said.contains(part), "{part:?} is not in {said}");
            }
        }
        world.ok(&["events", "rejected", "--reason", "expired"]);
    };
    look();
    up.stop();
    look();
}

#[test]
fn a_program_that_never_was_is_no_program_without_events() {
    let world = World::new();
    let up = world.start("up");
    let mut client = Client::open(up.tracker).unwrap();
    let id = client.get("/event/212312").unwrap().message_id().unwrap();
    eventually("it is stored", || world.count() == 1);
    // Removed, one with an event and one without.
    world.ok(&["programs", "rm", "212312"]);
    world.ok(&["programs", "rm", "212313"]);
    let none = "019ab1f2-7c00-7000-8000-000000000000";
    let look = || {
        for command in [
            &["events", "query", "--program", "2123122"][..],
            &["events", "count", "--program", "2123122"],
            &["events", "count", "--scan", "--program", "2123122"],
            &["events", "get", &id, "--program", "2123122"],
        ] {
            let said = said(&world.run(command), 1);
            assert!(said.contains("there is no program 2123122, and no event of it is stored"), "{said}");
        }
        assert!(world.ok(&["events", "query", "--program", "212312"]).contains(&id));
        let queried = world.ok(&["--json", "events", "query", "--program", "212312", "--to", "2020-01-01"]);
        assert_eq!(queried, "", "an empty part of what is there");
        for program in ["212313", "212314"] {
            assert_eq!(world.ok(&["--json", "events", "query", "--program", program]), "");
            assert!(world.ok(&["events", "count", "--program", program]).ends_with("\n0\n"));
            let said = said(&world.run(&["events", "get", none, "--program", program]), 1);
            assert!(said.contains("has no stored event"), "{said}");
        }
    };
    look();
    up.stop();
    look();
}

#[test]
fn a_time_range_that_holds_no_moment_is_said() {
    let world = World::new();
    world.start("up").stop();
    let query = |from: &str, to: &str| {
        world.run(&["events", "query", "--program", "212312", "--from", from, "--to", to])
    };
    let turned = said(&query("2026-11-23", "2026-11-22"), 2);
    assert!(turned.contains("--from 2026-11-23T00:00:00Z is after --to 2026-11-22T00:00:00Z"), "{turned}");
    let empty = said(&query("2026-11-22", "2026-11-22T01:00:00+01:00"), 2);
    assert!(empty.contains("--from and --to are both 2026-11-22T00:00:00Z"), "{empty}");
    assert!(query("2026-11-22", "2026-11-23").status.success());
}

#[test]
fn a_custom_event_is_shown_by_its_own_name() {
    let world = World::new();
    let up = world.start("up");
    let body =
        r#"[{"program": "212313", "type": "newsletter"}, {"program": "212313", "type": "impression"}]"#;
    let head = format!("POST /b HTTP/1.1\r\nHost: edge.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(Client::open(up.tracker).unwrap().send(&head).unwrap().status, 204);
    eventually("they are stored", || world.count() == 2);
    for command in [&["events", "tail", "--no-follow"][..], &["events", "query", "--program", "212313"]] {
        let lines = world.ok(command);
        assert!(
            lines.contains("  custom:newsletter  212313  ") && lines.contains("  impression  212313  "),
            "{lines}"
        );
    }
    let events = world.ok(&["--json", "events", "query", "--program", "212313"]);
    assert!(events.contains("\"customName\":\"newsletter\""), "{events}");
}

/// C0, DEL, C1, an override, an isolate and the separators of lines: in an event, in a refused
/// hit, in a program and in a file that cannot be read.
#[test]
fn what_would_steer_a_terminal_is_shown_escaped_and_json_stays_json() {
    const STRANGE: &str = "a\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2066}\u{2028}\u{2029}b";
    let hidden = |text: &str| {
        text.chars().any(|char| {
            char != '\n' && STRANGE[1..STRANGE.len() - 1].contains(char) && !"[31m".contains(char)
        })
    };
    let world = World::new();
    let program = |id: &str, name: &str| {
        serde_json::json!({
            "programId": id, "programName": name, "customerId": 1, "customerName": "C", "valid": true,
        })
        .to_string()
    };
    let up = world.start("up");
    world.ok(&["programs", "put", &program("strange", STRANGE)]);
    let mut client = Client::open(up.tracker).unwrap();
    let encoded: String = STRANGE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let id = client.get(&format!("/event/strange?x={encoded}")).unwrap().message_id().unwrap();
    assert_eq!(client.get(&format!("/event/nobody?x={encoded}")).unwrap().status, 404);
    eventually("both are stored", || {
        world.count() == 1 && world.ok(&["events", "rejected"]).contains("unknown_program")
    });
    let shown = "a\\u{1b}[31m\\u{7f}\\u{9b}\\u{202e}\\u{2066}\\u{2028}\\u{2029}b";
    let in_json = "a\\u001b[31m\\u007f\\u009b\\u202e\\u2066\\u2028\\u2029b";
    for (command, part) in [
        (&["events", "get", &id, "--program", "strange"][..], in_json),
        (&["events", "tail", "--no-follow"], shown),
        (&["events", "query", "--program", "strange"], shown),
        (&["events", "rejected"], "unknown_program"),
        (&["programs", "list"], shown),
        (&["programs", "get", "strange"], in_json),
    ] {
        let text = world.ok(command);
        assert!(!hidden(&text) && text.contains(part), "{command:?}: {text:?}");
        let json = world.ok(&[&["--json"], command].concat());
        assert!(!hidden(&json), "{command:?}: {json:?}");
        for document in serde_json::Deserializer::from_str(&json).into_iter::<serde_json::Value>() {
            document.unwrap_or_else(|error| panic!("{command:?}: {error}: {json}"));
        }
    }
    let event = world.json(&["events", "get", &id, "--program", "strange"]);
    assert_eq!(event["parameters"][0][1], STRANGE);
    assert_eq!(event["programName"], STRANGE);

    let file = world.write("core.json", &program("a", "n").replace("valid", "\u{202e}valid"));
    let refused = said(&world.run(&["programs", "import", file.to_str().unwrap()]), 2);
    assert!(!hidden(&refused) && refused.contains("\\u{202e}valid"), "{refused:?}");
}

#[test]
fn one_address_for_hits_and_for_operators_is_a_configuration_error() {
    let world = World::new().with("tracker.listen", "0.0.0.0:18080").with("admin.listen", "127.0.0.1:18080");
    for command in [&["up"][..], &["config", "check"]] {
        let said = said(&world.run(command), 2);
        let reason = "CLICKGATE__ADMIN__LISTEN: admin.listen: 127.0.0.1:18080 cannot be bound beside \
                      tracker.listen, 0.0.0.0:18080";
        assert!(said.contains(reason), "{said}");
    }
}

fn program(id: &str, name: &str, revision: Option<u64>) -> String {
    let mut json = serde_json::json!({
        "programId": id, "programName": name, "customerId": 1, "customerName": "C", "valid": true,
    });
    if let Some(revision) = revision {
        json["revision"] = revision.into();
    }
    json.to_string()
}

/// A revision ahead of the clock is that of a source with numbers of its own, and the one that a
/// put before gave within the same millisecond.
#[test]
fn what_an_operator_puts_last_stands_whatever_revision_is_stored() {
    let world = World::new();
    let stored = |id: &str| {
        let program = world.json(&["programs", "get", id]);
        (program["programName"].as_str().unwrap().to_owned(), program["revision"].as_u64().unwrap())
    };
    let change = |ahead: u64| {
        for id in ["put", "removed", "imported"] {
            world.ok(&["programs", "put", &program(id, "source", Some(ahead))]);
        }
        world.ok(&["programs", "put", &program("put", "first", None)]);
        world.ok(&["programs", "put", &program("put", "second", None)]);
        assert_eq!(stored("put"), ("second".to_owned(), ahead + 2));

        world.ok(&["programs", "rm", "removed"]);
        let gone = said(&world.run(&["programs", "get", "removed"]), 1);
        assert!(gone.contains(&format!("was removed (revision {})", ahead + 1)), "{gone}");
        world.ok(&["programs", "put", &program("removed", "back", None)]);
        assert_eq!(stored("removed"), ("back".to_owned(), ahead + 2));

        let late = program("put", "late", Some(ahead));
        let lines = [program("imported", "file", None), late, program("new", "file", None)];
        let file = world.write("core.json", &lines.join("\n"));
        let output = world.run(&["--json", "programs", "import", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["stored"], 2, "{report}");
        assert_eq!(report["refused"].as_array().unwrap().len(), 1, "{report}");
        assert_eq!(report["refused"][0]["id"], "put", "a revision that was given is obeyed");
        assert_eq!(stored("imported"), ("file".to_owned(), ahead + 1));
    };
    change(9_000_000_000_000_000_000);
    let up = world.start("up");
    change(9_100_000_000_000_000_000);
    assert_eq!(http::get(up.tracker, "/event/put").json()["programName"], "second");
}

#[test]
fn a_revision_ends_at_63_bits_and_there_the_way_out_is_said() {
    const MAX: u64 = 9_223_372_036_854_775_807;
    let world = World::new();
    let up = world.start("up");
    let refused = said(&world.run(&["programs", "put", &program("a", "n", Some(MAX + 1))]), 2);
    assert!(refused.contains("revision: 9223372036854775808 is more than 9223372036854775807"), "{refused}");
    let refused = said(&world.run(&["programs", "rm", "212312", "--revision", "9223372036854775808"]), 2);
    assert!(refused.contains("9223372036854775807"), "{refused}");
    world.ok(&["programs", "put", &program("a", "n", Some(MAX))]);
    for command in [&["programs", "put", &program("a", "m", None)][..], &["programs", "rm", "a"]] {
        let refused = said(&world.run(command), 1);
        for part in ["9223372036854775807, the highest there is", "another id", "a new registry"] {
            assert!(refused.contains(part), "{part:?} is not in {refused}");
        }
    }
    up.stop();
    // The way out.
    let listed = world.ok(&["--json", "programs", "list"]).replace("9223372036854775807", "5");
    let file = world.write("all.json", &listed);
    let renewed = World::new().with("registry.path", world.path().join("new.redb").to_str().unwrap());
    renewed.ok(&["programs", "import", file.to_str().unwrap()]);
    renewed.ok(&["programs", "put", &program("a", "m", None)]);
    assert_eq!(renewed.json(&["programs", "get", "a"])["programName"], "m");
}

#[test]
fn a_removal_that_is_repeated_says_so_and_one_of_nothing_fails() {
    let world = World::new();
    let up = world.start("up");
    let look = |id: &str| {
        assert!(world.ok(&["programs", "rm", id]).contains(&format!("program {id}: removed, version ")));
        let version =
            |output: &str| serde_json::from_str::<serde_json::Value>(output).unwrap()["version"].clone();
        let again = world.ok(&["programs", "rm", id]);
        assert_eq!(again, format!("program {id}: nothing to do, it was removed already\n"));
        let again = world.ok(&["--json", "programs", "rm", id]);
        assert!(again.contains("\"unchanged\""), "{again}");
        let newer = world.ok(&["--json", "programs", "rm", id, "--revision", "9000000000000000000"]);
        assert!(version(&newer).as_u64() > version(&again).as_u64(), "a source may say it later: {newer}");
        let never = said(&world.run(&["programs", "rm", "2123144"]), 1);
        assert!(never.contains("there is no program 2123144"), "{never}");
    };
    look("212312");
    up.stop();
    look("212313");
}

#[test]
fn a_data_directory_that_is_a_file_is_said_and_the_file_stays() {
    let mut world = World::new();
    let file = world.write("events.json", "[]");
    for data in [file.clone(), file.join("data")] {
        world.move_data(data.clone());
        for command in
            [&["up"][..], &["tracker"], &["events", "count"], &["programs", "import", "-"], &["log", "check"]]
        {
            let said = said(&world.run(command), 2);
            let part = if data == file { "it is a file" } else { "events.json is a file" };
            assert!(said.contains(part) && said.contains(data.to_str().unwrap()), "{command:?}: {said}");
        }
        world.ok(&["config", "check"]);
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "[]");
}

#[test]
fn a_variable_with_the_wrong_underscores_is_a_warning_and_those_of_kubernetes_are_silent() {
    let world = World::new();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        world.clickgate(arguments).envs(variables.iter().copied()).output().unwrap()
    };
    let meant = ("CLICKGATE_ADMIN_TOKEN", "s3cret");
    let of_kubernetes = [
        ("CLICKGATE_SERVICE_HOST", "10.0.0.1"),
        ("CLICKGATE_PORT", "tcp://10.0.0.1:8080"),
        ("CLICKGATE_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let warning = "the variable CLICKGATE_ADMIN_TOKEN is not read; CLICKGATE__ADMIN__TOKEN would be";
    let warned = said(&run(&["config", "check"], &[meant, of_kubernetes[0]]), 0);
    assert_eq!(warned, format!("the configuration can be used\nwarning: {warning}\n"));
    let printed = run(&["config", "print"], &[meant]);
    assert!(String::from_utf8(printed.stderr).unwrap().contains(warning));
    let errors = said(&run(&["config", "check"], &[meant, ("CLICKGATE__ADMIN__LISTEN", "0.0.0.0:1")]), 2);
    assert!(errors.contains("admin.token: must be set") && errors.contains(warning), "{errors}");
    assert!(![warned, errors].concat().contains("s3cret"));

    assert_eq!(said(&run(&["config", "check"], &of_kubernetes), 0), "the configuration can be used\n");
    assert!(run(&["config", "print"], &of_kubernetes).stderr.is_empty());
}
