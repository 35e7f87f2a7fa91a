//! The ActiveMQ bridge: messages of legacy queues into the log, exactly acknowledged.

pub(crate) mod codec;
pub(crate) mod frame;
