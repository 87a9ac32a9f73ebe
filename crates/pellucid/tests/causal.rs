//! Lenses, patchscopes, tracing and knockout from the command line, on the tiny reference models.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{fails, ok, tiny};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

fn result(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let mut object: Value = serde_json::from_str(&ok(&all)).expect("one JSON object");
    assert_eq!(object["command"], arguments[0]);
    assert_eq!(object["model"]["sha256"].as_str().map(str::len), Some(64));
    object["result"].take()
}

fn letter(j: usize) -> String {
    char::from(b'a' + (j % 20) as u8).to_string()
}

/// Log-probabilities of single letters after a prompt.
fn letters_after(prompt: &str, model: &str) -> BTreeMap<String, f64> {
    let next = result(&["run", prompt, "--model", model, "--top", "5000"])["plain"]["next"].take();
    let all = next.as_array().unwrap().iter();
    let pair = |t: &Value| (t["text"].as_str().unwrap().to_owned(), t["log_prob"].as_f64().unwrap());
    all.map(pair).filter(|(t, _)| (0..20).any(|j| *t == letter(j))).collect()
}

/// Items whose answers are the letters that the counterfactual moves most: what a random model can be said to "know".
fn behaviour(folder: &Path, model: &str) -> String {
    let line = |i: usize| {
        let (clean, other) = (format!("the {} cat", letter(i)), format!("the {} cat", letter(i + 7)));
        let (a, b) = (letters_after(&clean, model), letters_after(&other, model));
        let moved = |t: &String| a[t] - b[t];
        let right = a.keys().max_by(|s, t| moved(s).total_cmp(&moved(t))).unwrap();
        let wrong = a.keys().min_by(|s, t| moved(s).total_cmp(&moved(t))).unwrap();
        json!({"prompt": clean, "counterfactual": other, "right": [right], "wrong": [wrong]}).to_string()
    };
    let path = folder.join("letters.jsonl");
    std::fs::write(&path, (0..4).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.display().to_string()
}

#[test]
fn a_behaviour_is_traced_patched_along_paths_and_knocked_out() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("llama"));
    let items = behaviour(folder.path(), &model);
    let of = [items.as_str(), "--model", &model, "--anyway"];
    let trace = |more: &[&str]| result(&[&["trace"], &of[..], more].concat());
    let found = trace(&["--at", "resid_pre,attn_out_post,z", "--window", "1"]);
    let grids = found["grids"].as_array().unwrap();
    assert_eq!(grids.len(), 3);
    let first = &grids[0]["cells"][0];
    assert_eq!(first["site"], "resid_pre.0");
    // the one token that differs, restored before the first block, is the clean run
    assert!((first["recovered"]["value"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{first}");
    assert!(first["control"]["value"].is_number());
    assert!(grids[2]["cells"][1]["head"] == 1 && grids[2]["cells"][1]["position"].is_null());
    let noising = trace(&["--direction", "noise", "--position", "-1"]);
    let cells = noising["grids"][0]["cells"].as_array().unwrap();
    assert!(cells[0]["recovered"]["value"].as_f64().unwrap() > 0.999, "{}", cells[0]);
    let paths = trace(&["--to", "logits"]);
    assert_eq!(paths["receivers"], json!(["logits"]));
    assert!(!paths["paths"].as_array().unwrap().is_empty());
    let one = trace(&["--to", "z.1/h0:v", "--to", "z.1/h1:q", "--from", "z.0/h1", "--through-mlps"]);
    assert_eq!(one["paths"].as_array().unwrap().len(), 1);
    ok(&[&["trace"], &of[..], &["--at", "z"]].concat());
    ok(&[&["trace"], &of[..], &["--to", "logits"]].concat());

    let cut = result(&[&["knockout"], &of[..], &["--window", "2"]].concat());
    assert!(cut["cut"].as_array().unwrap().iter().all(|c| c["change"]["value"].is_number()));
    ok(&[&["knockout"], &of[..], &["--window", "1"]].concat());

    let bad = |more: &[&str], naming: &str| fails(&[&["trace"], &of[..], more].concat(), naming);
    bad(&["--at", "lm_head"], "lm_head");
    bad(&["--window", "99"], "99");
    bad(&["--position", "99"], "99");
    bad(&["--to", "z.1/h0"], "receiver");
    bad(&["--to", "z.1/h99:q"], "h99");
    bad(&["--to", "logits", "--from", "resid_pre.0"], "resid_pre.0");
    bad(&["--corrupt", "noise", "--sigma", "-1"], "sigma");
    bad(&["--corrupt", "noise", "--samples", "0"], "samples");
    fails(&[&["knockout"], &of[..], &["--query", "0"]].concat(), "position 0");
    // the gate stands before everything: this file's answers are the other way round
    let turned = folder.path().join("turned.jsonl");
    let lines: Vec<String> = std::fs::read_to_string(&items)
        .unwrap()
        .lines()
        .map(|l| {
            let mut item: Value = serde_json::from_str(l).unwrap();
            item["prompt"] = json!("the");
            (item["right"], item["wrong"]) = (item["wrong"].take(), item["right"].take());
            item.to_string()
        })
        .collect();
    std::fs::write(&turned, lines.join("\n")).unwrap();
    fails(&["trace", turned.to_str().unwrap(), "--model", &model], "does not show");
}

#[test]
fn a_lens_is_fitted_kept_and_read_through() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("llama"));
    let corpus = folder.path().join("corpus.jsonl");
    let text = |d: usize| -> String {
        (0..6)
            .map(|i| format!("the {} cat sat on the {} mat. ", letter(d + 3 * i), letter(d * i + 1)))
            .collect()
    };
    let lines: Vec<String> = (0..120).map(|d| json!({"text": text(d)}).to_string()).collect();
    std::fs::write(&corpus, lines.join("\n")).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (tuned, jacobian, early) = (path("tuned"), path("jacobian"), path("early"));
    let corpus = corpus.display().to_string();
    let fit = ["--model", &model, "--corpus", &corpus, "--window", "32"];
    let made = result(&[&["lens", "--fit", &tuned], &fit[..]].concat());
    assert_eq!(made["card"]["kind"], "tuned");
    let judged = made["judged"].as_array().unwrap();
    assert!(
        judged.iter().all(|j| j["fitted_kl"]["value"].as_f64() < j["logit_kl"]["value"].as_f64()),
        "{made}"
    );
    let made = result(&[&["lens", "--fit", &jacobian, "--kind", "jacobian"], &fit[..]].concat());
    assert!(made["card"]["ridge"].is_null());
    let made = result(&[&["lens", "--fit", &early, "--to", "resid_post.0"], &fit[..]].concat());
    assert!(made["judged"].as_array().unwrap().is_empty());

    let read = ["lens", "the cat", "--model", &model];
    for file in [&tuned, &jacobian] {
        let both = result(&[&read[..], &["--through", file, "--versus", "the a cat"]].concat());
        let rows = both["fitted"]["rows"].as_array().unwrap();
        assert_eq!(rows.last().unwrap()["site"], both["rows"].as_array().unwrap().last().unwrap()["site"]);
        assert_eq!(rows.last().unwrap()["kl"], both["rows"].as_array().unwrap().last().unwrap()["kl"]);
        assert!(both["versus"]["rows"][1]["js"].as_f64().unwrap() >= 0.0);
        ok(&[&read[..], &["--through", file, "--versus", "the a cat"]].concat());
    }
    let items = behaviour(folder.path(), &model);
    let wins = ["lens", "--behaviour", &items, "--anyway", "--model", &model];
    assert_eq!(result(&[&wins[..], &["--also", &tiny("mistral")]].concat()).as_array().unwrap().len(), 2);
    ok(&[&wins[..], &["--through", &tuned]].concat());

    let ladder = result(&[
        "patchscope",
        "ladder",
        "the cat",
        "--model",
        &model,
        "--through",
        &tuned,
        "--back-by",
        "1",
    ]);
    let rungs = ladder["rungs"].as_array().unwrap();
    assert!(
        rungs[0]["back"].is_null() && rungs[1]["back"]["rank"].is_number() && rungs[0]["fitted"].is_object()
    );
    ok(&["patchscope", "ladder", "the cat", "--model", &model]);
    let into = result(&[
        "patchscope",
        "read",
        "the cat",
        "--model",
        &model,
        "--map",
        &early,
        "--target",
        "the {} cat",
    ]);
    assert!(into["readings"].as_array().unwrap().iter().all(|r| r["target"] == "resid_post.0"));

    fails(&["lens", "the", "--model", &model, "--through", &early], "resid_post.0");
    fails(&["lens", "the", "--model", &tiny("gemma3"), "--through", &tuned], "was made for");
    fails(&["lens", "the", "--model", &model, "--through", &corpus], "is no lens");
    fails(&["lens", "--model", &model], "no prompt");
    fails(&["lens", "the cat", "--model", &model, "--position", "0", "--versus", "t"], "other text");
    fails(&[&["lens", "--fit", &tuned, "--to", "mlp_act.0"], &fit[..]].concat(), "mlp_act.0");
}

