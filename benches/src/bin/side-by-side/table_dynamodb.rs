//! What storing events in DynamoDB costs: the program `table-dynamodb`, whose table of figures becomes
//! a part of the report.

use std::io;
use std::process::{Command, Stdio};

use crate::Bench;
use crate::arguments::Rows;

/// The table in Markdown; an empty text if there is no ministack. `None` if it was not asked for.
pub fn measure(bench: &Bench) -> io::Result<Option<String>> {
    if !bench.arguments.measures(Rows::TableDynamodb) {
        return Ok(None);
    }
    let program = std::env::current_exe()?.with_file_name("table-dynamodb");
    let mut command = Command::new("taskset");
    // The server has the core that this program does not use.
    command.args(["-c", "0,1"]).arg(program).stderr(Stdio::piped());
    let output = command.output()?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("config/install python-tools") {
        eprintln!("skipped: storing in DynamoDB; {}", said.trim());
        return Ok(Some(String::new()));
    }
    Err(io::Error::other(format!("table-dynamodb: {}", said.trim())))
}
