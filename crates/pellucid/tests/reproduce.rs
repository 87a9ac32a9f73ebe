//! `pellucid train` and `pellucid reproduce`, small and whole, as a user runs them: the folder is a model, a killed run goes on to the
//! same bytes, and a study's report says what it measured.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use pellucid::model::{Batch, Model, Row, Storage};
use pellucid::store::corpus::generate::{Kind, generate};
use pellucid::train::Trainer;
use place::{command, fails, json, ok};
use serde_json::Value;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// Texts of four kinds, in a folder of their own.
fn corpus(dir: &Path) -> String {
    let folder = dir.join("texts");
    std::fs::create_dir_all(&folder).unwrap();
    for kind in ["dna", "hebrew", "http", "lists"] {
        let kind: Kind = Kind::ALL.into_iter().find(|one| one.name() == kind).unwrap();
        let lines = generate(kind, 7, 40_000).into_iter().map(|text| {
            serde_json::json!({ "text": text, "source": format!("generated-{kind}") }).to_string() + "\n"
        });
        std::fs::write(folder.join(format!("{kind}.jsonl")), lines.collect::<String>()).unwrap();
    }
    folder.display().to_string()
}

const SMALL: [&str; 16] = [
    "--tokens",
    "60000",
    "--vocabulary",
    "400",
    "--context",
    "48",
    "--width",
    "16",
    "--heads",
    "2",
    "--neurons",
    "24",
    "--batch",
    "500",
    "--checkpoint",
    "0",
];

fn train<'a>(corpus: &'a str, folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--corpus", corpus, "--out", folder], &SMALL[..], more].concat()
}

fn read(folder: &str, file: &str) -> Vec<u8> {
    std::fs::read(Path::new(folder).join(file)).unwrap()
}

#[test]
fn a_model_trained_from_text_computes_what_its_trainer_says() {
    let dir = tempfile::tempdir().unwrap();
    let texts = corpus(dir.path());
    let [whole, cut] = ["whole", "cut"].map(|name| dir.path().join(name).display().to_string());
    let card = json(&train(&texts, &whole, &[]));
    let loss = |key: &str| card["judged"][key].as_f64().unwrap();
    assert!(loss("loss") < loss("unigram_loss") - 0.2, "{card}");

    // the folder opens as a model, and that model loses what the trainer says of its own state
    let model = Model::open(Path::new(&whole), Storage::F32, &mut |_| ()).unwrap();
    let trainer = Trainer::load(&Path::new(&whole).join("training.state.safetensors")).unwrap();
    let tokens = model.tokenizer().encode("GET /index.html HTTP/1.1\nHost: example.org", true).unwrap().ids;
    assert_eq!(tokens[0], 0, "a text begins with the end of the one before");
    let logits = model.forward(&Batch::one(Row::new(tokens.clone())), &mut ()).unwrap();
    let logits: Vec<Vec<f32>> = logits.to_vec2().unwrap();
    let lost = logits.iter().zip(&tokens[1..]).map(|(row, next)| {
        let total: f64 = row.iter().map(|l| f64::from(*l).exp()).sum();
        total.ln() - f64::from(row[*next as usize])
    });
    let mean = lost.sum::<f64>() / (tokens.len() - 1) as f64;
    let (said, predicted) = trainer.loss(&[&tokens]).unwrap();
    assert_eq!(predicted, tokens.len() - 1);
    assert!((mean - said).abs() < 1e-4, "{mean} by the model, {said} by the trainer");

    // killed, it goes on to the same bytes
    let mut child = command(&train(&texts, &cut, &[]));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (state, begun) = (Path::new(&cut).join("training.state.safetensors"), Instant::now());
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no state was saved");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ok(&train(&texts, &cut, &[]));
    for file in ["training.state.safetensors", "model.safetensors", "tokenizer.json", "config.json"] {
        assert!(read(&whole, file) == read(&cut, file), "{file} differs");
    }
    fails(&train(&texts, &whole, &["--seed", "9"]), "holds another training");
    // how often a state is saved is no part of what is trained
    let other: Vec<&str> = SMALL.iter().map(|said| if *said == "0" { "7" } else { said }).collect();
    ok(&[&["train", "--corpus", &texts, "--out", &whole], &other[..]].concat());
    fails(&["train", "--corpus", &texts, "--out", &cut, "--context", "2"], "at least 3 tokens");
    fails(&["train", "--corpus", &texts, "--out", "x", "--vocabulary", "100"], "ask for more");
}

