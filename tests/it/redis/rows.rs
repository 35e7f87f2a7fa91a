//! A row of the registry that nobody can read: its program suffers, and nobody else.

use super::region::{all_know, edge, happened, import, is_fresh, programs, put, revision};
use super::server::RedisServer;
use crate::http;
use crate::world::eventually;

#[test]
fn a_row_that_cannot_be_read_stops_no_tracker_and_takes_away_nothing_that_is_held() {
    let Some(redis) = RedisServer::start() else { return };
    let (writer, first, second) = (edge(&redis.url()), edge(&redis.url()), edge(&redis.url()));
    import(&writer, &programs(50, 1));
    let before = first.start("tracker");
    eventually("fresh", || is_fresh(&before));
    redis.command(&["HSET", "{clickgate}:programs", "7", "garbage"]);
    // Another epoch: everything is loaded again, without the row.
    let epoch = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    redis.command(&["HSET", "{clickgate}:meta", "epoch", epoch]);
    eventually("loaded again", || happened(&before, "other_store") == 1 && is_fresh(&before));
    assert_eq!(revision(before.tracker, "7"), Some(1), "what is held stays");

    let after = second.start("tracker");
    eventually("fresh with one row less", || is_fresh(&after));
    assert_eq!(revision(after.tracker, "8"), Some(1));
    let answer = http::get(after.tracker, "/event/7");
    assert_eq!(answer.status, 503, "unverified, not unknown: {answer:?}");

    put(&writer, "7", 2);
    all_know(&[&before, &after], "7", 2);
}
