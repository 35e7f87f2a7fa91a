//! What every table promises, whichever it is.
//!
//! Each test is a function over a [`Place`]; a second kind of table is one more `impl Place`, with
//! a constructor, and one more `contract!` line.

mod events;
mod letters;
mod queries;
mod redelivery;

use consumers::{Config, DynamoTable, LocalTable, Table};

use crate::dynamo::Region;
use crate::ministack::Ministack;
use crate::world::World;

/// Where a table is, and how it is opened.
pub trait Place {
    type Table: Table;

    /// Plans that the test of redelivery tries.
    const CASES: u32;

    /// Whether what it needs is installed; says what is skipped if not.
    fn is_there() -> bool;

    /// An empty one, with these settings.
    fn new(change: impl FnOnce(&mut Config)) -> Self;

    /// The table, as a process opens it.
    async fn open(&self) -> Self::Table;
}

impl Place for World {
    type Table = LocalTable;

    const CASES: u32 = 48;

    fn is_there() -> bool {
        true
    }

    fn new(change: impl FnOnce(&mut Config)) -> Self {
        World::with(change)
    }

    async fn open(&self) -> LocalTable {
        World::open(self)
    }
}

impl Place for Region {
    type Table = DynamoTable;

    const CASES: u32 = 10;

    fn is_there() -> bool {
        Ministack::shared().is_some()
    }

    fn new(change: impl FnOnce(&mut Config)) -> Self {
        Region::with(change)
    }

    async fn open(&self) -> DynamoTable {
        Region::open(self).await
    }
}

/// Runs tests of a module here against one kind of table.
macro_rules! contract {
    ($place:ty: $($module:ident::{$($test:ident),* $(,)?})*) => {
        $($(
            #[tokio::test]
            async fn $test() {
                if <$place as Place>::is_there() {
                    $module::$test::<$place>().await;
                }
            }
        )*)*
    };
}

/// All of them.
macro_rules! whole_contract {
    ($place:ty) => {
        contract! { $place:
            events::{
                a_stored_event_is_there_after_opening_again,
                a_senders_id_is_taken_once_whenever_it_comes_again,
                one_id_of_several_programs_or_types_is_several_events,
                a_senders_id_is_free_again_when_its_event_had_expired,
                a_record_that_comes_again_after_its_answer_was_lost_is_stored_once,
                a_batch_that_comes_again_counts_nothing,
                a_batch_that_was_half_processed_is_processed_to_its_end,
                counts_are_per_program_and_for_all,
            }
            queries::{
                a_query_gives_a_programs_events_of_a_time_range_page_by_page,
                events_are_in_the_order_of_being_received_whatever_clock_their_sender_has,
                a_range_of_no_time_and_one_beyond_all_times_are_empty,
                a_tail_follows_what_is_stored_later,
                a_tail_of_one_program_shows_no_other,
                rejected_hits_are_listed_by_reason,
                a_cursor_that_no_table_made_is_an_error,
            }
            letters::{
                poison_does_not_block_what_comes_behind_it,
                a_replayed_letter_that_is_still_poison_stays,
                a_dropped_letter_is_accounted_as_dropped,
                a_dropped_letter_that_comes_again_stays_dropped,
                a_full_place_of_dead_letters_stops_a_lane_and_loses_nothing,
                letters_are_bounded_by_their_bytes_too,
                letters_of_bridges_take_no_room_of_the_consumer,
                a_letter_that_is_given_again_is_known,
                a_record_that_no_lane_wrote_is_a_letter_once_and_in_no_ledger,
                a_foreign_record_that_is_understood_later_is_stored_in_its_lane,
                letters_of_the_shipper_are_refused_and_never_discarded,
            }
            redelivery::{ distinct_ids_are_the_items_are_the_ledger }
        }
    };
}

mod local {
    use super::*;

    whole_contract!(World);
}

mod dynamo {
    use super::*;

    whole_contract!(Region);
}
