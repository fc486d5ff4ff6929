//! `gateway::fuzzing::base64` against random bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzzing::base64(data));
