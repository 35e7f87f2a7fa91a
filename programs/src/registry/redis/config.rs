//! What an operator may set for Redis.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

/// Addresses of a cluster's first nodes, at most.
const URLS_MAX: usize = 64;
/// Longest prefix and channel, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest timeout that can be set.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Where Redis is and how to connect to it.
///
/// The password appears neither in debug output nor in serialised form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://host:port`, or `rediss://host:port` for TLS; without user and password,
    /// which have fields of their own. One; for a cluster up to 64 seed nodes.
    pub urls: Vec<String>,
    /// Whether Redis runs in cluster mode, as ElastiCache Serverless does.
    pub cluster: bool,
    /// Database number; a cluster has only 0. Channels are shared by all databases.
    pub database: u32,
    /// ACL user. Defaults to the default user.
    pub username: Option<String>,
    /// Its password. A secret.
    #[serde(skip_serializing)]
    pub password: Option<String>,
    /// PEM file with the certificate authorities for the server's certificate. Defaults to those of
    /// the operating system.
    pub ca_file: Option<PathBuf>,
    /// The registry's name: each of its keys begins with this in braces, so several
    /// registries can share one Redis. 1 to 128 letters, digits, `-`, `_`, `.` or `:`.
    pub prefix: String,
    /// Channel of the changes. Defaults to `{prefix}:changes`. On a cluster it must contain
    /// `{prefix}`, so that it is in the slot of the keys.
    pub channel: Option<String>,
    /// Longest wait for a connection with its handshake, 1 to 60,000 ms.
    pub connect_timeout_ms: u64,
    /// Longest wait for an answer, 1 to 60,000 ms; a read of many programs is many answers.
    pub response_timeout_ms: u64,
    /// Whether the hashes that the AWS sample's updater writes are programs too, and its
    /// `channel1` is followed. Not on a cluster. Only an import marks them as complete.
    pub aws_sample: bool,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            urls: vec!["redis://127.0.0.1:6379".to_owned()],
            cluster: false,
            database: 0,
            username: None,
            password: None,
            ca_file: None,
            prefix: "clickgate".to_owned(),
            channel: None,
            connect_timeout_ms: 1_000,
            response_timeout_ms: 1_000,
            aws_sample: false,
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("urls", &self.urls)
            .field("cluster", &self.cluster)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "redacted"))
            .field("ca_file", &self.ca_file)
            .field("prefix", &self.prefix)
            .field("channel", &self.channel())
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("response_timeout_ms", &self.response_timeout_ms)
            .field("aws_sample", &self.aws_sample)
            .finish()
    }
}

/// An invalid setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct RedisConfigError {
    /// Its name in [`RedisConfig`].
    pub field: &'static str,
    /// What is wrong; a password is not quoted.
    pub reason: String,
}

impl RedisConfig {
    /// All invalid settings; reads no file and connects to no server.
    pub fn check(&self) -> Vec<RedisConfigError> {
        let mut errors = Vec::new();
        let mut wrong = |field, reason: String| errors.push(RedisConfigError { field, reason });
        let urls_max = if self.cluster { URLS_MAX } else { 1 };
        if self.urls.is_empty() || self.urls.len() > urls_max {
            wrong("urls", format!("expected 1 to {urls_max}, found {}", self.urls.len()));
        }
        for (at, url) in self.urls.iter().enumerate() {
            if let Err(reason) = check_url(url) {
                wrong("urls", format!("number {}: {reason}", at + 1));
            }
        }
        if self.urls.iter().any(|url| is_tls(url)) && !self.urls.iter().all(|url| is_tls(url)) {
            wrong("urls", "either all of them are rediss:// or none".to_owned());
        }
        if self.ca_file.is_some() && !self.urls.iter().any(|url| is_tls(url)) {
            wrong("ca_file", "requires rediss://".to_owned());
        }
        if self.username.is_some() && self.password.is_none() {
            wrong("password", "is required with a username".to_owned());
        }
        if self.database != 0 && self.cluster {
            wrong("database", "must be 0 on a cluster".to_owned());
        }
        if !is_name(&self.prefix) {
            wrong("prefix", format!("{:?} is not 1 to 128 letters, digits, - _ . or :", self.prefix));
        }
        if let Some(channel) = &self.channel {
            let tag = format!("{{{}}}", self.prefix);
            if !is_name(&channel.replacen(&tag, "x", 1)) {
                wrong("channel", format!("{channel:?} is not 1 to 128 letters, digits, - _ . or :"));
            } else if self.cluster && !channel.contains(&tag) {
                wrong("channel", format!("{channel:?} does not contain {tag}"));
            }
        }
        for (field, given) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
        ] {
            if !(1..=TIMEOUT_MS_MAX).contains(&given) {
                wrong(field, format!("{given} is not between 1 and {TIMEOUT_MS_MAX}"));
            }
        }
        if self.aws_sample && self.cluster {
            wrong("aws_sample", "the sample does not support clusters".to_owned());
        }
        errors
    }

    /// Where changes are published.
    pub fn channel(&self) -> String {
        self.channel.clone().unwrap_or_else(|| format!("{{{}}}:changes", self.prefix))
    }

    pub(super) fn is_tls(&self) -> bool {
        self.urls.iter().any(|url| is_tls(url))
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }
}

