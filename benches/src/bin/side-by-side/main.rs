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
//! each round the log is read and must hold every event that was acknowledged. Needs nginx and
//! wrk (`apt-get install -y nginx wrk`) and thirteen minutes, twenty at most. The row about Redis
//! needs redis-server, the one about ActiveMQ activemq, else they say so. `side-by-side --rows mixed,up --rounds 1`
//! measures some rows quickly and writes nothing.

mod activemq;
mod arguments;
mod broker;
mod chart;
mod contestant;
mod full_speed;
mod lag;
mod latency;
mod load;
mod machine;
mod prepared;
mod publish;
mod put_records;
mod quiet;
mod report;
mod shipping;
mod storing;
mod table_dynamodb;

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use arguments::{Arguments, Rows};
use clap::Parser;
use contestant::Clickgate;
use load::Script;
use prepared::Prepared;
use quiet::Quiet;
use world::requests::{mix, pixels};

/// The time limits of a phase of the run, in seconds from the start of the run. All of it ends
/// within twenty minutes.
#[derive(Clone, Copy)]
struct Phase {
    /// Until then it waits for a quiet machine and repeats disturbed rounds.
    repeats_until: u64,
    /// From then on it begins no further rounds.
    until: u64,
}

const FULL_SPEED: Phase = Phase { repeats_until: 300, until: 360 };
const LATENCY: Phase = Phase { repeats_until: 480, until: 540 };
const STORING: Phase = Phase { repeats_until: 590, until: 640 };
const PUBLISH: Phase = Phase { repeats_until: 670, until: 690 };
const SHIPPING: Phase = Phase { repeats_until: 850, until: 900 };
const ACTIVEMQ: Phase = Phase { repeats_until: 1_080, until: 1_140 };

/// State shared by all phases of the run.
struct Bench {
    arguments: Arguments,
    clickgate: PathBuf,
    dir: tempfile::TempDir,
    pixels: Script,
    mix: Script,
    quiet: Quiet,
    /// Made by the first row that needs it.
    prepared: OnceCell<Prepared>,
    started: Instant,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side-by-side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<()> {
    for tool in ["nginx", "wrk", "taskset"] {
        if Command::new(tool).arg("--version").output().is_err() {
            let how = "apt-get install -y nginx wrk util-linux";
            return Err(io::Error::other(format!("{tool} is missing; on Debian: {how}")));
        }
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ is in the workspace");
    let bench = prepare(arguments, workspace)?;
    let full_speed = full_speed::measure(&bench)?;
    let latency = latency::measure(&bench, &full_speed)?;
    let storing = storing::measure(&bench)?;
    let publish = match bench.arguments.measures(Rows::Publish) {
        true => Some(publish::measure(&bench)?),
        false => None,
    };
    let shipping = shipping::measure(&bench)?;
    let put_records = put_records::measure(&bench)?;
    let activemq = activemq::measure(&bench)?;
    let table_dynamodb = table_dynamodb::measure(&bench)?;
    let machine = machine::describe(workspace)?;
    let took = bench.started.elapsed();
    let report = report::Report {
        machine,
        full_speed,
        latency,
        storing,
        publish,
        shipping,
        put_records,
        activemq,
        table_dynamodb,
        took,
    };
    if bench.arguments.is_complete() {
        std::fs::write(workspace.join("benches/results.svg"), chart::svg(&report))?;
        std::fs::write(workspace.join("benches/RESULTS.md"), report.markdown())?;
    }
    println!("{}", report.markdown());
    Ok(())
}

/// Builds the command, takes the second core for ourselves, imports the programs.
fn prepare(arguments: Arguments, workspace: &Path) -> io::Result<Bench> {
    for program in [&["--bin", "clickgate"][..], &["-p", "benches", "--bin", "table-dynamodb"]] {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--release", "--locked"]).args(program).current_dir(workspace);
        if !build.status()?.success() {
            return Err(io::Error::other(format!("{} cannot be built", program.last().unwrap_or(&""))));
        }
    }
    let us = std::process::id().to_string();
    machine::output_of(Command::new("taskset").args(["-a", "-c", "-p", "1", &us]))?;
    let clickgate = std::env::current_exe()?.with_file_name("clickgate");
    // Not in /tmp, which may be memory: the log is to be on a disk.
    let dir = tempfile::Builder::new().prefix("side-by-side").tempdir_in(workspace.join("target"))?;
    let file = dir.path().join("programs.json");
    std::fs::write(&file, world::programs::json())?;
    let pixels = Script::write(dir.path().join("pixels.lua"), &pixels())?;
    let mix = Script::write(dir.path().join("mix.lua"), &mix())?;
    let started = Instant::now();
    let prepared = OnceCell::new();
    let bench = Bench { arguments, clickgate, dir, pixels, mix, quiet: Quiet, prepared, started };
    let import = ["programs", "import", &file.display().to_string()].map(str::to_owned);
    machine::output_of(Clickgate::command(&bench).args(import))?;
    Ok(bench)
}

impl Bench {
    /// The data directory of our contestant.
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Waits until no other process uses the machine, as far as there is time.
    fn wait_for_quiet(&self, phase: Phase) -> io::Result<()> {
        if self.may_repeat(phase) { self.quiet.wait() } else { Ok(()) }
    }

    /// Whether there is time to repeat a disturbed round.
    fn may_repeat(&self, phase: Phase) -> bool {
        self.started.elapsed().as_secs() < phase.repeats_until
    }

    /// The rounds of a phase, as long as there is time; the first is always run.
    fn rounds(&self, phase: Phase) -> impl Iterator<Item = u8> {
        let has_time = move |round: &u8| *round == 1 || self.started.elapsed().as_secs() < phase.until;
        (1..=self.arguments.rounds).take_while(has_time)
    }

    /// Logs progress.
    fn say(&self, what: &str) {
        eprintln!("[{:>3} s] {what}", self.started.elapsed().as_secs());
    }
}
