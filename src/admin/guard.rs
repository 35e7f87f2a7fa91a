//! Who may ask what of the admin address.
//!
//! A page in the operator's browser can send requests to 127.0.0.1, also under a name that
//! it lets point there (DNS rebinding). So the address answers only for its own names, takes
//! changes only as JSON from its own origin with a token that a page cannot know, and, where
//! others can reach it, wants the token for everything.

use std::net::SocketAddr;

use subtle::ConstantTimeEq;

use crate::ops::OpError;

/// Decides, knowing the address and its token.
pub struct Guard {
    hosts: Vec<String>,
    token: String,
    is_loopback: bool,
}

/// What a decision needs of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'r> {
    pub method: &'r str,
    pub host: Option<&'r str>,
    pub origin: Option<&'r str>,
    pub content_type: Option<&'r str>,
    pub authorization: Option<&'r str>,
}

impl Guard {
    /// The guard of `address`, which is also called `names`.
    pub fn new(address: SocketAddr, names: &[String], token: String) -> Self {
        let port = address.port();
        let own = [
            address.to_string(),
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
            format!("[::1]:{port}"),
        ];
        let hosts = own.into_iter().chain(names.iter().map(|name| name.to_ascii_lowercase())).collect();
        Self { hosts, token, is_loopback: address.ip().is_loopback() }
    }

    /// Whether the request may go on.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, asked: &Asked<'_>) -> Result<(), OpError> {
        let refused = |status, reason: &str| Err(OpError::Refused(status, reason.to_owned()));
        if !asked.host.is_some_and(|host| self.is_ours(host)) {
            return refused(421, "this address does not answer for that Host; admin.hosts may name it");
        }
        let changes = !matches!(asked.method, "GET" | "HEAD");
        if changes {
            let is_ours = |origin: &str| {
                let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
                host.is_some_and(|host| self.is_ours(host))
            };
            if !asked.origin.is_none_or(is_ours) {
                return refused(403, "a request of another origin");
            }
            let essence = asked.content_type.and_then(|it| it.split(';').next()).map(str::trim);
            if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
                return refused(415, "the content type must be application/json");
            }
        }
        if (changes || !self.is_loopback) && !self.knows_token(asked.authorization) {
            return refused(
                401,
                "needs 'Authorization: Bearer TOKEN'; the token is admin.token or in run.json",
            );
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    fn knows_token(&self, authorization: Option<&str>) -> bool {
        let given = authorization.and_then(|it| it.split_once(' '));
        given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && bool::from(token.as_bytes().ct_eq(self.token.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

    fn status(guard: &Guard, asked: Asked<'_>) -> u16 {
        guard.check(&asked).map_or_else(|error| error.status(), |()| 200)
    }

    fn guard(address: ([u8; 4], u16)) -> Guard {
        Guard::new(address.into(), &["Admin.Example".to_owned()], "s3cret".to_owned())
    }

    fn reading(host: &str) -> Asked<'_> {
        Asked { method: "GET", host: Some(host), ..Asked::default() }
    }

    fn changing() -> Asked<'static> {
        Asked {
            method: "POST",
            host: Some("127.0.0.1:9090"),
            origin: None,
            content_type: Some("application/json; charset=utf-8"),
            authorization: Some("bearer s3cret"),
        }
    }

    #[test]
    fn only_its_own_names_are_answered() {
        let guard = guard(LOOPBACK);
        for host in ["127.0.0.1:9090", "localhost:9090", "LOCALHOST:9090", "[::1]:9090", "admin.example"] {
            assert_eq!(status(&guard, reading(host)), 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1", "127.0.0.1:8080", "127.0.0.1:9090.evil.example", ""] {
            assert_eq!(status(&guard, reading(host)), 421, "{host}");
        }
        assert_eq!(status(&guard, Asked { method: "GET", ..Asked::default() }), 421);
    }

    #[test]
    fn a_change_needs_json_its_own_origin_and_the_token() {
        let guard = guard(LOOPBACK);
        assert_eq!(status(&guard, changing()), 200);
        assert_eq!(status(&guard, Asked { origin: Some("http://localhost:9090"), ..changing() }), 200);
        for origin in ["http://evil.example", "null", "", "ftp://localhost:9090"] {
            assert_eq!(status(&guard, Asked { origin: Some(origin), ..changing() }), 403, "{origin}");
        }
        for content_type in [None, Some("text/plain"), Some("application/jsonx"), Some("")] {
            assert_eq!(status(&guard, Asked { content_type, ..changing() }), 415, "{content_type:?}");
        }
        for authorization in
            [None, Some("Bearer"), Some("Bearer S3cret"), Some("Basic s3cret"), Some("s3cret")]
        {
            assert_eq!(status(&guard, Asked { authorization, ..changing() }), 401, "{authorization:?}");
        }
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
            let asked = Asked { method, authorization: None, ..changing() };
            assert_eq!(status(&guard, asked), 401, "{method}");
        }
    }

    #[test]
    fn off_loopback_reading_needs_the_token_too() {
        let guard = guard(([10, 0, 0, 1], 9090));
        let asked = reading("10.0.0.1:9090");
        assert_eq!(status(&guard, asked), 401);
        assert_eq!(status(&guard, Asked { authorization: Some("Bearer s3cret"), ..asked }), 200);
    }
}
