//! However batches are cut, mixed, repeated and interrupted: each event once, each number once.

use std::collections::BTreeSet;

use consumers::{Table, reconcile};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use stream::{Batch, Item};

use super::Place;
use crate::world::{
    all_events, batch, boot, event, event_of_sender, items, ledger_stored, poison, record, rejected, write,
};

/// One record of a lane.
#[derive(Clone, Copy, Debug)]
enum Sort {
    /// The event that its sender gave this id; two of the same are one event.
    Event(u64),
    /// An event of its own, with an id of ours.
    Hit,
    Rejected,
    Poison,
    Abandoned,
}

fn sort() -> impl Strategy<Value = Sort> {
    prop_oneof![
        6 => (0u64..40).prop_map(Sort::Event),
        2 => Just(Sort::Hit),
        1 => Just(Sort::Rejected),
        1 => Just(Sort::Poison),
        1 => Just(Sort::Abandoned),
    ]
}

fn item(lane: usize, number: u64, sort: Sort) -> Item {
    match sort {
        // Its sender says it again later, so it is received at another time.
        Sort::Event(n) => {
            let program = if n % 2 == 0 { "even" } else { "odd" };
            record(number, &event_of_sender(program, &n.to_string(), number))
        }
        Sort::Hit => record(number, &event("hits", 1_000 * lane as u64 + number)),
        Sort::Rejected => rejected(number, "expired"),
        Sort::Poison => poison(number),
        Sort::Abandoned => Item::Abandoned { first: number, count: 1 },
    }
}

/// Lanes, and deliveries of pieces of them: (lane, where it starts, how long it is), several of
/// them in one transaction, the process killed after some transactions.
type Plan = (Vec<Vec<Sort>>, Vec<Vec<(usize, usize, usize)>>);

fn plan() -> impl Strategy<Value = Plan> {
    let lanes = prop::collection::vec(prop::collection::vec(sort(), 1..25), 1..4);
    let piece = (0usize..4, 0usize..25, 1usize..12);
    (lanes, prop::collection::vec(prop::collection::vec(piece, 1..5), 0..12))
}

fn cut(lanes: &[Vec<Sort>], (lane, first, length): (usize, usize, usize)) -> Batch {
    let lane = lane % lanes.len();
    let items = lanes[lane].iter().enumerate().skip(first).take(length);
    let items = items.map(|(number, sort)| item(lane, number as u64, *sort)).collect();
    batch(boot(1), u32::try_from(lane).unwrap(), items)
}

pub async fn distinct_ids_are_the_items_are_the_ledger<P: Place>() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(P::CASES));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tested = tokio::task::spawn_blocking(move || {
        let tested = runner.run(&plan(), |(lanes, deliveries)| {
            runtime.block_on(deliver::<P>(&lanes, &deliveries));
            Ok(())
        });
        tested.map_err(|error| error.to_string())
    });
    tested.await.unwrap().unwrap();
}

async fn deliver<P: Place>(lanes: &[Vec<Sort>], deliveries: &[Vec<(usize, usize, usize)>]) {
    let place = P::new(|_| ());
    let mut table = place.open().await;
    for (turn, pieces) in deliveries.iter().enumerate() {
        let batches: Vec<Batch> = pieces.iter().map(|piece| cut(lanes, *piece)).collect();
        write(&table, &batches).await;
        if turn % 3 == 2 {
            drop(table);
            table = place.open().await;
        }
    }
    let everything: Vec<Batch> = (0..lanes.len()).map(|lane| cut(lanes, (lane, 0, usize::MAX))).collect();
    write(&table, &everything).await;

    let sorts = || lanes.iter().flatten();
    let of_senders: BTreeSet<u64> =
        sorts().filter_map(|sort| if let Sort::Event(n) = sort { Some(*n) } else { None }).collect();
    let count = |is: fn(&Sort) -> bool| sorts().filter(|sort| is(sort)).count() as u64;
    let distinct = of_senders.len() as u64 + count(|sort| matches!(sort, Sort::Hit));
    let events = count(|sort| matches!(sort, Sort::Event(_) | Sort::Hit));
    let found = all_events(&table, &["even", "odd", "hits"]).await;
    let ids: BTreeSet<_> = found.iter().map(|event| &event.message_id).collect();
    assert_eq!((found.len() as u64, ids.len() as u64), (distinct, distinct));
    assert_eq!((items(&table).await, ledger_stored(&table).await), (distinct, distinct));

    let whole = reconcile(&table.ledger().await.unwrap(), &[]);
    assert!(whole.is_whole());
    assert_eq!(whole.totals.issued, sorts().count() as u64);
    assert_eq!(whole.totals.fates.duplicates, events - distinct);
    assert_eq!(whole.totals.fates.dead_letters, table.dead_letters_held().await.unwrap().letters);
    assert_eq!(whole.totals.abandoned, count(|sort| matches!(sort, Sort::Abandoned)));
}
