//! The settings of the shipper. The command fills them in; nothing here reads the environment.

use std::time::Duration;

/// Longest stream name (CreateStream, API reference).
const STREAM_CHARS_MAX: usize = 128;
/// Bytes of a PutRecords request that older limits still allow: 5 MiB.
const REQUEST_BYTES_MAX: usize = 5 << 20;
/// Records of a PutRecords request.
const REQUEST_RECORDS_MAX: usize = 500;
/// A Kinesis record is billed in units of this size, and holds 1 MiB unless the stream says otherwise.
const AGGREGATE_BYTES_MAX: usize = 1 << 20;

/// Settings of the shipper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShipperConfig {
    /// The Kinesis stream that takes the events; without one there is no shipper.
    pub stream: Option<String>,
    /// The stream that takes what is no event, for [`Aggregation::None`].
    pub control_stream: Option<String>,
    /// How many events share a Kinesis record.
    pub aggregate: Aggregation,
    /// Bytes of a Kinesis record made of several, key and data; one of our records alone may be larger. The KPL
    /// makes 51,200, and so do we: two payload units of 25 KiB.
    pub aggregate_bytes_max: usize,
    /// What decides the shard of an event.
    pub partition_by: PartitionBy,
    /// Kinesis records of a request; at most 500.
    pub request_records_max: usize,
    /// Bytes of a request, keys and data; at most 5 MiB. 1 MiB unless set: with 4 MiB the process grew
    /// by about 98 MiB while it shipped a backlog, with 1 MiB by about 80, at the same cost per event
    /// (`side-by-side --rows shipper`).
    pub request_bytes_max: usize,
    /// Requests that are not answered yet: the window.
    pub requests_max: usize,
    /// Bytes that were read from the log and not acknowledged: in requests, or waiting for another
    /// attempt. At this bound nothing more is read.
    pub in_flight_bytes_max: usize,
    /// Of those, bytes that wait for a shard that throttles, with [`PartitionBy::Visitor`] or
    /// [`PartitionBy::Program`]. At this bound nothing more is read either.
    pub held_back_bytes_max: usize,
    /// How long the log is not looked at again once it had nothing more: so long an event waits
    /// for others to share its Kinesis record.
    pub linger: Duration,
    /// How often the cursor is moved, if there is something to move it for. It is not moved with
    /// each answer, since each move is two disk syncs; after a crash the records since come again.
    pub commit_interval: Duration,
    /// Longest wait for the answer to a request.
    pub request_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest pause before another attempt; each is random between zero and the current limit.
    /// Attempts never end.
    pub retry_pause_max: Duration,
    /// Bytes a second that are sent at most, for a stream that others need too; 0 for no bound.
    pub bytes_per_second_max: u64,
}

/// How many events share a Kinesis record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// As many as fit into an aggregate of the KPL.
    Kpl,
    /// One, for consumers that know no aggregates, as the AWS sample's.
    None,
}

/// What decides the shard of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionBy {
    /// Chance. What a shard throttles goes to another.
    None,
    /// The visitor id; events without one go by chance.
    Visitor,
    /// The program.
    Program,
}

impl Default for ShipperConfig {
    fn default() -> Self {
        Self {
            stream: None,
            control_stream: None,
            aggregate: Aggregation::Kpl,
            aggregate_bytes_max: 51_200,
            partition_by: PartitionBy::None,
            request_records_max: REQUEST_RECORDS_MAX,
            request_bytes_max: 1 << 20,
            requests_max: 8,
            in_flight_bytes_max: 16 << 20,
            held_back_bytes_max: 8 << 20,
            linger: Duration::from_millis(50),
            commit_interval: Duration::from_secs(1),
            request_timeout: Duration::from_secs(6),
            connect_timeout: Duration::from_secs(2),
            retry_pause_max: Duration::from_secs(2),
            bytes_per_second_max: 0,
        }
    }
}

impl ShipperConfig {
    /// What is wrong with these values, each with the key it concerns.
    pub fn errors(&self) -> Vec<(&'static str, String)> {
        let mut errors = Vec::new();
        for (key, name) in [("stream", &self.stream), ("control_stream", &self.control_stream)] {
            if let Some(name) = name.as_deref().filter(|name| !is_stream_name(name)) {
                let allowed = "1 to 128 letters, digits, or one of `_.-`; a name, not an ARN";
                errors.push((key, format!("{name:?} is no name of a stream: {allowed}")));
            }
        }
        if self.stream.is_some() && self.aggregate == Aggregation::None && self.control_stream.is_none() {
            let reason = "must be set, as shipper.aggregate is \"none\": a consumer that takes every record \
                          for an event must not find lane reports among them";
            errors.push(("control_stream", reason.to_owned()));
        }
        if self.stream.is_some() && self.stream == self.control_stream {
            errors.push(("control_stream", "is the stream of the events too".to_owned()));
        }
        let ranges = [
            ("aggregate_bytes_max", self.aggregate_bytes_max, 1_024, AGGREGATE_BYTES_MAX),
            ("request_records_max", self.request_records_max, 1, REQUEST_RECORDS_MAX),
            ("request_bytes_max", self.request_bytes_max, AGGREGATE_BYTES_MAX, REQUEST_BYTES_MAX),
            ("requests_max", self.requests_max, 1, 64),
            ("in_flight_bytes_max", self.in_flight_bytes_max, REQUEST_BYTES_MAX, 1 << 30),
            ("held_back_bytes_max", self.held_back_bytes_max, AGGREGATE_BYTES_MAX, 1 << 30),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                errors.push((key, format!("{value} is not between {least} and {most}")));
            }
        }
        let least = AGGREGATE_BYTES_MAX as u64;
        if self.bytes_per_second_max != 0 && self.bytes_per_second_max < least {
            let value = self.bytes_per_second_max;
            errors.push(("bytes_per_second_max", format!("{value} is neither 0 nor at least {least}")));
        }
        errors
    }
}

fn is_stream_name(name: &str) -> bool {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
    (1..=STREAM_CHARS_MAX).contains(&name.len()) && name.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_at_fault(config: ShipperConfig) -> Vec<&'static str> {
        config.errors().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn the_defaults_are_right_with_and_without_a_stream() {
        assert_eq!(keys_at_fault(ShipperConfig::default()), [""; 0]);
        let stream = Some("clickgate-events".to_owned());
        assert_eq!(keys_at_fault(ShipperConfig { stream, ..ShipperConfig::default() }), [""; 0]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_key() {
        let config = ShipperConfig {
            stream: Some("arn:aws:kinesis:eu-central-1:1:stream/x".to_owned()),
            aggregate: Aggregation::None,
            aggregate_bytes_max: 100,
            request_records_max: 501,
            request_bytes_max: 6 << 20,
            requests_max: 0,
            in_flight_bytes_max: 1,
            held_back_bytes_max: 1,
            bytes_per_second_max: 10,
            ..ShipperConfig::default()
        };
        let expected = [
            "stream",
            "control_stream",
            "aggregate_bytes_max",
            "request_records_max",
            "request_bytes_max",
            "requests_max",
            "in_flight_bytes_max",
            "held_back_bytes_max",
            "bytes_per_second_max",
        ];
        assert_eq!(keys_at_fault(config), expected);
    }

    #[test]
    fn events_and_what_is_none_cannot_share_a_stream_unless_they_are_told_apart() {
        let name = Some("s".to_owned());
        let config = ShipperConfig { stream: name.clone(), control_stream: name, ..ShipperConfig::default() };
        assert_eq!(keys_at_fault(config), ["control_stream"]);
    }
}
