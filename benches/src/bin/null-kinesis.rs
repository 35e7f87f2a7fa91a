//! The null Kinesis in a process of its own: `null-kinesis --port 4568`, figures each second.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use world::null_kinesis::{Figures, NullKinesis};

/// Takes any PutRecords and keeps nothing.
#[derive(Parser)]
struct Arguments {
    /// On 127.0.0.1; 0 for a free one.
    #[arg(long, default_value_t = 4568)]
    port: u16,
    /// Decode every entry and count the events.
    #[arg(long)]
    events: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let null = NullKinesis::start(arguments.port)?;
    null.count_events(arguments.events);
    println!("{}", null.url());
    let mut last = Figures::default();
    loop {
        sleep(Duration::from_secs(1));
        let figures = null.figures();
        if figures != last {
            println!("{figures:?}");
            last = figures;
        }
    }
}
