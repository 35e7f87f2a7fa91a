//! Whether everything in the log of a running process was read.

use std::io;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::Bench;
use crate::contestant::{eventually, get};

/// Between two polls: polling must cost the process next to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// The admin address of the process that runs on the bench's data directory.
pub fn admin(bench: &Bench) -> io::Result<SocketAddr> {
    let run: Value = serde_json::from_slice(&std::fs::read(bench.data().join("run.json"))?)?;
    let admin = run["admin"].as_str().and_then(|text| text.parse().ok());
    admin.ok_or_else(|| io::Error::other("run.json has no admin address"))
}

/// Waits until every cursor has passed every record of the log.
pub fn caught_up(admin: SocketAddr) -> io::Result<()> {
    eventually("all that is in the log is read", || {
        sleep(PAUSE);
        let answer = get(admin, "/log")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let status: Value = serde_json::from_str(body)
            .map_err(|error| io::Error::other(format!("/log cannot be parsed: {error}: {answer}")))?;
        let cursors = status["cursors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lags: Vec<u64> = cursors.iter().filter_map(|cursor| cursor["lag"].as_u64()).collect();
        if lags.is_empty() {
            return Err(io::Error::other(format!("/log names no cursor: {body}")));
        }
        Ok(lags.iter().all(|lag| *lag == 0))
    })
}
