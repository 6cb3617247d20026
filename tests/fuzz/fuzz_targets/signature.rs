#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| autoxen_fuzz::signature::check(data));
