//! A small file system of its own, filled while it serves.

use std::path::PathBuf;

use crate::http::{Answer, Client};
use crate::world::{World, eventually, has, text};

fn hit(client: &mut Client) -> Answer {
    let padding = "x".repeat(900);
    client.get(&format!("/event/212313?utm_content={padding}&utm_term={padding}")).unwrap()
}

#[test]
fn a_full_disk_is_answered_503_damages_nothing_and_ends_when_there_is_room() {
    if !has("unshare") {
        return;
    }
    let mut world = World::new()
        .with("tracker.workers", "1")
        .with("log.segment_bytes", "1048576")
        .with("log.lane_bytes_max", "262144");
    let small = world.path().join("small");
    std::fs::create_dir(&small).unwrap();
    world.move_data(small.join("data"));
    // A mount that only this process sees; without being root, as root of its own name space.
    let mount = format!("mount -t tmpfs -o size=48m tmpfs {} && exec \"$0\" \"$@\"", small.display());
    let mut unshare = vec!["unshare", "--mount", "sh", "-c", &mount];
    if !rustix::process::geteuid().is_root() {
        unshare.splice(1..1, ["--user", "--map-root-user"]);
    }
    let up = world.start_under(&unshare, "up");
    let inside: PathBuf = format!("/proc/{}/root{}", up.pid().as_raw_nonzero(), small.display()).into();
    world.move_data(inside.join("data"));

    let mut client = Client::open(up.tracker).unwrap();
    let mut told = vec![hit(&mut client).message_id().expect("there is room at first")];
    let ballast = inside.join("ballast");
    fill(&ballast);
    let refused = loop {
        let answer = hit(&mut client);
        match answer.message_id() {
            Some(id) => told.push(id),
            None => break answer,
        }
        assert!(told.len() < 100_000, "the disk never became full");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(
        client.get("/i/212313").unwrap().header("content-type"),
        Some("image/gif"),
        "never a broken image"
    );
    let click = client.get("/c/212313").unwrap();
    assert_eq!(click.status, 302, "the redirect is still served: {click:?}");

    std::fs::remove_file(&ballast).unwrap();
    eventually("it takes hits again", || {
        let answer = hit(&mut client);
        told.extend(answer.message_id());
        answer.status == 200
    });
    eventually("all that was acknowledged is stored", || {
        let stored = world.ok(&["--json", "events", "query", "--program", "212313", "--limit", "1000000"]);
        told.iter().all(|id| stored.contains(id.as_str()))
    });
    let reconciled = world.run(&["reconcile"]);
    assert!(reconciled.status.success(), "{}", text(&reconciled));
    assert_eq!(up.stop().code(), Some(0));
}

/// Takes what room there is, to the last page.
fn fill(path: &PathBuf) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for chunk in [1 << 20, 4096] {
        while file.write_all(&vec![1; chunk]).is_ok() {}
    }
}
