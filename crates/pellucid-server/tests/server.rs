//! The server as clients meet it: a tiny model served on a free port, asked over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests too

use pellucid_model::{Model, Storage};
use pellucid_scope::Loaded;
use pellucid_server::{App, Limits, ServeError, Setup, serve};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name)
}

struct Running {
    app: Arc<App>,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<Result<(), ServeError>>>,
    _runs: tempfile::TempDir,
}

fn app(limits: Limits, token: Option<&str>) -> (Arc<App>, tempfile::TempDir) {
    let model = Model::open(&fixture("llama"), Storage::F32, &mut |_| ()).unwrap();
    let runs = tempfile::tempdir().unwrap();
    let app = App::new(Setup {
        loaded: Loaded::new("tiny", model),
        atlases: vec![runs.path().join("none.atlas")],
        runs: runs.path().join("runs"),
        maps: runs.path().join("maps"),
        token: token.map(str::to_owned),
        names: Vec::new(),
        limits,
        build: None,
        llm: None,
    });
    (app, runs)
}

fn start(limits: Limits, token: Option<&str>) -> Running {
    let (app, runs) = app(limits, token);
    let (sender, receiver) = mpsc::channel();
    let (of, token) = (Arc::clone(&app), token.map(str::to_owned));
    let thread = std::thread::spawn(move || {
        let bind = "127.0.0.1:0".parse().unwrap();
        serve(&of, bind, token.as_deref(), |serving| sender.send(serving.address).unwrap())
    });
    let address = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    Running { app, address, thread: Some(thread), _runs: runs }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.app.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// A reply: status, headers in one text, body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Running {
    /// One request over a connection of its own, with exactly these headers.
    fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("a reply");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Reply { status, head: head.to_lowercase(), body }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        self.raw(
            method,
            path,
            &[("host", &self.address.to_string()), ("content-type", "application/json")],
            body,
        )
    }

    fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path, &body.to_string())
    }

    fn good(&self, path: &str, body: Value) -> Value {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.json()
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

/// Events: name and data.
fn events(body: &str) -> Vec<(String, Value)> {
    let of = |block: &str| {
        let part = |name: &str| {
            block.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        let data = part("data:");
        (part("event:"), serde_json::from_str(&data).unwrap_or(Value::String(data)))
    };
    body.split("\n\n").filter(|b| !b.trim().is_empty()).map(of).collect()
}

fn sampling(n: usize) -> Value {
    json!({ "max_tokens": n, "temperature": 0.7, "seed": 3 })
}

const TEXT: &str = "The cat sat on the mat";

#[test]
fn an_answer_comes_token_by_token_and_its_tokens_are_those_of_the_run() {
    let server = start(Limits::default(), None);
    let asked =
        json!({ "text": { "prompt": TEXT }, "sampling": sampling(6), "edits": [], "alternatives": 2 });
    let reply = server.post("/api/generate", asked.clone());
    assert!(reply.head.contains("text/event-stream"));
    let came = events(&reply.body);
    let names: Vec<&str> = came.iter().map(|e| e.0.as_str()).collect();
    assert_eq!(names.first(), Some(&"prompt"));
    assert_eq!(names.last(), Some(&"done"));
    let tokens: Vec<u64> =
        came.iter().filter(|e| e.0 == "token").map(|e| e.1["token"]["id"].as_u64().unwrap()).collect();
    assert!(
        !tokens.is_empty()
            && came.iter().filter(|e| e.0 == "token").all(|e| e.1["top"].as_array().unwrap().len() == 2)
    );
    let again = events(&server.post("/api/generate", asked).body);
    assert_eq!(came, again, "one seed, one answer");

    // read once more, each token has the probability that it was drawn with
    let prompt: Vec<u64> =
        came[0].1["prompt"].as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    let whole: Vec<u64> = prompt.iter().chain(&tokens).copied().collect();
    let text = json!({ "tokens": whole, "prompt_tokens": prompt.len(), "roles": [] });
    let read = server.good("/api/score", json!({ "text": text, "top": 1 }));
    for (event, read) in
        came.iter().filter(|e| e.0 == "token").zip(&read["tokens"].as_array().unwrap()[prompt.len()..])
    {
        let (drawn, read) =
            (event.1["token"]["log_prob"].as_f64().unwrap(), read["log_prob"].as_f64().unwrap());
        assert!((drawn - read).abs() < 1e-4, "{drawn} {read}");
    }
}

#[test]
fn every_question_is_answered_without_an_atlas_or_says_that_it_takes_one() {
    let server = start(Limits::default(), None);
    let (text, metric) = (json!({ "prompt": TEXT }), json!({ "position": 4 }));
    let edits = json!([{ "site": "mlp_act.0", "target": { "units": [3] }, "op": { "set": [2.0] } }]);
    let explained =
        server.good("/api/explain", json!({ "text": text, "metric": metric, "units": 5, "edits": edits }));
    assert_eq!(explained["units"].as_array().unwrap().len(), 5);
    assert_eq!(explained["prompt"].as_array().unwrap().len(), 5);
    let units = json!([explained["units"][0]["unit"]]);
    let ablated =
        server.good("/api/ablate", json!({ "text": text, "metric": metric, "units": units, "draws": 2 }));
    assert_eq!(ablated["random"].as_array().unwrap().len(), 2);
    let active = server.good("/api/activations", json!({ "text": text, "top": 7 }));
    assert_eq!(active["units"].as_array().unwrap().len(), 7);
    let compared = server.good("/api/compare", json!({ "text": text, "edits": edits, "top": 3 }));
    assert_eq!(compared["units"].as_array().unwrap().len(), 3);
    let lens = server.good("/api/lens", json!({ "text": text, "positions": [0, 3], "top": 2, "watch": [5] }));
    assert_eq!(lens["rows"][0]["cells"].as_array().unwrap().len(), 3);
    let specs =
        json!([{ "name": "off", "what": { "units": ["mlp_act.1/4+"] }, "change": { "strength": 0.0 } }]);
    let steered = server.good("/api/steer", json!({ "specs": specs }));
    assert_eq!(steered["specs"][0]["edits"][0]["op"], "zero");
    let unit = server.ask("GET", "/api/unit?unit=mlp_act.1/4%2B", "").json();
    assert_eq!((unit["unit"].as_str(), unit["sides"].as_array().unwrap().len()), (Some("mlp_act.1/4"), 0));
    let tested = server.good("/api/unit/test", json!({ "unit": "mlp_act.1/4", "text": text }));
    assert!(!tested["values"].as_array().unwrap().is_empty());
    for (path, body) in [
        ("/api/find", json!({ "query": "months" })),
        ("/api/unit/vote", json!({ "id": 1, "voter": "me", "up": true })),
        ("/api/unit/describe", json!({ "unit": "mlp_act.1/4+", "text": "x", "author": "me" })),
    ] {
        let reply = server.post(path, body);
        assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{path}: {}", reply.body);
        assert!(reply.body.contains("pellucid atlas build"), "{}", reply.body);
    }
    let stories = server.ask("GET", "/api/stories", "").json();
    assert!(stories.as_array().unwrap().len() >= 7 && stories[0].get("gate").is_none());
    let status = server.ask("GET", "/api/status", "").json();
    assert!(status["atlas"].is_null() && status["model"]["layers"].as_u64().unwrap() > 0);
    let metrics = server.ask("GET", "/metrics", "");
    assert!(metrics.body.contains("pellucid_runs_total "), "{}", metrics.body);
}

#[test]
fn what_cannot_be_met_is_refused_with_a_reason() {
    let server = start(Limits { prompt_tokens: 64, generated_tokens: 8, ..Limits::default() }, None);
    let text = json!({ "prompt": TEXT });
    let long = json!({ "prompt": "cat ".repeat(200) });
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("/api/score", "{".to_owned(), 400, "expected"),
        ("/api/score", "[]".to_owned(), 400, "expected"),
        ("/api/score", json!({ "text": text, "nonsense": 1 }).to_string(), 400, "nonsense"),
        ("/api/score", json!({ "text": { "prompt": "" } }).to_string(), 400, "no tokens"),
        ("/api/score", json!({ "text": long }).to_string(), 413, "at most"),
        ("/api/explain", json!({ "text": text, "metric": { "position": 999 } }).to_string(), 400, "outside"),
        ("/api/explain", json!({ "text": text, "metric": { "position": 1, "target": 4_000_000 } }).to_string(), 400, "vocabulary"),
        ("/api/explain", json!({ "text": text, "metric": { "position": 1, "target": 4, "foil": 4 } }).to_string(), 400, "same token"),
        ("/api/explain", json!({ "text": text, "metric": { "position": 1 }, "units": 100_000 }).to_string(), 413, "at most"),
        ("/api/explain", json!({ "text": text, "metric": { "position": 1 }, "positions": [5, 2] }).to_string(), 400, "no token"),
        ("/api/ablate", json!({ "text": text, "metric": { "position": 1 }, "units": [] }).to_string(), 400, "at least one"),
        ("/api/ablate", json!({ "text": text, "metric": { "position": 1 }, "units": ["mlp_act.99/1"] }).to_string(), 400, "mlp_act.99"),
        ("/api/ablate", json!({ "text": text, "metric": { "position": 1, "target": 4_000_000 }, "units": ["mlp_act.0/1"] }).to_string(), 400, "vocabulary"),
        ("/api/compare", json!({ "text": text, "edits": [] }).to_string(), 400, "no edits"),
        ("/api/compare", json!({ "text": text, "edits": [{ "site": "mlp_act.0", "op": { "add": [1.0, 2.0] } }] }).to_string(), 400, "mlp_act.0"),
        ("/api/lens", json!({ "text": text, "positions": [3, 3], "top": 1 }).to_string(), 400, "no token"),
        ("/api/generate", json!({ "text": text, "sampling": sampling(9) }).to_string(), 413, "at most"),
        ("/api/dictionary/words", json!({ "name": "d", "latents": [0] }).to_string(), 404, "none is loaded"),
        ("/api/dictionary/map", json!({ "name": "d" }).to_string(), 404, "--dictionary NAME=PATH"),
        ("/api/stories/gate", json!({ "id": "none" }).to_string(), 404, "none"),
        ("/api/jobs/atlas", json!({ "tokens": 5 }).to_string(), 400, "expected"),
        ("/api/jobs/atlas", json!({ "tokens": 50_000 }).to_string(), 400, "without building"),
        ("/v1/chat/completions", json!({ "model": "gpt", "messages": [] }).to_string(), 404, "tiny"),
        ("/v1/completions", json!({ "prompt": TEXT, "n": 3 }).to_string(), 400, "n above 1"),
    ];
    for (path, body, status, word) in cases {
        let reply = server.ask("POST", path, &body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        assert!(reply.body.contains(word), "{path} {body} should say {word:?}: {}", reply.body);
        assert!(!reply.code().is_empty(), "{}", reply.body);
    }
    // an answer that fails once it streams says so in the stream
    let wrong = json!({ "text": text, "sampling": { "max_tokens": 4, "temperature": -1.0 } });
    let last = events(&server.post("/api/generate", wrong).body).pop().unwrap();
    assert_eq!((last.0.as_str(), last.1["error"]["code"].as_str()), ("failed", Some("bad_request")));
    for (method, path, status) in [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/score", 405),
        ("DELETE", "/api/jobs/77", 404),
        ("DELETE", "/api/jobs/x", 404),
        ("GET", "/api/jobs/77/events", 404),
        ("GET", "/api/runs/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/api/unit?unit=nonsense", 400),
        ("GET", "/api/unit", 400),
        ("GET", "/api/dictionary", 404),
        ("GET", "/api/dictionary/latents?name=d", 404),
        ("GET", "/assets/nothing.js", 404),
        ("GET", "/healthz", 200),
        ("GET", "/", 200),
    ] {
        let reply = server.ask(method, path, "");
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
    }
    // read to its end, so that the reason arrives
    let large = "x".repeat(40 << 20);
    let reply = server.ask("POST", "/api/score", &large);
    assert!(reply.status == 413 && reply.body.contains("8 MiB"), "{}", reply.body);
}

fn own_items(n: usize, right: &str, wrong: &str) -> String {
    let line = |i: usize| {
        let (prompt, class) = (format!("{i} cat"), if i.is_multiple_of(2) { "a" } else { "b" });
        json!({ "prompt": prompt, "right": [right], "wrong": [wrong], "class": class }).to_string()
    };
    (0..n).map(line).collect::<Vec<_>>().join("\n")
}

/// Two tokens of which the tiny model puts the first above the second after every one of the items.
fn certain(server: &Running) -> Option<(String, String)> {
    let words = ["a", "b", "c", "t", "h", "o"];
    words.iter().flat_map(|r| words.iter().map(move |w| (*r, *w))).filter(|(r, w)| r != w).find_map(
        |(r, w)| {
            let asked = json!({ "what": { "jsonl": own_items(16, r, w) }, "items": 16 });
            let came = events(&server.post("/api/lab/behaviour", asked).body);
            (came.last()?.1["shown"] == true).then(|| (r.to_owned(), w.to_owned()))
        },
    )
}

#[test]
fn the_laboratory_measures_first_and_explains_what_is_shown() {
    let server = start(Limits::default(), None);
    let listed = server.ask("GET", "/api/lab/behaviours", "").json();
    assert!(listed.as_array().unwrap().iter().any(|b| b["name"] == "agreement"));
    let (right, wrong) = certain(&server).expect("a tiny model prefers some token always");
    let what = json!({ "jsonl": own_items(16, &right, &wrong) });
    // the answers swapped, it does not show it, and nothing more is said
    let swapped = json!({ "jsonl": own_items(16, &wrong, &right) });
    let asked = json!({ "what": swapped, "items": 16, "off_task": null });
    let came = events(&server.post("/api/lab/neurons", asked).body);
    let names: Vec<&str> = came.iter().map(|e| e.0.as_str()).collect();
    assert_eq!(names, ["step", "gate", "done"]);
    assert_eq!(came[1].1["gate"]["shown"], false);
    assert_eq!(came[2].1, json!({ "shown": false, "report": null }));

    let asked = json!({ "what": what, "items": 16, "unit": "mlp_act.0/3", "factors": [0.0, 1.0] });
    let came = events(&server.post("/api/lab/neurons", asked).body);
    let done = came.last().unwrap();
    assert_eq!((done.0.as_str(), &done.1["shown"]), ("done", &json!(true)), "{came:?}");
    assert_eq!(done.1["report"]["doses"].as_array().unwrap().len(), 2);
    assert!(came.iter().any(|e| e.0 == "step" && e.1["what"] == "doses given" && e.1["done"] == 2));

    let width = server.ask("GET", "/api/status", "").json()["model"]["d_model"].as_u64().unwrap() as usize;
    let read = server.good("/api/lab/read", json!({ "text": TEXT, "direction": vec![1.0; width] }));
    assert_eq!(read["projections"][0].as_array().unwrap().len(), read["tokens"].as_array().unwrap().len());
}

#[test]
fn the_laboratory_looks_at_layers_and_places() {
    let server = start(Limits::default(), None);
    let (right, wrong) = certain(&server).expect("a tiny model prefers some token always");
    let what = json!({ "jsonl": own_items(16, &right, &wrong) });
    let last = |path: &str, asked: Value| {
        let came = events(&server.post(&format!("/api/lab/{path}"), asked).body);
        came.into_iter().last().unwrap()
    };
    let (name, done) = last("lens", json!({ "what": what, "items": 16 }));
    assert_eq!((name.as_str(), &done["shown"]), ("done", &json!(true)), "{done}");
    let depths = done["report"]["depths"].as_array().unwrap().len();
    // the gate has said so already
    let end = &done["report"]["depths"][depths - 1]["above_wrong"]["value"];
    assert_eq!(*end, done["report"]["gate"]["accuracy"]["value"]);
    let (_, done) = last("knockout", json!({ "what": what, "items": 16, "window": 1 }));
    assert!(!done["report"]["cut"].as_array().unwrap().is_empty(), "{done}");
    let (_, done) = last("patchscope", json!({ "what": what, "items": 8, "into": "target", "every": 1 }));
    assert_eq!(done["report"]["cells"].as_array().unwrap().len(), depths * depths, "{done}");
    let (_, done) = last("patchscope", json!({ "what": what, "items": 8, "into": "back", "every": 1 }));
    assert_eq!(done["back"]["cells"].as_array().unwrap().len(), depths * (depths - 1) / 2, "{done}");
    // these items have no counterfactual, which is said once the gate has been
    let (name, failed) = last("trace", json!({ "what": what, "items": 16 }));
    assert_eq!((name.as_str(), failed["error"]["code"].as_str()), ("failed", Some("bad_request")));
    assert!(failed["error"]["message"].as_str().unwrap().contains("counterfactual"), "{failed}");
    let (_, done) =
        last("ladder", json!({ "text": TEXT, "target": "identity", "generate": 2, "back_by": 1 }));
    assert_eq!(done["ladder"]["rungs"].as_array().unwrap().len(), depths);
    assert_eq!(done["readings"]["readings"].as_array().unwrap().len(), depths);
    // swapped, no method says more than that it is not shown
    let swapped = json!({ "jsonl": own_items(16, &wrong, &right) });
    for path in ["lens", "trace", "knockout"] {
        let asked = match path {
            "knockout" => json!({ "what": swapped, "items": 16, "window": 1 }),
            _ => json!({ "what": swapped, "items": 16 }),
        };
        assert_eq!(last(path, asked).1, json!({ "shown": false, "report": null }), "{path}");
    }
    let listed = server.ask("GET", "/api/lab/tasks", "").json();
    assert!(listed.as_array().unwrap().iter().any(|t| t["name"] == "past"));
}

#[test]
fn a_prompts_graph_is_streamed_and_its_nodes_are_zeroed() {
    let server = start(Limits::default(), None);
    let asked = json!({ "text": { "prompt": TEXT }, "neurons": 40, "check": 3 });
    let came = events(&server.post("/api/lab/graph", asked).body);
    assert!(came.iter().any(|e| e.0 == "step" && e.1["what"] == "what reaches each node"), "{came:?}");
    let (name, reply) = came.last().unwrap();
    assert_eq!(name, "done", "{came:?}");
    let report = &reply["report"];
    assert_eq!(report["neurons"], 40);
    assert_eq!(report["links"].as_array().unwrap().len() as u64, reply["links"].as_u64().unwrap());
    let file: Value = serde_json::from_str(reply["file"].as_str().unwrap()).unwrap();
    assert_eq!(file["nodes"].as_array().unwrap().len(), report["nodes"].as_array().unwrap().len());
    // what the check measured is what zeroing that node says
    let check = &report["checks"][0];
    let (unit, position) = (&check["unit"]["unit"], &check["unit"]["position"]);
    let nodes = json!([{ "unit": unit, "position": position }]);
    let zeroed = server.good("/api/lab/graph/zero", json!({ "text": { "prompt": TEXT }, "nodes": nodes }));
    let first = &report["outputs"][0]["token"]["id"];
    let logit = zeroed["logits"].as_array().unwrap().iter().find(|l| l["token"]["id"] == *first).unwrap();
    let change = logit["without"].as_f64().unwrap() - logit["plain"].as_f64().unwrap();
    assert!((change - check["unit"]["change"].as_f64().unwrap()).abs() < 1e-3, "{logit} {check}");

    let text = json!({ "prompt": TEXT });
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("graph", json!({ "text": text, "neurons": 1001 }), 413, "at most"),
        ("graph", json!({ "text": text, "check": 41 }), 413, "at most"),
        ("graph", json!({ "text": text, "foil": "a" }), 400, "target"),
        ("graph", json!({ "text": text, "target": "no single token" }), 400, "token"),
        ("graph", json!({ "text": { "prompt": "" }, "neurons": "many" }), 400, "many"),
        ("graph/zero", json!({ "text": text, "nodes": [] }), 400, "at least one unit"),
        (
            "graph/zero",
            json!({ "text": text, "nodes": [{ "unit": "z.0/h1", "position": 0 }] }),
            400,
            "neuron",
        ),
        (
            "graph/zero",
            json!({ "text": text, "nodes": [{ "unit": "mlp_act.0/3", "position": 999 }] }),
            400,
            "999",
        ),
        (
            "graph/zero",
            json!({ "text": text, "nodes": [{ "unit": "mlp_act.99/3", "position": 0 }] }),
            400,
            "99",
        ),
    ];
    for (path, body, status, word) in cases {
        let reply = server.post(&format!("/api/lab/{path}"), body.clone());
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        assert!(reply.body.contains(word), "{path} {body} should say {word:?}: {}", reply.body);
    }
    // what only the run can tell comes in the stream
    let came = events(&server.post("/api/lab/graph", json!({ "text": text, "position": 999 })).body);
    assert_eq!(came.last().unwrap().0, "failed", "{came:?}");
}

#[test]
fn the_laboratory_refuses_before_it_streams() {
    let server = start(Limits::default(), None);
    let known = json!({ "behaviour": "agreement" });
    let circuit = |more: Value| {
        let mut asked =
            json!({ "what": known, "items": 8, "scoring": "eap", "ablation": "zero", "by": "size" });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("behaviour", json!({ "what": { "behaviour": "juggling" }, "items": 8 }), 400, "juggling"),
        ("behaviour", json!({ "what": known, "items": 0 }), 400, "at least one"),
        ("behaviour", json!({ "what": known, "items": 257 }), 413, "at most"),
        (
            "behaviour",
            json!({ "what": { "jsonl": own_items(300, " a", " b") }, "items": 8 }),
            413,
            "300 pasted",
        ),
        ("behaviour", json!({ "what": { "jsonl": "\n{\"prompt\": 1}" }, "items": 8 }), 400, "line 2"),
        (
            "behaviour",
            json!({ "what": { "jsonl": own_items(1, "no single token", " b") }, "items": 8 }),
            400,
            "line 1",
        ),
        ("neurons", json!({ "what": known, "items": 8, "top": 33 }), 413, "at most"),
        ("neurons", json!({ "what": known, "items": 8, "off_task": "juggling" }), 400, "juggling"),
        ("neurons", json!({ "what": known, "items": 8, "unit": "nonsense" }), 400, "nonsense"),
        ("direction", json!({ "what": known, "items": 8, "method": "magic" }), 400, "magic"),
        ("circuit", circuit(json!({ "items": 65 })), 413, "at most"),
        ("circuit", circuit(json!({ "scoring": "exact" })), 400, "pellucid circuit"),
        ("circuit", circuit(json!({ "scoring": { "eap_ig": { "steps": 21 } } })), 413, "at most"),
        ("read", json!({ "text": TEXT, "direction": [1.0] }), 400, "finite numbers"),
        ("lens", json!({ "what": known, "items": 257 }), 413, "at most"),
        ("trace", json!({ "what": known, "items": 65 }), 413, "at most"),
        ("trace", json!({ "what": known, "items": 8, "at": ["lm_head"] }), 400, "resid_pre"),
        ("trace", json!({ "what": known, "items": 8, "at": ["nonsense"] }), 400, "nonsense"),
        ("trace", json!({ "what": known, "items": 8, "window": 0 }), 400, "window"),
        ("trace", json!({ "what": known, "items": 8, "to": ["z.1/h0"] }), 400, "receiver"),
        (
            "trace",
            json!({ "what": known, "items": 8, "noise": { "sigma": -1.0, "samples": 2 } }),
            400,
            "sigma",
        ),
        (
            "trace",
            json!({ "what": known, "items": 8, "noise": { "sigma": 3.0, "samples": 21 } }),
            413,
            "at most",
        ),
        ("knockout", json!({ "what": known, "items": 8, "window": 99 }), 400, "window"),
        ("patchscope", json!({ "what": known, "items": 8, "into": "target", "target": "{} {}" }), 400, "{}"),
        ("patchscope", json!({ "what": known, "items": 8, "into": "back", "every": 0 }), 400, "window"),
        ("ladder", json!({ "text": TEXT, "position": 999 }), 400, "999"),
        ("ladder", json!({ "text": TEXT, "follow": "no single token" }), 400, "token"),
        ("ladder", json!({ "text": TEXT, "generate": 25 }), 413, "at most"),
        ("ladder", json!({ "text": "x".repeat(4_001) }), 413, "at most"),
        ("function", json!({ "what": { "task": "juggling" } }), 400, "juggling"),
        ("function", json!({ "what": { "jsonl": "{\"x\": 1}" } }), 400, "line 1"),
        ("function", json!({ "what": { "task": "past" }, "shots": 17 }), 413, "at most"),
        ("function", json!({ "what": { "task": "past" }, "heads": 0 }), 400, "at least one"),
    ];
    for (path, body, status, word) in cases {
        let reply = server.post(&format!("/api/lab/{path}"), body.clone());
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        assert!(reply.body.contains(word), "{path} {body} should say {word:?}: {}", reply.body);
    }
}

#[test]
fn pages_elsewhere_and_strangers_are_kept_out() {
    let server = start(Limits::default(), None);
    let own = server.address.to_string();
    let of = |headers: &[(&str, &str)]| server.raw("GET", "/api/status", headers, "").status;
    assert_eq!(of(&[("host", &own)]), 200);
    assert_eq!(of(&[("host", &own), ("origin", &format!("http://{own}"))]), 200);
    assert_eq!(of(&[("host", "evil.example")]), 403);
    assert_eq!(of(&[("host", &own), ("origin", "http://evil.example")]), 403);
    let page = server.raw("GET", "/", &[("host", &own)], "");
    assert!(page.head.contains("content-security-policy: default-src 'self'"), "{}", page.head);

    let guarded = start(Limits::default(), Some("a token of some length"));
    let own = guarded.address.to_string();
    let of = |token: Option<&str>| {
        let mut headers = vec![("host", own.as_str())];
        headers.extend(token.map(|t| ("authorization", t)));
        guarded.raw("GET", "/api/status", &headers, "").status
    };
    assert_eq!(of(None), 401);
    assert_eq!(of(Some("Bearer another token, as long")), 401);
    assert_eq!(of(Some("Bearer a token of some length")), 200);
}

#[test]
fn it_does_not_open_itself_to_others_without_a_token() {
    let open = |token: Option<&str>| {
        let (app, _runs) = app(Limits::default(), token);
        serve(&app, "0.0.0.0:0".parse().unwrap(), token, |_| app.stop())
    };
    assert!(matches!(open(None), Err(ServeError::Open { .. })));
    assert!(matches!(open(Some("short")), Err(ServeError::WeakToken { .. })));
}

#[test]
fn too_many_are_told_to_come_back() {
    let limits = Limits { at_a_time: 1, waiting: 2, waiting_each: 1, ..Limits::default() };
    let server = start(limits, None);
    let text = json!({ "prompt": TEXT });
    let metric = json!({ "position": 4 });
    let body = json!({ "text": text, "metric": metric, "units": ["mlp_act.0/1"], "draws": 20 }).to_string();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..60)
            .map(|i| {
                let (server, body) = (&server, &body);
                scope.spawn(move || {
                    let (host, client) = (server.address.to_string(), format!("client {i}"));
                    let headers = [("host", host.as_str()), ("x-pellucid-client", client.as_str())];
                    let reply = server.raw("POST", "/api/ablate", &headers, body);
                    if reply.status == 429 {
                        assert!(reply.head.contains("retry-after: "), "{}", reply.head);
                        assert_eq!(reply.code(), "busy");
                    }
                    reply.status
                })
            })
            .collect();
        asked.into_iter().map(|a| a.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|s| [200, 429].contains(s)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    let load = server.ask("GET", "/api/status", "").json()["load"].clone();
    assert_eq!((load["running"].as_u64(), load["waiting"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_run_is_kept_and_replays_to_the_same_tokens() {
    let server = start(Limits::default(), None);
    let edits = json!([{ "site": "mlp_act.0", "target": { "units": [3] }, "op": { "set": [9.0] } }]);
    let answer = |edits: &Value| {
        let asked = json!({ "text": { "prompt": TEXT }, "sampling": sampling(6), "edits": edits });
        let came = events(&server.post("/api/generate", asked).body);
        let ids = |name: &str| -> Vec<Value> {
            came.iter().filter(|e| e.0 == name).map(|e| e.1["token"]["id"].clone()).collect()
        };
        let prompt: Vec<Value> =
            came[0].1["prompt"].as_array().unwrap().iter().map(|t| t["id"].clone()).collect();
        let text = came.last().unwrap().1["text"].clone();
        (prompt, json!({ "tokens": ids("token"), "text": text }))
    };
    let (prompt, plain) = answer(&json!([]));
    let (_, edited) = answer(&edits);
    let model = server.ask("GET", "/api/status", "").json()["model"].clone();
    let mut run = json!({
        "pellucid": "0.1.0",
        "model": { "name": "tiny", "sha256": model["sha256"], "tokenizer_hash": model["tokenizer_hash"] },
        "tokens": prompt, "roles": [], "sampling": sampling(6), "specs": [], "edits": edits,
        "plain": plain, "edited": edited,
    });
    let id = server.good("/api/runs", json!({ "run": run }))["id"].as_str().unwrap().to_owned();
    assert_eq!(server.good("/api/runs", json!({ "run": run }))["id"], id.as_str(), "one content, one name");
    let kept = server.ask("GET", &format!("/api/runs/{id}"), "").json();
    let replayed = server.good("/api/runs/replay", json!({ "run": kept }));
    assert_eq!((&replayed["same"], &replayed["plain"]), (&json!(true), &run["plain"]));
    assert_eq!(replayed["edited"], run["edited"]);
    run["plain"]["tokens"][0] = json!(1);
    let replayed = server.good("/api/runs/replay", json!({ "run": run }));
    assert_eq!(replayed["same"], false);
    assert!(replayed["why"].as_str().unwrap().contains("from token 0"), "{replayed}");
    run["model"]["sha256"] = json!("0000");
    let other = server.post("/api/runs/replay", json!({ "run": run }));
    assert!(other.status == 400 && other.body.contains("another model"), "{}", other.body);
    // what could not be read again is not kept
    run["sampling"]["temperature"] = json!(1e39);
    let infinite = server.post("/api/runs", json!({ "run": run }));
    assert!(infinite.status == 400 && infinite.body.contains("32 bits"), "{}", infinite.body);
}

#[test]
fn the_openai_wire_streams_what_it_says_whole() {
    let server = start(Limits::default(), None);
    let asked = |stream: bool| json!({ "prompt": TEXT, "max_tokens": 5, "temperature": 0, "logprobs": 2, "stream": stream });
    let whole = server.good("/v1/completions", asked(false));
    let streamed = events(&server.post("/v1/completions", asked(true)).body);
    assert_eq!(streamed.last().unwrap().1, json!("[DONE]"));
    let pieces: String =
        streamed.iter().filter_map(|e| e.1["choices"][0]["text"].as_str().map(str::to_owned)).collect();
    assert_eq!(json!(pieces), whole["choices"][0]["text"]);
    assert_eq!(whole["choices"][0]["logprobs"]["tokens"].as_array().unwrap().len(), 5);
    let edits = json!([{ "site": "resid_post.0", "op": "zero" }]);
    let mut with = asked(false);
    with["edits"] = edits;
    assert_ne!(
        server.good("/v1/completions", with)["choices"][0]["logprobs"],
        whole["choices"][0]["logprobs"]
    );
    assert_eq!(server.ask("GET", "/v1/models", "").json()["data"][0]["id"], "tiny");
}

#[test]
fn what_a_prompt_begins_with_does_not_run_again_and_is_counted() {
    let server = start(Limits::default(), None);
    let tokens: Vec<u32> = (0..100).map(|i| i * 37 % 300).collect();
    let asked = json!({ "prompt": tokens, "max_tokens": 4, "temperature": 0, "logprobs": 3 });
    let mut edited = asked.clone();
    edited["edits"] = json!([{ "site": "resid_post.0", "op": "zero", "positions": { "at": [-1] } }]);
    let cached = |reply: &Value| reply["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    let [first, again, edited] =
        [&asked, &asked, &edited].map(|asked| server.good("/v1/completions", asked.clone()));
    assert_eq!([&first, &again, &edited].map(cached), [0, 64, 64]);
    assert_eq!(first["choices"], again["choices"]);
    assert_ne!(first["choices"][0]["logprobs"], edited["choices"][0]["logprobs"]);
    let metrics = server.ask("GET", "/metrics", "").body;
    assert!(metrics.contains("\npellucid_reused_tokens_total 128\n"), "{metrics}");
}
