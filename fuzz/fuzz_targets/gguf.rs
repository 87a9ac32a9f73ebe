//! Any bytes as a GGUF file: the header parses to consistent ranges or is refused.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pellucid_model::load::gguf::Header;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::parse(bytes, Path::new("fuzz")) else { return };
    for (info, range) in &header.tensors {
        assert_eq!(bytes[range.clone()].len() as u64, info.bytes);
    }
    for key in header.metadata.keys() {
        let _ = (header.metadata.u32(key), header.metadata.f32(key), header.metadata.array_i32(key));
    }
});
