#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imgfmt_fuzz::open_and_walk(bytes));
