//! What an ActiveMQ bridge works with, whoever runs it: the log of events, the programs, the intake of core
//! data, the dead letters.

use std::sync::Arc;

use bridges::activemq::{Judge, Queue, Sink};
use consumers::{Table, WhenFull};
use futures_util::FutureExt;
use programs::catalog::{Catalog, CatalogCounters};
use programs::decision::{Rules, Unverified};
use proto::DeadLetter;
use supervise::causes;

use crate::owner::{Owner, OwnerError};

/// Where messages go. `judge` may be missing if no queue validates.
///
/// # Errors
/// The log cannot be opened.
pub async fn sink(owner: &Arc<Owner>, judge: Option<Judge>) -> Result<Sink, OwnerError> {
    let log = owner.log().await?.clone();
    let accepting = Arc::clone(owner);
    let keeping = Arc::clone(owner);
    Ok(Sink {
        log,
        judge,
        core_data: Some(Arc::new(move |changes| {
            let owner = Arc::clone(&accepting);
            let accept = async move {
                let intake = owner.intake().await.map_err(|error| causes(&error))?;
                intake.accept(changes).await.map_err(|error| causes(&error))
            };
            accept.boxed_local()
        })),
        letters: Arc::new(move |letters| keep(Arc::clone(&keeping), letters).boxed_local()),
    })
}

/// With the programs that the tracker of this process holds; without a tracker, each is read from the
/// registry when it is needed, until somebody makes the catalog follow it.
///
/// # Errors
/// The registry cannot be opened.
pub async fn judge(owner: &Owner) -> Result<Judge, OwnerError> {
    let config = owner.tracker_config();
    // Whatever holds for hits: nobody waits for the answer to a message, so it can wait for the registry.
    let unverified = Unverified::Refuse;
    let rules = Rules::new(&config.reserved_parameters, &config.allowed_parameters, unverified);
    let catalog = match owner.running_tracker() {
        Some(tracker) => tracker.programs(),
        None => Catalog::new(config.catalog, Arc::clone(owner.registry().await?), CatalogCounters::new()),
    };
    Ok(Judge { catalog, rules: Arc::new(rules) })
}

/// The configured queue that the message of a dead letter came from.
pub fn queue_of<'o>(owner: &'o Owner, letter: &DeadLetter) -> Option<&'o Queue> {
    let origin = letter.origin.as_ref()?;
    let mut queues = owner.settings.bridge.activemq.queues.values();
    queues.find(|queue| queue.broker == origin.broker && queue.destination == origin.destination)
}

/// Opens the table with the first letter. The broker forgets the message once its letter is kept, so
/// none is discarded for another: without room the message stays at the broker.
async fn keep(owner: Arc<Owner>, letters: Vec<DeadLetter>) -> Result<u64, bridges::programs::LettersError> {
    let limits = owner.settings.bridge.dead_letters;
    let given = owner.table().await?.give_dead_letters(letters, limits, WhenFull::Refuse).await?;
    match given.refused {
        0 => Ok(given.discarded),
        _ => Err(format!(
            "bridge.dead_letters_max ({}) or bridge.dead_letters_bytes_max ({}) is reached; look at the letters \
             with `clickgate dead-letters list`, then replay or drop some",
            limits.letters_max, limits.bytes_max
        )
        .into()),
    }
}
