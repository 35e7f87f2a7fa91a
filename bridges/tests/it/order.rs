//! Whatever comes, in whatever order and however often: the highest revision wins.

use std::collections::BTreeMap;

use bridges::programs::{CoreData, Counts, Intake, process, read_message};
use programs::{Entry, Registry};
use proptest::prelude::*;
use stream::{RecordKind, Source};

use crate::world::{CURSOR, Letters, World, append, eventually, on_one_thread, put, remove, run_to_the_end};

/// What a source says, and whether the process dies after it, between put and commit.
#[derive(Clone, Debug)]
enum Step {
    Say {
        id: u8,
        revision: u64,
        removed: bool,
    },
    /// The batches that are handed out next are put, and never committed.
    Die,
    /// The next process start.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let say = (0..3u8, 0..6u64, prop::bool::weighted(0.3)).prop_map(|(id, revision, removed)| Step::Say {
        id,
        revision,
        removed,
    });
    let step = prop_oneof![8 => say, 1 => Just(Step::Die), 1 => Just(Step::Restart)];
    prop::collection::vec(step, 1..30)
}

/// The name that says what revision this is; what is removed has none.
type Model = BTreeMap<String, (u64, Option<String>)>;

fn message(id: &str, revision: u64, removed: bool) -> String {
    if removed { remove(id, revision) } else { put(id, &format!("r{revision}"), Some(revision)) }
}

async fn end_state(steps: &[Step]) -> (World, Model) {
    let world = World::new();
    let letters = Letters::default();
    let mut model = Model::new();
    let mut log = world.log();
    for step in steps {
        match step {
            Step::Say { id, revision, removed } => {
                let id = format!("p{id}");
                append(&log, RecordKind::CoreData, &[message(&id, *revision, *removed)]).await;
                let new = (*revision, (!removed).then(|| format!("r{revision}")));
                let known = model.entry(id).or_insert_with(|| new.clone());
                if known.0 < new.0 {
                    *known = new;
                }
            }
            Step::Die => {
                let mut source = log.source(CURSOR).unwrap();
                while let Some(batch) = source.next(100).await.unwrap() {
                    process(&[batch], &*world.registry, 1).await.unwrap();
                }
            }
            Step::Restart => {
                log.close();
                drop(log);
                log = world.log();
            }
        }
    }
    run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await;
    assert_eq!(letters.reasons(), Vec::<String>::new());
    log.close();
    (world, model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_older_revision_ever_wins(steps in steps()) {
        // A lane is read to its end before the next: ties are settled within one lane only.
        let mut said = std::collections::HashMap::new();
        let steps: Vec<Step> = steps.into_iter().filter(|step| match step {
            Step::Say { id, revision, removed } => *said.entry((*id, *revision)).or_insert(*removed) == *removed,
            _ => true,
        }).collect();
        on_one_thread(async {
            let (world, model) = end_state(&steps).await;
            for (id, (revision, name)) in model {
                let found = world.registry.get(&id.parse().unwrap()).await.unwrap().entry;
                match (found, name) {
                    (Entry::Program { program, .. }, Some(name)) => {
                        assert_eq!((program.name().to_string(), program.revision), (name, Some(revision)), "{id}");
                    }
                    (Entry::Removed { revision: found, .. }, None) => assert_eq!(found, revision, "{id}"),
                    (found, name) => panic!("{id}: {found:?} instead of {name:?}"),
                }
            }
        });
    }
}

#[test]
fn what_comes_again_or_late_is_counted_and_changes_nothing() {
    on_one_thread(async {
        let world = World::new();
        let log = world.log();
        let messages = [
            put("a", "second", Some(2)),
            put("a", "first", Some(1)),
            put("a", "second", Some(2)),
            put("a", "another", Some(2)),
            remove("b", 5),
            put("b", "late", Some(4)),
            format!("[{},{}]", put("c", "C", Some(1)), put("d", "D", Some(1))),
        ];
        append(&log, RecordKind::CoreData, &messages).await;
        let letters = Letters::default();
        let status = run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await.get();
        assert_eq!(
            status.counts,
            Counts { stored: 4, unchanged: 1, older: 2, conflicting: 1, dead: 0 },
            "{status:?}"
        );
        assert!(status.caught_up && status.done_until_ms > 0 && status.retries == 0);
        let names = world.names().await;
        let names: Vec<_> = names.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
        assert_eq!(names, [("a", "second"), ("c", "C"), ("d", "D")]);
        log.close();
    });
}

#[test]
fn what_has_no_revision_stands_in_the_order_of_its_acceptance_beside_direct_puts_too() {
    on_one_thread(async {
        let world = World::new();
        let log = world.log();
        let intake = Intake::start(&log).unwrap();
        let named = |name: &str| read_message(put("a", name, None).as_bytes()).unwrap().remove(0);
        let names = ["one", "two", "three", "four", "five"];
        intake.accept(names.map(named).to_vec()).await.unwrap();
        intake.accept(vec![named("six")]).await.unwrap();
        let letters = Letters::default();
        run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await;
        assert_eq!(world.names().await["a"], "six");

        // A minute later an operator puts it by hand, which is newer than all of them.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let later = u64::try_from(now.as_millis()).unwrap() + 60_000;
        let CoreData::Put(program) = named("by hand").or_revision(later) else { panic!("it is a program") };
        world.registry.put(*program).await.unwrap();
        run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await;
        assert_eq!(world.names().await["a"], "by hand");

        intake.close();
        let closed = intake.accept(vec![named("seven")]).await.unwrap_err();
        assert!(closed.to_string().contains("the process stops"), "{closed}");
        log.close();
    });
}

#[test]
fn records_without_a_revision_from_elsewhere_stand_in_the_order_of_their_place() {
    on_one_thread(async {
        let world = World::new();
        let letters = Letters::default();
        for round in ["first", "second"] {
            let log = world.log();
            let messages = [put("a", &format!("{round} one"), None), put("a", &format!("{round} two"), None)];
            append(&log, RecordKind::CoreData, &messages).await;
            // Put and never committed: read again, it is still older than what follows.
            let mut source = log.source(CURSOR).unwrap();
            let batch = source.next(1).await.unwrap().unwrap();
            process(&[batch], &*world.registry, 1).await.unwrap();
            log.close();
            // The next start is so much later that it is surely later than what this one numbered.
            let began = std::time::Instant::now();
            eventually("ten milliseconds have passed", || began.elapsed().as_millis() > 10).await;
        }
        let log = world.log();
        let status = run_to_the_end(log.source(CURSOR).unwrap(), &world.registry, &letters).await.get();
        assert_eq!(world.names().await["a"], "second two");
        assert_eq!(status.counts.conflicting, 0);
        log.close();
    });
}
