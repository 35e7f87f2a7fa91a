//! See `bridges::fuzz::stomp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bridges::fuzz::stomp(bytes));
