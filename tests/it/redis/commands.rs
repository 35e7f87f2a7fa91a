//! Commands and the admin address on a Redis that wants a password.

use super::region::{all_know, edge, import, program, programs, put, revision};
use super::server::RedisServer;
use crate::http::{self, Client};
use crate::world::{World, text};

const PASSWORD: &str = "s3cret-of-redis";

#[test]
fn commands_and_the_admin_address_change_the_programs_of_a_redis_with_a_password() {
    let Some(server) = RedisServer::start_with_password(PASSWORD, &[]) else { return };
    let guarded = || edge(&server.url()).with("registry.redis.password", PASSWORD);
    let writer = guarded();
    put(&writer, "1", 1);
    put(&writer, "2", 1);
    assert!(writer.ok(&["programs", "list"]).contains("rev 1"));
    assert_eq!(writer.json(&["programs", "get", "2"])["revision"], 1);
    writer.ok(&["programs", "rm", "2", "--revision", "2"]);
    let gone = writer.run(&["programs", "get", "2"]);
    assert!(!gone.status.success() && text(&gone).contains("was removed"), "{}", text(&gone));
    let late = writer.run(&["programs", "put", &program("2", 1)]);
    assert!(text(&late).contains("which is newer than 1"), "{}", text(&late));
    let printed = writer.ok(&["config", "print"]);
    assert!(printed.contains("# password is set, and not shown") && !printed.contains(PASSWORD), "{printed}");

    // `up` brings no samples into what others share, and its admin address writes there.
    import(&writer, &programs(5, 3));
    let (first, second) = (guarded(), guarded());
    let (up, tracker) = (first.start("up"), second.start("tracker"));
    assert_eq!(http::get(up.tracker, "/event/212312").status, 404);
    assert_eq!(server.command(&["HLEN", "{clickgate}:programs"]), "5");
    admin_put(&first, up.admin, "3", 7);
    assert_eq!(revision(up.tracker, "3"), Some(7), "the next hit obeys it");
    all_know(&[&tracker], "3", 7);
    assert!(!up.output().contains(PASSWORD) && !tracker.output().contains(PASSWORD));
}

#[test]
fn a_wrong_password_and_a_redis_that_is_away_are_clear_errors_that_change_nothing() {
    let Some(mut server) = RedisServer::start_with_password(PASSWORD, &[]) else { return };
    let wrong = edge(&server.url()).with("registry.redis.password", "another");
    let refused = wrong.run(&["programs", "put", &program("1", 1)]);
    assert!(
        !refused.status.success() && text(&refused).contains("authentication failed"),
        "{}",
        text(&refused)
    );
    assert!(!text(&refused).contains("another"), "{}", text(&refused));
    assert_eq!(server.command(&["DBSIZE"]), "0");
    server.kill();
    let away = wrong.run(&["programs", "list"]);
    assert!(!away.status.success() && text(&away).contains("cannot be reached"), "{}", text(&away));
}

/// As another program beside the process does it.
fn admin_put(world: &World, admin: std::net::SocketAddr, id: &str, revision: u64) {
    let run = std::fs::read(world.data().join("run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
    let body = program(id, revision);
    let head = format!(
        "PUT /programs/{id} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        run["token"].as_str().unwrap(),
        body.len()
    );
    let answer = Client::open(admin).unwrap().send(&head).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}
