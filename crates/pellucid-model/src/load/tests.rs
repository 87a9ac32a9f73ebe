//! What the loaders give and refuse, from the inside.

use super::*;

use std::fs;

fn tensor_file(name: &str, value: f32) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn the_hash_is_the_file_s_or_that_of_the_sorted_lines() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let cache = dir.path().join("cache");
    write("config.json", b"{}");
    write("b.safetensors", &tensor_file("x", 1.0));
    let one = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(one.hash_files(&cache).unwrap(), cache::sha256(&tensor_file("x", 1.0)));

    write("a.safetensors", &tensor_file("y", 2.0));
    write("model.safetensors.index.json", br#"{"weight_map":{"x":"b.safetensors","y":"a.safetensors"}}"#);
    let two = Checkpoint::open(dir.path()).unwrap();
    let (x, y) = (cache::sha256(&tensor_file("x", 1.0)), cache::sha256(&tensor_file("y", 2.0)));
    let lines = format!("a.safetensors {y}\nb.safetensors {x}\n");
    assert_eq!(two.hash_files(&cache).unwrap(), cache::sha256(lines.as_bytes()));
}
