//! What a killed process cannot show: the order of its system calls.
//!
//! The process runs under strace. Its order of lines is the order in which strace
//! saw calls begin and end.

use std::collections::HashMap;

use crate::http::{Client, get};
use crate::world::{World, eventually, has, text};

/// A system call: the lines where it begins and ends, and what strace says of it.
struct Call {
    name: String,
    begins: usize,
    ends: usize,
    arguments: String,
    result: i64,
}

fn parse(trace: &str) -> Vec<Call> {
    let (mut calls, mut unfinished) = (Vec::new(), HashMap::new());
    for (line, content) in trace.lines().enumerate() {
        let Some((thread, content)) = content.split_once(' ') else { continue };
        let content = content.trim_start();
        let result =
            || content.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse().ok());
        if let Some(rest) = content.strip_prefix("<... ") {
            let Some((name, begins, arguments)) = unfinished.remove(thread) else { continue };
            assert!(rest.starts_with(&name), "{rest} ends {name}");
            calls.push(Call { name, begins, ends: line, arguments, result: result().unwrap_or(-1) });
        } else if let Some((name, arguments)) = content.split_once('(') {
            if content.ends_with("<unfinished ...>") {
                unfinished.insert(thread.to_owned(), (name.to_owned(), line, arguments.to_owned()));
            } else if let Some(result) = result() {
                calls.push(Call {
                    name: name.to_owned(),
                    begins: line,
                    ends: line,
                    arguments: arguments.to_owned(),
                    result,
                });
            }
        }
    }
    calls
}

fn descriptor(call: &Call) -> &str {
    call.arguments.split([',', ')', ' ']).next().unwrap()
}

#[test]
fn no_2xx_of_a_synced_route_leaves_before_the_fdatasync_that_covers_it() {
    if !has("strace") {
        return;
    }
    let world = World::new().with("tracker.levels.event", "synced").with("tracker.workers", "2");
    world.start("up").stop();
    let trace = world.path().join("trace");
    let calls = "trace=pwrite64,pwritev,fdatasync,fsync,write,writev,sendto,sendmsg";
    let strace = ["strace", "-D", "-f", "-s", "65536", "-e", calls, "-o", trace.to_str().unwrap()];
    let tracker = world.start_under(&strace, "tracker");
    let address = tracker.tracker;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = Client::open(address).unwrap();
                let ids = (0..50).map(|_| client.get("/event/212313").unwrap().message_id().unwrap());
                ids.collect::<Vec<String>>()
            })
        })
        .collect();
    let told: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    tracker.stop();
    let read = || std::fs::read_to_string(&trace).unwrap();
    eventually("strace has written its last line", || read().contains("+++ exited with"));
    let calls = parse(&read());

    assert_eq!(told.len(), 200);
    for id in &told {
        let written =
            calls.iter().find(|call| call.name == "pwrite64" && call.arguments.contains(id.as_str()));
        let written = written.unwrap_or_else(|| panic!("{id} was never written"));
        assert!(written.result > 0);
        let is_answer = |call: &&Call| {
            call.name != "pwrite64"
                && call.arguments.contains("HTTP/1.1 200")
                && call.arguments.contains(id.as_str())
        };
        let answer = calls.iter().find(is_answer).unwrap_or_else(|| panic!("{id} was never answered"));
        let covers = |call: &&Call| {
            matches!(call.name.as_str(), "fdatasync" | "fsync")
                && descriptor(call) == descriptor(written)
                && call.begins > written.ends
                && call.ends < answer.begins
                && call.result == 0
        };
        assert!(calls.iter().any(|call| covers(&call)), "{id} was answered before a sync covered it");
    }
}

#[test]
fn after_a_failed_fdatasync_no_2xx_leaves_that_lane_and_nothing_told_before_is_lost() {
    if !has("strace") {
        return;
    }
    let world = World::new().with("tracker.levels.event", "synced").with("tracker.workers", "1");
    world.start("up").stop();
    // Counted by thread: the registry's files are opened with less, the lane's syncer
    // gets there after that many hits.
    let inject = "inject=fdatasync:error=EIO:when=30+";
    let strace = ["strace", "-D", "-f", "-e", "trace=fdatasync", "-e", inject, "-o", "/dev/null"];
    let tracker = world.start_under(&strace, "tracker");
    let mut told = Vec::new();
    let refused = loop {
        let answer = get(tracker.tracker, "/event/212313");
        match answer.message_id() {
            Some(id) => told.push(id),
            None => break answer,
        }
        assert!(told.len() < 10_000, "the sync never failed");
    };
    assert!(!told.is_empty(), "it worked at first");
    assert_eq!(refused.status, 503, "{refused:?}");
    for _ in 0..100 {
        let statuses = ["/event/212313", "/i/212313"].map(|target| get(tracker.tracker, target).status);
        assert_eq!(statuses, [503, 503]);
    }
    assert_eq!(get(tracker.tracker, "/health/ready").status, 503);
    assert!(tracker.output().contains("takes nothing more"), "the operator is told: {}", tracker.output());
    assert_eq!(tracker.stop().code(), Some(1), "a disk that fails is no clean end");

    let up = world.start("up");
    eventually("what was told is stored", || {
        let tail = world.ok(&["--json", "events", "query", "--program", "212313"]);
        told.iter().all(|id| tail.contains(id.as_str()))
    });
    up.stop();
    let reconciled = world.run(&["reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
}
