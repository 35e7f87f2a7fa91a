//! Which path means what.
//!
//! A pure function instead of a router: three prefixes and five fixed paths need no
//! pattern matching, and every request, the unknown ones included, comes by one place
//! where it is counted.

use proto::EventType;
use stream::{Class, Level};

use crate::config::{Levels, Prefixes};

/// The routes that take hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitRoute {
    /// `/event/{program}`: the AWS sample's route, JSON answer.
    Event,
    /// `/i/{program}` and `/i/{program}.gif`: the pixel.
    Impression,
    /// `/c/{program}`: the redirect.
    Click,
}

/// What a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'p> {
    /// A hit, and the program id as it was written.
    Hit(HitRoute, &'p str),
    /// `/health/live`: the process answers.
    Live,
    /// `/health/ready`: hits are welcome.
    Ready,
    /// `/health/check`: ready, in words.
    Check,
    /// `/robots.txt`.
    Robots,
    /// `/.well-known/gpc.json`.
    Gpc,
    /// Nothing of ours.
    Unknown,
}

impl HitRoute {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Event, Self::Impression, Self::Click];

    /// The name in metrics and explanations, whatever the prefix is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Impression => "impression",
            Self::Click => "click",
        }
    }

    /// The type of its events.
    pub fn event_type(self) -> EventType {
        match self {
            Self::Event => EventType::Event,
            Self::Impression => EventType::Impression,
            Self::Click => EventType::Click,
        }
    }

    /// What is shed first when the log fills up. `/event` is called by programs, which
    /// may try again: it counts as a beacon.
    pub fn class(self) -> Class {
        match self {
            Self::Event => Class::Beacon,
            Self::Impression => Class::Impression,
            Self::Click => Class::Click,
        }
    }

    /// How safe its events are before the answer.
    pub fn level(self, levels: &Levels) -> Level {
        match self {
            Self::Event => levels.event,
            Self::Impression => levels.impression,
            Self::Click => levels.click,
        }
    }

    /// Its path's first part.
    pub fn prefix(self, prefixes: &Prefixes) -> &str {
        match self {
            Self::Event => &prefixes.event,
            Self::Impression => &prefixes.impression,
            Self::Click => &prefixes.click,
        }
    }
}

impl<'p> Target<'p> {
    /// What `path` means, not yet decoded.
    pub fn of(path: &'p str, prefixes: &Prefixes) -> Self {
        for route in [HitRoute::Impression, HitRoute::Click, HitRoute::Event] {
            let below = path.strip_prefix(route.prefix(prefixes)).and_then(|rest| rest.strip_prefix('/'));
            if let Some(program) = below {
                let plain = if route == HitRoute::Impression { program.strip_suffix(".gif") } else { None };
                return Self::Hit(route, plain.unwrap_or(program));
            }
        }
        match path {
            "/health/live" => Self::Live,
            "/health/ready" => Self::Ready,
            "/health/check" => Self::Check,
            "/robots.txt" => Self::Robots,
            "/.well-known/gpc.json" => Self::Gpc,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_means_what_the_design_says() {
        let prefixes = Prefixes::default();
        for (path, target) in [
            ("/event/1", Target::Hit(HitRoute::Event, "1")),
            ("/event/1.gif", Target::Hit(HitRoute::Event, "1.gif")),
            ("/i/1", Target::Hit(HitRoute::Impression, "1")),
            ("/i/1.gif", Target::Hit(HitRoute::Impression, "1")),
            ("/i/", Target::Hit(HitRoute::Impression, "")),
            ("/c/1/2", Target::Hit(HitRoute::Click, "1/2")),
            ("/c", Target::Unknown),
            ("/cc/1", Target::Unknown),
            ("/C/1", Target::Unknown),
            ("//c/1", Target::Unknown),
            ("", Target::Unknown),
            ("*", Target::Unknown),
            ("/health/ready", Target::Ready),
            ("/health/ready/", Target::Unknown),
            ("/robots.txt", Target::Robots),
        ] {
            assert_eq!(Target::of(path, &prefixes), target, "{path}");
        }
    }

    #[test]
    fn renamed_prefixes_take_the_place_of_the_old_ones() {
        let prefixes = Prefixes { click: "/go/x".into(), ..Prefixes::default() };
        assert_eq!(Target::of("/go/x/7", &prefixes), Target::Hit(HitRoute::Click, "7"));
        assert_eq!(Target::of("/c/7", &prefixes), Target::Unknown);
    }
}
