//! The streams that a consumer or a program bridge reads.

use stream::{Form, Worker, WorkerConfig};

use crate::owner::{Owner, OwnerError};

/// What a consumer reads: the stream of the events, and the one of everything else if that is another.
///
/// # Errors
/// No stream is configured.
pub async fn events(owner: &Owner) -> Result<Worker, OwnerError> {
    let shipper = &owner.settings.shipper.config;
    let stream = shipper.stream.clone().ok_or(OwnerError::NoStream)?;
    let mut streams = vec![stream];
    streams.extend(shipper.control_stream.clone());
    streams.dedup();
    Ok(open(owner, streams, Form::Lanes).await)
}

/// What the program bridge reads, if not its log.
pub async fn core_data(owner: &Owner) -> Option<Worker> {
    let stream = owner.settings.bridge.programs_stream.clone()?;
    Some(open(owner, vec![stream], Form::CoreData).await)
}

async fn open(owner: &Owner, streams: Vec<String>, form: Form) -> Worker {
    let lease_table = owner.settings.table.name.clone();
    let config = WorkerConfig { streams, form, lease_table, ..owner.settings.worker.clone() };
    Worker::open(config, &owner.settings.aws).await
}
