#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imgfmt_fuzz::edit_then_check(bytes));
