//! What cannot be stored is kept with its reason, never blocks while there is room, and can be
//! replayed or dropped.

use consumers::{Cursor, Fates, Given, GivenLimits, LeftReason, Replayed, Start, Table, WhenFull};
use proto::{DeadLetter, Message, Stage, TrackingEvent};
use stream::{Batch, ForeignRecord, Item, RecordKind};

use super::Place;
use crate::world::{batch, boot, event, events, items, now, of_kind, poison, record, write};

const NO_LIMITS: GivenLimits = GivenLimits { letters_max: u64::MAX, bytes_max: u64::MAX };

async fn fates<T: Table>(table: &T) -> Fates {
    let mut all = Fates::default();
    for row in table.ledger().await.unwrap() {
        assert_eq!(row.ledger.seen().count(), row.ledger.fates().sum(), "each number has one fate");
        all += row.ledger.fates();
    }
    all
}

async fn letters<T: Table>(table: &T) -> Vec<(Cursor, DeadLetter)> {
    table.dead_letters(Start::Oldest, 1_000).await.unwrap().items
}

pub async fn poison_does_not_block_what_comes_behind_it<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let items =
        vec![poison(0), record(1, &event("p", 1)), of_kind(2, RecordKind::Other(99), b"new".to_vec())];
    let written = write(&table, &[batch(boot(1), 3, items)]).await;
    assert!(written.left.is_empty());
    assert_eq!(fates(&table).await, Fates { stored: 1, dead_letters: 2, ..Fates::default() });

    let letters = letters(&table).await;
    let letter = &letters[0].1;
    assert!(letter.reason.starts_with("not a TrackingEvent"), "{}", letter.reason);
    assert_eq!((letter.stage(), letter.failed_at_ms), (Stage::Consumer, now()));
    assert_eq!((letter.boot.as_slice(), letter.lane, letter.number), (boot(1).as_bytes().as_slice(), 3, 0));
    assert_eq!(letter.payload, b"\xff\xff");
    let second = table.dead_letter(&letters[1].0).await.unwrap().unwrap();
    assert_eq!(second.record_kind, 99);
}

pub async fn a_replayed_letter_that_is_still_poison_stays<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[batch(boot(1), 0, vec![poison(0)])]).await;
    let ledger = fates(&table).await;
    let id = letters(&table).await.remove(0).0;
    let Replayed::StillDead(reason) = table.replay_dead_letter(&id, now() + 1).await.unwrap() else {
        panic!("it is poison")
    };
    assert!(reason.starts_with("not a TrackingEvent"), "{reason}");
    let nobody = table.replay_dead_letter(&Cursor::new("none"), now()).await.unwrap();
    assert_eq!(nobody, Replayed::NoSuchLetter);
    assert_eq!((table.dead_letters_held().await.unwrap().letters, fates(&table).await), (1, ledger));
}

pub async fn a_dropped_letter_is_accounted_as_dropped<P: Place>() {
    let table = P::new(|_| ()).open().await;
    write(&table, &[batch(boot(1), 0, vec![poison(0), poison(1)])]).await;
    let [first, second] = <[_; 2]>::try_from(letters(&table).await).unwrap();
    assert!(table.drop_dead_letter(&first.0).await.unwrap());
    assert!(!table.drop_dead_letter(&first.0).await.unwrap());
    assert_eq!(fates(&table).await, Fates { dead_letters: 1, dropped: 1, ..Fates::default() });
    assert_eq!(letters(&table).await, [second]);
}

pub async fn a_dropped_letter_that_comes_again_stays_dropped<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let again = [batch(boot(1), 0, vec![poison(0)])];
    write(&table, &again).await;
    let id = letters(&table).await.remove(0).0;
    table.drop_dead_letter(&id).await.unwrap();
    assert_eq!(write(&table, &again).await.replayed, 1);
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 0);
}

