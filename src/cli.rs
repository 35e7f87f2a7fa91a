//! The command line, as `--help` teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit::CODES;

/// The crate's version and, where it was built from a git work tree, the commit.
pub const VERSION: &str = env!("CLICKGATE_VERSION");

/// Answers pixels, clicks and events, keeps every accepted one in a crash-safe log, and stores
/// it once.
///
/// Without a subcommand it is `clickgate up`: everything in one process, nothing else needed.
#[derive(Debug, Parser)]
#[command(name = "clickgate", version = VERSION, after_help = CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// Defaults to `up`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file (TOML); `clickgate config keys` lists what may be in it
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Data directory: log, programs, stored events
    #[arg(long, value_name = "DIR", global = true, default_value = "data")]
    pub data: PathBuf,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Write diagnostics as JSON, one object a line
    #[arg(long, global = true)]
    pub log_json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all roles in one process: answer hits, log them, store them
    #[command(after_help = "Example:\n  clickgate up --data ./data\n  \
        curl -i 'http://127.0.0.1:8080/c/212313?utm_campaign=spring'")]
    Up,
    /// Run the tracker alone: answer hits and log them; a later consumer stores them
    #[command(after_help = "Example:\n  clickgate tracker --config edge.toml")]
    Tracker,
    /// Run the consumer alone: store what is in the log
    #[command(after_help = "Example:\n  clickgate consumer --data ./data")]
    Consumer,
    /// Run a bridge alone: bring in what others publish
    #[command(subcommand)]
    Bridge(Bridge),
    /// Look at and change the programs (campaigns)
    #[command(subcommand)]
    Programs(Programs),
    /// Look at stored events and refused hits
    #[command(subcommand)]
    Events(Events),
    /// Look at and create the table in DynamoDB that takes the events of a region
    #[command(subcommand)]
    Table(Table),
    /// Account for every number that was given out; exit code 1 if records are missing
    #[command(after_help = "Example:\n  clickgate reconcile --json")]
    Reconcile,
    /// Look at and deal with what could not be stored
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look at the log's files and readers
    #[command(subcommand)]
    Log(Log),
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Explain step by step why a hit would be accepted or refused; nothing is recorded
    #[command(after_help = "Example:\n  clickgate explain '/c/212313?utm_campaign=spring'\n  \
        clickgate explain '/i/212312' --header 'Sec-GPC: 1' --at 2026-12-24T00:00:00Z")]
    Explain(Explain),
}

