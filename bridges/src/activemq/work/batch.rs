//! Messages that were read together, on their way into the log or the registry, and back as
//! acknowledgements.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::FutureExt;
use proto::Uuid;
use stream::NewRecord;

use super::super::codec::encode;
use super::super::frame::{Command, Frame};
use super::super::sink::append;
use super::{End, Work, held};
use crate::programs::CoreData;

/// What they became, before it is appended.
#[derive(Default)]
pub struct Batch {
    pub records: Vec<NewRecord>,
    pub changes: Vec<CoreData>,
    acks: BytesMut,
    messages: u64,
    bytes: usize,
    ids: Vec<Uuid>,
}

impl Batch {
    /// Notes a message whose record or changes were added; `id` if it has attempts.
    pub fn add(&mut self, message: &Frame, bytes: usize, id: Option<Uuid>) {
        encode(
            &Frame::new(Command::Ack, &[("id", message.header("ack").unwrap_or_default())]),
            &mut self.acks,
        );
        self.messages += 1;
        self.bytes += bytes;
        self.ids.extend(id);
    }
}

/// What has been appended, or not.
pub struct Appended {
    /// The acknowledgements, encoded.
    acks: Bytes,
    messages: u64,
    bytes: usize,
    /// Of those that have attempts.
    ids: Vec<Uuid>,
    result: Result<(), String>,
}

impl Work<'_> {
    pub(super) fn append(&mut self, batch: Batch) {
        let Batch { records, changes, acks, messages, bytes, ids } = batch;
        if messages == 0 {
            return;
        }
        self.in_flight += messages;
        self.events_bytes += bytes;
        let acks = acks.freeze();
        let lane = Arc::clone(self.lane);
        let level = self.plan.queue.level;
        let core_data = self.plan.sink.core_data.clone();
        let appending = async move {
            // A queue has one target, so a batch has either records or changes.
            let result = match (records.is_empty(), core_data) {
                (false, _) => {
                    append(&lane, records, level).await.map_err(|error| format!("the log: {error}"))
                }
                (true, Some(accept)) => accept(changes).await,
                (true, None) => Err("there is nothing that takes core data".to_owned()),
            };
            Appended { acks, messages, bytes, ids, result }
        };
        self.appends.push(appending.boxed_local());
    }

    /// All of a batch have reached their level, so their acknowledgements go out in one write.
    pub(super) async fn acknowledge(&mut self, appended: Appended) -> Result<(), End> {
        let Appended { acks, messages, bytes, ids, result } = appended;
        self.in_flight -= messages;
        self.events_bytes -= bytes;
        // Without an acknowledgement they come again; those that are in the log are known then.
        result.map_err(End::Held)?;
        self.session.send_encoded(acks).await.map_err(End::Lost)?;
        self.status.update(|status| status.counts.acknowledged += messages);
        for id in ids {
            self.attempts.forget(&id).map_err(|error| held("cannot write the attempts", &error))?;
        }
        Ok(())
    }
}
