//! Explainers, scorers and clients of language models: against a scripted HTTP server on loopback, and against
//! models in this process that know the unit's rule, its opposite, or nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "llm/contest.rs"]
mod contest;
#[path = "llm/server.rs"]
mod server;
#[path = "llm/text.rs"]
mod text;
#[path = "llm/unit.rs"]
mod unit;

use pellucid_core::{Answer, Ask, Chat, Embed, Message, ServiceError};
use pellucid_describe::llm::*;
use server::{Reply, Server};
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn ask(text: &str) -> Ask {
    Ask {
        messages: vec![Message { role: "user", content: text.to_owned() }],
        prefill: String::new(),
        max_tokens: 8,
        temperature: 0.0,
        seed: 5,
        top_log_probs: 0,
    }
}

fn quick() -> Patience {
    Patience {
        timeout: Duration::from_millis(400),
        attempts: 3,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_secs(2),
        body_limit: 20_000,
    }
}

fn endpoint(server: &Server) -> Endpoint {
    Endpoint::new(EndpointConfig { patience: quick(), ..EndpointConfig::new(&server.base(), "tiny") })
        .unwrap()
}

fn failure(outcome: Result<Answer, ServiceError>) -> ServiceFailure {
    outcome.unwrap_err().downcast_ref::<ServiceFailure>().unwrap().clone()
}

