//! `clickgate table …`: the table in DynamoDB that table.name names.

use consumers::{Checked, DynamoTable, TableError};
use serde_json::json;
use supervise::causes;

use super::Context;
use crate::cli;
use crate::exit::Failure;
use crate::table::dynamo;

pub fn run(context: &mut Context, command: &cli::Table) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
    let table = runtime.block_on(dynamo(&context.settings));
    let checked = match command {
        cli::Table::Check => runtime.block_on(table.check()),
        cli::Table::Create => {
            let created = runtime.block_on(table.create(|step| eprintln!("clickgate: {step}")));
            created.map_err(|error| not_created(&table, &error))?
        }
    };
    let name = table.name();
    match checked {
        Checked::Fit => {
            let answer = json!({ "table": name, "fit": true });
            Ok(context.out.document(&answer, |_| format!("the table {name:?} can be used"))?)
        }
        Checked::NoAnswer(reason) => {
            Err(Failure::Failed(format!("nothing is heard of the table {name:?}: {reason}")))
        }
        Checked::Unfit(reasons) => Err(Failure::Failed(reasons.join("\n"))),
    }
}

fn not_created(table: &DynamoTable, error: &TableError) -> Failure {
    Failure::Failed(format!("the table {:?} was not created: {}", table.name(), causes(error)))
}
