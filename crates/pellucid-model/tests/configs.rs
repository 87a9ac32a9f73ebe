//! Both spellings of a configuration, of transformers 4 and 5, mean the same model.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use pellucid_model::{Model, Storage};
use std::path::Path;

#[test]
fn configurations_of_transformers_4_and_5_are_read_alike() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny");
    let mut compared = 0;
    for entry in std::fs::read_dir(tiny).expect("fixtures/tiny") {
        let folder = entry.expect("entry").path();
        let newer = folder.join("config.v5.json");
        if !newer.exists() || !folder.join("model.safetensors").exists() {
            continue;
        }
        let copy = tempfile::tempdir().expect("a folder");
        for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            if folder.join(file).exists() {
                std::fs::copy(folder.join(file), copy.path().join(file)).expect("a copy");
            }
        }
        std::fs::copy(newer, copy.path().join("config.json")).expect("a copy");
        let open =
            |path: &Path| Model::open(path, Storage::F32, &mut |_| ()).expect("a model").spec().clone();
        assert_eq!(open(&folder), open(copy.path()), "{}", folder.display());
        compared += 1;
    }
    assert!(compared >= 17, "only {compared} configurations");
}
