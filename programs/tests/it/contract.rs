//! What every registry promises, as one suite; [`suite`](super::suite) runs it on each.

use std::sync::Arc;

use programs::{
    Change, Changes, Entry, ImportReport, Notice, Program, ProgramId, Put, Refused, Registry, RegistryError,
    Subscription,
};

pub fn program(id: &str, revision: u64, name: &str) -> Program {
    let json = serde_json::json!({
        "programId": id, "programName": name, "customerId": 1, "customerName": "c", "valid": true,
        "revision": revision,
    });
    serde_json::from_value(json).unwrap()
}

pub fn id(text: &str) -> ProgramId {
    text.parse().unwrap()
}

pub async fn next_change(subscription: &mut Subscription) -> Change {
    match in_time(subscription.next()).await {
        Notice::Change(change) => change,
        other => panic!("expected a change, heard {other:?}"),
    }
}

/// The answer, which must come within 20 s.
pub async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(20), answer).await.expect("an answer in time")
}

pub async fn what_was_put_is_read_with_its_version<R: Registry>(registry: &R) {
    assert_eq!(registry.put(program("a", 5, "spring")).await.unwrap(), Put::Stored { version: 1 });
    assert_eq!(registry.put(program("b", 5, "spring")).await.unwrap(), Put::Stored { version: 2 });
    assert_eq!(registry.put(program("a", u64::MAX, "autumn")).await.unwrap(), Put::Stored { version: 3 });
    let read = registry.get(&id("a")).await.unwrap();
    let expected = Entry::Program { version: 3, program: Arc::new(program("a", u64::MAX, "autumn")) };
    assert_eq!((read.entry, read.state), (expected, registry.state().await.unwrap()));
    assert_eq!(registry.get(&id("c")).await.unwrap().entry, Entry::Absent);
}

pub async fn a_repeated_delivery_is_harmless_and_a_contradicting_one_refused<R: Registry>(registry: &R) {
    registry.put(program("a", 5, "spring")).await.unwrap();
    assert_eq!(registry.put(program("a", 5, "spring")).await.unwrap(), Put::Unchanged { version: 1 });
    assert_eq!(registry.put(program("a", 5, "autumn")).await.unwrap(), Put::SameRevision { revision: 5 });
    assert_eq!(registry.remove(&id("a"), 5).await.unwrap(), Put::SameRevision { revision: 5 });
    assert_eq!(registry.state().await.unwrap().version, 1);
}

pub async fn a_removed_program_comes_back_only_with_a_newer_revision<R: Registry>(registry: &R) {
    registry.put(program("a", 5, "spring")).await.unwrap();
    registry.remove(&id("a"), 6).await.unwrap();
    assert_eq!(registry.remove(&id("a"), 6).await.unwrap(), Put::Unchanged { version: 2 });
    let late = registry.put(program("a", 5, "spring")).await.unwrap();
    assert_eq!(late, Put::OlderRevision { stored: 6, given: 5 });
    assert_eq!(registry.put(program("a", 6, "x")).await.unwrap(), Put::SameRevision { revision: 6 });
    assert_eq!(registry.get(&id("a")).await.unwrap().entry, Entry::Removed { version: 2, revision: 6 });
    assert_eq!(registry.put(program("a", 7, "back")).await.unwrap(), Put::Stored { version: 3 });
}

pub async fn a_removal_that_comes_first_keeps_its_place<R: Registry>(registry: &R) {
    assert_eq!(registry.remove(&id("a"), 7).await.unwrap(), Put::Stored { version: 1 });
    let late = registry.put(program("a", 6, "late")).await.unwrap();
    assert_eq!(late, Put::OlderRevision { stored: 7, given: 6 });
    assert_eq!(registry.get(&id("a")).await.unwrap().entry, Entry::Removed { version: 1, revision: 7 });
}

pub async fn an_import_says_what_became_of_each_program<R: Registry>(registry: &R) {
    registry.put(program("newer", 9, "n")).await.unwrap();
    registry.put(program("same", 5, "n")).await.unwrap();
    let programs = ["newer", "same", "a", "b"].map(|id| program(id, 5, "n"));
    let report = registry.import(programs.to_vec()).await.unwrap();
    let refused = Refused { id: id("newer"), reason: Put::OlderRevision { stored: 9, given: 5 } };
    assert_eq!(report, ImportReport { stored: 2, unchanged: 1, refused: vec![refused], version: 4 });
    assert!(registry.state().await.unwrap().ready);
}

pub async fn many_that_are_put_say_what_became_of_each_and_nothing_of_the_others<R: Registry>(registry: &R) {
    registry.put(program("newer", 9, "n")).await.unwrap();
    registry.put(program("same", 5, "n")).await.unwrap();
    let before = registry.state().await.unwrap();
    let given = ["newer", "same", "a", "b"].map(|id| program(id, 5, "n"));
    let report = registry.put_all(given.to_vec()).await.unwrap();
    let refused = Refused { id: id("newer"), reason: Put::OlderRevision { stored: 9, given: 5 } };
    assert_eq!(report, ImportReport { stored: 2, unchanged: 1, refused: vec![refused], version: 4 });
    let none = registry.put_all(vec![]).await.unwrap();
    assert_eq!((none.stored, none.version), (0, 4));
    // More than a script of Redis takes.
    let many = (0..600).map(|at| program(&format!("p{at}"), 1, "n"));
    assert_eq!(registry.put_all(many.collect()).await.unwrap().stored, 600);
    assert_eq!(registry.state().await.unwrap().ready, before.ready, "they are not all there are");

    let mut unrevised = program("c", 0, "n");
    unrevised.revision = None;
    let error = registry.put_all(vec![program("d", 1, "n"), unrevised]).await.unwrap_err();
    assert!(matches!(&error, RegistryError::NoRevision { id } if id.as_str() == "c"), "{error:?}");
    assert_eq!(registry.get(&id("d")).await.unwrap().entry, Entry::Absent);
}

