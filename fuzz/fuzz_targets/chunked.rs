//! See `tracker::fuzz::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tracker::fuzz::chunked(bytes));
