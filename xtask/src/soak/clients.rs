//! Who uses the server in a soak: people who chat, ask, look and write, programs that send nonsense, and clients that leave.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{ask, begin};

/// One thing that a client does.
struct Use {
    name: &'static str,
    method: &'static str,
    path: String,
    body: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// An answer: 200, or an honest refusal of a server that has too much to do.
    Answer,
    /// A stream, which must end with these words if it began.
    Stream(&'static str),
    /// A change of the atlas, which may be in use by another writer.
    Write,
    /// Nonsense, which must be refused.
    Refused,
    /// Begun and left after so many bytes.
    Left(usize),
}

/// What all clients saw.
#[derive(Default)]
pub(super) struct Tally {
    /// By use: how often, and each status with how often.
    pub(super) uses: BTreeMap<&'static str, BTreeMap<u16, u64>>,
    pub(super) faults: Vec<String>,
    /// Requests that were cut off by the server's own death.
    pub(super) cut: u64,
}

/// What clients share.
pub(super) struct Shared {
    tally: Mutex<Tally>,
    /// The clients are to end.
    over: AtomicBool,
    /// The server is being killed, so a broken connection is no fault.
    dying: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Shared { tally: Mutex::default(), over: AtomicBool::new(false), dying: AtomicBool::new(false) }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on connections may break.
    pub(super) fn dying(&self) {
        self.dying.store(true, Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(super) fn again(&self) {
        self.dying.store(false, Ordering::SeqCst);
        self.over.store(false, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// How many clients there are.
pub(super) const CLIENTS: usize = 6;

/// A client's life: its own uses in turn, until the soak or the server ends. Each begins elsewhere in the list.
pub(super) fn live(number: usize, address: &str, shared: &Shared) {
    let client = format!("soak {number}");
    let mut turn = number * 7;
    while !shared.is_over() {
        let uses = uses(turn);
        let one = &uses[turn % uses.len()];
        turn += 1;
        let status = match perform(one, address, &client) {
            Ok(status) => status,
            Err(_) if shared.dying.load(Ordering::SeqCst) => {
                shared.tally().cut += 1;
                return;
            }
            Err(problem) => {
                shared.tally().faults.push(format!("{}: {problem}", one.name));
                std::thread::sleep(Duration::from_millis(500));
                continue;
            }
        };
        *shared.tally().uses.entry(one.name).or_default().entry(status).or_default() += 1;
        let rest = if status == 429 { 500 } else { 20 };
        std::thread::sleep(Duration::from_millis(rest));
    }
}

/// Does it; gives the status (0 for one that left before there was one), or what was wrong.
fn perform(one: &Use, address: &str, client: &str) -> Result<u16, String> {
    let told = |e: io::Error| e.to_string();
    if let Kind::Left(bytes) = one.kind {
        let mut stream = begin(address, one.method, &one.path, client, &one.body).map_err(told)?;
        let mut some = vec![0; bytes];
        // what it read is of no interest to one who leaves, nor is whether it came
        let _ = stream.read_exact(&mut some);
        return Ok(0);
    }
    let reply = ask(address, one.method, &one.path, client, &one.body).map_err(told)?;
    let fine = match (one.kind, reply.status) {
        (Kind::Refused, 400..=499) => true,
        (Kind::Refused, _) => false,
        (Kind::Stream(end), 200) => reply.body.contains(end),
        (Kind::Write, 409) => true,
        // the documented refusals of a busy server: no turn, or no time
        (_, 200 | 408 | 429) => true,
        _ => false,
    };
    // what went wrong in a stream stands at its end
    let skipped = match one.kind {
        Kind::Stream(_) => reply.body.chars().count().saturating_sub(200),
        _ => 0,
    };
    let part: String = reply.body.chars().skip(skipped).take(200).collect();
    if fine { Ok(reply.status) } else { Err(format!("{} {part}", reply.status)) }
}

/// Everything that is done, in the order in which it is; questions and units go round with `turn`.
fn uses(turn: usize) -> Vec<Use> {
    let questions = [
        "What is the capital of Poland?",
        "Write one line about the sea in winter.",
        "Which months have thirty days? Name them all, one after the other.",
    ];
    let question = questions[turn / 5 % questions.len()];
    let text = json!({ "messages": [{ "role": "user", "content": question }] });
    let unit = format!("mlp_act.14/{}", turn * 31 % 1536);
    let edits = json!([{ "site": "mlp_act.20", "target": { "units": [turn % 1536] }, "op": "zero" }]);
    let mut all = questions_of(&text, &unit, &edits);
    all.extend(chats(question, &text, &edits, turn));
    all.extend(looks(turn, &unit));
    all.extend(nonsense(turn));
    all
}

fn made(name: &'static str, kind: Kind, path: &str, body: Value) -> Use {
    let (method, body) = match body {
        Value::Null => ("GET", String::new()),
        Value::String(raw) => ("POST", raw),
        other => ("POST", other.to_string()),
    };
    Use { name, method, path: path.to_owned(), body, kind }
}

fn questions_of(text: &Value, unit: &str, edits: &Value) -> Vec<Use> {
    let aim = json!({ "position": 20 });
    let post = |name, path, body| made(name, Kind::Answer, path, body);
    vec![
        post("explain", "/api/explain", json!({ "text": text, "edits": [], "metric": aim, "units": 50 })),
        post("ablate", "/api/ablate", json!({ "text": text, "metric": aim, "units": [unit], "draws": 2 })),
        post("compare", "/api/compare", json!({ "text": text, "edits": edits, "top": 20 })),
        post("lens", "/api/lens", json!({ "text": text, "positions": [0, 12], "top": 3 })),
        post("score", "/api/score", json!({ "text": text, "edits": edits, "top": 3 })),
        post("activations", "/api/activations", json!({ "text": text, "top": 50 })),
        post("unit/test", "/api/unit/test", json!({ "unit": unit, "text": text })),
    ]
}

fn chats(question: &str, text: &Value, edits: &Value, turn: usize) -> Vec<Use> {
    let sampling =
        |tokens: usize| json!({ "max_tokens": tokens, "temperature": 0.7, "seed": turn, "top_p": 0.95 });
    let generate = |tokens: usize, edits: &Value| json!({ "text": text, "sampling": sampling(tokens), "edits": edits, "alternatives": 3 });
    let messages = json!([{ "role": "user", "content": question }]);
    let openai =
        json!({ "model": "smollm2", "messages": messages, "max_tokens": 16, "stream": true, "seed": turn });
    let whole = json!({ "model": "smollm2", "messages": messages, "max_tokens": 8, "edits": edits });
    vec![
        made("generate", Kind::Stream("event: done"), "/api/generate", generate(24, &json!([]))),
        made("generate, edited", Kind::Stream("event: done"), "/api/generate", generate(12, edits)),
        made("chat, streamed", Kind::Stream("data: [DONE]"), "/v1/chat/completions", openai),
        made("chat", Kind::Answer, "/v1/chat/completions", whole),
        made("left in a stream", Kind::Left(300), "/api/generate", generate(400, &json!([]))),
        made(
            "left at once",
            Kind::Left(0),
            "/api/explain",
            json!({ "text": text, "metric": { "position": 20 } }),
        ),
    ]
}

fn looks(turn: usize, unit: &str) -> Vec<Use> {
    let words = ["months", "names of cities", "numbers", "the sea"];
    let find = |by_words: bool| json!({ "query": words[turn / 3 % words.len()], "k": 10, "words": by_words });
    let vote =
        json!({ "id": 1 + turn % 200, "voter": format!("voter {}", turn % 3), "up": turn.is_multiple_of(2) });
    let words_of = json!({ "unit": format!("{unit}+"), "text": format!("said in turn {turn}"), "author": "a client of the soak" });
    let what = json!({ "concept": { "text": "months", "k": 3 } });
    let steer = json!({ "specs": [{ "name": "a", "what": what, "change": { "strength": 2.0 } }] });
    vec![
        made("unit", Kind::Answer, &format!("/api/unit?unit={unit}"), Value::Null),
        made("find by meaning", Kind::Answer, "/api/find", find(false)),
        made("find by words", Kind::Answer, "/api/find", find(true)),
        made("steer", Kind::Answer, "/api/steer", steer),
        made("vote", Kind::Write, "/api/unit/vote", vote),
        made("describe", Kind::Write, "/api/unit/describe", words_of),
        made("status", Kind::Answer, "/api/status", Value::Null),
        made("page", Kind::Answer, "/", Value::Null),
        made("metrics", Kind::Answer, "/metrics", Value::Null),
    ]
}

fn nonsense(turn: usize) -> Vec<Use> {
    let raw = |body: &str| Value::String(body.to_owned());
    let refused = |path: &str, body| made("nonsense", Kind::Refused, path, body);
    let text = json!({ "prompt": "a" });
    let bodies = [
        refused("/api/explain", raw("{\"text\": {\"prompt\": \"cut o")),
        refused("/api/generate", raw(&"[".repeat(5000))),
        refused(
            "/api/score",
            json!({ "text": text, "edits": [{ "site": "mlp_act.99", "target": "all", "op": "zero" }] }),
        ),
        refused("/api/lens", json!({ "text": text, "positions": [5, 1_000_000_000], "top": 3 })),
        refused(
            "/api/ablate",
            json!({ "text": text, "metric": { "position": 0 }, "units": ["mlp_act.3/999999"] }),
        ),
        refused("/v1/chat/completions", json!({ "model": "smollm2", "messages": [], "max_tokens": -1 })),
        refused("/api/unit?unit=%00", Value::Null),
        refused("/api/runs/no-such-run", Value::Null),
        refused("/api/compare", raw("\u{0}\u{1}\u{2}")),
    ];
    let at = turn / 23 % bodies.len();
    bodies.into_iter().skip(at).take(1).collect()
}
