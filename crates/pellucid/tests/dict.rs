//! Dictionaries of a tiny model, end to end: train, kill and go on, judge, refuse what does not belong together.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{Place, command, fails, json, ok};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The arguments of a training into `folder`, its state saved after every chunk.
fn train<'a>(place: &'a Place, folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
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
    // what is said again replaces what is fixed
    let kept = fixed.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten().copied();
    kept.chain(more.iter().copied()).collect()
}

#[test]
fn a_killed_training_goes_on_to_the_same_dictionary() {
    let place = Place::new(300);
    let [whole, cut] = ["whole", "cut"].map(|name| place.path(name));
    let card = json(&train(&place, &whole, &[]));
    let judged = &card["judged"];
    assert!(judged["l0"].as_f64().unwrap() <= 4.0 && judged["l0"].as_f64().unwrap() > 3.0, "{judged}");
    let explained = judged["explained_variance"].as_f64().unwrap();
    assert!(explained > 0.5 && explained < 1.0, "{judged}");
    let loss = |key: &str| judged[key].as_f64().unwrap();
    assert!(
        (loss("loss_spliced") - loss("loss")).abs() < (loss("loss_zero") - loss("loss")).abs() + 1e-9,
        "{judged}"
    );

    let mut child =
        command(&train(&place, &cut, &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (state, begun) = (Path::new(&cut).join("training.safetensors"), Instant::now());
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no state was saved");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ok(&train(&place, &cut, &[]));
    for file in ["training.safetensors", "sae_weights.safetensors", "cfg.json"] {
        let read = |folder: &str| std::fs::read(Path::new(folder).join(file)).unwrap();
        assert!(read(&whole) == read(&cut), "{file} differs");
    }

    // the same command again only judges; other settings are not mixed in
    ok(&train(&place, &whole, &[]));
    fails(&train(&place, &whole, &["--seed", "5"]), "holds another training");

    let of = ["--model", &place.model, "--corpus", &place.corpus, "--tokens", "30000", "--window", "16"];
    let again = json(&[&["dict", "eval", &whole, "--site", "resid_post.0"], &of[..]].concat());
    let close = |key: &str| (again[key].as_f64().unwrap() - judged[key].as_f64().unwrap()).abs() < 1e-6;
    assert!(close("explained_variance") && close("loss_spliced") && close("l0"), "{again} {judged}");
    fails(&[&["dict", "eval", &whole, "--site", "mlp_act.0"], &of[..]].concat(), "another site or model");
    fails(&[&["dict", "eval", &place.path("none"), "--site", "resid_post.0"], &of[..]].concat(), "cfg.json");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let place = Place::new(20);
    let folder = place.path("d");
    fails(&train(&place, &folder, &["--k", "65"]), "k");
    fails(&train(&place, &folder, &["--site", "resid_post.99"]), "resid_post.99");
    fails(&train(&place, &folder, &["--site", "attn_probs.0"]), "attn_probs.0");
    fails(&train(&place, &folder, &["--batch", "1000000"]), "--batch");
}
