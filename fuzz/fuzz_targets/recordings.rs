//! Bytes for the target `recordings` of `crates/fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whimbrel_fuzz::targets::run("recordings", input));
