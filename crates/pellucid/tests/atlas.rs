//! Atlases of a tiny model, end to end: build, describe, show, join, kill and go on.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{Place, command, fails, json, ok, run, tiny};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

#[test]
fn a_corpus_becomes_an_atlas_that_says_what_it_holds() {
    let place = Place::new(40);
    let atlas = place.path("a.atlas");
    let report = json(&place.build(&atlas, &[]));
    let units = report["built"]["units"].as_u64().unwrap();
    assert!(units > 0);
    assert_eq!(report["described"]["units"], 2 * units);
    let sides = report["described"]["with_words"].as_u64().unwrap()
        + report["described"]["without"].as_u64().unwrap();
    assert_eq!(sides, 2 * units);
    assert!(
        !PathBuf::from(format!("{atlas}.sweep")).exists(),
        "the sweep's state goes when the atlas is whole"
    );

    let of = ["--model", place.model.as_str(), "--atlas", atlas.as_str()];
    let stats = json(&[&["atlas", "stats"], &of[..]].concat());
    assert_eq!(stats["units"], units);
    let shown = json(&[&["atlas", "show", "mlp_act.1/3"], &of[..]].concat());
    let sides = shown.as_array().unwrap();
    assert_eq!(sides.len(), 2);
    for side in sides {
        let words = &side["descriptions"][0];
        assert!(words["text"].is_string() != words["reason"].is_string(), "words or a reason: {words}");
        assert!(!side["examples"].as_array().unwrap().is_empty());
    }
    assert!(ok(&[&["atlas", "show", "mlp_act.1/3-"], &of[..]].concat()).contains("- side"));

    // the same command again finds its work done; another corpus is not mixed in
    assert_eq!(json(&place.build(&atlas, &[]))["built"]["found"], true);
    fails(&place.build(&atlas, &["--seed", "7"]), "made otherwise");
    // an exact atlas serves whoever asks for a fast one
    let exact = place.path("exact.atlas");
    ok(&place.build(&exact, &["--precision", "exact", "--no-describe"]));
    assert_eq!(json(&place.build(&exact, &["--precision", "fast", "--no-describe"]))["built"]["found"], true);
    let other = tiny("gpt2");
    fails(&["atlas", "stats", "--model", &other, "--atlas", &atlas], "another model");
    fails(&[&["atlas", "show", "mlp_act.0/999999"], &of[..]].concat(), "does not exist");
}

#[test]
fn four_slices_joined_are_one_sweep() {
    let place = Place::new(60);
    let whole = place.path("whole.atlas");
    ok(&place.build(&whole, &["--no-describe"]));
    let parts: Vec<String> = (1..=4)
        .map(|k| {
            let (atlas, slice) = (place.path(&format!("{k}.atlas")), format!("{k}/4"));
            ok(&place.build(&atlas, &["--slice", &slice]));
            format!("{atlas}.sweep")
        })
        .collect();
    let joined = place.path("joined.atlas");
    let of = ["--model", place.model.as_str(), "--atlas", joined.as_str()];
    // in another order than they were swept in
    let order = [&parts[2], &parts[0], &parts[3], &parts[1]].map(String::as_str);
    ok(&[&["atlas", "merge"], &order[..], &of[..]].concat());
    assert_eq!(place.content(&joined, "joined.jsonl"), place.content(&whole, "whole.jsonl"));

    let twice = place.path("twice.atlas");
    let of = ["--model", place.model.as_str(), "--atlas", twice.as_str()];
    fails(&[&["atlas", "merge"], &[order[0], order[0]][..], &of[..]].concat(), "overlap");
}

#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_rows() {
    let place = Place::new(150);
    let calm = place.path("calm.atlas");
    ok(&place.build(&calm, &[]));
    let atlas = place.path("killed.atlas");
    let mut killed = 0;
    for i in 0..10u64 {
        let mut child =
            command(&place.build(&atlas, &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 + 70 * i));
        killed += usize::from(child.try_wait().unwrap().is_none());
        // a child that is done cannot be killed any more
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed >= 3, "only {killed} of ten were still at work");
    ok(&place.build(&atlas, &[]));
    assert_eq!(place.content(&atlas, "killed.jsonl"), place.content(&calm, "calm.jsonl"));
    let stats = |atlas: &str| {
        let mut stats = json(&["atlas", "stats", "--model", &place.model, "--atlas", atlas]);
        stats.as_object_mut().unwrap().remove("bytes");
        stats
    };
    assert_eq!(stats(&atlas), stats(&calm));
}

#[test]
fn what_cannot_be_swept_is_said() {
    let place = Place::new(1);
    let atlas = place.path("a.atlas");
    let empty = place.path("empty.txt");
    std::fs::write(&empty, "").unwrap();
    let with = |corpus: &str| {
        run(&["atlas", "build", "--model", &place.model, "--corpus", corpus, "--atlas", &atlas, "--no-embed"])
    };
    let said = |output: Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(with(&empty)).contains("nothing to count"));
    assert!(said(with(&place.path("none.txt"))).contains("none.txt"));
    assert!(!Path::new(&atlas).exists(), "nothing is left behind");

    // one token is little, and enough
    let short = place.path("short.txt");
    std::fs::write(&short, "a").unwrap();
    assert!(with(&short).status.success());

    let of = ["--model", place.model.as_str(), "--atlas", short.as_str()];
    fails(&[&["atlas", "stats"], &of[..]].concat(), "atlas");
    let missing = place.path("missing.atlas");
    fails(&["find", "months", "--model", &place.model, "--atlas", &missing], "atlas build");
}