#[test]
fn values_are_read_by_other_texts() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("gemma3"));
    let read = ["patchscope", "read", "the cat", "--model", &model, "--generate", "3"];
    let readings = result(&read);
    assert_eq!(readings["readings"][0]["source"], "resid_pre.0");
    let one = result(
        &[&read[..], &["--from", "resid_post.0", "--into", "resid_pre.0", "--target", "identity"]].concat(),
    );
    assert_eq!(one["readings"].as_array().unwrap().len(), 1);
    ok(&read);
    let items = behaviour(folder.path(), &model);
    let of = [items.as_str(), "--model", &model, "--anyway"];
    let grid = ["--from", "subject", "--target", "the {} cat"];
    let asked = result(&[&["patchscope", "grid"], &of[..], &grid].concat());
    assert_eq!(asked["cells"][0]["right"], asked["plain"]);
    ok(&[&["patchscope", "grid"], &of[..], &grid].concat());
    let back = result(&[&["patchscope", "back"], &of[..], &["--every", "2"]].concat());
    assert_eq!(back["plain"], asked["plain"]);
    ok(&[&["patchscope", "back"], &of[..]].concat());
    fails(&[&read[..], &["--target", "{} {}"]].concat(), "more than one");
    fails(&[&read[..], &["--from", "mlp_act.0"]].concat(), "mlp_act.0");
    fails(&[&read[..], &["--target-position", "99"]].concat(), "99");
    fails(&[&read[..], &["--position", "99"]].concat(), "99");
}
