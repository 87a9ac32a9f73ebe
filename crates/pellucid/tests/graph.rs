//! `pellucid graph` from the command line, on the tiny reference models.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;

use place::{fails, ok, tiny};
use serde_json::Value;
use std::path::Path;

#[test]
fn a_graph_is_made_written_and_read() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("gemma3"));
    let file = folder.path().join("graph.json").display().to_string();
    let of = ["graph", "the cat sat", "--model", &model, "--neurons", "60", "--check", "4"];
    let all: Value = serde_json::from_str(&ok(&[&of[..], &["--out", &file, "--json"]].concat())).unwrap();
    let report = &all["result"];
    assert_eq!(all["command"], "graph");
    assert_eq!(report["neurons"], 60);
    assert_eq!(report["checks"].as_array().unwrap().len(), 4);
    // this model has no biases, so sources add up to everything
    assert!(report["shifts"].as_f64().unwrap() < 1e-3, "{}", report["shifts"]);
    let (nodes, links) = (report["nodes"].as_array().unwrap(), report["links"].as_array().unwrap());
    assert!(!links.is_empty());
    for link in links {
        let at = |end: &str| &nodes[link[end].as_u64().unwrap() as usize];
        assert!(at("target")["kind"] == "unit" || at("target")["kind"] == "logit", "{link}");
        assert!(link["held"].as_f64().unwrap() <= 1.0);
    }
    for check in report["checks"].as_array().unwrap() {
        let node = &nodes[check["node"].as_u64().unwrap() as usize];
        let unit = check["unit"]["unit"].as_str().unwrap();
        assert!(node["unit"].as_str().unwrap().starts_with(unit), "{node} {check}");
        assert_eq!(node["position"], check["unit"]["position"]);
        assert_eq!(node["predicted"], check["predicted"]);
        assert!(check["control"]["change"].is_number());
    }
    // the same run again says the same
    let again: Value = serde_json::from_str(&ok(&[&of[..], &["--json"]].concat())).unwrap();
    assert_eq!((&again["result"]["nodes"], &again["result"]["links"]), (&report["nodes"], &report["links"]));
    let read: Value = serde_json::from_str(&ok(&["graph", "--read", &file, "--json"])).unwrap();
    assert_eq!(read["result"]["nodes"].as_array().unwrap().len(), nodes.len());
    assert_eq!(
        read["result"]["metadata"]["prompt_tokens"].as_array().unwrap().len(),
        report["prompt"].as_array().unwrap().len()
    );
    for text in [ok(&of), ok(&["graph", "--read", &file])] {
        assert!(text.contains("embedding") || text.contains("replacement"), "{text}");
    }
    // one word against another: one logit, whatever its probability
    let contrast = [&of[..], &["--target", "a", "--foil", "b", "--json"]].concat();
    let contrast: Value = serde_json::from_str(&ok(&contrast)).unwrap();
    assert_eq!(contrast["result"]["outputs"].as_array().unwrap().len(), 1);
}

