//! What operators and givers do with dead letters.

use proto::{DeadLetter, Message};

use super::DynamoTable;
use super::fault::Fault;
use super::keys::{Place, letter_place};
use super::letters::{Head, Kind, Put, Room, page};
use crate::decode::{Decoded, WriteBatch, batch_of, decode, is_foreign};
use crate::ledger::{Fate, Fates};
use crate::table::{
    Cursor, Given, GivenLimits, LettersHeld, Listing, PAGE_MAX, Replayed, Start, TableError, WhenFull,
};

impl DynamoTable {
    pub(super) async fn list_letters(
        &self,
        start: &Start,
        limit: usize,
    ) -> Result<Listing<DeadLetter>, TableError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let at = match start {
            Start::At(cursor) => {
                Some(LetterId::parse(cursor).ok_or_else(|| TableError::UnknownCursor(cursor.to_string()))?)
            }
            Start::Oldest | Start::Newest => None,
        };
        let heads = self.db.heads().await?;
        let first = match (&at, start) {
            (Some(at), _) => {
                let (failed_at_ms, place) = at.order();
                heads.partition_point(|head| head.order() < (failed_at_ms, place.as_str()))
            }
            (None, Start::Newest) => {
                // As many of the last as fit into a page.
                let newest: Vec<Head> = heads.iter().rev().cloned().collect();
                heads.len() - page(&newest, limit).len()
            }
            (None, _) => 0,
        };
        let shown = page(&heads[first..], limit);
        let letters = self.db.letters(shown).await?;
        let items = shown.iter().zip(letters).filter_map(|(head, letter)| Some((id_of(head), letter?)));
        let items = items.collect();
        // Behind the last one, unless there are more.
        let next = heads.get(first + shown.len()).map(id_of);
        let next = next.or_else(|| heads.last().map(|last| Cursor::new(format!("{}+", id_of(last)))));
        let next = next.or_else(|| if let Start::At(at) = start { Some(at.clone()) } else { None });
        Ok(Listing { items, next: Some(next.unwrap_or_else(|| Cursor::new("000000000000-0+"))) })
    }

    pub(super) async fn letters_held(&self) -> Result<LettersHeld, Fault> {
        let heads = self.db.heads().await?;
        let of_consumer = heads.iter().filter(|head| head.kind.is_of_consumer()).count() as u64;
        let of_consumer_max = self.settings.letters_max.letters;
        Ok(LettersHeld { letters: heads.len() as u64, of_consumer, of_consumer_max })
    }

    pub(super) async fn letter(&self, id: &Cursor) -> Result<Option<DeadLetter>, Fault> {
        match self.head(id).await? {
            Some(head) => self.db.letter(&head).await,
            None => Ok(None),
        }
    }

    /// The head of the letter with this id; marks have none.
    async fn head(&self, id: &Cursor) -> Result<Option<Head>, Fault> {
        let Some(id) = LetterId::parse(id).filter(|id| !id.is_behind) else { return Ok(None) };
        let head = self.db.head(&id.place).await?;
        Ok(head.filter(|head| head.kind != Kind::Gone && head.failed_at_ms == id.failed_at_ms))
    }

    /// The record is stored before the letter goes, so a crash between the two leaves both, and
    /// replaying again finds out.
    pub(super) async fn replay(&self, id: &Cursor, now_ms: u64) -> Result<Replayed, Fault> {
        let Some(head) = self.head(id).await? else { return Ok(Replayed::NoSuchLetter) };
        let Some(letter) = self.db.letter(&head).await? else { return Ok(Replayed::NoSuchLetter) };
        match head.kind {
            Kind::Given => {
                let reason = "it is a bridge's, and goes back into the bridge's log";
                return Ok(Replayed::StillDead(reason.to_owned()));
            }
            Kind::Kept => {
                let reason = "the shipper or a bridge gave it, and its record does not belong in this table";
                return Ok(Replayed::StillDead(reason.to_owned()));
            }
            Kind::Lane | Kind::Foreign | Kind::Gone => {}
        }
        let batch = match batch_of(&letter) {
            Ok(batch) => batch,
            Err(reason) => return self.keep(&head, letter, reason).await,
        };
        let decoded = decode(&batch, now_ms);
        if let Some(Decoded::Poison(again)) = decoded.records.first().map(|record| &record.decoded) {
            let reason = again.reason.clone();
            return self.keep(&head, letter, reason).await;
        }
        let work = WriteBatch { batches: vec![decoded] };
        let replayed = if is_foreign(&letter) {
            self.replay_foreign(&work).await?
        } else {
            self.replay_of_lane(&work).await?
        };
        match replayed {
            Replayed::StillDead(reason) => return self.keep(&head, letter, reason).await,
            Replayed::NoSuchLetter | Replayed::Stored | Replayed::Duplicate | Replayed::Kept => {}
        }
        self.db.bury(&head, self.now_ms(), self.settings.expiry_ms).await?;
        Ok(replayed)
    }

    /// It is processed as one of its lane, which had never seen it.
    async fn replay_foreign(&self, work: &WriteBatch) -> Result<Replayed, Fault> {
        let written = self.write_all(work).await?;
        if !written.left.is_empty() {
            return Err(Fault::Throttled);
        }
        Ok(match written.fates {
            Fates { stored: 1, .. } => Replayed::Stored,
            Fates { duplicates: 1, .. } => Replayed::Duplicate,
            Fates { dead_letters: 1, .. } => Replayed::StillDead("it became a letter of its lane".to_owned()),
            _ if written.replayed == 1 => Replayed::Duplicate,
            _ => Replayed::Kept,
        })
    }

    /// Its number is in the ledger as dead, and becomes what its record has become.
    async fn replay_of_lane(&self, work: &WriteBatch) -> Result<Replayed, Fault> {
        let (place, fate) = match self.store_dead(work).await? {
            Ok(stored) => stored,
            Err(reason) => return Ok(Replayed::StillDead(reason)),
        };
        // An operator may have dropped it meanwhile, and now it is stored all the same.
        self.ledger.resolve(&self.db, place, &[Fate::Dead, Fate::Dropped], fate).await?;
        Ok(match fate {
            Fate::Stored => Replayed::Stored,
            Fate::Duplicate => Replayed::Duplicate,
            Fate::Rejected | Fate::Report | Fate::Dead | Fate::Dropped => Replayed::Kept,
        })
    }

    async fn keep(&self, head: &Head, letter: DeadLetter, reason: String) -> Result<Replayed, Fault> {
        if letter.reason != reason {
            self.db.rewrite(head, &DeadLetter { reason: reason.clone(), ..letter }).await?;
        }
        Ok(Replayed::StillDead(reason))
    }

    /// The ledger says that it was dropped before the letter goes, so a crash between the two leaves
    /// a letter that can be dropped again.
    pub(super) async fn drop_letter(&self, id: &Cursor) -> Result<bool, Fault> {
        let Some(head) = self.head(id).await? else { return Ok(false) };
        match head.kind {
            Kind::Given | Kind::Kept => return self.db.discard(&head.place).await,
            Kind::Lane | Kind::Foreign | Kind::Gone => {}
        }
        if head.kind == Kind::Lane
            && let Some(letter) = self.db.letter(&head).await?
            && let Ok(batch) = batch_of(&letter)
        {
            let place = Place { boot: batch.boot, lane: batch.lane, number: letter.number };
            self.ledger.resolve(&self.db, place, &[Fate::Dead], Fate::Dropped).await?;
        }
        self.db.bury(&head, self.now_ms(), self.settings.expiry_ms).await?;
        Ok(true)
    }

    /// One after the other, as they are few. Several givers may go over the bound by what they give at
    /// the same time.
    pub(super) async fn give(
        &self,
        letters: &[DeadLetter],
        limits: GivenLimits,
        when_full: WhenFull,
    ) -> Result<Given, Fault> {
        let kind = match when_full {
            WhenFull::DiscardOldest => Kind::Given,
            WhenFull::Refuse => Kind::Kept,
        };
        let max = Room { letters: limits.letters_max, bytes: limits.bytes_max };
        let mut heads = self.db.heads().await?;
        let mut given = Given::default();
        for letter in letters {
            let place = letter_place(letter);
            if heads.iter().any(|head| head.place == place) {
                given.known += 1;
                continue;
            }
            let room = Room::of(of_kind(&heads, kind)).with(letter.encoded_len() as u64);
            if when_full == WhenFull::Refuse && !room.is_within(max) {
                given.refused += 1;
                continue;
            }
            match self.db.put_letter(letter, kind).await? {
                Put::New(head) => {
                    given.new += 1;
                    heads.push(head);
                }
                Put::Known | Put::Gone => given.known += 1,
            }
        }
        heads.sort_by(|a, b| a.order().cmp(&b.order()));
        while when_full == WhenFull::DiscardOldest && !Room::of(of_kind(&heads, kind)).is_within(max) {
            let Some(oldest) = heads.iter().position(|head| head.kind == kind) else { break };
            let oldest = heads.remove(oldest);
            given.discarded += u64::from(self.db.discard(&oldest.place).await?);
        }
        Ok(given)
    }
}

fn of_kind(heads: &[Head], kind: Kind) -> impl Iterator<Item = &Head> {
    heads.iter().filter(move |head| head.kind == kind)
}

/// What names a letter: when it died, and its place.
struct LetterId {
    failed_at_ms: u64,
    place: String,
    /// Right behind it in a listing.
    is_behind: bool,
}

fn id_of(head: &Head) -> Cursor {
    Cursor::new(format!("{:012x}-{}", head.failed_at_ms, head.place))
}

impl LetterId {
    fn parse(id: &Cursor) -> Option<Self> {
        let text = id.as_str();
        let (text, is_behind) = text.strip_suffix('+').map_or((text, false), |text| (text, true));
        let (time, place) = text.split_once('-')?;
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if time.len() < 12 || place.is_empty() || !is_hex(place) {
            return None;
        }
        let failed_at_ms = u64::from_str_radix(time, 16).ok()?;
        Some(Self { failed_at_ms, place: place.to_owned(), is_behind })
    }

    /// Behind a letter is before the next one, whose place is greater.
    fn order(&self) -> (u64, String) {
        let behind = if self.is_behind { "+" } else { "" };
        (self.failed_at_ms, format!("{}{behind}", self.place))
    }
}
