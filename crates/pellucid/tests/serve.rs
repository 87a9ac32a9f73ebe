//! The page's server and the command line compute the same: what `/api/compare` and `/api/score` say of an edited run is
//! what `pellucid run --edit … --json` says of it.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pellucid");

fn tiny() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama").display().to_string()
}

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn serve(cache: &Path) -> Server {
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--model", &tiny(), "--port", "0"]).env("PELLUCID_CACHE", cache);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|l| l.contains("http://"));
    let line = line.expect("an address");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    Server { child, address }
}

impl Server {
    fn post(&self, path: &str, body: &Value) -> Value {
        let (mut stream, body) = (TcpStream::connect(&self.address).unwrap(), body.to_string());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{reply}");
        serde_json::from_str(body).unwrap()
    }
}

fn run(arguments: &[&str]) -> Value {
    let model = tiny();
    let mut all = vec!["run", "--model", model.as_str(), "--json"];
    all.extend(arguments);
    let output = Command::new(PROGRAM).args(&all).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["result"].take()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_steered_run_on_the_page_is_the_one_of_the_command_line() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(cache.path());
    let (prompt, answer) = ("The cat sat on", " the mat and looked at the moon");
    let edits = ["--edit", "mlp_act.0/3=2.5", "--edit", "mlp_act.1/5=x3@2.."];
    let mut scored = vec![prompt, "--score", answer];
    scored.extend(edits);
    let told = run(&scored);
    let ids = |list: &Value| -> Vec<u64> {
        list.as_array().unwrap().iter().map(|t| number(&t["id"]) as u64).collect()
    };
    let (prompt_ids, answer_ids) = (ids(&told["prompt"]), ids(&told["plain"]["score"]["tokens"]));
    let tokens: Vec<u64> = prompt_ids.iter().chain(&answer_ids).copied().collect();
    let text = json!({ "tokens": tokens, "prompt_tokens": prompt_ids.len(), "roles": [] });

    let compared = server.post("/api/compare", &json!({ "text": text, "edits": told["edits"], "top": 2000 }));
    let score = server.post("/api/score", &json!({ "text": text, "edits": told["edits"], "top": 1 }));
    for (i, at) in (prompt_ids.len()..tokens.len()).enumerate() {
        let line = |run: &str| number(&told[run]["score"]["tokens"][i]["log_prob"]);
        for (page, line) in [
            (&compared["plain"][at], line("plain")),
            (&compared["edited"][at], line("edited")),
            (&score["tokens"][at]["log_prob"], line("edited")),
        ] {
            assert!((number(page) - line).abs() < 1e-5, "{page} {line}");
        }
    }

    // every neuron that the page says has changed has, by as much, and those that it does not name have not
    let whole = format!("{prompt}{answer}");
    let sites = ["mlp_act.0", "mlp_act.1"];
    let named = compared["units"].as_array().unwrap();
    let mut changed = 0;
    for unit in named
        .iter()
        .filter(|u| sites.iter().any(|s| u["unit"].as_str().unwrap().starts_with(&format!("{s}/"))))
        .take(40)
    {
        let name = unit["unit"].as_str().unwrap().trim_end_matches(['+', '-']);
        let mut watched = vec![whole.as_str(), "--watch", name];
        watched.extend(edits);
        let seen = run(&watched);
        for run in ["plain", "edited"] {
            assert_eq!(seen[run]["watch"][0]["tokens"].as_array().unwrap().len(), tokens.len());
            for (page, line) in
                unit[run].as_array().unwrap().iter().zip(seen[run]["watch"][0]["tokens"].as_array().unwrap())
            {
                assert!((number(page) - number(&line["value"])).abs() < 1e-5, "{name} {run}: {page} {line}");
            }
        }
        changed += 1;
    }
    assert!(changed >= 20, "{changed}");
}

#[test]
fn a_server_that_would_be_open_to_others_does_not_start() {
    let output = Command::new(PROGRAM)
        .args(["serve", "--model", &tiny(), "--bind", "0.0.0.0", "--port", "0"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("access token"), "{stderr}");
}
