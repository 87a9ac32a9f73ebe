//! A folder with a corpus and a tiny model's atlases in it, and the program run on them.

#![allow(dead_code)] // each of the tests that share this uses its own part

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn tiny(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name).display().to_string()
}

/// A folder with a corpus of `documents` documents in it.
pub(crate) fn with_corpus(documents: usize) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let words =
        ["the", "cat", "sat", "on", "a", "mat", "in", "May", "12", "and", "ran", "home", "New", "York"];
    let lines: Vec<String> = (0..documents)
        .map(|d| {
            let text: Vec<&str> = (0..60).map(|i| words[(d * 31 + i * i * 7 + i) % words.len()]).collect();
            serde_json::json!({ "text": format!("{d} {}", text.join(" ")) }).to_string()
        })
        .collect();
    let file = dir.path().join("corpus.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let file = file.display().to_string();
    (dir, file)
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pellucid"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

pub(crate) fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub(crate) fn json(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let mut object: Value = serde_json::from_str(&ok(&all)).expect("one JSON object");
    object["result"].take()
}

pub(crate) fn fails(arguments: &[&str], naming: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    assert!(
        stderr.contains("error: ") && stderr.contains(naming),
        "{arguments:?} should name {naming:?}: {stderr}"
    );
}

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) corpus: String,
    pub(crate) model: String,
}

impl Place {
    pub(crate) fn new(documents: usize) -> Self {
        let (dir, corpus) = with_corpus(documents);
        Place { dir, corpus, model: tiny("llama") }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The arguments of a build of a whole corpus, every window saved.
    pub(crate) fn build<'a>(&'a self, atlas: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut all =
            vec!["atlas", "build", "--model", &self.model, "--corpus", &self.corpus, "--atlas", atlas];
        all.extend([
            "--tokens",
            "all",
            "--window",
            "24",
            "--overlap",
            "6",
            "--checkpoint",
            "0",
            "--no-embed",
        ]);
        all.extend(more);
        all
    }

    /// The arguments that name the model and an atlas of it.
    pub(crate) fn of<'a>(&'a self, atlas: &'a str) -> [&'a str; 4] {
        ["--model", &self.model, "--atlas", atlas]
    }

    /// Every unit with its exemplars, and its descriptions, as lines.
    pub(crate) fn content(&self, atlas: &str, name: &str) -> String {
        let file = self.path(name);
        ok(&[
            "atlas",
            "export",
            "--model",
            &self.model,
            "--atlas",
            atlas,
            "--format",
            "neuronpedia",
            "--out",
            &file,
        ]);
        std::fs::read_to_string(file).unwrap()
    }
}

/// The arguments of a dictionary's training into `folder`, its state saved after every chunk.
pub(crate) fn train<'a>(place: &'a Place, folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "dict",
        "train",
        "--model",
        &place.model,
        "--corpus",
        &place.corpus,
        "--site",
        "resid_post.0",
        "--tokens",
        "30000",
        "--window",
        "16",
        "--latents",
        "64",
        "--k",
        "4",
        "--batch",
        "64",
        "--out",
        folder,
        "--checkpoint",
        "0",
    ];
    // what is said again replaces what is fixed, and not every recipe has a k
    let other = more.contains(&"--recipe");
    let stays = |pair: &&[&str]| !(more.contains(&pair[0]) || other && pair[0] == "--k");
    let kept = fixed.chunks(2).filter(stays).flatten().copied();
    kept.chain(more.iter().copied()).collect()
}
