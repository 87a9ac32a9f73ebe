//! Any bytes as a file of a dictionary, or as damage to one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pellucid_fuzz::quiet(), |bytes: &[u8]| pellucid_fuzz::run(pellucid_fuzz::dictionary, bytes));
