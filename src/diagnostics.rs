//! Log lines on stderr: for people, or JSON with one switch.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Diagnostics;

/// Starts them, once per process.
pub fn start(diagnostics: &Diagnostics) {
    let filter = EnvFilter::new(diagnostics.level.as_str());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that somebody has started them already.
    let _ = if diagnostics.json {
        tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())
    } else {
        tracing::subscriber::set_global_default(lines.with_ansi(std::io::stderr().is_terminal()).finish())
    };
}