/// Host and port of a checked address.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((host, url.port().unwrap_or(6379)))
}

fn is_tls(url: &str) -> bool {
    url.starts_with("rediss://")
}

/// Why `text` is not a valid address. Does not quote it, as it may contain a password.
fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !["redis", "rediss"].contains(&url.scheme()) {
        return Err("does not begin with redis:// or rediss://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user or a password; set username and password instead".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("has no host".to_owned());
    }
    if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
        return Err("has something after the port; set database instead".to_owned());
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(config: &RedisConfig) -> Vec<&'static str> {
        config.check().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn the_default_can_be_used() {
        assert_eq!(RedisConfig::default().check(), []);
        assert_eq!(RedisConfig::default().channel(), "{clickgate}:changes");
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let password = Some("s3cret".to_owned());
        let config = RedisConfig { username: Some("edge".to_owned()), password, ..RedisConfig::default() };
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(!serde_json::to_string(&config).unwrap().contains("s3cret"));

        let urls = vec!["redis://edge:s3cret@cache:6379".to_owned()];
        let config = RedisConfig { urls, ..RedisConfig::default() };
        let errors = config.check();
        assert_eq!(errors.len(), 1);
        assert!(!errors[0].to_string().contains("s3cret"), "{}", errors[0]);
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let config = RedisConfig {
            urls: vec!["http://cache".to_owned(), "redis://".to_owned(), "redis://a/1".to_owned()],
            username: Some("edge".to_owned()),
            ca_file: Some("ca.pem".into()),
            prefix: "{a}".to_owned(),
            connect_timeout_ms: 0,
            response_timeout_ms: 60_001,
            ..RedisConfig::default()
        };
        let expected = [
            "urls",
            "urls",
            "urls",
            "urls",
            "ca_file",
            "password",
            "prefix",
            "connect_timeout_ms",
            "response_timeout_ms",
        ];
        assert_eq!(fields(&config), expected);
    }

    #[test]
    fn a_cluster_wants_its_channel_beside_its_keys() {
        let cluster = RedisConfig { cluster: true, ..RedisConfig::default() };
        assert_eq!(fields(&cluster), [""; 0]);
        let elsewhere = RedisConfig { channel: Some("changes".to_owned()), ..cluster.clone() };
        assert_eq!(fields(&elsewhere), ["channel"]);
        let beside = RedisConfig { channel: Some("news:{clickgate}".to_owned()), ..cluster.clone() };
        assert_eq!(fields(&beside), [""; 0]);
        let sample = RedisConfig { aws_sample: true, database: 3, ..cluster };
        assert_eq!(fields(&sample), ["database", "aws_sample"]);
    }

    #[test]
    fn host_and_port_are_those_of_the_address() {
        assert_eq!(host_and_port("redis://cache"), Some(("cache".to_owned(), 6379)));
        assert_eq!(host_and_port("rediss://[::1]:7000"), Some(("::1".to_owned(), 7000)));
    }
}
