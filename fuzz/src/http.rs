//! Requests to the server, answered in this process over the tiny llama: never a failure of the server's own.

use pellucid_model::tokens::ChatTemplate;
use pellucid_model::{Model, Storage};
use pellucid_scope::Loaded;
use pellucid_server::{App, Limits, Local, Setup};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// All routes but two: `/v1/embeddings` takes the sentence encoder, which is not among the fixtures, and building an
/// atlas is another process. An address that ends in `?` or `/` goes on with the first line of the input.
const ROUTES: [(&str, &str); 36] = [
    ("POST", "/api/generate"),
    ("POST", "/api/score"),
    ("POST", "/api/explain"),
    ("POST", "/api/ablate"),
    ("POST", "/api/activations"),
    ("POST", "/api/compare"),
    ("POST", "/api/steer"),
    ("POST", "/api/find"),
    ("POST", "/api/lens"),
    ("POST", "/api/unit/test"),
    ("POST", "/api/unit/describe"),
    ("POST", "/api/unit/vote"),
    ("POST", "/api/stories/gate"),
    ("POST", "/api/guide"),
    ("POST", "/api/runs"),
    ("POST", "/api/runs/replay"),
    ("POST", "/api/jobs/atlas"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/api/unit?"),
    ("GET", "/api/runs/"),
    ("GET", "/api/jobs/"),
    ("DELETE", "/api/jobs/"),
    ("GET", "/v1/models/"),
    ("GET", "/"),
    ("POST", "/"),
    ("PUT", "/api/"),
    ("GET", "/api/"),
    ("GET", "/api/status"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/stories"),
    ("GET", "/api/jobs"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("OPTIONS", "/api/generate"),
];

/// The first byte chooses the route; the rest is the end of the address or the body.
pub fn http(bytes: &[u8]) {
    let Some((route, rest)) = bytes.split_first() else { return };
    let (method, path) = ROUTES[usize::from(*route) % ROUTES.len()];
    let (mut path, mut body) = (path.to_owned(), rest);
    if path.ends_with(['?', '/']) {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        path.push_str(&String::from_utf8_lossy(&rest[..end]));
        body = rest.get(end + 1..).unwrap_or_default();
    }
    let headers = [("host", "127.0.0.1:7171"), ("content-type", "application/json")];
    let Some((status, answer)) = server().ask(method, &path, &headers, body.to_vec()) else { return };
    if (path.as_str(), status) == ("/api/runs", 200) {
        // what was kept can be had again
        let kept: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        let path = format!("/api/runs/{}", kept["id"].as_str().expect("a name"));
        let again = server().ask("GET", &path, &headers, Vec::new()).expect("a request");
        assert_eq!(again.0, 200, "{}", String::from_utf8_lossy(&again.1));
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(status < 500, "{method} {path}: {status} {text}");
    // a stream has begun with 200; its failure is its last event
    assert!(!text.contains("\"code\":\"internal\""), "{method} {path}: {text}");
}

/// Small limits, so that many requests fit into a second.
const LIMITS: Limits = Limits {
    prompt_tokens: 48,
    generated_tokens: 6,
    edits: 16,
    body: 1 << 16,
    run: Duration::from_secs(20),
    at_a_time: 1,
    waiting: 4,
    waiting_each: 4,
};

const TEMPLATE: &str = "{% for m in messages %}{{ '<|bos|>' + m['role'] + '\n' + m['content'] + '<|eos|>' }}{% endfor %}\
                        {% if add_generation_prompt %}{{ '<|bos|>assistant\n' }}{% endif %}";

fn server() -> &'static Local {
    static MADE: OnceLock<(Local, PathBuf)> = OnceLock::new();
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let (server, runs) = MADE.get_or_init(|| {
        let model =
            Model::open(&super::fixtures().join("llama"), Storage::F32, &mut |_| ()).expect("a fixture");
        let template = ChatTemplate::new(TEMPLATE, "<|bos|>", "<|eos|>").expect("a template");
        let folder = std::env::temp_dir().join(format!("pellucid-fuzz-http-{}", std::process::id()));
        let runs = folder.join("runs");
        let app = App::new(Setup {
            loaded: Loaded::new("tiny", model.with_chat_template(template)),
            atlases: vec![folder.join("none.atlas")],
            runs: runs.clone(),
            maps: folder.join("maps"),
            token: None,
            names: Vec::new(),
            limits: LIMITS,
            build: None,
            llm: None,
        });
        (Local::new(&app).expect("a runtime"), runs)
    });
    if ASKED.fetch_add(1, Ordering::Relaxed) % 1000 == 999 {
        // so many kept runs are no finding; where there is none yet, nothing is to be removed
        let _ = fs::remove_dir_all(runs);
    }
    server
}
