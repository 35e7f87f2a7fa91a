//! The settings of the table in DynamoDB. The command fills them in; nothing here reads the
//! environment.

use std::time::Duration;

/// How a table in DynamoDB is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoConfig {
    /// Its name.
    pub name: String,
    /// Requests that are not answered yet; callers wait. 1 to 64.
    pub requests_max: usize,
    /// Attempts at a request, before what is left of it is said to be throttled or the table
    /// unavailable; 1 to 20.
    pub attempts_max: u32,
    /// Longest pause between two of them; each is random between zero and the current limit.
    pub retry_pause_max: Duration,
    /// Longest wait for the answer to an attempt.
    pub request_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
}

impl Default for DynamoConfig {
    fn default() -> Self {
        Self {
            name: "clickgate".to_owned(),
            requests_max: 8,
            attempts_max: 6,
            retry_pause_max: Duration::from_secs(1),
            request_timeout: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

impl DynamoConfig {
    /// What is wrong with these values, each with the key it concerns.
    pub fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        if !is_table_name(&self.name) {
            let allowed = "3 to 255 letters, digits, or one of `_.-`; a name, not an ARN";
            errors.push(("name", format!("{:?} is no name of a table: {allowed}", self.name)));
        }
        let ranges = [
            ("requests_max", self.requests_max as u64, 1, 64),
            ("attempts_max", self.attempts_max.into(), 1, 20),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                errors.push((key, format!("{value} is not between {least} and {most}")));
            }
        }
        errors
    }
}

/// CreateTable, API reference.
fn is_table_name(name: &str) -> bool {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
    (3..=255).contains(&name.len()) && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_key() {
        assert_eq!(DynamoConfig::default().errors(), []);
        let config = DynamoConfig {
            name: "arn:aws:dynamodb:eu-central-1:1:table/x".to_owned(),
            requests_max: 65,
            attempts_max: 0,
            ..DynamoConfig::default()
        };
        let keys: Vec<_> = config.errors().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["name", "requests_max", "attempts_max"]);
        for (name, is_right) in [("ab", false), ("abc", true), ("a b", false), ("A_.-9", true)] {
            assert_eq!(is_table_name(name), is_right, "{name}");
        }
    }
}
