//! The list of keys.

use super::Settings;
use super::environment::PREFIX;
use super::field::{Field, Kind, Value};

/// One setting.
pub struct Key {
    /// Its table and its name, with dots.
    pub name: &'static str,
    /// What it looks like.
    pub kind: Kind,
    /// One sentence.
    pub doc: &'static str,
    /// Of a number that is not the tracker's.
    bounds: Option<(u64, u64)>,
    write: fn(&mut Settings, Value) -> Result<(), String>,
    read: fn(&Settings) -> Option<Value>,
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Never shown.
    pub fn is_secret(&self) -> bool {
        ["admin.token", "registry.redis.password"].contains(&self.name)
    }

    /// Of a number, both inclusive; those of the tracker's numbers stand in its crate.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        match self.name.strip_prefix("tracker.") {
            Some(name) => tracker::bounds(name),
            None => self.bounds,
        }
    }

    /// The variable of the environment that sets it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// Reads the text of a variable.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn value_of(&self, text: &str) -> Result<Value, String> {
        let value = self.kind.parse(text);
        value.map_err(|reason| if self.is_secret() { "is no text".to_owned() } else { reason })
    }

    /// Sets it.
    ///
    /// # Errors
    /// Why the value does not fit; a secret is not quoted.
    pub fn set(&self, settings: &mut Settings, value: Value) -> Result<(), String> {
        if let Value::Number(number) = &value
            && let Some((least, most)) = self.bounds()
            && !(least..=most).contains(number)
        {
            return Err(format!("{number} is not between {least} and {most}"));
        }
        let set = (self.write)(settings, value);
        set.map_err(|reason| if self.is_secret() { "expected a text".to_owned() } else { reason })
    }

    /// Its value; `None` if it is not set.
    pub fn shown(&self, settings: &Settings) -> Option<Value> {
        (self.read)(settings)
    }
}

/// The variable of the environment that sets `key`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn set<F: Field>(field: &mut F, value: Value) -> Result<(), String> {
    *field = F::of(value)?;
    Ok(())
}

/// The kind of the field that `_of` leads to.
const fn kind<F: Field>(_of: fn(&Settings) -> &F) -> Kind {
    F::KIND
}

macro_rules! key {
    ($name:literal, $table:ident $(. $field:ident)+, $bounds:expr, $doc:literal) => {
        Key {
            name: $name,
            kind: kind(|settings| &settings.$table$(.$field)+),
            bounds: $bounds,
            doc: $doc,
            write: |settings, value| set(&mut settings.$table$(.$field)+, value),
            read: |settings| settings.$table$(.$field)+.show(),
        }
    };
}

