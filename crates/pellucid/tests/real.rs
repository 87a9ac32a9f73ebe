//! The program on real models: what it must show of them. They are fetched once with
//! `pellucid fetch smollm2 gemma3-270m`; these tests never use the network.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

use serde_json::Value;
use std::process::Command;

const MODELS: [&str; 2] = ["smollm2", "gemma3-270m"];

/// Fails with what to do if a model is not in the cache.
fn need_models() {
    for name in MODELS {
        let model = pellucid::model::load::named::find(name).expect("a named model");
        let path = pellucid::model::load::cache_dir().join("models").join(name).join(model.file);
        assert!(path.exists(), "{name} is not in the cache; run `pellucid fetch {}`", MODELS.join(" "));
    }
}

fn pellucid(arguments: &[&str]) -> String {
    need_models();
    let output =
        Command::new(env!("CARGO_BIN_EXE_pellucid")).args(arguments).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
    stdout
}

fn json(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let mut object: Value = serde_json::from_str(&pellucid(&all)).expect("one JSON object");
    object["result"].take()
}

#[test]
fn smollm2_knows_the_capital_of_poland() {
    let answer = pellucid(&["run", "--model", "smollm2", "--chat", "What is the capital of Poland?"]);
    assert!(answer.contains("Warsaw"), "{answer}");
}

#[test]
fn the_lens_shows_where_warsaw_wins_in_gemma() {
    let prompt = "The capital of France is Paris. The capital of Italy is Rome. The capital of Poland is";
    let result = json(&["lens", "--model", "gemma3-270m", prompt, "--watch-token", " Warsaw"]);
    let site = result["watched"][0]["wins_at"].as_str().expect("Warsaw wins");
    assert!(site.starts_with("resid_post."), "{site}");
}

#[test]
fn both_models_pass_their_check() {
    for name in MODELS {
        let result = json(&["check", name]);
        assert_eq!(result["holds"], true, "{result:#}");
    }
}

#[test]
fn both_models_equal_their_references() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");
    let report = json(&["docs", "parity", "--real-only", "--fixtures", fixtures]);
    let real = report["real"].as_array().expect("a list");
    assert_eq!(real.len(), MODELS.len());
    for model in real {
        let worst = model["worst"].as_f64().expect("a number");
        println!("{}: {worst:.1e} at {}", model["model"], model["worst_at"]);
        assert!(worst <= 1e-4, "{model:#}");
    }
}

#[test]
fn neurons_that_say_warsaw_can_be_found_and_checked() {
    let prompt = "The capital of France is Paris. The capital of Poland is";
    let arguments = ["attribute", prompt, "--model", "gemma3-270m", "--target", " Warsaw", "--verify", "50"];
    let result = json(&arguments);
    assert!(result["metric"]["probability"].as_f64().expect("a number") > 0.3);
    let ranks = &result["verify"]["top"]["rank_correlation_zero"];
    assert!(
        ranks["low"].as_f64().expect("a number") > 0.0,
        "the 95% interval must exclude no relation: {ranks}"
    );
}

#[test]
fn a_model_in_this_process_describes_and_judges() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/tiny/llama");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (corpus, atlas) = (path("corpus.txt"), path("a.atlas"));
    let months = ["January", "March", "May", "July"];
    let line =
        |i: usize| format!("On {} {} the cat sat on the mat at home.\n", months[i % 4], 1 + i * 7 % 28);
    // one document a file line is too little: a hundred short files
    let corpus = std::path::Path::new(&corpus).with_extension("jsonl");
    let lines: Vec<String> = (0..100)
        .map(|d| serde_json::json!({"text": (0..5).map(|i| line(d + i)).collect::<String>()}).to_string())
        .collect();
    std::fs::write(&corpus, lines.join("\n")).unwrap();
    let corpus = corpus.display().to_string();
    let of = ["--model", tiny, "--atlas", &atlas, "--no-embed"];
    pellucid(
        &[&["atlas", "build", "--corpus", &corpus, "--tokens", "all", "--window", "24"], &of[..]].concat(),
    );
    let llm = ["--llm", "local:smollm2", "--examples", "1", "--units", "mlp_act.1/3+"];
    let described = json(
        &[&["atlas", "describe", "--explainer", "llm", "--candidates", "1"], &llm[..], &of[..]].concat(),
    );
    let done = &described["llm"];
    // what so small a model writes may be unusable; that it was asked, and that nothing failed, must hold
    assert_eq!((&done["sides"], &done["failed"]), (&1.into(), &0.into()), "{described}");
    assert!(done["spent"]["answered"].as_u64().unwrap() >= 1, "{described}");
    let all = ["found", "kept", "without"].map(|n| done[n].as_u64().unwrap()).iter().sum::<u64>();
    assert!(all >= 1, "{described}");
    let scored = json(&[&["atlas", "score", "--by", "detect,fuzz"], &llm[..], &of[..]].concat());
    let counted = ["scores", "unjudged"].map(|n| scored[n].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(counted + 2 * scored["undescribed"].as_u64().unwrap(), 2, "{scored}");
}