fn says(text: &str) -> Reply {
    let choice =
        serde_json::json!({"message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    Reply::json(
        &serde_json::json!({"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 3}}),
    )
}

// ---- the client --------------------------------------------------------------------------------------------

#[test]
fn an_answer_comes_with_its_tokens_and_log_probabilities() {
    let top = serde_json::json!([{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.5},
        {"token": "odd", "logprob": null}]);
    let server = Server::new(vec![Reply::json(&serde_json::json!({
        "choices": [{"message": {"content": "yes"}, "logprobs": {"content": [{"token": "yes", "top_logprobs": top}]}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1}
    }))]);
    let answer =
        endpoint(&server).answer(&Ask { top_log_probs: 50, seed: u64::MAX, ..ask("fits?") }).unwrap();
    assert_eq!(answer.text, "yes");
    assert_eq!(answer.top_log_probs, [[("yes".to_owned(), -0.1), ("no".to_owned(), -2.5)]]);
    assert_eq!((answer.prompt_tokens, answer.answer_tokens), (7, 1));

    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /v1/chat/completions "));
    assert!(!request.head.to_lowercase().contains("authorization"));
    assert_eq!(request.body["model"], "tiny");
    assert_eq!(request.body["messages"], serde_json::json!([{"role": "user", "content": "fits?"}]));
    assert_eq!((&request.body["logprobs"], &request.body["top_logprobs"]), (&true.into(), &20.into()));
    assert_eq!(request.body["seed"], 0x7fff_ffff);
}

#[test]
fn a_busy_server_is_waited_for_as_long_as_it_asks() {
    let busy = Reply::status(429, &[("Retry-After", "1")], "slow down");
    let server = Server::new(vec![busy, says("fine")]);
    let begin = Instant::now();
    // The back-off alone would have waited some milliseconds.
    assert_eq!(endpoint(&server).answer(&ask("x")).unwrap().text, "fine");
    assert!(begin.elapsed() >= Duration::from_secs(1));

    let server = Server::new(vec![Reply::status(503, &[("Retry-After", "1000")], "maintenance")]);
    let begin = Instant::now();
    assert!(matches!(
        failure(endpoint(&server).answer(&ask("x"))),
        ServiceFailure::Server { status: 503, .. }
    ));
    assert!(begin.elapsed() < Duration::from_millis(900), "a wait beyond the longest is not begun");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn each_failure_has_its_name_and_only_passing_ones_are_tried_again() {
    let status = |code| Reply::status(code, &[], "{\"error\": \"words of the server\"}");
    let garbled = Reply::status(200, &[], "<html>rubbish</html>");
    let reject = serde_json::json!({"error": {"message": "overloaded"}});
    type Is = fn(&ServiceFailure) -> bool;
    let cases: Vec<(Reply, usize, Is)> = vec![
        (status(401), 1, |f| matches!(f, ServiceFailure::Refused { status: 401, .. })),
        (status(403), 1, |f| matches!(f, ServiceFailure::Refused { status: 403, .. })),
        (status(404), 1, |f| matches!(f, ServiceFailure::Request { status: 404, .. })),
        (status(302), 1, |f| matches!(f, ServiceFailure::Request { status: 302, .. })),
        (status(429), 3, |f| matches!(f, ServiceFailure::RateLimited { attempts: 3, .. })),
        (status(500), 3, |f| matches!(f, ServiceFailure::Server { status: 500, .. })),
        (garbled, 3, |f| matches!(f, ServiceFailure::NotJson { .. })),
        (Reply::status(200, &[], "{\"choices\": [{\"mess"), 3, |f| {
            matches!(f, ServiceFailure::NotJson { .. })
        }),
        (Reply::status(200, &[], "{}"), 3, |f| matches!(f, ServiceFailure::NotJson { .. })),
        (Reply::status(200, &[], "{\"choices\": []}"), 1, |f| matches!(f, ServiceFailure::NoChoices { .. })),
        (Reply::json(&reject), 3, |f| matches!(f, ServiceFailure::Server { status: 200, .. })),
        (says("  \n"), 1, |f| matches!(f, ServiceFailure::Empty { .. })),
        (Reply::Hang(Duration::from_millis(900)), 3, |f| matches!(f, ServiceFailure::Timeout { .. })),
        (Reply::Reset, 3, |f| matches!(f, ServiceFailure::Unreachable { .. })),
        (says(&"long ".repeat(10_000)), 1, |f| matches!(f, ServiceFailure::TooLarge { limit: 20_000, .. })),
    ];
    for (reply, tries, expected) in cases {
        let server = Server::new(vec![reply.clone()]);
        let found = failure(endpoint(&server).answer(&ask("x")));
        assert!(expected(&found), "{reply:?} gave {found:?}");
        assert_eq!(server.requests().len(), tries, "{found}");
    }
    let closed = Server::new(vec![]).base();
    let config = EndpointConfig { patience: quick(), ..EndpointConfig::new(&closed, "tiny") };
    let found = failure(Endpoint::new(config).unwrap().answer(&ask("x")));
    assert!(matches!(found, ServiceFailure::Unreachable { .. }), "{found:?}");
}

#[test]
fn a_passing_failure_passes() {
    let server = Server::new(vec![Reply::Reset, Reply::status(500, &[], "oops"), says("fine")]);
    assert_eq!(endpoint(&server).answer(&ask("x")).unwrap().text, "fine");
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_key_is_sent_and_never_shown() {
    // Cargo sets this variable for tests; its value plays the key.
    let variable = "CARGO_MANIFEST_DIR";
    let key = std::env::var(variable).unwrap();
    let server = Server::new(vec![Reply::status(401, &[], &format!("bad key {key}!"))]);
    let config = EndpointConfig {
        key_variable: Some(variable.to_owned()),
        ..EndpointConfig::new(&server.base(), "m")
    };
    let endpoint = Endpoint::new(config.clone()).unwrap();
    let found = failure(endpoint.answer(&ask("x")));
    assert!(server.requests()[0].head.contains(&format!("Bearer {key}")));
    assert!(found.to_string().contains("bad key [key]!"), "{found}");
    assert!(!format!("{endpoint:?}").contains(&key));

    let unset = EndpointConfig { key_variable: Some("PELLUCID_NO_SUCH_KEY".to_owned()), ..config };
    assert!(matches!(Endpoint::new(unset), Err(EndpointError::NoKey { .. })));
}

#[test]
fn an_address_that_is_none_is_refused() {
    for base in
        ["", "localhost:80", "ftp://x", "http://", "http://user:word@host", "http://h?x=1", "http://a b"]
    {
        let found = Endpoint::new(EndpointConfig::new(base, "m"));
        assert!(matches!(found, Err(EndpointError::Address { .. })), "{base}: {found:?}");
    }
    let name = |base| Endpoint::new(EndpointConfig::new(base, "m")).unwrap().name().to_owned();
    assert_eq!(name("http://host:1/v1/"), "m@host:1");
    assert_eq!(name("https://host:1"), "m@host:1");
}

#[test]
fn a_begun_answer_is_asked_for_in_words_and_taken_off() {
    let server = Server::new(vec![says("Words about animals"), says("animals")]);
    let begun = Ask { prefill: "words about".to_owned(), ..ask("what?") };
    let endpoint = endpoint(&server);
    assert_eq!(endpoint.answer(&begun).unwrap().text, " animals");
    assert_eq!(endpoint.answer(&begun).unwrap().text, "animals");
    assert_eq!(
        server.requests()[0].body["messages"][0]["content"],
        "what?\n\nAnswer beginning with: words about"
    );
}

#[test]
fn embeddings_are_of_length_one_and_in_the_order_of_the_texts() {
    let of = |vectors: &[(usize, [f32; 2])]| {
        let data: Vec<_> =
            vectors.iter().map(|(i, v)| serde_json::json!({"index": i, "embedding": v})).collect();
        Reply::json(&serde_json::json!({"data": data}))
    };
    let server = Server::new(vec![
        of(&[(0, [3.0, 4.0])]),
        of(&[(1, [0.0, -2.0]), (0, [3.0, 4.0])]),
        of(&[(0, [0.0, 0.0]), (1, [1.0, 0.0])]),
    ]);
    let embedder =
        EmbeddingEndpoint::connect(&server.base(), "mini", None, &Patience { attempts: 1, ..quick() });
    let embedder = embedder.unwrap();
    assert_eq!(embedder.width(), 2);
    assert_eq!(embedder.embed(&["a", "b"]).unwrap(), [[0.6, 0.8], [0.0, -1.0]]);
    assert!(embedder.embed(&["a", "b"]).is_err(), "a vector of zeros has no direction");
    assert!(server.requests()[1].head.starts_with("POST /v1/embeddings "));
}

// ---- limits, cache -----------------------------------------------------------------------------------------

/// Answers with the question's text in capitals, after a while; counts.
struct Echo {
    calls: AtomicUsize,
    most: AtomicUsize,
    now: AtomicUsize,
    down: bool,
}

impl Echo {
    fn new(down: bool) -> Self {
        Self { calls: AtomicUsize::new(0), most: AtomicUsize::new(0), now: AtomicUsize::new(0), down }
    }
}

impl Chat for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        self.now.fetch_sub(1, Ordering::SeqCst);
        if self.down {
            return Err(ServiceFailure::Unreachable { reason: "gone".into(), url: "there".into() }.into());
        }
        let text = ask.messages[0].content.to_uppercase();
        Ok(Answer {
            text,
            top_log_probs: vec![vec![("A".into(), -0.25), ("B".into(), f32::NEG_INFINITY)]],
            prompt_tokens: 10,
            answer_tokens: 2,
        })
    }
}

fn asks(n: usize) -> Vec<Ask> {
    (0..n).map(|i| ask(&format!("q{i}"))).collect()
}

const FREE: Limits = Limits { token_budget: None, unreachable_in_a_row: 3 };

#[test]
fn answers_come_in_order_and_no_more_at_once_than_allowed() {
    let chat = Echo::new(false);
    let heard = AtomicUsize::new(0);
    let answers = ask_all(&chat, &asks(40), 4, &|_| _ = heard.fetch_add(1, Ordering::Relaxed));
    let texts: Vec<String> = answers.into_iter().map(|a| a.unwrap().text).collect();
    assert_eq!(texts, (0..40).map(|i| format!("Q{i}")).collect::<Vec<_>>());
    assert_eq!(heard.load(Ordering::Relaxed), 40);
    let most = chat.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at once");
    assert!(ask_all(&chat, &[], 4, &|_| {}).is_empty());
}

#[test]
fn the_budget_is_never_overdrawn_and_the_rest_says_why() {
    let (chat, stop) = (Echo::new(false), AtomicBool::new(false));
    let meter = Meter::new(&chat, None, Limits { token_budget: Some(100), ..FREE }, &stop);
    let answers = ask_all(&meter, &asks(30), 3, &|_| {});
    let cost = meter.cost();
    assert!(cost.read + cost.written <= 100, "{cost}");
    assert!(cost.answered >= 5, "{cost}");
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count() as u64, cost.answered);
    let error = answers.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(error.downcast_ref(), Some(Stopped::Budget { budget: 100, .. })), "{error}");
    let price = Price { read: 2.0, written: 10.0 };
    let money = (cost.read as f64 * 2.0 + cost.written as f64 * 10.0) / 1e6;
    assert!((cost.money(price) - money).abs() < 1e-12);
}

#[test]
fn a_service_that_is_gone_is_not_asked_for_ever() {
    let (chat, stop) = (Echo::new(true), AtomicBool::new(false));
    let meter = Meter::new(&chat, None, FREE, &stop);
    let answers = ask_all(&meter, &asks(30), 1, &|_| {});
    assert_eq!(chat.calls.load(Ordering::SeqCst), 3);
    assert!(answers.iter().all(Result::is_err));
    assert!(matches!(meter.stopped(), Some(Stopped::Unreachable { failures: 3, .. })));
    assert_eq!(meter.cost().failed, 3);
}

#[test]
fn an_interruption_is_heard_between_questions_and_while_waiting() {
    let (chat, stop) = (Echo::new(false), AtomicBool::new(false));
    let meter = Meter::new(&chat, None, FREE, &stop);
    let answers = ask_all(&meter, &asks(50), 2, &|done| stop.store(done >= 5, Ordering::Relaxed));
    let good = answers.iter().filter(|a| a.is_ok()).count();
    assert!((5..10).contains(&good), "{good}");
    assert_eq!(meter.stopped(), Some(Stopped::Interrupted));

    let server = Server::new(vec![Reply::status(429, &[("Retry-After", "2")], "later")]);
    let flag = Arc::new(AtomicBool::new(false));
    let waiting = endpoint(&server).stopped_by(flag.clone());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            flag.store(true, Ordering::Relaxed);
        });
        assert_eq!(failure(waiting.answer(&ask("x"))), ServiceFailure::Interrupted);
    });
    assert!(begin.elapsed() < Duration::from_millis(1500));
}

