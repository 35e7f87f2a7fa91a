//! Which cursors the logs of a data directory declare, and so what they keep.
//!
//! They follow from where the records go, and not from the role that has the directory at
//! the moment. Roles take turns on a directory: a tracker that runs alone leaves its
//! records to a later `clickgate consumer`, or to `log ship` on another machine, and a
//! tool opens the log between them. If each declared only what it reads itself, a tracker
//! would call a log empty that nobody has stored, and whoever trims would trim for itself.
//!
//! | records go to | cursor |
//! |---|---|
//! | the table of this directory | `table` |
//! | a stream, by a shipper | `shipper` |
//! | the registry, from the log of core data | `programs` |
//! | another machine's table, by `log ship` | `ship`, beside those of the directory |

use stream::LogConfig;

use crate::config::{Settings, TableKind};

/// Of the consumer that fills the local table.
pub const TABLE: &str = "table";
/// Of the shipper that takes events to a stream.
pub const SHIPPER: &str = "shipper";
/// Of the program bridge, in the log `programs`.
pub const PROGRAMS: &str = "programs";
/// Of `log ship`, in a dead machine's log.
pub const SHIP: &str = "ship";

/// Where the events of a data directory go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSinks {
    /// The table in the directory, by a consumer.
    pub table: bool,
    /// A stream, by a shipper.
    pub stream: bool,
}

impl EventSinks {
    /// What the configuration says.
    pub fn of(settings: &Settings) -> Self {
        let stream = settings.shipper.config.stream.is_some();
        let table = match settings.table.kind {
            // Of a table in DynamoDB, the log of a directory without a stream is the source.
            TableKind::Auto | TableKind::DynamoDb => !stream,
            TableKind::Local => true,
            TableKind::None => false,
        };
        Self { table, stream }
    }

    /// Whether a consumer stores what the stream holds, rather than the log.
    pub fn consumes_stream(settings: &Settings) -> bool {
        settings.table.kind == TableKind::DynamoDb && settings.shipper.config.stream.is_some()
    }

    fn cursors(self) -> Vec<String> {
        let sinks = [(self.table, TABLE), (self.stream, SHIPPER)];
        sinks.into_iter().filter(|(is_used, _)| *is_used).map(|(_, name)| name.to_owned()).collect()
    }
}

/// The log of events.
pub fn events_log(settings: &Settings) -> LogConfig {
    let sinks = EventSinks::of(settings);
    LogConfig { cursors: sinks.cursors(), has_shipper: sinks.stream, ..settings.stream.clone() }
}

/// The log of core data: of the same size, and with the program bridge for its reader.
pub fn core_data_log(settings: &Settings) -> LogConfig {
    LogConfig { cursors: vec![PROGRAMS.to_owned()], has_shipper: false, ..settings.stream.clone() }
}

/// A dead machine's log of events. Where its records were to go is not known here; its own
/// cursors are on its disk and hold back what they have not passed, and if there are none,
/// a table has read nothing.
pub fn adopted_log(settings: &Settings) -> LogConfig {
    LogConfig {
        cursors: vec![TABLE.to_owned(), SHIP.to_owned()],
        has_shipper: false,
        ..settings.stream.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sink_has_its_cursor_and_no_other() {
        let cursors = |table, stream| EventSinks { table, stream }.cursors();
        assert_eq!(cursors(true, false), [TABLE]);
        assert_eq!(cursors(false, true), [SHIPPER], "a region's tracker has no table");
        assert_eq!(cursors(true, true), [TABLE, SHIPPER]);
    }

    #[test]
    fn the_default_is_one_machine_with_its_table() {
        let settings = Settings::default();
        let events = events_log(&settings);
        assert_eq!((events.cursors, events.has_shipper), (vec![TABLE.to_owned()], false));
        assert_eq!(core_data_log(&settings).cursors, [PROGRAMS]);
        let mut shipping = Settings::default();
        shipping.shipper.config.stream = Some("events".to_owned());
        assert_eq!(EventSinks::of(&shipping), EventSinks { table: false, stream: true });
        shipping.table.kind = TableKind::Local;
        assert_eq!(EventSinks::of(&shipping), EventSinks { table: true, stream: true });
        assert_eq!(events.log_bytes_max, settings.stream.log_bytes_max);
    }
}
