//! A Kinesis record on its way, and which records of the log are in it.

use bytes::Bytes;
use proto::kpl;
use supervise::Backoff;

use super::progress::PieceId;

/// Characters of a random partition key. All have the same number, so that one can take the place
/// of another inside an aggregate.
const RANDOM_KEY_CHARS: usize = 16;

/// Which stream takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// That of the events.
    Events,
    /// That of everything else, if it is another one.
    Control,
}

/// What decides its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Chance; it gets another key with the next attempt.
    Random,
    /// Its bucket, of 64. It waits for its shard.
    Bucket(u8),
    /// Its message id.
    MessageId,
}

/// Records of one piece that are in an entry: so many, which follow each other in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub piece: PieceId,
    pub records: u32,
}

/// A Kinesis record that is not acknowledged yet.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub target: Target,
    pub key: Key,
    pub partition_key: String,
    pub data: Bytes,
    /// What is in it, in the order in which it is.
    pub runs: Vec<Run>,
    /// The pauses of its own attempts; none before the first that failed.
    pub backoff: Option<Backoff>,
    /// It was refused and could not be put aside: it is sent alone, so as not to take others along.
    pub is_suspect: bool,
}

impl Entry {
    /// Bytes that count against the limits of a request: data and key.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// Records of the log in it.
    pub fn records(&self) -> u32 {
        self.runs.iter().map(|run| run.records).sum()
    }

    /// Gives a record whose shard is chance another one.
    pub fn draw_key(&mut self) {
        if self.key != Key::Random {
            return;
        }
        self.partition_key = random_key();
        if self.data.starts_with(&kpl::MAGIC) {
            let mut data = Vec::from(std::mem::take(&mut self.data));
            kpl::set_partition_key(&mut data, &self.partition_key);
            self.data = data.into();
        }
    }

    /// The two halves of an aggregate; the entry itself if it holds one record.
    pub fn split(self) -> Result<(Self, Self), Self> {
        let Some(records) = kpl::read(&self.data).filter(|records| records.len() > 1) else {
            return Err(self);
        };
        let half = records.len() / 2;
        let (first, second) = split_runs(&self.runs, half as u32);
        let part = |records: &[kpl::UserRecord], runs| {
            let mut aggregate = kpl::Aggregate::new(&self.partition_key);
            records.iter().for_each(|record| aggregate.push(&record.data));
            Self { data: aggregate.finish().into(), runs, ..self.clone() }
        };
        Ok((part(&records[..half], first), part(&records[half..], second)))
    }

    /// The record of an entry that holds one, as it travels.
    pub fn only_record(&self) -> Bytes {
        match kpl::read(&self.data) {
            Some(mut records) if records.len() == 1 => records.remove(0).data,
            _ => self.data.clone(),
        }
    }
}

/// A key that hashes anywhere.
pub(crate) fn random_key() -> String {
    format!("{:0width$x}", fastrand::u64(..), width = RANDOM_KEY_CHARS)
}

fn split_runs(runs: &[Run], mut at: u32) -> (Vec<Run>, Vec<Run>) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for run in runs {
        let here = run.records.min(at);
        at -= here;
        if here > 0 {
            first.push(Run { records: here, ..*run });
        }
        if run.records > here {
            second.push(Run { records: run.records - here, ..*run });
        }
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use proto::BootId;

    use super::*;

    fn piece(sequence: u64) -> PieceId {
        PieceId { lane: (BootId::nil(), 0), sequence }
    }

    fn entry(key: Key, records: &[&[u8]], runs: Vec<Run>) -> Entry {
        let partition_key = random_key();
        let mut aggregate = kpl::Aggregate::new(&partition_key);
        records.iter().for_each(|data| aggregate.push(data));
        let data = aggregate.finish().into();
        Entry { target: Target::Events, key, partition_key, data, runs, backoff: None, is_suspect: false }
    }

    fn contents(entry: &Entry) -> Vec<Bytes> {
        match kpl::read(&entry.data) {
            Some(records) => {
                assert!(records.iter().all(|record| record.partition_key == entry.partition_key));
                records.into_iter().map(|record| record.data).collect()
            }
            None => vec![entry.data.clone()],
        }
    }

    #[test]
    fn an_aggregate_is_split_down_to_single_records_and_each_keeps_its_piece() {
        let runs = vec![Run { piece: piece(1), records: 2 }, Run { piece: piece(2), records: 3 }];
        let whole = entry(Key::Random, &[b"a", b"b", b"c", b"d", b"e"], runs);
        let mut parts = vec![whole];
        let mut single = Vec::new();
        while let Some(part) = parts.pop() {
            match part.split() {
                Ok((first, second)) => parts.extend([second, first]),
                Err(one) => single.push(one),
            }
        }
        let found: Vec<(Bytes, u64)> =
            single.iter().map(|one| (one.only_record(), one.runs[0].piece.sequence)).collect();
        let expected = [("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 2)];
        assert_eq!(found, expected.map(|(data, piece)| (Bytes::from_static(data.as_bytes()), piece)));
        assert!(single.iter().all(|one| one.records() == 1));
    }

    #[test]
    fn another_key_stands_in_the_aggregate_too() {
        let mut entry = entry(Key::Random, &[b"a", b"b"], vec![Run { piece: piece(1), records: 2 }]);
        let before = entry.partition_key.clone();
        entry.draw_key();
        assert_ne!(entry.partition_key, before);
        assert_eq!(contents(&entry), [&b"a"[..], b"b"]);
    }

    #[test]
    fn a_bucket_and_a_message_id_are_kept() {
        for key in [Key::Bucket(3), Key::MessageId] {
            let mut entry = entry(key, &[b"a"], Vec::new());
            let before = entry.partition_key.clone();
            entry.draw_key();
            assert_eq!(entry.partition_key, before);
        }
    }
}
