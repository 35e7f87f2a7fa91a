//! Every metric, with its meaning.

use std::fmt::Write;

use metrics::{describe_counter, describe_gauge};

use Kind::{Counter, Gauge, Histogram};

/// As Prometheus calls them.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

#[rustfmt::skip]
const METRICS: &[(&str, Kind, &str)] = &[
    ("clickgate_requests_total", Counter, "Requests by route and outcome; each is counted once."),
    ("clickgate_request_seconds", Histogram, "Time from the head of a request to its answer, by route."),
    ("clickgate_refused_total", Counter, "Hits that a rule refused, by reason."),
    ("clickgate_shed_total", Counter, "Hits that the log did not take, by class."),
    ("clickgate_beacon_entries_total", Counter, "Entries of beacons by outcome; the requests that carried them are counted separately."),
    ("clickgate_http_malformed_total", Counter, "Malformed HTTP requests, refused before a route saw them."),
    ("clickgate_http_timeouts_total", Counter, "Clients that were too slow sending a head or a body, or reading an answer."),
    ("clickgate_parameters_left_out_total", Counter, "Parameters left out of recorded events: beyond a limit, without a name, or with an invalid time."),
    ("clickgate_rejected_not_kept_total", Counter, "Refused hits that are only counted, not kept."),
    ("clickgate_ready", Gauge, "1 while the tracker is ready for hits."),
    ("clickgate_catalog_age_seconds", Gauge, "Time since the programs in memory were last known to be those of the registry; compared every 3 s; with registry.redis.aws_sample, the time since they were last loaded."),
    ("clickgate_catalog_fresh", Gauge, "1 while changes of programs are followed."),
    ("clickgate_catalog_entries", Gauge, "Programs in memory."),
    ("clickgate_catalog_unknown_entries", Gauge, "Ids remembered not to exist."),
    ("clickgate_catalog_misses_total", Counter, "Hits that had to ask the registry."),
    ("clickgate_catalog_unverified_total", Counter, "Registry reads without a trustworthy answer."),
    ("clickgate_catalog_loads", Gauge, "Registry reads under way; at most tracker.catalog.loads_max."),
    ("clickgate_catalog_loads_refused_total", Counter, "Misses not read, as too many reads were under way."),
    ("clickgate_registry_total", Counter, "Events while following the registry: connected, lost; change, repeated; hole, lagged, missed (publishes that never arrived, as a later one, the subscription or a comparison showed); loaded, other_store, fell_back, not_ready."),
    ("clickgate_redis_total", Counter, "Events on the connections to Redis: connected, connect_failed; call_failed, script_sent; subscribed, subscription_lost; message, message_unreadable; row_unreadable. 0 with the local registry."),
    ("clickgate_snapshot_age_seconds", Gauge, "Time since the last-good snapshot on disk was last known to be right; NaN without one."),
    ("clickgate_snapshot_total", Counter, "Writes and reads of the last-good snapshot, by result; a damaged or outdated one is ignored."),
    ("clickgate_log_bytes", Gauge, "Bytes in the log that a cursor still needs."),
    ("clickgate_log_bytes_max", Gauge, "The bound of the log, log.log_bytes_max."),
    ("clickgate_log_fill_ratio", Gauge, "clickgate_log_bytes divided by clickgate_log_bytes_max: impressions are shed from 0.8, beacons 0.9, clicks 0.95."),
    ("clickgate_log_segments", Gauge, "Segment files of the log."),
    ("clickgate_log_poisoned", Gauge, "1 once a lane of a log failed to write or to sync."),
    ("clickgate_lane_bytes", Gauge, "Bytes in the segments of a lane of this process."),
    ("clickgate_lane_unsynced_records", Gauge, "Records of a lane that are written and not yet synced."),
    ("clickgate_lane_poisoned", Gauge, "1 once this lane failed to write or to sync."),
    ("clickgate_cursor_lag_records", Gauge, "Records that a reader of the log has not passed."),
    ("clickgate_cursor_lag_seconds", Gauge, "Time since a running reader was last caught up; 0 while it is."),
    ("clickgate_consumer_failing", Gauge, "1 while the consumer cannot read, store or commit."),
    ("clickgate_consumer_stalled", Gauge, "1 while there is no room for one more dead letter of the consumer: replay or drop some."),
    ("clickgate_consumer_transactions", Gauge, "Transactions of the table since the start."),
    ("clickgate_table_write_units_total", Counter, "Write units that the consumer has used of the table in DynamoDB, by its answers; 0 with a local table."),
    ("clickgate_table_read_units_total", Counter, "Read units, likewise."),
    ("clickgate_table_throttled_total", Counter, "Requests and items for which that table had no capacity; they go again."),
    ("clickgate_table_repeated_total", Counter, "Attempts at a request to that table after the first."),
    ("clickgate_worker_shards", Gauge, "Shards of a stream whose leases this process holds, by reader: consumer, or programs (the program bridge)."),
    ("clickgate_worker_behind_seconds", Gauge, "How far the slowest of these shards is read behind its end, as Kinesis says it."),
    ("clickgate_worker_failing", Gauge, "1 while a shard or its lease cannot be read; `/log` says why."),
    ("clickgate_worker_leases_taken_total", Counter, "Leases of shards taken."),
    ("clickgate_worker_leases_lost_total", Counter, "Leases that another worker took, or whose rows somebody removed."),
    ("clickgate_worker_shards_ended_total", Counter, "Shards read and stored to their end, after a split or a merge."),
    ("clickgate_worker_shards_expired_total", Counter, "Shards that the stream dropped before they were read to their end: what was in them is lost."),
    ("clickgate_worker_kinesis_records_total", Counter, "Kinesis records read, those that came again included."),
    ("clickgate_worker_bytes_total", Counter, "Their bytes."),
    ("clickgate_worker_requests_total", Counter, "GetRecords requests that were answered."),
    ("clickgate_worker_throttled_total", Counter, "Requests to read a shard that Kinesis throttled."),
    ("clickgate_worker_iterators_expired_total", Counter, "Iterators that were older than five minutes when they were used."),
    ("clickgate_shipper_acknowledged_total", Counter, "Records of the log, events and others, that a stream acknowledged."),
    ("clickgate_shipper_dead_letters_total", Counter, "Records of the log that a stream refused and that became dead letters."),
    ("clickgate_shipper_kinesis_records_total", Counter, "Kinesis records acknowledged; with shipper.aggregate kpl each holds many events."),
    ("clickgate_shipper_bytes_total", Counter, "Bytes of acknowledged Kinesis records, data and keys."),
    ("clickgate_shipper_payload_units_total", Counter, "Payload units of acknowledged Kinesis records, 25 KiB each, begun ones as whole: what provisioned streams are billed by."),
    ("clickgate_shipper_requests_total", Counter, "PutRecords requests by outcome: answered (whatever became of their entries), failed (as a whole)."),
    ("clickgate_shipper_outcome_unknown_total", Counter, "Kinesis records of requests without an answer; sent again, so that they may be in the stream twice."),
    ("clickgate_shipper_retries_total", Counter, "Kinesis records sent again, by cause: throttled, a code of AWS, or timeout, no_connection, no_answer, wrong_length, refused."),
    ("clickgate_shipper_throttled_total", Counter, "Kinesis records throttled, by shard as far as AWS says it."),
    ("clickgate_shipper_requests_in_flight", Gauge, "PutRecords requests that are not answered; at most shipper.requests_max."),
    ("clickgate_shipper_bytes_in_flight", Gauge, "Bytes read from the log and not acknowledged; at most about shipper.in_flight_bytes_max."),
    ("clickgate_shipper_bytes_held_back", Gauge, "Of those, bytes that wait for a shard that throttles."),
    ("clickgate_shipper_oldest_unshipped_seconds", Gauge, "Age of the oldest event that was read and is not acknowledged; 0 if there is none."),
    ("clickgate_shipper_failing", Gauge, "1 while the shipper's requests fail."),
    ("clickgate_shipper_stalled", Gauge, "1 while nothing is shipped until somebody changes something; `/log` says what."),
    ("clickgate_core_data_total", Counter, "Core data by outcome: changes that the registry stored, had already (unchanged), had newer (older), had another of the same revision (conflicting); and messages that became dead letters (dead)."),
    ("clickgate_bridge_retries_total", Counter, "Failed attempts of a bridge that are repeated: its registry, its log or the dead letters were unavailable."),
    ("clickgate_bridge_restarts_total", Counter, "Bridges that died and were started again."),
    ("clickgate_bridge_failing", Gauge, "1 while a bridge makes no progress because of an error."),
    ("clickgate_bridge_letters_discarded_total", Counter, "Dead letters of bridges that made room for newer ones."),
    ("clickgate_activemq_messages_total", Counter, "Messages of a queue by outcome: received, and of those redelivered; acknowledged after their event reached its level; quarantined at the broker, or dead in the local dead letters; ignored, as they are none of our subscription."),
    ("clickgate_activemq_aside_total", Counter, "Messages of a queue that were put aside, by reason: header, suspect_empty, body, field, core_data, too_large, refused by a rule of the program, deadly as the bridge died over them."),
    ("clickgate_activemq_sessions_total", Counter, "Connections on which a queue was subscribed to."),
    ("clickgate_activemq_connected", Gauge, "1 while a queue is subscribed to."),
    ("clickgate_activemq_stopped", Gauge, "1 once a queue was given up because its next message cannot be read as STOMP: remove it at the broker and start again."),
    ("clickgate_activemq_in_flight", Gauge, "Messages of a queue that wait for their level, or to be put aside."),
    ("clickgate_activemq_in_flight_bytes", Gauge, "Bytes of them."),
    ("clickgate_records", Gauge, "Record numbers by place, from the ledger and the log, as `clickgate reconcile` reports them."),
    ("clickgate_build_info", Gauge, "Always 1; the version is its label."),
    ("process_resident_memory_bytes", Gauge, "Resident memory of the process."),
    ("process_start_time_seconds", Gauge, "Start time of the process, in seconds since 1970."),
    ("process_cpu_seconds_total", Counter, "CPU time of the process, user and system."),
    ("process_open_fds", Gauge, "Open files and sockets."),
    ("process_threads", Gauge, "Threads of the process."),
];

/// Gives the recorder its HELP lines.
pub fn describe() {
    for (name, kind, meaning) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *meaning),
            Gauge => describe_gauge!(*name, *meaning),
            // It is none of the recorder's.
            Histogram => {}
        }
    }
}

/// HELP and TYPE of a metric that is written by hand.
pub fn write_head(text: &mut String, name: &str) {
    if let Some((name, kind, meaning)) = METRICS.iter().find(|(known, ..)| *known == name) {
        let _ = write!(text, "# HELP {name} {meaning}\n# TYPE {name} {}\n", kind.name());
    }
}