pub async fn a_full_place_of_dead_letters_stops_a_lane_and_loses_nothing<P: Place>() {
    let table = P::new(|config| config.dead_letters_max = 2).open().await;
    let lane = vec![poison(0), poison(1), record(2, &event("p", 2)), poison(3), record(4, &event("p", 4))];
    let end = vec![Item::Abandoned { first: 5, count: 2 }, Item::End { issued: 7, clean: true }];
    let work =
        [batch(boot(1), 0, lane), batch(boot(1), 0, end), batch(boot(1), 1, vec![record(0, &event("q", 0))])];
    for attempt in 0..2 {
        let written = write(&table, &work).await;
        let left: Vec<_> = written.left.iter().map(|left| (left.batch, left.first)).collect();
        assert_eq!(left, [(0, 3), (1, 5)], "attempt {attempt}: the lane waits in its order");
        assert_eq!(written.left[0].reason, LeftReason::LettersFull { held: 2, max: 2 });
        assert_eq!(written.replayed, if attempt == 0 { 0 } else { 4 });
        assert_eq!(items(&table).await, 2, "what stands before it, and the other lane, are stored");
    }
    let said = write(&table, &work).await.left[0].reason.to_string();
    assert!(said.contains("operator action required"), "{said}");
    let held = table.dead_letters_held().await.unwrap();
    assert_eq!((held.of_consumer, held.of_consumer_max), (2, 2));

    let id = letters(&table).await.remove(0).0;
    assert!(table.drop_dead_letter(&id).await.unwrap());
    let written = write(&table, &work).await;
    assert_eq!((written.left, written.fates.stored, written.fates.dead_letters), (vec![], 1, 1));
    let whole = consumers::reconcile(&table.ledger().await.unwrap(), &[]);
    assert_eq!((whole.totals.issued, whole.totals.missing, whole.totals.abandoned), (8, 0, 2));
    assert_eq!(fates(&table).await, Fates { stored: 3, dead_letters: 2, dropped: 1, ..Fates::default() });
}

pub async fn letters_are_bounded_by_their_bytes_too<P: Place>() {
    let large = |number| of_kind(number, RecordKind::Event, vec![0xff; 1_000]);
    let table = P::new(|config| config.dead_letters_bytes_max = 2_500).open().await;
    let work = [batch(boot(1), 0, vec![large(0), large(1), large(2)])];
    let written = write(&table, &work).await;
    assert_eq!((written.fates.dead_letters, written.left[0].first), (2, 2));
    let id = letters(&table).await.remove(1).0;
    // Replaying in vain neither makes room nor takes any.
    assert!(matches!(table.replay_dead_letter(&id, now()).await.unwrap(), Replayed::StillDead(_)));
    assert_eq!(write(&table, &work).await.left.len(), 1);
    table.drop_dead_letter(&id).await.unwrap();
    assert!(write(&table, &work).await.left.is_empty());
}

pub async fn letters_of_bridges_take_no_room_of_the_consumer<P: Place>() {
    let table = P::new(|config| config.dead_letters_max = 1).open().await;
    let given: Vec<_> = (0..5).map(given).collect();
    assert_eq!(table.give_dead_letters(given, NO_LIMITS, WhenFull::DiscardOldest).await.unwrap().new, 5);
    assert!(write(&table, &[batch(boot(1), 0, vec![poison(0)]), events(1..2)]).await.left.is_empty());
    let held = table.dead_letters_held().await.unwrap();
    assert_eq!((held.letters, held.of_consumer), (6, 1));
    let id = letters(&table).await.remove(0).0;
    let replayed = table.replay_dead_letter(&id, now()).await.unwrap();
    assert!(matches!(replayed, Replayed::StillDead(_)), "it is not the consumer's: {replayed:?}");
    assert!(table.drop_dead_letter(&id).await.unwrap());
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 5);
}

pub async fn a_record_that_no_lane_wrote_is_a_letter_once_and_in_no_ledger<P: Place>() {
    let place = P::new(|config| config.dead_letters_max = 2);
    let table = place.open().await;
    let work = [foreign("1", 0, b"x"), foreign("1", 1, b"x"), foreign("2", 0, b"y"), events(0..1)];
    let written = write(&table, &work).await;
    assert_eq!((written.fates.dead_letters, written.fates.stored), (2, 1));
    let left: Vec<_> = written.left.iter().map(|left| (left.batch, left.first)).collect();
    assert_eq!(left, [(2, 0)], "they count against the bound of the consumer's letters");
    assert_eq!(write(&table, &work[..2]).await.replayed, 2);
    assert_eq!(fates(&table).await, Fates { stored: 1, ..Fates::default() });

    drop(table);
    let table = place.open().await;
    let held = letters(&table).await;
    let found: Vec<_> = held.iter().map(|(_, letter)| (letter.number, letter.reason.as_str())).collect();
    assert_eq!(found, [(0, "no event"), (1, "no event")]);
    let origin = held[0].1.origin.clone().unwrap();
    assert_eq!((origin.broker.as_str(), origin.destination.as_str()), ("stream", "shard-1"));
    let replayed = table.replay_dead_letter(&held[0].0, now()).await.unwrap();
    assert!(matches!(replayed, Replayed::StillDead(_)), "{replayed:?}");
    assert!(table.drop_dead_letter(&held[1].0).await.unwrap());
    assert_eq!(table.dead_letters_held().await.unwrap().of_consumer, 1);
    assert!(write(&table, &work[2..3]).await.left.is_empty(), "a dropped letter makes room");
    assert_eq!(table.ledger().await.unwrap().len(), 1);
}