#[test]
fn smollm2_agrees_in_number() {
    let result = json(&["behaviour", "agreement", "--model", "smollm2", "--items", "32"]);
    assert_eq!(result["gate"]["shown"], true, "{result}");
    assert!(result["gate"]["accuracy"]["low"].as_f64().expect("a number") > 0.75, "{result}");
}

/// SmolLM2 declines next to nothing, so nothing about its refusals is drawn.
#[test]
fn smollm2_does_not_refuse_and_methods_stop_there() {
    let of = ["behaviour", "refusal", "--model", "smollm2", "--items", "32", "--json"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pellucid")).args(of).output().expect("ran");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &result["result"]["gate"]["shown"]),
        (Some(1), &false.into()),
        "{result}"
    );
    let of = ["ablate", "refusal", "--model", "smollm2", "--items", "32"];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_pellucid")).args(of).output().expect("ran");
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("does not show refusal")
    );
}

#[test]
fn a_direction_of_number_turns_smollm2_and_a_random_one_does_not() {
    let of = ["direction", "number", "--model", "smollm2", "--items", "48", "--layer", "20"];
    let result = json(&of);
    let outcome = |kind: &str, random: bool| -> f64 {
        let all = result["tested"]["outcomes"].as_array().expect("a list");
        let found = all.iter().find(|o| o["kind"] == kind && o["random"] == random).expect("an outcome");
        found["accuracy"]["value"].as_f64().expect("a number")
    };
    assert!(outcome("add", false) < 0.2 && outcome("affine", false) < 0.9, "{}", result["tested"]);
    assert!(outcome("add", true) > 0.8 && outcome("affine", true) > 0.8, "{}", result["tested"]);
}

#[test]
fn a_circuit_keeps_what_random_edges_lose() {
    let result = json(&["circuit", "number", "--model", "smollm2", "--items", "12", "--steps", "2"]);
    assert_eq!(result["edges"], 123_211, "{}", result["edges"]);
    let points = result["skeleton"]["points"].as_array().expect("a list");
    let kept =
        |point: &serde_json::Value, what: &str| point[what]["faithfulness"].as_f64().expect("a number");
    // a fiftieth of the edges
    let point = &points[4];
    assert!(kept(point, "circuit") > 0.5 && kept(point, "random") < 0.1, "{point}");
}

/// A lens fitted on paragraphs of this repository's pages is nearer to what SmolLM2 says in the end, on other paragraphs.
#[test]
fn a_fitted_lens_is_nearer_on_other_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, corpus) = (path("lens"), path("corpus.jsonl"));
    let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).expect("docs");
    let mut pages: Vec<_> = pages.map(|p| p.expect("a page").path()).collect();
    pages.sort();
    let texts: Vec<String> = pages
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .flat_map(|p| {
            std::fs::read_to_string(p).unwrap().split("\n\n").map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|t| t.len() > 200)
        .collect();
    let lines: Vec<String> = texts.iter().map(|t| serde_json::json!({"text": t}).to_string()).collect();
    std::fs::write(&corpus, lines.join("\n")).unwrap();
    let text = ["--corpus", &corpus, "--tokens", "6000", "--window", "64", "--test-windows", "4"];
    let result =
        json(&[&["lens", "--fit", &file, "--model", "smollm2", "--ridge", "0.1"], &text[..]].concat());
    for layer in result["judged"].as_array().expect("a list") {
        let kl = |name: &str| layer[name]["value"].as_f64().expect("a number");
        assert!(kl("fitted_kl") < kl("logit_kl"), "{layer}");
    }
}

#[test]
fn number_goes_from_the_subject_to_the_end_in_smollm2() {
    let trace = ["trace", "agreement", "--model", "smollm2", "--items", "6"];
    let result = json(&trace);
    let cells = result["grids"][0]["cells"].as_array().expect("a list");
    let recovered = |site: &str, position: u64| {
        let cell = cells.iter().find(|c| c["site"] == site && c["position"] == position);
        cell.expect("a cell")["recovered"]["value"].as_f64().expect("a number")
    };
    let last = result["positions"].as_array().expect("a list").len() as u64 - 1;
    assert!(recovered("resid_pre.5", 1) > 0.8 && recovered("resid_pre.29", last) > 0.8, "{result:#}");
    let strangers = cells.iter().map(|c| c["control"]["value"].as_f64().expect("a number"));
    assert!(strangers.fold(0f64, |m, v| m.max(v.abs())) < 0.3, "{result:#}");
}

#[test]
fn capitals_win_at_layer_twelve_of_gemma() {
    let result = json(&["lens", "--behaviour", "capitals", "--model", "gemma3-270m", "--items", "16"]);
    let depths = result[0]["depths"].as_array().expect("a list");
    let first = depths.iter().find(|d| d["top"]["value"].as_f64().expect("a number") > 0.5);
    assert_eq!(first.expect("a layer")["site"], "resid_post.12");
}
