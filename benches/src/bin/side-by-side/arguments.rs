//! What a run is asked to measure.

use clap::{Parser, ValueEnum};

/// Fewer rounds say nothing reliable.
const ROUNDS: u8 = 5;

/// Measures the promised numbers beside nginx and writes benches/RESULTS.md and results.svg.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Only these; then the results are printed and written nowhere
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Rows>,
    /// Rounds of each contestant; with fewer than 5 the results are printed and written nowhere
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub rounds: u8,
}

/// Rows of the results that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rows {
    /// The pixel against nginx: CPU, requests/s, latency; memory, and the time until ready
    Pixel,
    /// The mix of all kinds of requests against the pixel: CPU, latency
    Mixed,
    /// The consumer into the local table
    Consumer,
    /// `up`, from the hit to the table
    Up,
    /// From a change in Redis to the tracker that shows it
    Publish,
    /// The shipper, from a prepared log into a Kinesis that takes everything
    Shipper,
    /// Tracker and shipper together against nginx, from the hit to Kinesis
    Shipping,
    /// What a million events cost in Kinesis: requests, records, payload units
    PutRecords,
    /// The ActiveMQ bridge against a client that acknowledges and does nothing else
    Activemq,
    /// What a million events cost in DynamoDB: write units, CPU
    TableDynamodb,
}

impl Arguments {
    pub fn measures(&self, rows: Rows) -> bool {
        self.rows.is_empty() || self.rows.contains(&rows)
    }

    /// Whether the results are good enough to be written down.
    pub fn is_complete(&self) -> bool {
        self.rounds >= ROUNDS && Rows::value_variants().iter().all(|rows| self.measures(*rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn only_all_rows_with_enough_rounds_are_complete() {
        assert!(arguments("side-by-side").is_complete());
        assert!(
            arguments(
                "side-by-side --rows pixel,mixed,consumer,up,publish,shipper,shipping,put-records,activemq,table-dynamodb"
            )
            .is_complete()
        );
        assert!(!arguments("side-by-side --rounds 4").is_complete());
        let some = arguments("side-by-side --rows mixed,up");
        assert!(!some.is_complete() && some.measures(Rows::Up) && !some.measures(Rows::Pixel));
    }

    #[test]
    fn unknown_rows_and_no_rounds_are_refused() {
        assert!(Arguments::try_parse_from(["side-by-side", "--rows", "pixels"]).is_err());
        assert!(Arguments::try_parse_from(["side-by-side", "--rounds", "0"]).is_err());
    }
}
