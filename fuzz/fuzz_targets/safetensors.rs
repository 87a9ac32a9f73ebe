//! Any bytes as a safetensors file: the header parses to consistent ranges or is refused.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tensors) = pellucid_model::load::safetensors::parse(bytes, Path::new("fuzz")) else { return };
    for (info, range) in &tensors {
        assert_eq!(bytes[range.clone()].len() as u64, info.bytes);
    }
});
