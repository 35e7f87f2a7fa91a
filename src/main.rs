//! The command `clickgate`: one subcommand per role, `up` for all roles in one process, and
//! the operator's tools.
//!
//! ```text
//! cli ──► config ──► roles      data directory: claimed, opened, served until a signal
//!                └─► commands   an operation (ops): asked of the owner, or done here
//! admin: the second address, the same operations over HTTP
//! ```
//!
//! The *owner* is the process that holds a data directory; a command asks it, or becomes it for a
//! moment where there is none. A process is a list of parts (`part`): tracker, consumer, program
//! bridge, admin address. A new part is a file in `roles/` and a line in `roles.rs`. A part that
//! dies ends the process; the program bridge alone is restarted. `table::AnyTable` says which
//! [`consumers::Table`] is used, `cursors` who reads the log.

mod admin;
mod bridging;
mod cli;
mod client;
mod commands;
mod config;
mod cursors;
mod data;
mod diagnostics;
mod exit;
mod ops;
mod output;
mod owner;
mod part;
mod reading;
mod registry;
mod render;
mod roles;
mod shipping;
mod similar;
mod table;
mod visible;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    exit::code(commands::run(cli::Cli::parse()))
}