pub async fn a_program_without_a_revision_stores_nothing_of_its_import<R: Registry>(registry: &R) {
    let mut unrevised = program("b", 0, "n");
    unrevised.revision = None;
    let error = registry.import(vec![program("a", 1, "n"), unrevised]).await.unwrap_err();
    assert!(matches!(&error, RegistryError::NoRevision { id } if id.as_str() == "b"), "{error:?}");
    assert_eq!(registry.snapshot().await.unwrap().programs, []);
}

pub async fn a_snapshot_has_every_program_and_no_tombstone<R: Registry>(registry: &R) {
    registry.import(["c", "a", "b"].map(|id| program(id, 1, "n")).to_vec()).await.unwrap();
    registry.remove(&id("b"), 2).await.unwrap();
    let snapshot = registry.snapshot().await.unwrap();
    let expected = [(2, Arc::new(program("a", 1, "n"))), (1, Arc::new(program("c", 1, "n")))];
    assert_eq!(snapshot.programs, expected);
    assert_eq!((snapshot.state.version, snapshot.state), (4, registry.state().await.unwrap()));
}

pub async fn changes_are_the_last_of_each_program_in_order<R: Registry>(registry: &R) {
    let names = ["a", "b", "a", "c"];
    for (at, name) in names.iter().enumerate() {
        registry.put(program(name, at as u64, "n")).await.unwrap();
    }
    registry.remove(&id("b"), 9).await.unwrap();
    let state = registry.state().await.unwrap();
    let changes = registry.changes_since(state.epoch, 1).await.unwrap();
    let Changes::List { state: shown, changes } = changes else { panic!("the log reaches back") };
    let seen: Vec<_> = changes.iter().map(|change| (change.version, change.id.as_str())).collect();
    assert_eq!((seen, shown), (vec![(3, "a"), (4, "c"), (5, "b")], state));
    assert_eq!(
        changes.iter().map(|change| change.program.is_some()).collect::<Vec<_>>(),
        [true, true, false]
    );

    let none = registry.changes_since(state.epoch, state.version).await.unwrap();
    assert_eq!(none, Changes::List { state, changes: vec![] });
    assert_eq!(registry.changes_since(state.epoch, state.version + 1).await.unwrap(), Changes::Reload);
    let other = registry.changes_since(programs::Epoch::random(), 1).await.unwrap();
    assert_eq!(other, Changes::Reload);
}

pub async fn subscribers_see_the_changes_of_many_writers_in_order<R: Registry>(registry: &R) {
    registry.put(program("first", 1, "n")).await.unwrap();
    let mut subscriptions = [registry.subscribe().await.unwrap(), registry.subscribe().await.unwrap()];
    let programs: Vec<_> = (1..=20).map(|at| program(&format!("p{at}"), at, "n")).collect();
    let mut versions: Vec<_> = Vec::new();
    let writes = programs.iter().map(|program| Box::pin(registry.put(program.clone())));
    for put in all(writes.collect()).await {
        let Put::Stored { version } = put.unwrap() else { panic!("each is new") };
        versions.push(version);
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=21).collect::<Vec<_>>(), "no version is lost or given twice");
    let epoch = registry.state().await.unwrap().epoch;
    for subscription in &mut subscriptions {
        for version in 2..=21 {
            let change = next_change(subscription).await;
            assert_eq!((change.epoch, change.version), (epoch, version));
            let program = change.program.unwrap();
            assert!(programs.contains(&program) && program.id == change.id);
        }
    }
}

/// All of them at once.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(done) = std::pin::Pin::new(future).poll(context)
            {
                *output = Some(done);
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

pub async fn a_subscriber_is_told_of_a_removal_and_not_of_what_was_refused<R: Registry>(registry: &R) {
    registry.put(program("a", 5, "before it subscribed")).await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    registry.put(program("a", 4, "older")).await.unwrap();
    registry.put(program("a", 5, "before it subscribed")).await.unwrap();
    registry.remove(&id("a"), 6).await.unwrap();
    let change = next_change(&mut subscription).await;
    assert_eq!((change.version, change.id.as_str(), change.program), (2, "a", None));
}

pub async fn a_follower_of_a_large_import_has_all_of_it_in_the_end<R: Registry>(registry: &R) {
    registry.import(vec![program("p0", 1, "n")]).await.unwrap();
    let before = registry.state().await.unwrap();
    let mut subscription = registry.subscribe().await.unwrap();
    let many = programs::registry::SUBSCRIPTION_CHANGES_MAX as u64 + 76;
    let programs = (0..many).map(|at| program(&format!("p{at}"), 2, "n"));
    registry.import(programs.collect()).await.unwrap();

    let notice = in_time(subscription.next()).await;
    assert!(matches!(notice, Notice::Lagged { missed: 1.. }), "{notice:?}");
    let missed = registry.changes_since(before.epoch, before.version).await.unwrap();
    let Changes::List { state, changes } = missed else { panic!("the log reaches back") };
    assert_eq!((state.version, changes.len() as u64), (many + 1, many));
}
