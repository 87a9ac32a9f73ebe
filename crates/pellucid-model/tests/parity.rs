//! Every architecture against `transformers`: every point of every layer, logits and gradients.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use pellucid_model::parity::Dump;
use pellucid_model::{Model, Storage};
use std::path::{Path, PathBuf};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny")
}

/// Every folder with weights, and the folder whose dump it must match.
fn cases() -> Vec<(String, PathBuf, PathBuf)> {
    let mut names: Vec<String> = std::fs::read_dir(tiny())
        .expect("fixtures/tiny")
        .map(|e| e.expect("entry").file_name().into_string().expect("utf-8"))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let like = match name.as_str() {
                "sharded" => "llama",
                other => other.strip_suffix("-gguf").unwrap_or(other),
            };
            (name.clone(), tiny().join(&name), tiny().join(like))
        })
        .collect()
}

#[test]
fn every_tiny_model_equals_transformers_at_every_point() {
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() > 30, "fixtures are missing: {}", cases.len());
    for (name, weights, reference) in cases {
        let path = if name.ends_with("-gguf") { weights.join("model.gguf") } else { weights };
        let gaps = Model::open(&path, Storage::F32, &mut |_| ())
            .and_then(|model| Dump::read(&reference)?.compare(&model));
        match gaps {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(gaps) => {
                let worst = gaps.iter().max_by(|a, b| a.error.total_cmp(&b.error)).expect("gaps");
                println!("{name}: {} tensors, worst {} {:.2e}", gaps.len(), worst.key, worst.error);
                let first = gaps.iter().find(|g| g.error > 1e-4);
                failures.extend(first.map(|g| format!("{name}: {} {:.2e}", g.key, g.error)));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
