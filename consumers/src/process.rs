//! One function for the pull loop and for the Lambda.

use std::sync::Arc;

use stream::Batch;

use crate::decode::WriteBatch;
use crate::table::{Table, TableError, Written};

/// What became of the batches of one call.
pub type Outcome = Written;

/// Decodes `batches` and writes them as one batch, durable on return.
///
/// Poison is in the dead letters then and counted in the outcome; it is no error. Where the
/// outcome says that something of a batch is left, that batch must be processed again.
///
/// # Errors
/// See [`TableError`]. The same batches may be processed again: what was written is known.
pub async fn process<T: Table>(batches: &[Batch], table: &T, now_ms: u64) -> Result<Outcome, TableError> {
    table.write(Arc::new(WriteBatch::of(batches, now_ms))).await
}