#[test]
fn what_was_answered_once_is_not_asked_again_and_failures_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let stop = AtomicBool::new(false);
    let first = {
        let (chat, cache) = (Echo::new(false), AnswerCache::open(&path).unwrap());
        assert!(matches!(AnswerCache::open(&path), Err(CacheError::Locked { .. })));
        let meter = Meter::new(&chat, Some(&cache), FREE, &stop);
        ask_all(&meter, &asks(6), 2, &|_| {}).into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let (chat, cache) = (Echo::new(true), AnswerCache::open(&path).unwrap());
    let meter = Meter::new(&chat, Some(&cache), FREE, &stop);
    let again = ask_all(&meter, &asks(8), 2, &|_| {});
    for (old, new) in first.iter().zip(&again) {
        let new = new.as_ref().unwrap();
        assert_eq!((&old.text, old.prompt_tokens), (&new.text, new.prompt_tokens));
        assert_eq!(new.top_log_probs[0][0], ("A".to_owned(), -0.25));
        assert_eq!(new.top_log_probs[0][1].1.exp(), 0.0, "an impossible token stays impossible");
    }
    assert!(again[6].is_err() && again[7].is_err());
    assert_eq!((meter.cost().cached, meter.cost().failed, cache.len()), (6, 2, 6));
}

