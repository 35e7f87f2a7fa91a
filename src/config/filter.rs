//! The filter of what the process logs: levels, read strictly.
//!
//! tracing takes any word for the name of a module, and a filter that names only modules mutes
//! everything else, errors included: `warning` would silence the whole process. So each part
//! must be a level or `target=level`, and one part must be the level of the rest.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A filter such as `info,tracker=debug`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(Cow<'static, str>);

impl LogFilter {
    /// Warnings and errors.
    pub const WARNINGS: Self = Self(Cow::Borrowed("warn"));

    /// As tracing reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self(Cow::Borrowed("info,actix_server=warn,aws_config=error"))
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LogFilter {
    type Err = String;

    /// Blanks around a part and empty parts are left out, since tracing would take a blank for a
    /// part of a name.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let mut levels_of_the_rest = 0;
        for part in &parts {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target), level),
                None => (None, *part),
            };
            if target.is_some_and(|target| !is_target(target)) || !is_level(level) {
                return Err(format!(
                    "{text:?} is no filter: {part:?} is neither a level ({}) nor target=level, such as \
                     tracker=debug",
                    LEVELS.join(", ")
                ));
            }
            levels_of_the_rest += usize::from(target.is_none());
        }
        match levels_of_the_rest {
            1 => Ok(Self(Cow::Owned(parts.join(",")))),
            0 => Err(format!(
                "{text:?} is no filter: it has no level for everything else, as info in \"info,tracker=debug\""
            )),
            _ => {
                Err(format!("{text:?} is no filter: it has several levels for everything; give one of them"))
            }
        }
    }
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

/// A path of a module, or the name that a library gives its lines.
fn is_target(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    text.split("::").all(is_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn a_level_alone_or_with_levels_of_targets_is_a_filter() {
        for text in [
            "warn",
            "INFO",
            "off",
            "info,tracker=debug",
            "tracker::server=trace,error",
            "off,tracker=warn",
            LogFilter::default().as_str(),
            LogFilter::WARNINGS.as_str(),
        ] {
            assert_eq!(text.parse::<LogFilter>().unwrap().as_str(), text);
        }
        assert_eq!(" info , tracker=debug, ".parse::<LogFilter>().unwrap().as_str(), "info,tracker=debug");
    }

    #[test]
    fn what_would_mute_the_process_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("warning", "\"warning\" is neither a level (error, warn, info, debug, trace, off)"),
            ("tracker:debug", "\"tracker:debug\" is neither"),
            ("info;x", "\"info;x\" is neither"),
            ("info;tracker=debug", "\"info;tracker=debug\" is neither"),
            ("info,tracker", "\"tracker\" is neither"),
            ("info tracker=debug", "\"info tracker=debug\" is neither"),
            ("info,tracker=loud", "\"tracker=loud\" is neither"),
            ("info,tracker=", "\"tracker=\" is neither"),
            ("info,=debug", "\"=debug\" is neither"),
            ("info,tracker==debug", "\"tracker==debug\" is neither"),
            ("info,tracker[span]=debug", "\"tracker[span]=debug\" is neither"),
            ("3", "\"3\" is neither"),
            ("tracker=debug", "no level for everything else"),
            ("", "no level for everything else"),
            (" , ", "no level for everything else"),
            ("info,debug", "several levels"),
        ] {
            let reason = text.parse::<LogFilter>().unwrap_err();
            assert!(reason.starts_with(&format!("{text:?} is no filter: ")), "{reason}");
            assert!(reason.contains(part), "{part:?} is not in {reason:?}");
        }
    }

    proptest! {
        /// With the level of the rest as it was written.
        #[test]
        fn tracing_reads_what_is_taken(text in "(error|Warn|off|x|info)([,;:=. ](debug|a::b|a-b=info|é)){0,3}") {
            if let Ok(filter) = text.parse::<LogFilter>() {
                let read = EnvFilter::try_new(filter.as_str());
                prop_assert!(read.is_ok(), "{text:?}: {read:?}");
                let rest = filter.as_str().split(',').find(|part| !part.contains('=')).unwrap().to_lowercase();
                let read = read.unwrap().to_string();
                prop_assert!(read.split(',').any(|part| part == rest), "{read:?} of {text:?}");
            }
        }
    }
}
