//! What happens while the registry is followed, counted.

use metrics::{Counter, counter};

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum FollowEvent {
    /// A subscription was confirmed and everything caught up with.
    Connected,
    /// The connection was lost, or could not be had.
    Lost,
    /// The next change, as it was published.
    Change,
    /// A change that was known.
    Repeated,
    /// A change came and the one before it had not.
    Hole,
    /// The subscription said that changes were lost, or could not be read.
    Lagged,
    /// A comparison found what no publish had said.
    Missed,
    /// Everything was loaded.
    Loaded,
    /// It was another store than before.
    OtherStore,
    /// The store had fallen behind what was seen of it.
    FellBack,
    /// The store was never filled, so it was not believed.
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
