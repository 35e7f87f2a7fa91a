//! Any order and any number of deliveries: the registry in Redis ends where the model does.

use std::collections::BTreeMap;

use programs::{Entry, Put, RedisConfig, RedisRegistry, Registry};
use proptest::prelude::*;

use crate::{
    config,
    contract::{id, program},
    redis::RedisServer,
};

/// What core data says of one program: its revision, and a name or that it is gone.
type Message = (u8, u64, Option<u8>);

/// What is known of one program: version, revision, name.
type Model = BTreeMap<u8, (u64, u64, Option<u8>)>;

/// What the contract says becomes of the message.
fn expected(model: &mut Model, version: &mut u64, (of, revision, name): Message) -> Put {
    if let Some(&(last, stored, known)) = model.get(&of) {
        if revision < stored {
            return Put::OlderRevision { stored, given: revision };
        }
        if revision == stored {
            let same = known == name;
            return if same { Put::Unchanged { version: last } } else { Put::SameRevision { revision } };
        }
    }
    *version += 1;
    model.insert(of, (*version, revision, name));
    Put::Stored { version: *version }
}

/// Few programs and few revisions, so that they meet; revisions beyond what a float can tell apart.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let revision = prop_oneof![0..6_u64, (u64::MAX - 3)..=u64::MAX, (1 << 53)..(1 << 53) + 3_u64];
    let message = (0..3_u8, revision, prop::option::weighted(0.8, 0..2_u8));
    let once = prop::collection::vec(message, 1..25);
    // Some are delivered again, and all of them in any order.
    (once, any::<prop::sample::Index>())
        .prop_map(|(mut messages, replayed)| {
            messages.extend_from_within(replayed.index(messages.len())..);
            messages
        })
        .prop_shuffle()
}

async fn deliver(registry: &RedisRegistry, (of, revision, name): Message) -> Put {
    let put = match name {
        Some(name) => registry.put(program(&of.to_string(), revision, &name.to_string())).await,
        None => registry.remove(&id(&of.to_string()), revision).await,
    };
    put.unwrap()
}

#[test]
fn an_older_revision_never_wins_whatever_comes_in_whatever_order() {
    let Some(server) = RedisServer::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let case = std::cell::Cell::new(0);
    let cases = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(cases, |(messages in messages())| {
        case.set(case.get() + 1);
        let prefix = format!("case-{}", case.get());
        let registry = RedisRegistry::connect(&RedisConfig { prefix, ..config(&server) }).unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            let mut version = 0;
            for message in &messages {
                let put = deliver(&registry, *message).await;
                prop_assert_eq!(put, expected(&mut model, &mut version, *message), "{:?}", message);
            }
            for (of, (last, revision, name)) in &model {
                let read = registry.get(&id(&of.to_string())).await.unwrap();
                let of = of.to_string();
                let last = *last;
                let revision = *revision;
                let kept = match name {
                    Some(name) => {
                        let program = program(&of, revision, &name.to_string()).into();
                        Entry::Program { version: last, program }
                    }
                    None => Entry::Removed { version: last, revision },
                };
                prop_assert_eq!(read.entry, kept);
                prop_assert_eq!(read.state.version, version);
            }
            let alive = model.values().filter(|(.., name)| name.is_some()).count();
            prop_assert_eq!(registry.snapshot().await.unwrap().programs.len(), alive);
            Ok(())
        })?;
    });
}
