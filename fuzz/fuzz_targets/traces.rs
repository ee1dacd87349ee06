//! Bytes for the target `traces` of `crates/fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whimbrel_fuzz::targets::run("traces", input));
