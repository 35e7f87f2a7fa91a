//! Counts what happens while the registry is followed.

use metrics::{Counter, counter};

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum FollowEvent {
    /// A subscription was confirmed and everything caught up with.
    Connected,
    /// The connection was lost, or could not be made.
    Lost,
    /// The next change, as it was published.
    Change,
    /// A change that had been applied before.
    Repeated,
    /// A change arrived without the one before it.
    Hole,
    /// The subscription reported that changes were lost or could not be read.
    Lagged,
    /// A comparison found a change that no notice had announced.
    Missed,
    /// Everything was loaded.
    Loaded,
    /// The registry is another store than before.
    OtherStore,
    /// The version of the store is below the one seen before.
    FellBack,
    /// The store was never filled, so it was not loaded.
    NotReady,
}

impl FollowEvent {
    const ALL: [Self; 11] = [
        Self::Connected,
        Self::Lost,
        Self::Change,
        Self::Repeated,
        Self::Hole,
        Self::Lagged,
        Self::Missed,
        Self::Loaded,
        Self::OtherStore,
        Self::FellBack,
        Self::NotReady,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Lost => "lost",
            Self::Change => "change",
            Self::Repeated => "repeated",
            Self::Hole => "hole",
            Self::Lagged => "lagged",
            Self::Missed => "missed",
            Self::Loaded => "loaded",
            Self::OtherStore => "other_store",
            Self::FellBack => "fell_back",
            Self::NotReady => "not_ready",
        }
    }
}

/// A counter for each of them.
#[derive(Clone)]
pub struct FollowCounters([Counter; FollowEvent::ALL.len()]);

impl FollowCounters {
    /// Resolves the handles at the recorder of the calling thread.
    pub fn new() -> Self {
        Self(FollowEvent::ALL.map(|event| counter!("clickgate_registry_total", "event" => event.name())))
    }

    /// Counts one.
    pub fn count(&self, event: FollowEvent) {
        self.0[event as usize].increment(1);
    }
}
