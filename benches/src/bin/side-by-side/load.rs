//! wrk: as many requests as a server takes, in a closed loop.
//!
//! wrk takes the next request of the sequence for whichever connection is free, so connections
//! are shared by all kinds of requests as those of a load balancer are.

use std::io;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use world::requests::{HOST, Request};

use crate::machine::output_of;

/// Marks the line with the figures.
const MARK: &str = "figures:";
const RUNS_MAX: u64 = 5;

/// The result of a run of wrk.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers of 2xx and 3xx.
    pub ok: u64,
    pub took: Duration,
    pub events: Events,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.ok as f64 / self.took.as_secs_f64()
    }
}

/// The number of events that a server must have kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Acknowledged: the least that must have been kept.
    pub acknowledged: u64,
    /// Sent: the acknowledged, and those under way when the client hung up.
    pub sent: u64,
}

impl Events {
    /// All that were sent were acknowledged.
    pub fn exactly(count: u64) -> Self {
        Self { acknowledged: count, sent: count }
    }

    pub fn allow(&self, kept: u64) -> bool {
        (self.acknowledged..=self.sent).contains(&kept)
    }
}

impl AddAssign for Events {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.sent += other.sent;
    }
}

/// A sequence of requests as a file that wrk understands.
pub struct Script {
    path: PathBuf,
    /// Of each request, whether its answer acknowledges an event.
    makes_event: Vec<bool>,
}

impl Script {
    pub fn write(path: PathBuf, requests: &[Request]) -> io::Result<Self> {
        // Rust escapes quotes and line ends as Lua does.
        let texts: String = requests.iter().map(|request| format!("{:?},\n", request.text())).collect();
        let script = format!(
            "local texts = {{\n{texts}}}\n\
             local requests, threads = {{}}, {{}}\n\
             taken = 0\n\
             setup = function(thread) table.insert(threads, thread) end\n\
             init = function()\n\
               for n, text in ipairs(texts) do\n\
                 requests[n] = string.gsub(text, \"{HOST}\", wrk.headers[\"Host\"], 1)\n\
               end\n\
             end\n\
             request = function()\n\
               taken = taken + 1\n\
               return requests[(taken - 1) % #requests + 1]\n\
             end\n\
             done = function(s)\n\
               local e = s.errors\n\
               print(\"{MARK} \" .. s.requests .. \" \" .. threads[1]:get(\"taken\") .. \" \" .. s.duration .. \" \" ..\n\
                 e.status .. \" \" .. (e.connect + e.read + e.write + e.timeout))\n\
             end\n"
        );
        std::fs::write(&path, script)?;
        Ok(Self { path, makes_event: requests.iter().map(|request| request.makes_event).collect() })
    }

    /// Sends the requests as fast as they are answered. Fails on any error: a contestant that
    /// refuses is not to look fast. On a machine so busy that nothing was answered at all it
    /// tries again.
    pub fn run(&self, address: SocketAddr, connections: u64, time: Duration) -> io::Result<Load> {
        let mut events = Events::default();
        for _ in 0..RUNS_MAX {
            let load = self.once(address, connections, time)?;
            events += load.events;
            if load.ok > 0 {
                return Ok(Load { events, ..load });
            }
        }
        Err(io::Error::other(format!("{address} answered nothing in {RUNS_MAX} times {} s", time.as_secs())))
    }

    fn once(&self, address: SocketAddr, connections: u64, time: Duration) -> io::Result<Load> {
        let out = output_of(
            Command::new("wrk")
                .args(["-t1", &format!("-c{connections}"), &format!("-d{}s", time.as_secs()), "-s"])
                .arg(&self.path)
                .arg(format!("http://{address}")),
        )?;
        let line = out.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_default();
        let figures: Vec<u64> = line.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect();
        let load = match figures[..] {
            [ok, taken, took_us, 0, 0] => self.events(ok, taken, connections).map(|events| Load {
                ok,
                took: Duration::from_micros(took_us),
                events,
            }),
            _ => None,
        };
        load.ok_or_else(|| io::Error::other(format!("wrk met errors or was not understood: {out}")))
    }

    /// What `taken` requests of the sequence make, of which `ok` were answered. Each connection
    /// has one request under way at most.
    fn events(&self, ok: u64, taken: u64, connections: u64) -> Option<Events> {
        // wrk takes the first only to see whether the script sends several at once.
        let under_way = taken.checked_sub(1)?.checked_sub(ok)?;
        if under_way > connections {
            return None;
        }
        let sent = self.events_of_first(taken) - self.events_of_first(1);
        // It is unknown which of the requests under way make events.
        Some(Events { acknowledged: sent.saturating_sub(under_way), sent })
    }

    /// Events that the first requests make; the sequence begins again at its end.
    fn events_of_first(&self, requests: u64) -> u64 {
        let count = |some: &[bool]| some.iter().filter(|makes_event| **makes_event).count() as u64;
        let length = self.makes_event.len() as u64;
        let rest = &self.makes_event[..(requests % length) as usize];
        requests / length * count(&self.makes_event) + count(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_those_sent_but_for_the_first_that_is_taken_and_those_under_way() {
        let script = Script { path: PathBuf::new(), makes_event: vec![true, true, false] };
        // Sent: the last two of the first sequence, all of the second, the first of the third.
        assert_eq!(script.events(6, 7, 2), Some(Events { acknowledged: 4, sent: 4 }));
        assert_eq!(script.events(4, 7, 2), Some(Events { acknowledged: 2, sent: 4 }));
        // More under way than there are connections, more answers than requests.
        assert_eq!(script.events(3, 7, 2), None);
        assert_eq!(script.events(7, 7, 2), None);
    }
}
