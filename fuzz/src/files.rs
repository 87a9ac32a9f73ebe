//! Files of a checkpoint: they parse to ranges that lie within the file, or are refused.

use candle_core::DType;
use pellucid_model::load::Checkpoint;
use pellucid_model::load::gguf::Header;
use std::fs;
use std::path::Path;

/// Any bytes as a GGUF file.
pub fn gguf(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes, Path::new("fuzz")) else { return };
    for (info, range) in &header.tensors {
        assert_eq!(bytes[range.clone()].len() as u64, info.bytes);
    }
    for key in header.metadata.keys() {
        let _ = (header.metadata.u32(key), header.metadata.f32(key), header.metadata.array_i32(key));
    }
}

/// Any bytes as a safetensors file.
pub fn safetensors(bytes: &[u8]) {
    let Ok(tensors) = pellucid_model::load::safetensors::parse(bytes, Path::new("fuzz")) else { return };
    for (info, range) in &tensors {
        assert_eq!(bytes[range.clone()].len() as u64, info.bytes);
    }
}

/// One tensor named `a`: `[u64 header length][header][4 bytes]`.
const SHARD: &[u8] =
    b"\x37\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} \0\0\0\0";

/// Any bytes as a checkpoint on disk, opened and read whole. The first byte chooses the format; for a sharded checkpoint
/// the rest is the index.
pub fn checkpoint(bytes: &[u8]) {
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
}
