//! Sends requests at a fixed rate and says how long they took from the moment they were due.
//!
//! ```text
//! cargo run --release -p benches --bin open-loop -- 127.0.0.1:8080 /i/212312 --rate 10000
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use world::open_loop::{Plan, run};
use world::requests::Request;

/// Sends requests at a fixed rate; latency counts from the moment a request was due.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to
    address: SocketAddr,
    /// Paths, sent in turn
    #[arg(required = true)]
    paths: Vec<String>,
    /// Requests per second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Connections that share the rate
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// For how long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        address: arguments.address,
        requests: arguments.paths.iter().map(|path| Request::hit(path)).collect(),
        rate: arguments.rate.into(),
        connections: arguments.connections.into(),
        duration: Duration::from_secs(arguments.seconds),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(&plan))) {
        Ok(outcome) => {
            println!("{} answers of 2xx or 3xx, {} others", outcome.ok, outcome.other);
            for per_cent in [50.0, 90.0, 99.0, 99.9, 100.0] {
                println!("p{per_cent:<5} {:>9.3} ms", outcome.percentile_ms(per_cent));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("open-loop: {error}");
            ExitCode::FAILURE
        }
    }
}
