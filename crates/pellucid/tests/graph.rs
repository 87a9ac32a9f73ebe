//! `pellucid graph` from the command line, on the tiny reference models.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn tiny(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name).display().to_string()
}

fn pellucid(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pellucid")).args(arguments).output().expect("the program starts")
}

fn ok(arguments: &[&str]) -> String {
    let output = pellucid(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn fails(arguments: &[&str], naming: &str) {
    let output = pellucid(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    assert!(stderr.contains("error: ") && stderr.contains(naming), "{arguments:?} ({naming}): {stderr}");
}

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
    assert_eq!(read["result"]["metadata"]["prompt_tokens"].as_array().unwrap().len(), 3 + 1);
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
