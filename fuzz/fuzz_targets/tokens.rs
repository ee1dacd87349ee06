//! Bytes for the target `tokens` of `crates/fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whimbrel_fuzz::targets::run("tokens", input));
