//! Core data on its way to the registry: what the log `programs` carries, and later a
//! stream.
//!
//! A message is JSON in UTF-8, at most [`MESSAGE_BYTES_MAX`], and one of
//!
//! | message | meaning |
//! |---|---|
//! | an object with `programId`, `programName` … | the current state of the program |
//! | an array of such objects | the same for each; one invalid entry invalidates the message |
//! | `{"programId": "212312", "removed": true, "revision": 7}` | the program no longer exists |
//!
//! The fields of a program are those of the AWS sample and ours (crate `programs`).
//! `revision` orders the source's changes, a whole number from 0 to 2^63 - 1: one that is lower
//! than the stored one is refused, so messages may be repeated and reordered. Without it the
//! message gets a revision from its place in the stream: for the log, the time of acceptance in
//! milliseconds since 1970, as `clickgate programs put` does. A source should either always send
//! revisions or never.
//!
//! Compatibility: a field is never given another meaning. A reader refuses unknown fields, as a misspelt rule would not be
//! enforced; so every reader must support a new field before a source sends it.
//! `golden/core_data.v1.jsonl` stays readable for ever.

/// Longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
