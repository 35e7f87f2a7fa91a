//! Checks all settings of the tracker at once.

use programs::FallbackUrl;

use super::{Config, ConfigError, bounds};

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// All settings that are invalid.
    pub fn check(&self) -> Result<(), Vec<ConfigError>> {
        let mut errors = bounds::errors(self);
        let mut refuse = |key, value: &str, expected: &str| {
            errors.push(ConfigError { key, value: value.to_owned(), expected: expected.to_owned() });
        };
        for (key, value, expected) in self.prefixes.errors() {
            refuse(key, value, expected);
        }
        if let Some(url) = &self.fallback_url
            && FallbackUrl::parse_allowing_http(url).is_err()
        {
            refuse("fallback_url", url, "an absolute http or https URL with a host name");
        }
        let limits = &self.limits;
        if limits.bodies_bytes_max < limits.body_bytes_max {
            let value = limits.bodies_bytes_max.to_string();
            refuse("limits.bodies_bytes_max", &value, "at least limits.body_bytes_max");
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use programs::catalog::CatalogConfig;

    use super::*;
    use crate::config::Prefixes;

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn all_errors_are_listed_at_once_with_key_and_value() {
        let config = Config {
            workers: 513,
            fallback_url: Some("https://a.example/\r\nX: 1".into()),
            prefixes: Prefixes { event: "/health/x".into(), click: "/i".into(), ..Prefixes::default() },
            catalog: CatalogConfig { loads_max: 0, ..CatalogConfig::default() },
            ..Config::default()
        };
        let errors = config.check().unwrap_err();
        let keys: Vec<_> = errors.iter().map(|error| error.key).collect();
        assert_eq!(
            keys,
            ["workers", "catalog.loads_max", "prefixes.event", "prefixes.click", "fallback_url"]
        );
        assert_eq!(errors[0].to_string(), "tracker.workers is \"513\", which is not 0 to 512");
    }
}
