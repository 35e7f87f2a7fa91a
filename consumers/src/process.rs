//! Stores batches; shared by the pull loop and the Lambda.

use std::sync::Arc;

use stream::Batch;

use crate::decode::WriteBatch;
use crate::table::{Table, TableError, Written};

/// What became of the batches of one call.
pub type Outcome = Written;

/// Decodes `batches` and writes them as one batch, durable on return.
///
/// Poison becomes dead letters, counted in the outcome; it is not an error. A batch of which the
/// outcome says that something is left must be processed again.
///
/// # Errors
/// See [`TableError`]. The same batches may be processed again: the ledger recognises what was written.
pub async fn process<T: Table>(batches: &[Batch], table: &T, now_ms: u64) -> Result<Outcome, TableError> {
    table.write(Arc::new(WriteBatch::of(batches, now_ms))).await
}
