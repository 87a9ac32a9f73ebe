//! The real text encoder, all-MiniLM-L6-v2, against `transformers`. It is fetched once with `pellucid fetch minilm`
//! (`cargo xtask test` does it); these tests never use the network, the measurement does if it must.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod fetched;

use fetched::fetched;
use pellucid_core::Embed;
use pellucid_model::embed::Encoder;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// The encoder, if it was fetched.
fn minilm() -> Option<Encoder> {
    fetched("minilm")?;
    Some(Encoder::load("minilm", &mut |_| ()).expect("the encoder opens"))
}

/// The ten texts with their reference vectors, and the hash of the weights that gave them.
fn reference() -> (String, Vec<(String, Vec<f32>)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/embed/minilm.json");
    let facts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let row = |row: &Value| {
        let vector = row["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32);
        (row["text"].as_str().unwrap().to_owned(), vector.collect())
    };
    let rows = facts["texts"].as_array().unwrap().iter().map(row).collect();
    (facts["sha256"].as_str().unwrap().to_owned(), rows)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn minilm_equals_transformers_and_itself_alone() {
    let Some(encoder) = minilm() else { return };
    let (sha256, rows) = reference();
    assert_eq!((encoder.name(), encoder.width()), ("minilm", 384));
    assert_eq!(encoder.sha256().unwrap(), sha256);
    assert_eq!(rows.len(), 10);
    let texts: Vec<&str> = rows.iter().map(|(text, _)| text.as_str()).collect();
    let vectors = encoder.embed(&texts).unwrap();
    let mut worst = 0f32;
    for ((text, want), ours) in rows.iter().zip(&vectors) {
        assert_eq!(ours.len(), want.len());
        let most = want.iter().fold(0f32, |most, v| most.max(v.abs()));
        let gap = ours.iter().zip(want).fold(0f32, |gap, (a, b)| gap.max((a - b).abs()));
        worst = worst.max(gap / most);
        let shown: String = text.chars().take(40).collect();
        assert!(gap / most < 1e-4, "{shown:?}: {:.1e}", gap / most);
        let alone = encoder.embed(&[text]).unwrap().remove(0);
        let same = alone.iter().zip(ours).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{shown:?} alone differs from itself in a batch by {:.1e}", 1.0 - dot(&alone, ours));
    }
    println!("worst relative difference {worst:.1e}");
}

#[test]
fn minilm_knows_what_is_alike() {
    let Some(encoder) = minilm() else { return };
    let texts =
        ["money and prices", "what things cost", "capital cities of Europe", "Paris, Rome and Warsaw"];
    let vectors = encoder.embed(&texts).unwrap();
    let alike = dot(&vectors[0], &vectors[1]).min(dot(&vectors[2], &vectors[3]));
    let other = dot(&vectors[0], &vectors[2]).max(dot(&vectors[1], &vectors[3]));
    assert!(alike > other + 0.1, "{alike} against {other}");
}

/// How fast: `cargo test --release -p pellucid-model --test embed speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    let encoder = Encoder::load("minilm", &mut |_| ()).expect("the model");
    let kinds =
        ["names", "verbs", "dates", "numbers", "code", "places", "quotes", "foods", "laws", "animals"];
    let describe = |i: usize| {
        let (a, b, c) = (kinds[i % 10], kinds[i / 10 % 10], kinds[i / 100 % 10]);
        format!("{a} that follow {b} in a sentence about {c}")
    };
    let texts: Vec<String> = (0..1000).map(describe).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let _ = encoder.embed(&texts[..100]).unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let vectors = encoder.embed(&texts).unwrap();
        let rate = vectors.len() as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} texts/s, {} threads", std::thread::available_parallelism().unwrap());
    }
}
