//! Records that a stream refuses: the one at fault is found and put aside, and the rest goes on.

use proto::{BootId, DeadLetter, Stage};
use supervise::{causes, now_ms};
use tokio::time::Instant;
use tracing::{error, warn};

use super::answer::{Answer, EntryAnswer};
use super::client::Client;
use super::config::ShipperConfig;
use super::entry::{Entry, Target};
use super::outbox::Request;
use super::pack::Packer;
use super::progress::Progress;
use super::work::{Kept, Letters, Shipper};
use crate::record::{Record, RecordKind};
use crate::source::{Batch, Item};
use crate::wire::LaneItem;

impl<L: Letters> Shipper<L> {
    /// Finds out which record of those that were refused together is at fault.
    pub(super) async fn refused(&mut self, target: Target, mut entries: Vec<Entry>, reason: String) {
        if entries.len() > 1 {
            let second = entries.split_off(entries.len() / 2);
            self.outbox.isolate(target, entries);
            self.outbox.isolate(target, second);
            return;
        }
        let Some(entry) = entries.pop() else { return };
        let before = entry.bytes();
        match entry.split() {
            Ok((first, second)) => {
                self.outbox.replaced(before, first.bytes() + second.bytes());
                self.outbox.isolate(target, vec![first]);
                self.outbox.isolate(target, vec![second]);
            }
            Err(entry) => self.put_aside(entry, reason).await,
        }
    }

    /// A record that the stream refuses becomes a dead letter, and the rest goes on.
    ///
    /// Not if nothing else was taken since the last one: then it is not the record that is at fault,
    /// and everything would become a dead letter.
    async fn put_aside(&mut self, mut entry: Entry, reason: String) {
        let reason = format!("the stream {:?} refuses it: {reason}", self.client.stream(entry.target));
        let why_not = match dead_letter(&entry, &reason) {
            None => reason,
            Some(_) if !self.took_one => {
                format!("{reason}. Nothing else was taken since the last record that was refused")
            }
            Some(letter) => match (self.letters)(letter).await {
                Ok(Kept::Kept) => {
                    warn!(reason, "a record became a dead letter");
                    self.took_one = false;
                    self.acknowledge(&entry);
                    self.status.update(|status| status.dead_letters += 1);
                    return;
                }
                Ok(Kept::Full(full)) => full,
                Err(error) => format!("a dead letter cannot be kept: {}", causes(&*error)),
            },
        };
        if !self.status.get().stalled {
            error!(reason = why_not, "the shipper is stalled by a record");
        }
        self.status.update(|status| {
            status.stalled = true;
            status.retried("refused", 1);
            status.failed(why_not, now_ms());
        });
        entry.is_suspect = true;
        self.outbox.failed(entry, Instant::now());
    }
}

/// `None` if it holds no record, but what the log says of itself: that is never given up.
fn dead_letter(entry: &Entry, reason: &str) -> Option<DeadLetter> {
    let LaneItem { boot, lane, item } = LaneItem::from_wire(entry.only_record()).ok()?;
    let Item::Record(record) = item else { return None };
    let batch = Batch::of_lane(boot, lane, Vec::new());
    Some(batch.dead_letter(&record, Stage::Shipper, reason.to_owned(), now_ms()))
}

/// See [`super::Destination::resend`].
pub(crate) async fn resend(
    client: &Client,
    config: &ShipperConfig,
    letter: &DeadLetter,
) -> Result<(), String> {
    let boot = BootId::from_slice(&letter.boot).map_err(|_| "it does not say its boot".to_owned())?;
    let kind = u8::try_from(letter.record_kind).map_err(|_| "its record kind is above 255".to_owned())?;
    let record = Record {
        number: letter.number,
        kind: RecordKind::from_code(kind),
        payload: letter.payload.clone().into(),
    };
    let batch = Batch::of_lane(boot, letter.lane, vec![Item::Record(record)]);
    let piece = Progress::default().read(&batch, 0);
    let (mut packer, mut entries) = (Packer::new(config), Vec::new());
    packer.add(batch, piece, &mut entries);
    packer.flush(&mut entries);
    let target = entries.first().map_or(Target::Events, |entry| entry.target);
    match client.put(Request { target, entries, sent_at: Instant::now() }).await.1 {
        Answer::Failed(failed) => Err(failed.describe(client.stream(target))),
        Answer::Each(answers) => match answers.into_iter().next() {
            Some(EntryAnswer::Stored) => Ok(()),
            Some(EntryAnswer::Refused { reason }) => Err(reason),
            Some(EntryAnswer::Throttled { .. }) => Err("its shard is throttled; try again".to_owned()),
            Some(EntryAnswer::Failed { code }) => Err(format!("{code}; try again")),
            None => Err("it was not sent".to_owned()),
        },
    }
}
