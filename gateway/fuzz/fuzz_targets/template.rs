//! `gateway::fuzzing::template` against random bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::template(data));
