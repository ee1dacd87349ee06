//! Bytes for the target `deeds` of `crates/fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| whimbrel_fuzz::targets::run("deeds", input));
