//! Maps paths to routes.
//!
//! A pure function instead of a router: a handful of prefixes and fixed paths need no pattern
//! matching, and every request, unknown paths included, passes one place where it is counted.

use proto::EventType;
use stream::{Class, Level};

use crate::config::{Levels, Prefixes};

/// The routes that accept hits.
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

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'p> {
    /// A hit, and the program id, not decoded.
    Hit(HitRoute, &'p str),
    /// A beacon; its programs are in its body.
    Beacon,
    /// The browser tag.
    Tag,
    /// `/example`: a page with the tag.
    Example,
    /// `/health/live`: whether the process answers.
    Live,
    /// `/health/ready`: whether a load balancer should send hits.
    Ready,
    /// `/health/check`: readiness in detail.
    Check,
    /// `/robots.txt`.
    Robots,
    /// `/.well-known/gpc.json`.
    Gpc,
    /// No known path.
    Unknown,
}

impl HitRoute {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Event, Self::Impression, Self::Click, Self::Conversion, Self::Beacon];

    /// The name in metrics and explanations, independent of the prefix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Conversion => "conversion",
            Self::Beacon => "beacon",
        }
    }

    /// The type of its events; each entry of a beacon has its own.
    pub fn event_type(self) -> EventType {
        match self {
            Self::Event => EventType::Event,
            Self::Impression => EventType::Impression,
            Self::Click => EventType::Click,
            Self::Conversion => EventType::Conversion,
            Self::Beacon => EventType::Unspecified,
        }
    }

    /// The shedding class of its events. `/event` is called by software, which can retry, so it
    /// counts as a beacon.
    pub fn class(self) -> Class {
        match self {
            Self::Event | Self::Beacon => Class::Beacon,
            Self::Impression => Class::Impression,
            Self::Click => Class::Click,
            Self::Conversion => Class::Conversion,
        }
    }

    /// The durability of its events before the answer.
    pub fn level(self, levels: &Levels) -> Level {
        match self {
            Self::Event => levels.event,
            Self::Impression => levels.impression,
            Self::Click => levels.click,
            Self::Conversion => levels.conversion,
            Self::Beacon => levels.beacon,
        }
    }

    /// The prefix of its paths.
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
    /// The target of `path`, which is not decoded.
    pub fn of(path: &'p str, prefixes: &Prefixes) -> Self {
        for route in [HitRoute::Impression, HitRoute::Click, HitRoute::Event, HitRoute::Conversion] {
            let below = path.strip_prefix(route.prefix(prefixes)).and_then(|rest| rest.strip_prefix('/'));
            if let Some(program) = below {
                // Site builders append a slash to everything that looks like a folder.
                let program = program.strip_suffix('/').unwrap_or(program);
                let may_be_image = matches!(route, HitRoute::Impression | HitRoute::Conversion);
                let plain = program.strip_suffix(".gif").filter(|_| may_be_image);
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
    fn each_path_has_its_target() {
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