#[derive(Debug, Clone, Subcommand)]
pub enum Bridge {
    /// Put core data from the log `programs` into the registry, for every tracker
    #[command(after_help = "Core data comes into that log with `clickgate programs import --stream` and \
        POST /programs. What cannot be read becomes a dead letter. It fills a Redis that is \
        new or was emptied only in part: import everything there once with `programs import`.\n\nExample:\n  \
        clickgate bridge programs --data ./core-data")]
    Programs,
    /// Put the messages of the configured ActiveMQ queues into the log of events
    #[command(after_help = "Brokers and queues are in the configuration: bridge.activemq.brokers.NAME and \
        bridge.activemq.queues.NAME. Each message is acknowledged once its event is safe. What cannot be \
        an event goes to a quarantine queue.\n\nExample:\n  \
        clickgate bridge activemq --config clickgate.toml\n  \
        clickgate bridge activemq --config clickgate.toml --poll-seconds 60")]
    Activemq {
        /// Read until the queues are empty, for this time at most, say what became of the messages, and
        /// end; for a schedule
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        poll_seconds: Option<u64>,
    },
    /// Show step by step what a message of a queue becomes; nothing is recorded
    #[command(after_help = "The file holds the body of a message, or a whole MESSAGE frame as it is on the \
        wire.\n\nExample:\n  \
        clickgate bridge check --config clickgate.toml --queue orders --message order.json --header 'shop: berlin'")]
    Check {
        /// The queue, by its name in the configuration; may be left out if there is one only
        #[arg(long, value_name = "NAME")]
        queue: Option<String>,
        /// A file, or - for standard input
        #[arg(long, value_name = "FILE")]
        message: PathBuf,
        /// A header of the message, as 'name: value'
        #[arg(long = "header", value_name = "HEADER")]
        headers: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Programs {
    /// Store one program, from a file, from standard input (-) or as JSON
    #[command(
        after_help = "With a \"revision\" (up to 2^63-1) it is stored only if no such revision and no newer one is stored. \
        Without one it is the newest: its revision is the time in milliseconds, or one more than the \
        stored one.\n\nExample:\n  clickgate programs put '{\"programId\": \"42\", \
        \"programName\": \"spring\", \"customerId\": 7, \"customerName\": \"Shop\", \"valid\": true, \
        \"landingUrl\": \"https://shop.example/?click={click_id}\"}'"
    )]
    Put {
        /// A file, - for standard input, or the JSON itself
        program: String,
    },
    /// Show one program as JSON
    #[command(after_help = "Example:\n  clickgate programs get 212312")]
    Get { id: String },
    /// List all programs; with --json as a file that can be imported
    #[command(after_help = "Example:\n  clickgate programs list --json > programs.json")]
    List,
    /// Remove a program; its hits are refused from then on
    #[command(
        after_help = "Removing a removed program again is no error: the answer says so, and the exit code \
        is 0. It is 1 if there never was such a program.\n\nExample:\n  clickgate programs rm 212312"
    )]
    Rm {
        id: String,
        /// Revision of the removal, newer than the stored one; defaults to now, in milliseconds since
        /// 1970
        #[arg(long, value_parser = clap::value_parser!(u64).range(..=programs::REVISION_MAX))]
        revision: Option<u64>,
    },
    /// Store many programs at once: a JSON array, or one program a line
    #[command(after_help = "Anything wrong in the file is listed with its place, and nothing is \
        imported. With --stream each line stands alone: the good ones are accepted, the others are \
        listed, and the exit code is 1.\n\nAn import without --stream declares the registry \
        complete: trackers refuse every program that is neither in the file nor stored already. Into a Redis \
        that is new or was emptied, import the whole file, never a part of it; until then trackers keep \
        the programs that they know. Changes go through `programs put`, or --stream, which leave \
        the programs that they do not name as they are. An import of [] declares what is stored \
        complete.\n\nExample:\n  clickgate programs import programs.json\n  \
        core-data-feed | clickgate programs import --stream -")]
    Import {
        /// Append lines, as they come, to the log `programs`; the program bridge puts them into the
        /// registry. A line may also be a removal: {"programId": "42", "removed": true}
        #[arg(long)]
        stream: bool,
        /// A file, or - for standard input
        file: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Show the newest stored events, and new ones as they arrive
    #[command(
        after_help = "From DynamoDB a program must be named; its events are shown by the time at which they were \
        received, two seconds later.\n\nExample:\n  clickgate events tail\n  \
        clickgate events tail --program 212312\n  clickgate events tail --no-follow --limit 1 --json"
    )]
    Tail {
        /// Only those of this program
        #[arg(long, value_name = "ID")]
        program: Option<String>,
        /// Begin with this many of the newest
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
        limit: u32,
        /// Begin with the oldest event that is kept
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        /// End when there is nothing more
        #[arg(long)]
        no_follow: bool,
    },
    /// Show one event
    #[command(after_help = "Example:\n  clickgate events get 019ab1f2-… --program 212312")]
    Get {
        message_id: String,
        #[arg(long, value_name = "ID")]
        program: String,
    },
    /// Show a program's events by the time at which they were received
    #[command(after_help = "Times are RFC 3339, a day, or milliseconds since 1970.\n\nExample:\n  \
        clickgate events query --program 212312 --from 2026-11-22 --to 2026-11-23T12:00:00Z")]
    Query {
        #[arg(long, value_name = "ID")]
        program: String,
        /// Received at this time or later
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Received before this time
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Show at most this many
        #[arg(long, default_value_t = 100)]
        limit: u64,
    },
    /// Count stored events; the last line is the number
    #[command(
        after_help = "DynamoDB keeps no count of all events: name a program, or let it read the whole table \
        with --scan.\n\nExample:\n  clickgate events count --program 212312"
    )]
    Count {
        #[arg(long, value_name = "ID")]
        program: Option<String>,
        /// Count by reading the whole table, instead of trusting its own count
        #[arg(long)]
        scan: bool,
    },
    /// Show refused hits, with what was wrong; they are kept for some days
    #[command(after_help = "Example:\n  clickgate events rejected --reason expired")]
    Rejected {
        /// Only those of this reason
        #[arg(long)]
        reason: Option<String>,
        /// Show this many of the newest
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum Table {
    /// Create it, unless it is there, and check it
    #[command(
        after_help = "The table has the keys pk and sk, is paid by request (on demand), and removes what has \
        expired by the attribute expires_at. What is in a table that is there stays. For a region, make it with the \
        rest of the region's resources instead, with point-in-time recovery and deletion protection.\n\nExample:\n  \
        clickgate table create --config region.toml"
    )]
    Create,
    /// Say whether it is there, has the right keys, removes what has expired, and may be used
    #[command(
        after_help = "It tries each action that a consumer needs, and changes nothing. A consumer does the same \
        when it starts.\n\nExample:\n  clickgate table check --config region.toml"
    )]
    Check,
}

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List them, newest last
    #[command(after_help = "Example:\n  clickgate dead-letters list")]
    List {
        /// Show this many of the newest
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one with its payload
    #[command(after_help = "Example:\n  clickgate dead-letters show 0")]
    Show {
        /// As `dead-letters list` shows it
        id: String,
    },
    /// Store them as if they had just arrived; those that still cannot be stored stay
    #[command(after_help = "Example:\n  clickgate dead-letters replay 0 1 2")]
    Replay {
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Give them up; `reconcile` counts them as dropped
    #[command(after_help = "Example:\n  clickgate dead-letters drop 0")]
    Drop {
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Log {
    /// Read every segment and report its contents; changes nothing, even beside a running process
    #[command(
        after_help = "Exit code 1 if something in it cannot be read.\n\nExample:\n  clickgate log check"
    )]
    Check,
    /// Open a log with damage that a start refuses, giving up what cannot be read
    #[command(after_help = "The damaged parts are kept beside the segments, as *.torn; `reconcile` counts \
        their numbers.\n\nExample:\n  clickgate log salvage")]
    Salvage,
    /// Show the position of each reader
    #[command(args_conflicts_with_subcommands = true, after_help = "Example:\n  clickgate log cursor")]
    Cursor {
        #[command(subcommand)]
        command: Option<Cursor>,
    },
    /// Ship the log of a dead machine to the stream, or store it in this data directory's table
    #[command(after_help = "It goes to the stream of shipper.stream, if one is set. Events that are stored \
        already are not stored twice, so it can be run again.\n\nExample:\n  \
        clickgate log ship /mnt/rescue/019ab1f2-7c00-7000-8000-000000000000")]
    Ship {
        /// A data directory, a directory below drain.rescue, or one with *.seg files
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum Cursor {
    /// Remove a cursor that an earlier configuration declared
    #[command(
        visible_alias = "remove",
        after_help = "The log keeps what such a cursor has not passed, in case its reader comes back. A cursor \
        that this configuration declares is not removed.\n\nExample:\n  clickgate log cursor rm shipper"
    )]
    Rm {
        /// As `clickgate log cursor` shows it
        name: String,
        /// Also if it has not passed everything: what only it holds back is removed unread
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Report every error in the file and the environment
    #[command(after_help = "Example:\n  clickgate config check --config edge.toml")]
    Check,
    /// Show the settings in effect as a TOML file; secrets are left out
    #[command(after_help = "Example:\n  clickgate config print > clickgate.toml")]
    Print,
    /// List every key with its default and meaning
    #[command(after_help = "A variable of the environment is the key in capitals behind CLICKGATE__, with \
        two underscores for each dot: CLICKGATE__TRACKER__LISTEN.\n\nExample:\n  clickgate config keys")]
    Keys {
        /// As a table in Markdown, as docs/configuration.md has it
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A path with its query, or a whole URL
    pub url: String,
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// A header of the request, as 'Name: value'
    #[arg(long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Decide for this moment instead of now
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_may_follow_the_subcommand_and_up_needs_no_word() {
        let cli = Cli::parse_from(["clickgate", "events", "count", "--data", "/d", "--json"]);
        assert_eq!((cli.global.data, cli.global.json), (PathBuf::from("/d"), true));
        assert!(Cli::parse_from(["clickgate"]).command.is_none());
    }

    #[test]
    fn every_subcommand_says_what_it_does_and_shows_an_example() {
        fn look(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let name = format!("{path} {}", sub.get_name());
                assert!(sub.get_about().is_some(), "{name} has no sentence");
                let group = sub.get_subcommands().next().is_some();
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(group || help.contains(&format!("Example:\n  {name}")), "{name} has no example");
                look(sub, &name);
            }
        }
        look(&Cli::command(), "clickgate");
    }

    #[test]
    fn the_version_begins_with_that_of_the_crate() {
        assert!(VERSION.starts_with(env!("CARGO_PKG_VERSION")));
    }
}