/// Every key, table by table. The bounds here are those of a number alone, and of the tracker's
/// numbers they stand in its crate; what must fit together is checked by the crates ([`tracker::Config::check`], [`stream::LogConfig::errors`]).
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key!("tracker.listen", tracker.listen, None, "Where hits arrive; TLS ends before it."),
    key!("tracker.workers", tracker.workers, None, "Worker threads, each with a lane of its own; 0 is one per core."),
    key!("tracker.connections_per_worker_max", tracker.connections_per_worker_max, None, "Open connections per worker; more wait in the kernel."),
    key!("tracker.trusted_proxies", tracker.trusted_proxies, None, "Networks of load balancers whose X-Forwarded-For is trusted, such as 10.0.0.0/8."),
    key!("tracker.fallback_url", tracker.fallback_url, None, "Where a refused click goes if its program names no place; without one it gets 404."),
    key!("tracker.reserved_parameters", tracker.reserved_parameters, None, "Parameters that are ours; a strict program cannot refuse them."),
    key!("tracker.allowed_parameters", tracker.allowed_parameters, None, "Further parameters that a strict program does not refuse; a * at the end is a prefix."),
    key!("tracker.unverified", tracker.unverified, None, "accept | refuse: hits whose program cannot be checked because the registry is away."),
    key!("tracker.honour_gpc", tracker.honour_gpc, None, "Whether Sec-GPC: 1 withholds visitor id and IP."),
    key!("tracker.example_page", tracker.example_page, None, "Whether /example shows a page that carries the browser tag."),
    key!("tracker.rejected_per_second_max", tracker.rejected_per_second_max, None, "Refused hits that are kept, per reason and second."),
    key!("tracker.keep_alive_seconds", tracker.keep_alive_seconds, None, "How long an idle connection is kept; longer than the load balancer's 60 s."),
    key!("tracker.client_request_timeout_ms", tracker.client_request_timeout_ms, None, "Time for the head of a request to arrive, then 408; and for a client to take an answer."),
    key!("tracker.client_body_timeout_ms", tracker.client_body_timeout_ms, None, "Time for the body of a beacon to arrive after its head; then 408."),
    key!("tracker.stream_timeout_ms", tracker.stream_timeout_ms, None, "Longest wait for the stream to acknowledge a hit of level stream; then 503, though the event is in the log and goes there all the same."),
    key!("tracker.client_disconnect_timeout_ms", tracker.client_disconnect_timeout_ms, None, "Time for a closing client to take the rest of its answer."),
    key!("tracker.shutdown_timeout_seconds", tracker.shutdown_timeout_seconds, None, "Time for hits in flight to finish once the process stops."),
    key!("tracker.prefixes.event", tracker.prefixes.event, None, "Path of the JSON route."),
    key!("tracker.prefixes.impression", tracker.prefixes.impression, None, "Path of the pixel."),
    key!("tracker.prefixes.click", tracker.prefixes.click, None, "Path of the redirect."),
    key!("tracker.prefixes.conversion", tracker.prefixes.conversion, None, "Path of the conversion."),
    key!("tracker.prefixes.beacon", tracker.prefixes.beacon, None, "Path of the beacon; nothing follows it."),
    key!("tracker.prefixes.tag", tracker.prefixes.tag, None, "Path of the browser tag; it may have dots."),
    key!("tracker.levels.event", tracker.levels.event, None, "memory | written | synced | stream: how safe an event is before it is answered."),
    key!("tracker.levels.impression", tracker.levels.impression, None, "The same for the pixel."),
    key!("tracker.levels.click", tracker.levels.click, None, "The same for the click."),
    key!("tracker.levels.conversion", tracker.levels.conversion, None, "The same for the conversion, and for beacons that hold one."),
    key!("tracker.levels.beacon", tracker.levels.beacon, None, "The same for the beacon."),
    key!("tracker.limits.parameters_max", tracker.limits.parameters_max, None, "Parameters of a request; further ones are left out and counted."),
    key!("tracker.limits.name_bytes_max", tracker.limits.name_bytes_max, None, "Bytes of a parameter's name, decoded."),
    key!("tracker.limits.value_bytes_max", tracker.limits.value_bytes_max, None, "Bytes of a parameter's value, decoded."),
    key!("tracker.limits.request_line_bytes_max", tracker.limits.request_line_bytes_max, None, "Bytes of the request line."),
    key!("tracker.limits.header_bytes_max", tracker.limits.header_bytes_max, None, "Bytes of all headers, names and values; then 431."),
    key!("tracker.limits.body_bytes_max", tracker.limits.body_bytes_max, None, "Bytes of a beacon's body; then 413."),
    key!("tracker.limits.bodies_bytes_max", tracker.limits.bodies_bytes_max, None, "Bytes of bodies that a worker holds at one time; beyond it beacons are shed."),
    key!("tracker.limits.entries_max", tracker.limits.entries_max, None, "Entries of a beacon."),
    key!("tracker.catalog.entries_max", tracker.catalog.entries_max, None, "Programs held in memory."),
    key!("tracker.catalog.fresh_seconds", tracker.catalog.fresh_seconds, None, "Age at which a program that is hit is read again while the catalog is not in step with the registry; in step, nothing ages."),
    key!("tracker.catalog.stale_seconds", tracker.catalog.stale_seconds, None, "How long a program is still served after that; then it is read before it is served."),
    key!("tracker.catalog.unknown_entries_max", tracker.catalog.unknown_entries_max, None, "Ids remembered not to exist."),
    key!("tracker.catalog.unknown_seconds", tracker.catalog.unknown_seconds, None, "How long such an id is believed not to exist."),
    key!("tracker.catalog.registry_timeout_ms", tracker.catalog.registry_timeout_ms, None, "Longest wait for the registry on a miss."),
    key!("tracker.catalog.loads_max", tracker.catalog.loads_max, None, "Registry reads under way at once."),
    key!("tracker.catalog.snapshot_path", tracker.catalog.snapshot_path, None, "The last-good snapshot, from which a tracker starts while Redis is away; programs.snapshot in the data directory unless set, none with the local registry."),
    key!("tracker.catalog.snapshot_seconds", tracker.catalog.snapshot_seconds, None, "It is written at most once in this time, and only if something changed."),
    key!("shipper.stream", shipper.config.stream, None, "The Kinesis stream that takes the events; without one they stay on this machine."),
    key!("shipper.control_stream", shipper.config.control_stream, None, "The stream for everything that is no event (lane reports, refused hits); needed where shipper.aggregate is none, else that of the events unless set."),
    key!("shipper.aggregate", shipper.config.aggregate, None, "kpl | none: as many events as fit into an aggregate of the Kinesis Producer Library, or one event a Kinesis record, as consumers like the AWS sample's expect."),
    key!("shipper.aggregate_bytes_max", shipper.config.aggregate_bytes_max, None, "Bytes of an aggregate; 25 KiB are a payload unit."),
    key!("shipper.partition_by", shipper.config.partition_by, None, "none | visitor | program: by chance, so that what a shard throttles goes to another; or all of a visitor or program into one shard, for which they wait."),
    key!("shipper.request_records_max", shipper.config.request_records_max, None, "Kinesis records of a PutRecords request; AWS takes 500."),
    key!("shipper.request_bytes_max", shipper.config.request_bytes_max, None, "Bytes of a request, data and keys."),
    key!("shipper.requests_max", shipper.config.requests_max, None, "Requests that are not answered yet."),
    key!("shipper.in_flight_bytes_max", shipper.config.in_flight_bytes_max, None, "Bytes read from the log and not acknowledged; at this bound nothing more is read."),
    key!("shipper.held_back_bytes_max", shipper.config.held_back_bytes_max, None, "Of those, bytes that wait for a shard that throttles, with shipper.partition_by visitor or program; the same at this bound."),
    key!("shipper.bytes_per_second_max", shipper.config.bytes_per_second_max, None, "Bytes sent in a second, for a stream that others write to as well; 0 for no bound, else at least 1 MiB."),
    key!("shipper.linger_ms", shipper.config.linger, Some((1, 10_000)), "How long an event waits for others to share its Kinesis record."),
    key!("shipper.commit_ms", shipper.config.commit_interval, Some((10, 60_000)), "How often the cursor is moved; after a crash, what was acknowledged since is sent again."),
    key!("shipper.request_timeout_ms", shipper.config.request_timeout, Some((100, 300_000)), "Longest wait for the answer to a request."),
    key!("shipper.connect_timeout_ms", shipper.config.connect_timeout, Some((10, 60_000)), "Longest wait for a connection."),
    key!("shipper.retry_pause_ms_max", shipper.config.retry_pause_max, Some((1, 3_600_000)), "Longest pause between two attempts; attempts never end."),
    key!("shipper.dead_letters_max", shipper.dead_letters.letters_max, Some((1, 1_000_000_000)), "Dead letters of the shipper; at the bound a record that is refused holds up its lane until some are replayed or dropped."),
    key!("shipper.dead_letters_bytes_max", shipper.dead_letters.bytes_max, Some((1_048_576, 1_099_511_627_776)), "Bytes of them; the same at this bound."),
    key!("aws.region", aws.region, None, "Such as eu-central-1; AWS_REGION, the profile or the instance says it unless set."),
    key!("aws.kinesis_endpoint", aws.kinesis_endpoint, None, "Where Kinesis is, as http:// or https://host:port, if not where its region says: an emulator, or a VPC endpoint."),
    key!("aws.dynamodb_endpoint", aws.dynamodb_endpoint, None, "Where DynamoDB is, likewise."),
    key!("consumer.expiry_days", consumer.expiry_days, Some((1, 36_500)), "Days until an event leaves the table."),
    key!("consumer.rejected_days", consumer.rejected_days, Some((1, 36_500)), "Days until a refused hit leaves it."),
    key!("consumer.dead_letters_max", consumer.dead_letters_max, Some((1, 1_000_000_000)), "Dead letters of the consumer; at the bound it stalls until some are replayed or dropped."),
    key!("consumer.dead_letters_bytes_max", consumer.dead_letters_bytes_max, Some((1_048_576, 1_099_511_627_776)), "Bytes of them; the same at this bound."),
    key!("consumer.batch_bytes_max", consumer.batch_bytes_max, Some((1, 1_073_741_824)), "Payload bytes of one transaction."),
    key!("consumer.poll_ms", consumer.poll_ms, Some((1, 60_000)), "Wait when the log has nothing new."),
    key!("consumer.commit_ms", consumer.commit_ms, Some((0, 60_000)), "Wait after a transaction that was not full; it bounds the disk syncs of a quiet machine."),
    key!("consumer.retry_pause_ms_max", consumer.retry_pause_ms_max, Some((1, 3_600_000)), "Longest pause between two attempts at a table that is away."),
    key!("consumer.cache_bytes", consumer.cache_bytes, Some((1_048_576, 1_099_511_627_776)), "Memory for the table's pages."),
    key!("consumer.sweep_seconds", consumer.sweep_seconds, Some((1, 86_400)), "How often expired items are looked for."),
    key!("consumer.sweep_items_max", consumer.sweep_items_max, Some((1, 1_000_000)), "Items that one transaction of that looks at."),
    key!("worker.lease_failover_ms", worker.lease_failover, Some((500, 3_600_000)), "How long the lease of a shard may go without being renewed before another worker takes it; it is renewed three times as often."),
    key!("worker.shard_sync_ms", worker.shard_sync_interval, Some((100, 3_600_000)), "How often a stream is asked for its shards, besides whenever one ends."),
    key!("worker.poll_ms", worker.poll, Some((10, 60_000)), "Wait when a shard had nothing new; Kinesis answers five requests a second and shard."),
    key!("worker.records_max", worker.records_max, Some((1, 10_000)), "Kinesis records of a GetRecords request."),
    key!("worker.buffer_bytes_max", worker.buffer_bytes_max, Some((1_048_576, 1_073_741_824)), "Bytes that were read of streams and wait to be stored; at this bound nothing more is read."),
    key!("worker.request_timeout_ms", worker.request_timeout, Some((100, 300_000)), "Longest wait for the answer to a request, to Kinesis or to the leases."),
    key!("worker.connect_timeout_ms", worker.connect_timeout, Some((10, 60_000)), "Longest wait for a connection."),
    key!("worker.retry_pause_ms_max", worker.retry_pause_max, Some((1, 3_600_000)), "Longest pause between two attempts to read a shard; attempts never end."),
    key!("bridge.programs.stream", bridge.programs_stream, None, "The Kinesis stream that brings core data, a JSON message a record; its leases are in the table table.name. Without it, the log takes core data."),
    key!("bridge.programs.batch_bytes_max", bridge.programs.batch_bytes_max, Some((1, 1_073_741_824)), "Payload bytes of core data that the program bridge puts into the registry at once."),
    key!("bridge.programs.poll_ms", bridge.programs.poll_ms, Some((1, 60_000)), "Wait when there is no new core data."),
    key!("bridge.programs.retry_pause_ms_max", bridge.programs.retry_pause_ms_max, Some((1, 3_600_000)), "Longest pause between two attempts at a registry that is away."),
    key!("bridge.dead_letters_max", bridge.dead_letters.letters_max, Some((0, 1_000_000_000)), "Dead letters of bridges that are kept; beyond it the oldest are discarded."),
    key!("bridge.dead_letters_bytes_max", bridge.dead_letters.bytes_max, Some((0, 1_099_511_627_776)), "Bytes of those dead letters."),
    key!("table.kind", table.kind, None, "auto | local | dynamodb | none: where events are stored; auto is the local file, or none where shipper.stream is set. With dynamodb and a stream, a consumer reads the stream."),
    key!("table.path", table.path, None, "The local table's file, which keeps dead letters too; table.redb in the data directory unless set."),
    key!("table.name", table.name, None, "The table in DynamoDB, for table.kind dynamodb and for the leases of streams."),
    key!("table.requests_max", table.dynamo.requests_max, Some((1, 64)), "Requests to DynamoDB that are not answered yet; whoever wants more waits."),
    key!("table.attempts_max", table.dynamo.attempts_max, Some((1, 20)), "Attempts at a request to DynamoDB, and at the items that one leaves; then a consumer pauses and goes on with what is left, and a command fails."),
    key!("table.retry_pause_ms_max", table.dynamo.retry_pause_max, Some((1, 3_600_000)), "Longest pause between two of them."),
    key!("table.request_timeout_ms", table.dynamo.request_timeout, Some((100, 300_000)), "Longest wait for DynamoDB's answer."),
    key!("table.connect_timeout_ms", table.dynamo.connect_timeout, Some((10, 60_000)), "Longest wait for a connection to it."),
    key!("registry.path", registry.path, None, "The local registry's file; registry.redb in the data directory unless set."),
    key!("registry.kind", registry.kind, None, "local | redis: a file of this machine, or the Redis that all trackers of a region share."),
    key!("registry.redis.urls", registry.redis.urls, None, "redis://host:port, or rediss://host:port for TLS, without user and password; of a cluster up to 64 nodes."),
    key!("registry.redis.cluster", registry.redis.cluster, None, "Whether Redis runs in cluster mode, as ElastiCache Serverless does."),
    key!("registry.redis.database", registry.redis.database, Some((0, 65_535)), "Number of the database; a cluster has only 0."),
    key!("registry.redis.username", registry.redis.username, None, "User of the access control list; the default user unless set."),
    key!("registry.redis.password", registry.redis.password, None, "Its password."),
    key!("registry.redis.ca_file", registry.redis.ca_file, None, "PEM file with the authorities of the server's certificate; those of the operating system unless set."),
    key!("registry.redis.prefix", registry.redis.prefix, None, "Name of the registry: its keys begin with it in braces, so one Redis holds several."),
    key!("registry.redis.channel", registry.redis.channel, None, "Where changes are published; {prefix}:changes, with the prefix in braces, unless set."),
    key!("registry.redis.connect_timeout_ms", registry.redis.connect_timeout_ms, Some((1, 60_000)), "Longest wait for a connection with its handshake."),
    key!("registry.redis.response_timeout_ms", registry.redis.response_timeout_ms, Some((1, 60_000)), "Longest wait for an answer."),
    key!("registry.redis.aws_sample", registry.redis.aws_sample, None, "Whether the hashes of the AWS sample's updater are programs too, and its channel1 is followed."),
    key!("admin.listen", admin.listen, None, "The second address, for operators; off loopback it needs a token for everything."),
    key!("admin.token", admin.token, None, "Bearer token of the admin address, off loopback at least 16 characters; unless set, a random one per start, in run.json."),
    key!("admin.hosts", admin.hosts, None, "Further names under which the admin address may be asked for, such as admin.example:9090."),
    key!("admin.body_bytes_max", admin.body_bytes_max, Some((1_024, 4_294_967_296)), "Bytes of the largest import through the admin address."),
    key!("drain.linger_ms", drain.linger_ms, Some((0, 600_000)), "How long a stopping process serves on while it is not ready; the time a load balancer needs to notice."),
    key!("drain.grace_ms", drain.grace_ms, Some((0, 3_600_000)), "How long a stopping process waits until what is in the log is stored."),
    key!("drain.log_is_ephemeral", drain.log_is_ephemeral, None, "Whether the log's disk ends with this machine; then what is left after the drain is copied to drain.rescue."),
    key!("drain.rescue", drain.rescue, None, "A directory that outlives this machine; `clickgate log ship` stores what is in it."),
    key!("log.segment_bytes", stream.segment_bytes, Some((65_536, 1_073_741_824)), "Bytes of a segment file of the log."),
    key!("log.log_bytes_max", stream.log_bytes_max, Some((524_288, 1_125_899_906_842_624)), "Bytes of each log, events and core data; as the log of events fills up, hits are shed by class: impressions at 80 %, beacons 90, clicks 95."),
    key!("log.lane_bytes_max", stream.lane_bytes_max, Some((4_096, 536_870_912)), "Bytes one turn of a worker's event loop may collect; at most half a segment."),
    key!("log.sync_interval_ms", stream.sync_interval, Some((1, 60_000)), "Longest time that written records wait for a sync."),
    key!("log.level", log.level, None, "Diagnostics on stderr: error, warn, info, debug, trace or off, and levels of parts such as info,tracker=debug."),
    key!("log.json", log.json, None, "Diagnostics as JSON, one object a line."),
];