#[test]
fn a_torn_last_line_is_dropped_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answers.jsonl");
    let key = |i: usize| AskHash::of("m", &ask(&format!("q{i}")));
    let answer =
        |text: &str| Answer { text: text.into(), top_log_probs: vec![], prompt_tokens: 1, answer_tokens: 1 };
    let cache = AnswerCache::open(&path).unwrap();
    (0..3).for_each(|i| cache.put(key(i), &answer(&format!("a{i}\n\"é\""))).unwrap());
    drop(cache);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let cache = AnswerCache::open(&path).unwrap();
        let kept = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(cache.len(), kept, "cut at {cut}");
        cache.put(key(7), &answer("new")).unwrap();
        drop(cache);
        let cache = AnswerCache::open(&path).unwrap();
        assert_eq!((cache.len(), cache.damaged()), (kept + 1, 0));
        assert_eq!(cache.get(key(7)).unwrap().text, "new");
        (0..kept).for_each(|i| assert_eq!(cache.get(key(i)).unwrap().text, format!("a{i}\n\"é\"")));
    }
    let mut spoiled = b"not json\n".to_vec();
    spoiled.extend_from_slice(&whole);
    fs::File::create(&path).unwrap().write_all(&spoiled).unwrap();
    let cache = AnswerCache::open(&path).unwrap();
    assert_eq!((cache.len(), cache.damaged()), (3, 1));
    assert_eq!(cache.get(key(2)).unwrap().text, "a2\n\"é\"");
}

#[test]
fn every_field_of_a_question_is_in_its_name() {
    let base = ask("x");
    let message = |role, content: &str| Message { role, content: content.into() };
    let others = [
        Ask { messages: vec![message("system", "x")], ..base.clone() },
        Ask { messages: vec![message("user", "y")], ..base.clone() },
        Ask { messages: vec![message("user", "x"), message("user", "")], ..base.clone() },
        Ask { prefill: "x".into(), ..base.clone() },
        Ask { max_tokens: 9, ..base.clone() },
        Ask { temperature: 0.5, ..base.clone() },
        Ask { seed: 6, ..base.clone() },
        Ask { top_log_probs: 1, ..base.clone() },
    ];
    let mut names: Vec<AskHash> = others.iter().map(|a| AskHash::of("m", a)).collect();
    names.extend([AskHash::of("m", &base), AskHash::of("n", &base)]);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), others.len() + 2);
    assert_eq!(AskHash::of("m", &base), AskHash::of("m", &base.clone()));
}
