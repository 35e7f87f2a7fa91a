//! The contract on the registry of one machine, on that in Redis, and on that in a cluster.

macro_rules! contract {
    ($($behaviour:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $behaviour() {
                let directory = tempfile::tempdir().unwrap();
                let registry = programs::LocalRegistry::open(&directory.path().join("programs.redb")).unwrap();
                crate::contract::$behaviour(&registry).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(server) = crate::redis::RedisServer::start() else { return };
                crate::contract::$behaviour(&crate::registry(&server)).await;
            })*
        }

        mod cluster {
            $(#[tokio::test]
            async fn $behaviour() {
                let Some(cluster) = crate::redis::RedisCluster::start(1, 0) else { return };
                let config = crate::cluster::config(&cluster);
                crate::contract::$behaviour(&programs::RedisRegistry::connect(&config).unwrap()).await;
            })*
        }
    };
}

contract!(
    what_was_put_is_read_with_its_version,
    a_repeated_delivery_is_harmless_and_a_contradicting_one_refused,
    a_removed_program_comes_back_only_with_a_newer_revision,
    a_removal_that_comes_first_keeps_its_place,
    an_import_says_what_became_of_each_program,
    many_that_are_put_say_what_became_of_each_and_nothing_of_the_others,
    a_program_without_a_revision_stores_nothing_of_its_import,
    a_snapshot_has_every_program_and_no_tombstone,
    changes_are_the_last_of_each_program_in_order,
    subscribers_see_the_changes_of_many_writers_in_order,
    a_subscriber_is_told_of_a_removal_and_not_of_what_was_refused,
    a_follower_of_a_large_import_has_all_of_it_in_the_end,
);