pub async fn a_foreign_record_that_is_understood_later_is_stored_in_its_lane<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let lane_event = TrackingEvent { boot: boot(1).as_bytes().to_vec(), number: 7, ..event("p", 7) };
    write(&table, &[foreign("1", 0, &lane_event.encode_to_vec())]).await;
    let id = letters(&table).await.remove(0).0;
    assert_eq!(table.replay_dead_letter(&id, now()).await.unwrap(), Replayed::Stored);
    assert_eq!(fates(&table).await, Fates { stored: 1, ..Fates::default() });
    assert_eq!(items(&table).await, 1);
    assert_eq!(table.dead_letters_held().await.unwrap().letters, 0);
    write(&table, &[foreign("2", 0, &lane_event.encode_to_vec())]).await;
    let id = letters(&table).await.remove(0).0;
    assert_eq!(table.replay_dead_letter(&id, now()).await.unwrap(), Replayed::Duplicate);
    assert_eq!(items(&table).await, 1);
}

/// A record that somebody else put into a stream.
fn foreign(sequence: &str, number: u64, payload: &[u8]) -> Batch {
    let payload = payload.to_vec().into();
    let record = ForeignRecord::new("stream", "shard-1", sequence, number, "no event".to_owned(), payload);
    batch(record.place(), 0, vec![Item::Foreign(record)])
}

/// A letter of a bridge.
fn given(number: u64) -> DeadLetter {
    let stage = Stage::BridgePrograms.into();
    DeadLetter { stage, boot: vec![7; 16], number, payload: vec![b'x'; 100], ..DeadLetter::default() }
}

pub async fn a_letter_that_is_given_again_is_known<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let answer =
        table.give_dead_letters(vec![given(1), given(2)], NO_LIMITS, WhenFull::DiscardOldest).await.unwrap();
    assert_eq!(answer, Given { new: 2, ..Given::default() });
    let answer =
        table.give_dead_letters(vec![given(2), given(3)], NO_LIMITS, WhenFull::DiscardOldest).await.unwrap();
    assert_eq!(answer, Given { new: 1, known: 1, ..Given::default() });
    let few = GivenLimits { letters_max: 2, ..NO_LIMITS };
    let answer = table.give_dead_letters(vec![given(4)], few, WhenFull::DiscardOldest).await.unwrap();
    assert_eq!(answer, Given { new: 1, discarded: 2, ..Given::default() }, "the oldest make room");
    let numbers: Vec<_> = letters(&table).await.iter().map(|(_, letter)| letter.number).collect();
    assert_eq!(numbers, [3, 4]);
    let bytes = given(5).encoded_len() as u64;
    let small = GivenLimits { bytes_max: 2 * bytes, ..NO_LIMITS };
    assert_eq!(
        table.give_dead_letters(vec![given(5)], small, WhenFull::DiscardOldest).await.unwrap().discarded,
        1
    );
    assert!(table.ledger().await.unwrap().is_empty(), "they are in no ledger");
}

pub async fn letters_of_the_shipper_are_refused_and_never_discarded<P: Place>() {
    let table = P::new(|_| ()).open().await;
    let shipped = |number| DeadLetter { stage: Stage::Shipper.into(), ..given(number) };
    let two = GivenLimits { letters_max: 2, ..NO_LIMITS };
    let answer =
        table.give_dead_letters(vec![shipped(1), shipped(2), shipped(3)], two, WhenFull::Refuse).await;
    assert_eq!(answer.unwrap(), Given { new: 2, refused: 1, ..Given::default() });
    let none = GivenLimits { letters_max: 0, ..NO_LIMITS };
    table.give_dead_letters(vec![given(4)], none, WhenFull::DiscardOldest).await.unwrap();
    let numbers: Vec<_> = letters(&table).await.iter().map(|(_, letter)| letter.number).collect();
    assert_eq!(numbers, [1, 2]);
    let held = table.dead_letters_held().await.unwrap();
    assert_eq!((held.letters, held.of_consumer), (2, 0));
    let id = letters(&table).await.remove(0).0;
    assert!(matches!(table.replay_dead_letter(&id, now()).await.unwrap(), Replayed::StillDead(_)));
    assert!(table.drop_dead_letter(&id).await.unwrap());
    let answer = table.give_dead_letters(vec![shipped(2), shipped(3)], two, WhenFull::Refuse).await.unwrap();
    assert_eq!(answer, Given { new: 1, known: 1, ..Given::default() });
}
