#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imgfmt_fuzz::replay(bytes));