#[test]
fn a_study_is_done_again_from_the_text_on() {
    let dir = tempfile::tempdir().unwrap();
    let texts = corpus(dir.path());
    let folder = dir.path().join("study").display().to_string();
    let study = |more: &[&str]| -> Output {
        let fixed = ["reproduce", "monosemanticity", "--corpus", &texts, "--out", &folder, "--json"];
        let small = [
            "--expansion",
            "1,3",
            "--k",
            "4",
            "--rows",
            "256",
            "--atlas-tokens",
            "20000",
            "--test-tokens",
            "9000",
        ];
        let arguments = [&fixed[..], &SMALL, &small, more].concat();
        command(&arguments).env("PELLUCID_CACHE", dir.path().join("cache")).output().unwrap()
    };
    let report = |output: Output| -> Value {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("panicked"), "{stderr}");
        let mut object: Value = serde_json::from_slice(&output.stdout).unwrap();
        object["result"].take()
    };
    let first = report(study(&[]));
    let names: Vec<&str> =
        first["dictionaries"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a-x1", "a-x3", "b-x1", "b-x3", "shuffled-x3"]);
    assert!(
        first["models"][0]["judged"]["loss"] != first["models"][1]["judged"]["loss"],
        "two seeds, two models"
    );
    // Hebrew is written in letters of its own: whatever is learned, something tells it
    let kinds = first["measured"]["kinds"].as_array().unwrap();
    let hebrew = kinds.iter().find(|kind| kind["name"] == "generated-hebrew").unwrap();
    assert!(hebrew["latent"]["r"].as_f64().unwrap() > 0.3, "{hebrew}");
    let sets = first["measured"]["latents"].as_array().unwrap();
    assert_eq!(sets.len(), 2);
    for set in sets {
        let [best, active] = ["best", "active"].map(|key| set[key].as_array().unwrap());
        assert!(!best.is_empty() && best.iter().all(|r| r.as_f64().unwrap().abs() <= 1.0));
        assert!(best.len() == active.len() && active.iter().all(|count| count.as_u64().unwrap() > 0));
    }
    // every part is one of the wide latents, and none is a part of two
    let splits = first["measured"]["splits"].as_array().unwrap();
    let parts: Vec<u64> = splits
        .iter()
        .flat_map(|split| {
            split["into"].as_array().unwrap().iter().map(|part| part["latent"].as_u64().unwrap())
        })
        .collect();
    let different: std::collections::BTreeSet<u64> = parts.iter().copied().collect();
    assert!(
        !parts.is_empty() && different.len() == parts.len() && different.iter().all(|l| *l < 3 * 24),
        "{splits:?}"
    );
    for automaton in first["measured"]["automata"].as_array().unwrap() {
        assert!(
            (1..=3).contains(&automaton["states"].as_array().unwrap().len())
                && automaton["r"].as_f64().unwrap() >= 0.1
        );
    }
    let page = String::from_utf8(read(&folder, "index.html")).unwrap();
    assert!(page.contains("universality") && page.contains("<svg") && !page.contains("NaN"));
    let kept: Value = serde_json::from_slice(&read(&folder, "report.json")).unwrap();
    assert_eq!(kept["figures"], first["figures"]);

    // once more: everything is there already, and nothing is another number
    let again = report(study(&[]));
    assert_eq!(again["measured"], first["measured"]);
    assert_eq!(again["figures"], first["figures"]);
    let refused = study(&["--learning-rate", "0.5"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds another training"));
}
