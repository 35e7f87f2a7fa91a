//! wrk: as many requests as a server takes, in a closed loop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use world::open_loop::HEADERS;
use world::programs::{PROGRAMS, id};

use crate::machine::done;

/// Different programs that are asked for in turn, all over the registry.
const IDS: usize = 10_000;
/// Marks the line with the figures.
const MARK: &str = "figures:";
const RUNS_MAX: u64 = 5;

/// The paths of one pixel each, in the order in which they are asked for.
pub fn paths() -> Vec<String> {
    (0..IDS).map(|nth| format!("/i/{}.gif?utm_source=news&v=visitor-1", id(nth * 7_919 % PROGRAMS))).collect()
}

/// What wrk saw.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers of 2xx and 3xx.
    pub ok: u64,
    pub took: Duration,
    /// How often wrk was run.
    pub runs: u64,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.ok as f64 / self.took.as_secs_f64()
    }
}

/// Writes the script that wrk follows.
pub fn write_script(path: &Path) -> io::Result<()> {
    let headers = HEADERS.lines().filter_map(|line| line.split_once(": "));
    let headers: String =
        headers.map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect();
    let paths: String = paths().iter().map(|path| format!("\"{path}\",\n")).collect();
    let script = format!(
        "{headers}local paths = {{\n{paths}}}\n\
         local requests, at = {{}}, 0\n\
         init = function() for n, path in ipairs(paths) do requests[n] = wrk.format(\"GET\", path) end end\n\
         request = function() at = at % #requests + 1 return requests[at] end\n\
         done = function(s)\n\
           local e = s.errors\n\
           print(\"{MARK} \" .. s.requests .. \" \" .. s.duration .. \" \" .. e.status .. \" \" ..\n\
             (e.connect + e.read + e.write + e.timeout))\n\
         end\n"
    );
    std::fs::write(path, script)
}

/// Asks for pixels as fast as they are answered. Fails on any error: a contestant that
/// refuses is not to look fast. On a machine so busy that nothing was answered at all it
/// tries again.
pub fn wrk(script: &Path, address: SocketAddr, connections: usize, time: Duration) -> io::Result<Load> {
    for runs in 1..=RUNS_MAX {
        let load = once(script, address, connections, time, runs)?;
        if load.ok > 0 {
            return Ok(load);
        }
    }
    Err(io::Error::other(format!("{address} answered nothing in {RUNS_MAX} times {} s", time.as_secs())))
}

fn once(
    script: &Path,
    address: SocketAddr,
    connections: usize,
    time: Duration,
    runs: u64,
) -> io::Result<Load> {
    let out = done(
        Command::new("wrk")
            .args(["-t1", &format!("-c{connections}"), &format!("-d{}s", time.as_secs()), "-s"])
            .arg(script)
            .arg(format!("http://{address}")),
    )?;
    let line = out.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_default();
    let figures: Vec<u64> = line.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect();
    match figures[..] {
        [ok, took_us, 0, 0] => Ok(Load { ok, took: Duration::from_micros(took_us), runs }),
        _ => Err(io::Error::other(format!("wrk met errors or was not understood: {out}"))),
    }
}
