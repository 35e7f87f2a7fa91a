//! Which path means what.
//!
//! A pure function instead of a router: a handful of prefixes and fixed paths need no
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
    /// `/v/{program}` and `/v/{program}.gif`: a conversion, by a pixel or a server.
    Conversion,
    /// `/b`: one or more hits in a body.
    Beacon,
}

/// What a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'p> {
    /// A hit, and the program id as it was written.
    Hit(HitRoute, &'p str),
    /// A beacon; its programs are in its body.
    Beacon,
    /// The browser tag.
    Tag,
    /// `/example`: a page that carries the tag.
    Example,
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
    pub const ALL: [Self; 5] = [Self::Event, Self::Impression, Self::Click, Self::Conversion, Self::Beacon];

    /// The name in metrics and explanations, whatever the prefix is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Beacon => "beacon",
        }
    }

    /// The type of its events; each entry of a beacon says its own.
    pub fn event_type(self) -> EventType {
        match self {
            Self::Event => EventType::Event,
            Self::Impression => EventType::Impression,
            Self::Click => EventType::Click,
            Self::Conversion => EventType::Conversion,
            Self::Beacon => EventType::Unspecified,
        }
    }

    /// What is shed first when the log fills up. `/event` is called by programs, which
    /// may try again: it counts as a beacon.
    pub fn class(self) -> Class {
        match self {
            Self::Event | Self::Beacon => Class::Beacon,
            Self::Impression => Class::Impression,
            Self::Click => Class::Click,
            Self::Conversion => Class::Conversion,
        }
    }

    /// How safe its events are before the answer.
    pub fn level(self, levels: &Levels) -> Level {
        match self {
            Self::Event => levels.event,
            Self::Impression => levels.impression,
            Self::Click => levels.click,
            Self::Conversion => levels.conversion,
            Self::Beacon => levels.beacon,
        }
    }

    /// Its path's first part.
    pub fn prefix(self, prefixes: &Prefixes) -> &str {
        match self {
            Self::Event => &prefixes.event,
            Self::Impression => &prefixes.impression,
            Self::Click => &prefixes.click,
            Self::Conversion => &prefixes.conversion,
            Self::Beacon => &prefixes.beacon,
        }
    }
}

impl<'p> Target<'p> {
    /// What `path` means, not yet decoded.
    pub fn of(path: &'p str, prefixes: &Prefixes) -> Self {
        for route in [HitRoute::Impression, HitRoute::Click, HitRoute::Event, HitRoute::Conversion] {
            let below = path.strip_prefix(route.prefix(prefixes)).and_then(|rest| rest.strip_prefix('/'));
            if let Some(program) = below {
                // People and site builders put a slash behind everything that looks like a folder.
                let program = program.strip_suffix('/').unwrap_or(program);
                let image = matches!(route, HitRoute::Impression | HitRoute::Conversion);
                let plain = program.strip_suffix(".gif").filter(|_| image);
                return Self::Hit(route, plain.unwrap_or(program));
            }
        }
        match path {
            path if path == prefixes.beacon => Self::Beacon,
            path if path == prefixes.tag => Self::Tag,
            "/example" => Self::Example,
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
            ("/c/1/", Target::Hit(HitRoute::Click, "1")),
            ("/c/1//", Target::Hit(HitRoute::Click, "1/")),
            ("/event/1/", Target::Hit(HitRoute::Event, "1")),
            ("/v/1/", Target::Hit(HitRoute::Conversion, "1")),
            ("/v/1", Target::Hit(HitRoute::Conversion, "1")),
            ("/v/1.gif", Target::Hit(HitRoute::Conversion, "1")),
            ("/b", Target::Beacon),
            ("/b/", Target::Unknown),
            ("/b/1", Target::Unknown),
            ("/clickgate.js", Target::Tag),
            ("/example", Target::Example),
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
