//! The names of what one registry keeps in Redis.

use super::config::RedisConfig;

/// Three keys and a channel. The braces around the prefix let a cluster keep all of them in
/// one slot, which a script needs.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) meta: String,
    pub(super) programs: String,
    pub(super) versions: String,
    pub(super) channel: String,
    /// `PUBLISH`, on a cluster `SPUBLISH`: the message stays where the slot is.
    pub(super) publish: &'static str,
    /// Its counterpart.
    pub(super) subscribe: &'static str,
}

impl Keys {
    pub(super) fn new(config: &RedisConfig) -> Self {
        let prefix = &config.prefix;
        let (publish, subscribe) =
            if config.cluster { ("SPUBLISH", "SSUBSCRIBE") } else { ("PUBLISH", "SUBSCRIBE") };
        Self {
            meta: format!("{{{prefix}}}:meta"),
            programs: format!("{{{prefix}}}:programs"),
            versions: format!("{{{prefix}}}:versions"),
            channel: config.channel(),
            publish,
            subscribe,
        }
    }
}
