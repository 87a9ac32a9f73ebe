//! The encoder against `transformers` on tiny random weights, and the laws of a batch.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use super::*;

use candle_core::Device;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/embed/tiny")
}

static TINY: LazyLock<Encoder> = LazyLock::new(|| Encoder::open(&folder()).unwrap());

type Texts = Vec<(String, Vec<u32>)>;

/// Texts with their ids, and the reference tensors.
fn dump() -> (Texts, HashMap<String, Tensor>) {
    let facts: Value = serde_json::from_slice(&fs::read(folder().join("dump.json")).unwrap()).unwrap();
    let row = |row: &Value| {
        let ids = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32);
        (row["text"].as_str().unwrap().to_owned(), ids.collect())
    };
    let texts = facts["texts"].as_array().unwrap().iter().map(row).collect();
    (texts, candle_core::safetensors::load(folder().join("dump.safetensors"), &Device::Cpu).unwrap())
}

/// Largest difference, relative to the largest value.
fn gap(ours: &Tensor, theirs: &Tensor) -> f32 {
    assert_eq!(ours.dims(), theirs.dims());
    let most =
        |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    most(&(ours - theirs).unwrap()) / most(theirs)
}

#[test]
fn hidden_states_and_vectors_equal_transformers() {
    let (texts, tensors) = dump();
    assert_eq!(texts.len(), 5);
    for (at, (text, ids)) in texts.iter().enumerate() {
        assert_eq!(&TINY.ids(text).unwrap(), ids, "{text:?}");
        let hidden = TINY.bert.forward(&[ids]).unwrap();
        let pooled = Tensor::new(unit_mean(&hidden).unwrap(), &Device::Cpu).unwrap();
        let (h, p) = (
            gap(&hidden, &tensors[&format!("hidden.{at}")]),
            gap(&pooled, &tensors[&format!("pooled.{at}")]),
        );
        println!("{} tokens: hidden {h:.1e}, pooled {p:.1e}", ids.len());
        assert!(h < 1e-5 && p < 1e-5, "{text:?}: hidden {h:.1e}, pooled {p:.1e}");
    }
    // The long text was cut to the model's positions, and keeps its end marker.
    assert_eq!(texts[4].1.len(), 40);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A text's vector has length 1 and does not depend, in any bit, on what else is embedded with it.
    #[test]
    fn a_text_in_a_batch_equals_itself_alone(texts in prop::collection::vec("[a-z ,.é日]{0,60}", 0..40)) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = TINY.embed(&texts).unwrap();
        prop_assert_eq!(together.len(), texts.len());
        for (text, vector) in texts.iter().zip(&together) {
            let alone = TINY.embed(&[text]).unwrap().remove(0);
            prop_assert_eq!(vector.len(), TINY.width());
            let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-5, "length {}", length);
            prop_assert!(vector.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "{:?}", text);
        }
    }

    /// Packs hold every row once, in order, and only a row that is itself too long exceeds the limit.
    #[test]
    fn packs_are_the_rows(lengths in prop::collection::vec(1usize..30, 0..50), most in 1usize..64) {
        let rows: Vec<Vec<u32>> = lengths.iter().map(|n| vec![0; *n]).collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let packs = packs(&rows, most);
        prop_assert_eq!(&packs.concat(), &rows);
        for pack in packs {
            let tokens: usize = pack.iter().map(|row| row.len()).sum();
            prop_assert!(pack.len() == 1 || (tokens <= most && !pack.is_empty()));
        }
    }
}

#[test]
fn what_follows_the_last_token_that_is_read_does_not_count() {
    let long = "the key ".repeat(20_000);
    let vectors = TINY.embed(&[&long, &format!("{long} Paris"), "the key"]).unwrap();
    assert_eq!(vectors[0], vectors[1]);
    assert_ne!(vectors[0], vectors[2]);
}

/// A copy of the tiny encoder with one file changed.
fn changed(file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<Encoder> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(folder().join(name), dir.path().join(name)).unwrap();
    }
    let path = dir.path().join(file);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, change(bytes)).unwrap();
    Encoder::open(dir.path())
}

fn refusal(key: &str, value: &str) -> String {
    let set = |bytes: Vec<u8>| {
        let mut config: Value = serde_json::from_slice(&bytes).unwrap();
        config[key] = serde_json::from_str(value).unwrap();
        serde_json::to_vec(&config).unwrap()
    };
    changed("config.json", set).unwrap_err().to_string()
}

#[test]
fn a_configuration_that_does_not_fit_is_refused_by_its_key() {
    for (key, value) in [
        ("model_type", "\"llama\""),
        ("hidden_act", "\"gelu_new\""),
        ("position_embedding_type", "\"relative_key\""),
        ("num_attention_heads", "5"),
        ("num_attention_heads", "0"),
        ("hidden_size", "-1"),
        ("layer_norm_eps", "null"),
        ("type_vocab_size", "1.5"),
    ] {
        let said = refusal(key, value);
        let named = if value == "5" { "hidden_size" } else { key };
        assert!(said.contains(named), "{key} {value}: {said}");
    }
    assert!(refusal("hidden_size", "48").contains("word_embeddings"));
    // Neither a loop of a billion layers nor memory for them.
    assert!(refusal("num_hidden_layers", "1000000000000").contains("encoder.layer.2"));
    assert!(refusal("max_position_embeddings", "41").contains("position_embeddings"));
}

#[test]
fn a_foreign_or_damaged_tokenizer_is_refused() {
    assert!(changed("tokenizer.json", |_| b"{}".to_vec()).is_err());
    let unframed = |bytes: Vec<u8>| {
        let mut json: Value = serde_json::from_slice(&bytes).unwrap();
        json["post_processor"] = Value::Null;
        serde_json::to_vec(&json).unwrap()
    };
    let said = changed("tokenizer.json", unframed).unwrap_err().to_string();
    assert!(said.contains("[CLS]"), "{said}");
}

#[test]
fn damaged_weights_give_an_error_and_no_vector() {
    // The last numbers of the file become NaN.
    let spoil = |mut bytes: Vec<u8>| {
        let end = bytes.len();
        bytes[end - 4000..].fill(0xff);
        bytes
    };
    let said = changed("model.safetensors", spoil).unwrap().embed(&["the key"]).unwrap_err().to_string();
    assert!(said.contains("damaged"), "{said}");
}
