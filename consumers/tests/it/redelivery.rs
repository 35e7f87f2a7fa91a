//! However batches are cut, mixed, repeated and interrupted: each event once, each number once.

use std::collections::BTreeSet;

use consumers::reconcile;
use proptest::prelude::*;
use stream::{Batch, Item};

use crate::world::{World, all_items, batch, boot, event, ledger_stored, poison, record, rejected, write};

/// One record of a lane.
#[derive(Clone, Copy, Debug)]
enum Sort {
    /// The event of this number; two of the same number are one event.
    Event(u64),
    Rejected,
    Poison,
    Abandoned,
}

fn sort() -> impl Strategy<Value = Sort> {
    prop_oneof![
        8 => (0u64..40).prop_map(Sort::Event),
        1 => Just(Sort::Rejected),
        1 => Just(Sort::Poison),
        1 => Just(Sort::Abandoned),
    ]
}

fn item(number: u64, sort: Sort) -> Item {
    match sort {
        Sort::Event(n) => record(number, &event(if n % 2 == 0 { "even" } else { "odd" }, n)),
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
    let items = items.map(|(number, sort)| item(number as u64, *sort)).collect();
    batch(boot(1), u32::try_from(lane).unwrap(), items)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn distinct_ids_are_the_items_are_the_ledger((lanes, deliveries) in plan()) {
        let world = World::new();
        let mut store = world.open();
        for (turn, pieces) in deliveries.iter().enumerate() {
            let batches: Vec<Batch> = pieces.iter().map(|piece| cut(&lanes, *piece)).collect();
            write(&store, &batches);
            if turn % 3 == 2 {
                drop(store);
                store = world.open();
            }
        }
        let everything: Vec<Batch> = (0..lanes.len()).map(|lane| cut(&lanes, (lane, 0, usize::MAX))).collect();
        write(&store, &everything);

        let sorts = || lanes.iter().flatten();
        let distinct: BTreeSet<u64> =
            sorts().filter_map(|sort| if let Sort::Event(n) = sort { Some(*n) } else { None }).collect();
        let events = sorts().filter(|sort| matches!(sort, Sort::Event(_))).count() as u64;
        let items = all_items(&store);
        prop_assert_eq!(items.len(), distinct.len());
        prop_assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), distinct.len());
        prop_assert_eq!(store.count(None).unwrap().items, distinct.len() as u64);
        prop_assert_eq!(ledger_stored(&store), distinct.len() as u64);

        let whole = reconcile(&store.ledger().unwrap(), &[]);
        prop_assert!(whole.is_whole());
        prop_assert_eq!(whole.totals.issued, sorts().count() as u64);
        prop_assert_eq!(whole.totals.fates.duplicates, events - distinct.len() as u64);
        prop_assert_eq!(whole.totals.fates.dead_letters, store.dead_letters_count().unwrap());
        prop_assert_eq!(
            whole.totals.abandoned,
            sorts().filter(|sort| matches!(sort, Sort::Abandoned)).count() as u64
        );
    }
}
