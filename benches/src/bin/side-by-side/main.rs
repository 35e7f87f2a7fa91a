//! The promised numbers, measured beside nginx on this machine: writes `benches/RESULTS.md`
//! and `benches/results.svg`.
//!
//! ```text
//! cargo run --release -p benches --bin side-by-side
//! ```
//!
//! The contestants have the first core, all load comes from the second, everything goes over
//! loopback. Contestants take turns, each round begins with an empty log, and a round in which
//! other processes used the machine is repeated; ratios within one run are what counts. After
//! each round the log is read and must hold what the client was told is there. Needs nginx and
//! wrk (`apt-get install -y nginx wrk`) and at most ten minutes. The row about Redis needs
//! redis-server, else it says that there is none; `side-by-side publish` measures that row
//! alone and writes nothing.

mod chart;
mod contestant;
mod full_speed;
mod latency;
mod load;
mod machine;
mod publish;
mod quiet;
mod report;
mod storing;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use contestant::Clickgate;
use quiet::Quiet;

/// A part of the run: how long it may wait for others and repeat what they disturbed, and when
/// it begins no further rounds; in seconds from the start. All of it ends within ten minutes.
#[derive(Clone, Copy)]
struct Part {
    patient_until: u64,
    until: u64,
}

const PIXEL: Part = Part { patient_until: 120, until: 220 };
const LATENCY: Part = Part { patient_until: 260, until: 310 };
const STORING: Part = Part { patient_until: 350, until: 420 };
const PUBLISH: Part = Part { patient_until: 450, until: 480 };

/// What every part of the run shares.
struct Bench {
    clickgate: PathBuf,
    dir: tempfile::TempDir,
    quiet: Quiet,
    started: Instant,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side-by-side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    for tool in ["nginx", "wrk", "taskset"] {
        if Command::new(tool).arg("--version").output().is_err() {
            let how = "apt-get install -y nginx wrk util-linux";
            return Err(io::Error::other(format!("{tool} is missing; on Debian: {how}")));
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ is in the workspace");
    let bench = prepare(workspace)?;
    if std::env::args().nth(1).is_some_and(|part| part == "publish") {
        print!("{}", report::publish_rounds(&publish::measure(&bench)?));
        return Ok(());
    }
    let pixel = full_speed::measure(&bench)?;
    let latency = latency::measure(&bench, &pixel)?;
    let storing = storing::measure(&bench)?;
    let publish = publish::measure(&bench)?;
    let machine = machine::describe(workspace)?;
    let report = report::Report { machine, pixel, latency, storing, publish, took: bench.started.elapsed() };
    std::fs::write(workspace.join("benches/results.svg"), chart::svg(&report))?;
    std::fs::write(workspace.join("benches/RESULTS.md"), report.markdown())?;
    println!("{}", report.markdown());
    Ok(())
}

/// Builds the command, takes the second core for ourselves, imports the programs.
fn prepare(workspace: &Path) -> io::Result<Bench> {
    let build = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", "clickgate"])
        .current_dir(workspace)
        .status()?;
    if !build.success() {
        return Err(io::Error::other("clickgate cannot be built"));
    }
    let us = std::process::id().to_string();
    machine::done(Command::new("taskset").args(["-a", "-c", "-p", "1", &us]))?;
    let clickgate = std::env::current_exe()?.with_file_name("clickgate");
    // Not in /tmp, which may be memory: the log is to be on a disk.
    let dir = tempfile::Builder::new().prefix("side-by-side").tempdir_in(workspace.join("target"))?;
    let file = dir.path().join("programs.json");
    std::fs::write(&file, world::programs::json())?;
    let bench = Bench { clickgate, dir, quiet: Quiet, started: Instant::now() };
    let import = ["programs", "import", &file.display().to_string()].map(str::to_owned);
    machine::done(Clickgate::command(&bench).args(import))?;
    Ok(bench)
}

impl Bench {
    /// The data directory of our contestant.
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Waits until nobody else uses the machine, as far as there is time.
    fn wait_for_quiet(&self, part: Part) -> io::Result<()> {
        if self.may_repeat(part) { self.quiet.wait() } else { Ok(()) }
    }

    /// Whether there is time to repeat a disturbed round.
    fn may_repeat(&self, part: Part) -> bool {
        self.started.elapsed().as_secs() < part.patient_until
    }

    /// Whether there is time for another round; there always is for the first.
    fn has_time(&self, part: Part, round: usize) -> bool {
        round == 1 || self.started.elapsed().as_secs() < part.until
    }

    /// Says what is being done.
    fn say(&self, what: &str) {
        eprintln!("[{:>3} s] {what}", self.started.elapsed().as_secs());
    }
}