#[test]
fn what_makes_no_graph_is_said() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("llama"));
    let of = |more: &[&'static str]| {
        let mut all = vec!["graph", "the cat", "--model", &model];
        all.extend(more);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let bad = |more: &[&'static str], naming: &str| {
        let all = of(more);
        fails(&all.iter().map(String::as_str).collect::<Vec<_>>(), naming);
    };
    bad(&["--neurons", "99999"], "at most 2000");
    bad(&["--keep-nodes", "1.5"], "share");
    bad(&["--keep-edges", "-1"], "share");
    bad(&["--target", "a", "--foil", "a"], "same token");
    bad(&["--position", "99"], "99");
    bad(&["--out", "/nowhere/at/all.json"], "/nowhere/at/all.json");
    fails(&["graph", "--model", &model], "there is no prompt");
    let junk = folder.path().join("junk.json");
    std::fs::write(&junk, "{\"metadata\": 3}").unwrap();
    fails(&["graph", "--read", &junk.display().to_string()], "attribution graph");
    let without = of(&["--neurons", "0", "--check", "3"]);
    ok(&without.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Items that mean nothing: enough to calculate with, under `--anyway`.
fn items(folder: &Path) -> String {
    let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
    let line = |i: usize| {
        serde_json::json!({
            "prompt": format!("the {} cat x", letter(i)), "counterfactual": format!("the {} cat z", letter(i + 3)),
            "right": [letter(i)], "wrong": [letter(i + 1)],
        })
        .to_string()
    };
    let path = folder.join("items.jsonl");
    std::fs::write(&path, (0..4).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    path.display().to_string()
}

#[test]
fn circuits_are_pruned_by_cutting_and_made_of_neurons() {
    let (folder, model) = (tempfile::tempdir().unwrap(), tiny("llama"));
    let items = items(folder.path());
    let file = folder.path().join("circuit.json").display().to_string();
    let of = ["circuit", &items, "--model", &model, "--anyway", "--off-task", &items];
    // the off-task behaviour must be another
    fails(&of, "");
    let other = folder.path().join("other.jsonl");
    std::fs::write(&other, std::fs::read_to_string(&items).unwrap().replace(" x\"", " y\"")).unwrap();
    let other = other.display().to_string();
    let of = ["circuit", &items, "--model", &model, "--anyway", "--off-task", &other, "--method", "eap"];
    let run = |more: &[&str]| -> Value {
        serde_json::from_str(&ok(&[&of[..], more, &["--json"]].concat())).unwrap()
    };
    let all = run(&["--acdc", "0.0005", "--acdc-from", "60", "--save", &file]);
    let pruned = &all["result"]["pruned"];
    assert_eq!(pruned["begun_with"], 60);
    let left = pruned["edges"].as_array().unwrap().len();
    assert!(left < 60 && pruned["circuit"]["edges"] == left && pruned["random"]["edges"] == left, "{pruned}");
    assert_eq!(pruned["tested"].as_u64().unwrap() + pruned["unheard"].as_u64().unwrap(), 60);
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let inside = saved["edges"].as_object().unwrap().values().filter(|e| e["in_graph"] == true).count();
    assert_eq!(inside, left);
    // nothing falls where everything counts, and everything where nothing does
    let strict = run(&["--acdc", "-1e9", "--acdc-from", "20", "--acdc-by", "log-odds"]);
    let strict = &strict["result"]["pruned"];
    assert_eq!(
        strict["edges"].as_array().unwrap().len() as u64,
        strict["tested"].as_u64().unwrap(),
        "{strict}"
    );
    let lax = run(&["--acdc", "1e9", "--acdc-from", "20"]);
    assert_eq!(lax["result"]["pruned"]["edges"].as_array().unwrap().len(), 0);
    let activations = ["circuit", &items, "--model", &model, "--anyway", "--off-task", &other];
    ok(&[&activations[..], &["--method", "eap-ig-activations", "--steps", "2"]].concat());

    for method in ["eap", "eap-ig"] {
        let of = ["circuit", &items, "--model", &model, "--anyway", "--off-task", &other, "--method", method];
        let all: Value = serde_json::from_str(&ok(&[&of[..], &["--neurons", "--json"]].concat())).unwrap();
        let points = all["result"]["points"].as_array().unwrap();
        let end = &points.last().unwrap()["circuit"];
        assert_eq!(end["neurons"], all["result"]["neurons"]);
        assert!((end["faithfulness"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{end}");
        assert_eq!(all["result"]["foremost"].as_array().unwrap().len(), 20);
    }
    ok(&[&of[..], &["--neurons"]].concat());
    fails(&[&activations[..], &["--neurons", "--method", "exact"]].concat(), "eap or eap-ig");
    fails(&[&of[..], &["--acdc", "nan"]].concat(), "--acdc");
    fails(&[&of[..], &["--acdc", "0.1", "--acdc-from", "0"]].concat(), "at least one edge");
}

#[test]
fn ways_are_followed_back() {
    let model = tiny("gemma3");
    let of = ["flow", "the cat sat", "--model", &model, "--threshold", "0.02"];
    let all: Value = serde_json::from_str(&ok(&[&of[..], &["--json"]].concat())).unwrap();
    let report = &all["result"];
    assert_eq!(report["position"], report["prompt"].as_array().unwrap().len() - 1);
    let routes = report["routes"].as_array().unwrap();
    assert!(
        routes.iter().all(|r| r["share"].as_f64().unwrap() >= 0.02 && r["from"].as_u64() <= r["to"].as_u64())
    );
    assert!(routes.iter().any(|r| r["by"] == "mlp") && routes.iter().any(|r| r["by"]["head"].is_u64()));
    assert!(ok(&of).contains("ways to"));
    fails(&[&of[..4], &["--threshold", "0"]].concat(), "threshold");
    fails(&[&of[..4], &["--position", "99"]].concat(), "99");
}
