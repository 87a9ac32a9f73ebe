//! A disk that is full, for atlases and for dictionaries: writes fail from some size of a file on, as they do where a limit on it is set.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{Place, json, ok, train};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program with no file allowed to grow beyond so many blocks of 512 bytes; writes then fail with an error.
fn limited(blocks: u64, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_pellucid")).args(arguments);
    command.stdin(Stdio::null()).output().expect("sh starts")
}

fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.contains("panicked"), "{said}");
    said
}

fn stats(place: &Place, atlas: &str) -> serde_json::Value {
    let mut stats = json(&[&["atlas", "stats"], &place.of(atlas)[..]].concat());
    stats.as_object_mut().unwrap().remove("bytes");
    stats
}

#[test]
fn a_disk_that_fills_while_sweeping_is_said_and_the_sweep_goes_on_to_the_same_rows() {
    let place = Place::new(150);
    let calm = place.path("calm.atlas");
    ok(&place.build(&calm, &[]));
    let size = std::fs::metadata(&calm).unwrap().len();
    let atlas = place.path("full.atlas");
    // nothing fits; then the sweep's state does not; then the atlas does not
    let mut said = Vec::new();
    for blocks in [1, 40, size / 512 / 8, size / 512 / 2] {
        let output = limited(blocks, &place.build(&atlas, &[]));
        said.push(refused(&output));
        assert!(!Path::new(&format!("{atlas}.sweep.part")).exists(), "half a state is left behind");
    }
    for words in &said {
        assert!(words.contains("full.atlas"), "the file is named: {words}");
        let cause = ["File too large", "no space left"];
        assert!(cause.iter().any(|c| words.contains(c)), "{words}");
        assert!(words.contains("again"), "what to do is said: {words}");
    }
    assert!(said.iter().any(|s| s.contains("sweep")), "{said:?}");
    ok(&place.build(&atlas, &[]));
    assert_eq!(place.content(&atlas, "full.jsonl"), place.content(&calm, "calm.jsonl"));
    assert_eq!(stats(&place, &atlas), stats(&place, &calm));
}

#[test]
fn a_disk_that_fills_while_describing_is_said_and_describing_goes_on_to_the_same_rows() {
    let place = Place::new(150);
    let (calm, atlas) = (place.path("calm.atlas"), place.path("full.atlas"));
    ok(&place.build(&calm, &["--no-describe"]));
    std::fs::copy(&calm, &atlas).unwrap();
    let describe = |atlas| [&["atlas", "describe", "--no-embed"], &place.of(atlas)[..]].concat();
    // nothing fits; then the log of the first site does not
    for blocks in [1, 100] {
        let said = refused(&limited(blocks, &describe(&atlas)));
        let named = ["no space left", "run again", "full.atlas"].iter().all(|words| said.contains(words));
        assert!(named, "{blocks} blocks: {said}");
    }
    ok(&describe(&calm));
    ok(&describe(&atlas));
    assert_eq!(place.content(&atlas, "full.jsonl"), place.content(&calm, "calm.jsonl"));
    assert_eq!(stats(&place, &atlas), stats(&place, &calm));
    assert!(stats(&place, &atlas)["chosen"].as_u64().unwrap() > 0);
}

#[test]
fn a_disk_that_fills_while_a_dictionary_is_trained_is_said_and_training_goes_on_to_the_same_bytes() {
    let place = Place::new(300);
    let [calm, full, store, x] = ["calm", "full", "store", "x"].map(|name| place.path(name));
    ok(&train(&place, &calm, &[]));
    // nothing fits; then the weights and the training's state do not
    for blocks in [0, 8] {
        let said = refused(&limited(blocks, &train(&place, &full, &[])));
        assert!(said.contains("File too large") && said.contains("full"), "{said}");
    }
    let parts = |folder: &str| {
        let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|end| end == "part")).count()
    };
    assert_eq!(parts(&full), 0, "half a file is left behind");
    ok(&train(&place, &full, &[]));
    for file in ["sae_weights.safetensors", "training.safetensors"] {
        let read = |folder: &str| std::fs::read(Path::new(folder).join(file)).unwrap();
        assert!(read(&full) == read(&calm), "{file}");
    }
    let kept = ["--activations", store.as_str()];
    let said = refused(&limited(8, &train(&place, &x, &kept)));
    assert!(said.contains("store") && parts(&store) == 0, "{said}");
    ok(&train(&place, &x, &kept));
}
