//! The program on the tiny reference models: every command, its JSON, and what it does with bad input.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn tiny(name: &str) -> String {
    fixtures().join("tiny").join(name).display().to_string()
}

fn pellucid(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pellucid")).args(arguments).output().expect("the program starts")
}

/// What a command that must succeed prints.
fn ok(arguments: &[&str]) -> String {
    let output = pellucid(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The `result` of a command under `--json`.
fn json(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let mut object: Value = serde_json::from_str(&ok(&all)).expect("one JSON object");
    assert_eq!(object["pellucid"], env!("CARGO_PKG_VERSION"));
    assert_eq!(object["command"], arguments[0]);
    assert_eq!(object["model"]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(object["model"]["tokenizer_hash"].as_str().map(str::len), Some(64));
    object["result"].take()
}

/// A command that must fail, naming the problem, without a panic.
fn fails(arguments: &[&str], naming: &str) {
    let output = pellucid(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    assert!(stderr.contains("error: "), "{arguments:?}: {stderr}");
    assert!(stderr.contains(naming), "{arguments:?} should name {naming:?}: {stderr}");
}

fn every_fixture() -> Vec<String> {
    let entries = std::fs::read_dir(fixtures().join("tiny")).expect("fixtures/tiny");
    let mut all: Vec<String> = entries
        .map(|entry| {
            let path = entry.expect("entry").path();
            let gguf = path.join("model.gguf");
            if gguf.exists() { gguf } else { path }.display().to_string()
        })
        .collect();
    all.sort();
    assert!(all.len() > 30, "fixtures are missing");
    all
}

#[test]
fn info_says_what_the_file_holds() {
    for model in [tiny("llama"), tiny("gemma3-gguf/model.gguf")] {
        let result = json(&["info", &model]);
        assert!(result["layers"].as_u64().unwrap() > 0);
        assert_eq!(result["bytes_f32"].as_u64(), result["parameters"].as_u64().map(|n| n * 4));
        assert!(ok(&["info", &model]).contains("sha256"));
    }
}

#[test]
fn points_are_named_and_missing_ones_explained() {
    let text = ok(&["points", &tiny("llama")]);
    assert!(text.contains("mlp_act.L") && text.contains("blocks.L.mlp.hook_post"), "{text}");
    assert!(text.contains("not in this model: q_norm_in"), "{text}");
    let result = json(&["points", &tiny("gemma3-gguf/model.gguf")]);
    assert!(
        result["points"].as_array().unwrap().iter().all(|p| p["shape"].is_null() != p["missing"].is_null())
    );
}

#[test]
fn every_fixture_passes_its_check() {
    let mut failures = Vec::new();
    for model in every_fixture() {
        let output = pellucid(&["check", &model]);
        if !output.status.success() {
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let wrong: Vec<&str> = out.lines().filter(|l| l.contains('✗')).collect();
            failures.push(format!("{model}: {} {err}", wrong.join("; ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn next_tokens_are_probabilities_and_repeatable() {
    let arguments = ["run", "the cat", "--model", &tiny("llama"), "--top", "7"];
    let result = json(&arguments);
    let next = result["plain"]["next"].as_array().unwrap().clone();
    assert_eq!(next.len(), 7);
    let p: Vec<f64> = next.iter().map(|t| t["probability"].as_f64().unwrap()).collect();
    assert!(p.windows(2).all(|w| w[0] >= w[1]) && p.iter().sum::<f64>() <= 1.0);
    assert_eq!(json(&arguments), result);
    assert!(result["edited"].is_null());
}

#[test]
fn edits_change_the_run_and_an_empty_list_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (none, saved) = (folder.path().join("none.json"), folder.path().join("saved.json"));
    std::fs::write(&none, "[]").unwrap();
    for model in [tiny("llama"), tiny("gemma3-gguf/model.gguf")] {
        let base = ["run", "the cat", "--model", &model];
        let with = |more: &[&str]| json(&[&base[..], more].concat());
        let idle = with(&["--edit", none.to_str().unwrap()]);
        assert_eq!(idle["plain"], idle["edited"]);
        let file = saved.to_str().unwrap();
        let changed = with(&["--edit", "blocks.0.mlp.hook_post=0", "--save-edits", file]);
        assert_ne!(changed["plain"], changed["edited"]);
        assert_eq!(changed["plain"], idle["plain"]);
        let again = with(&["--edit", file]);
        assert_eq!(again["edited"], changed["edited"], "a saved list does the same");
        let text = with(&["--edit", "mlp_act.0=0", "--generate", "5", "--temperature", "1", "--seed", "3"]);
        assert_eq!(text["plain"]["generation"]["tokens"].as_array().unwrap().len(), 5);
        assert_eq!(text["sampling"]["seed"], 3);
    }
}

#[test]
fn watched_values_are_shown_and_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (npy, safetensors) = (folder.path().join("x.npy"), folder.path().join("x.safetensors"));
    let model = tiny("llama");
    let run = ["run", "the cat", "--model", &model];
    let result =
        json(&[&run[..], &["--watch", "mlp_act.1,z.0/h2,attn_probs.1,mlp_act.1/3,lm_head"]].concat());
    let watch = result["plain"]["watch"].as_array().unwrap();
    let tokens = result["prompt"].as_array().unwrap().len();
    assert!(watch.len() == 5 && watch.iter().all(|w| w["tokens"].as_array().unwrap().len() == tokens));
    ok(&[&run[..], &["--watch", "resid_post.0,attn_probs.1", "--save", safetensors.to_str().unwrap()]]
        .concat());
    let bytes = std::fs::read(&safetensors).unwrap();
    let saved = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(saved.tensor("resid_post.0").unwrap().shape(), [tokens, 32]);
    ok(&[&run[..], &["--watch", "resid_post.0", "--save", npy.to_str().unwrap()]].concat());
    let bytes = std::fs::read(&npy).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(header % 64, 0);
    assert_eq!(&bytes[header..], saved.tensor("resid_post.0").unwrap().data());
}

#[test]
fn a_text_is_scored_token_by_token() {
    let score =
        json(&["run", "the", "--model", &tiny("llama"), "--score", " cat sat"])["plain"]["score"].take();
    let tokens = score["tokens"].as_array().unwrap();
    let sum: f64 = tokens.iter().map(|t| t["log_prob"].as_f64().unwrap()).sum();
    assert!(!tokens.is_empty() && (sum - score["log_prob"].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
fn attribution_is_complete_ranked_and_verified() {
    let model = tiny("llama");
    let run = ["attribute", "the cat sat", "--model", &model];
    let units = json(&[&run[..], &["--verify", "6", "--top", "9"]].concat());
    assert_eq!(units["effects"].as_array().unwrap().len(), 9);
    let sizes: Vec<f64> =
        units["effects"].as_array().unwrap().iter().map(|e| e["effect"].as_f64().unwrap().abs()).collect();
    assert!(sizes.windows(2).all(|w| w[0] >= w[1]));
    for group in ["top", "random"] {
        assert_eq!(units["verify"][group]["units"].as_array().unwrap().len(), 6);
    }
    // relevance is neither made nor lost on the way to the tokens
    let tokens = json(&[&run[..], &["--by", "token", "--method", "relp"]].concat());
    let promise = &tokens["completeness"][0];
    let (sum, expected) = (promise["sum"].as_f64().unwrap(), promise["expected"].as_f64().unwrap());
    assert!((sum - expected).abs() < 1e-3 * expected.abs(), "{sum} {expected}");
    for more in
        [&["--by", "head", "--verify", "4"][..], &["--by", "layer"], &["--method", "ig", "--steps", "4"]]
    {
        assert!(!json(&[&run[..], more].concat())["effects"].as_array().unwrap().is_empty());
        ok(&[&run[..], more].concat());
    }
}

#[test]
fn the_lens_ends_in_the_model_s_own_answer() {
    let model = tiny("gemma3-gguf/model.gguf");
    let result = json(&["lens", "the cat", "--model", &model, "--sub-blocks"]);
    let last = result["rows"].as_array().unwrap().last().unwrap().clone();
    assert!(last["kl"].as_f64().unwrap().abs() < 1e-4);
    let next = json(&["run", "the cat", "--model", &model])["plain"]["next"][0].clone();
    assert_eq!(last["top"][0]["id"], next["id"]);
    assert!(!result["watched"][0]["wins_at"].is_null());
    ok(&["lens", "the cat", "--model", &model]);
}

#[test]
fn bad_input_is_named_and_never_a_panic() {
    let llama = tiny("llama");
    let run =
        |more: &[&str], naming: &str| fails(&[&["run", "the cat", "--model", &llama], more].concat(), naming);
    run(&["--edit", "mlp_akt.0=0"], "mlp_akt");
    run(&["--edit", "mlp_act.99=0"], "mlp_act.99");
    run(&["--edit", "mlp_act.0/48=0"], "48");
    run(&["--edit", "mlp_act.0"], "is not an edit");
    run(&["--edit", "missing.json"], "missing.json");
    run(&["--edit", "mlp_act.0=0@user"], "no chat");
    run(&["--edit", "mlp_act.0=0@-99"], "-99");
    run(&["--watch", "q_norm_in.0"], "q_norm_in.0");
    run(&["--watch", "mlp_act.0/999"], "999");
    run(&["--watch", "mlp_act.0", "--save", "x.txt"], "x.txt");
    run(&["--temperature", "-1", "--generate", "2"], "temperature");
    run(&["--chat"], "chat template");
    let long = "cat ".repeat(400);
    fails(&["run", &long, "--model", &llama], "context");
    fails(&["run", &long, "--model", &llama, "--generate", "3"], "context");
    fails(&["run", "", "--model", &tiny("llama-gguf/model.gguf"), "--system", "x"], "--chat");
    fails(&["attribute", "the", "--model", &llama, "--target", "antidisestablishment"], "not one");
    fails(&["attribute", "the", "--model", &llama, "--position", "99"], "99");
    fails(&["lens", "the", "--model", &llama, "--watch-token", "antidisestablishment"], "not one");
    fails(&["info", "no-such-model"], "no-such-model");
    fails(&["points", "/nowhere/model.gguf"], "/nowhere/model.gguf");
}

#[test]
fn damaged_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(tiny("gemma3-gguf/model.gguf")).unwrap();
    let path = folder.path().join("cut.gguf");
    for length in [0, 3, 20, 4000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        fails(&["info", path.to_str().unwrap()], "cut.gguf");
    }
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(Path::new(&tiny("llama")).join(file), other.join(file)).unwrap();
    }
    let config = std::fs::read_to_string(Path::new(&tiny("llama")).join("config.json")).unwrap();
    std::fs::write(other.join("config.json"), config.replace("\"llama\"", "\"perceptron\"")).unwrap();
    fails(&["info", other.to_str().unwrap()], "perceptron");
}
