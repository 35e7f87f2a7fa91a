//! Core data on its way to the registry: what the log `programs` carries, and later a
//! stream.
//!
//! A message is JSON in UTF-8, at most [`MESSAGE_BYTES_MAX`], and one of
//!
//! | message | it means |
//! |---|---|
//! | an object with `programId`, `programName` … | this is the program now |
//! | an array of such objects | the same for each; one bad entry makes all of it a bad message |
//! | `{"programId": "212312", "removed": true, "revision": 7}` | there is no such program any more |
//!
//! The fields of a program are those of the AWS sample and ours (crate `programs`).
//! `revision` is the order of the source's changes, a whole number from 0 to 2^63 - 1: a
//! lower one than the stored is refused, so messages may come again and in any order.
//! Without it the message has the revision of its place in the stream: for the log, when
//! it was accepted, in milliseconds since 1970, which is what `clickgate programs put`
//! gives too. A source should give revisions or leave them out, not both.
//!
//! Compatibility: a field is never given another meaning. A reader refuses a field that it
//! does not know, as a misspelt rule is a rule that does not hold; so a new field is
//! understood by every reader before a source sends it. `golden/core_data.v1.jsonl` is
//! read for ever.

/// Longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
