//! `gateway::fuzzing::cursor` against random bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::cursor(data));
