//! The table in DynamoDB when the region has a bad day: behind the proxy, and from the command line.

mod commands;
mod crashes;
mod harness;
mod letters;
mod throttling;
