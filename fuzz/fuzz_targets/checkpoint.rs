//! Any bytes as a checkpoint on disk, opened and read whole. The first byte chooses the format; for a sharded
//! checkpoint the rest is the index.
#![no_main]

use std::fs;

use candle_core::DType;
use libfuzzer_sys::fuzz_target;
use pellucid_model::load::Checkpoint;

/// One tensor named `a`: `[u64 header length][header][4 bytes]`.
const SHARD: &[u8] =
    b"\x37\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} \0\0\0\0";

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).expect("a file");
    match kind % 4 {
        0 => write("model.gguf", rest),
        1 => {
            write("config.json", b"{}");
            write("model.safetensors", rest);
        }
        2 => {
            write("config.json", b"{}");
            write("one.safetensors", SHARD);
            write("model.safetensors.index.json", rest);
        }
        _ => {
            write("config.json", rest);
            write("tokenizer_config.json", rest);
            write("chat_template.jinja", rest);
            write("model.safetensors", SHARD);
        }
    }
    let Ok(checkpoint) = Checkpoint::open(dir.path()) else { return };
    let _ = (checkpoint.parameter_count(), checkpoint.bytes_as(DType::F32));
    for name in checkpoint.names() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let _ = checkpoint.tensor(name, dtype);
        }
    }
});
