//! Describing and scoring with a language model through the command line: what is written, what it costs, what goes on
//! after a stop, and what is said when the model cannot be asked.

#![allow(clippy::expect_used, clippy::unwrap_used)] // helpers of tests are tests too

mod place;
#[path = "../../pellucid-describe/tests/llm/server.rs"]
mod server;

use pellucid::core::{Polarity, Split};
use pellucid::describe::evidence::evidence;
use pellucid::describe::measure::windows_hash;
use pellucid::describe::{Evidence, Example};
use pellucid::store::atlas::{Atlas, Score, ScoreKind, Written};
use place::{Place, command, json, ok};
use serde_json::Value;
use server::{Reply, Server};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// A model that writes the same words about everything and believes that they hold on every token with an `a`.
fn think(body: &Value) -> String {
    let messages = body["messages"].as_array().unwrap();
    let last = messages.last().unwrap()["content"].as_str().unwrap();
    if last.contains("Answer with one word") {
        let passage = last.lines().find_map(|l| l.strip_prefix("Text: ")).unwrap();
        return if passage.contains('a') { "yes".to_owned() } else { "no".to_owned() };
    }
    if last.starts_with("1: ") {
        let digit = |token: &str| if token.contains('a') { 9 } else { 0 };
        let line =
            |(i, l): (usize, &str)| format!("{}: {}\n", i + 1, digit(l.split_once(": ").map_or("", |p| p.1)));
        return last.lines().enumerate().map(line).collect();
    }
    "They all hold one.\n[DESCRIPTION]: tokens with the letter a".to_owned()
}

/// An atlas of a tiny model, described by patterns.
struct Described {
    place: Place,
    atlas: String,
}

impl Described {
    fn new() -> Self {
        let place = Place::new(120);
        let atlas = place.path("a.atlas");
        ok(&place.build(&atlas, &[]));
        Described { place, atlas }
    }

    /// A command on the atlas that asks a server, without waiting long.
    fn asks<'a>(&'a self, verb: &'a str, base: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["atlas", verb, "--llm", base, "--llm-model", "thinker", "--no-embed"];
        all.extend(self.place.of(&self.atlas));
        all.extend(["--llm-timeout", "1", "--llm-attempts", "1", "--concurrency", "2"]);
        if verb == "describe" {
            all.extend(["--explainer", "llm", "--candidates", "1"]);
        }
        all.extend(more);
        all
    }

    fn open(&self) -> Atlas {
        Atlas::open_read(Path::new(&self.atlas)).unwrap()
    }

    /// Every text and every reason in the atlas.
    fn words(&self) -> Vec<(String, String)> {
        let atlas = self.open();
        let mut words = Vec::new();
        for row in atlas.sites().unwrap() {
            for index in 0..row.width {
                for polarity in [Polarity::Positive, Polarity::Negative] {
                    for (_, d) in atlas.descriptions(row.site, index, polarity).unwrap() {
                        words.push((
                            d.explainer.name,
                            match d.written {
                                Written::Text { text, .. } => text,
                                Written::None { reason } => reason,
                            },
                        ));
                    }
                }
            }
        }
        words
    }

    /// What is known of a side, as the scorers read it.
    fn evidence(&self, unit: &str) -> Evidence {
        let atlas = self.open();
        let (site, index) = unit.rsplit_once('/').unwrap();
        let (site, index) = (site.parse().unwrap(), index.parse().unwrap());
        let harvest = atlas.unit(site, index).unwrap().unwrap();
        let windows = atlas.windows_of(site, index).unwrap();
        let windows = windows.into_iter().map(|w| ((w.document, w.index), w)).collect();
        evidence(site, index, Polarity::Positive, &harvest, &windows, &[], [Vec::new(), Vec::new()])
    }

    fn scores(&self, unit: &str) -> Vec<(String, Score)> {
        let atlas = self.open();
        let (site, index) = unit.rsplit_once('/').unwrap();
        let (site, index) = (site.parse().unwrap(), index.parse().unwrap());
        let of = atlas.descriptions(site, index, Polarity::Positive).unwrap().into_iter();
        of.flat_map(|(id, d)| {
            atlas.scores(id).unwrap().into_iter().map(move |s| (d.explainer.name.clone(), s))
        })
        .collect()
    }
}

#[test]
fn a_score_names_its_windows_and_the_explainer_saw_none_of_them() {
    let made = Described::new();
    let mut checked = 0;
    for index in 0..20 {
        let unit = format!("mlp_act.1/{index}");
        let evidence = made.evidence(&unit);
        let on_test =
            |(_, s): &(String, Score)| s.kind == ScoreKind::Simulation && s.split == Some(Split::Test);
        let Some((_, score)) = made.scores(&unit).into_iter().find(on_test) else { continue };
        assert_eq!(score.windows, Some(windows_hash(&evidence.test)), "{unit}");
        assert_ne!(score.windows, Some(windows_hash(&evidence.train)), "{unit}");
        let documents =
            |examples: &[Example]| -> BTreeSet<_> { examples.iter().map(|e| e.document).collect() };
        let (seen, scored) = (documents(&evidence.train), documents(&evidence.test));
        assert!(!seen.is_empty() && !scored.is_empty() && seen.is_disjoint(&scored), "{unit}");
        checked += 1;
    }
    assert!(checked > 5, "only {checked} of 20 units have a score");
}

#[test]
fn a_language_model_describes_what_was_asked_for_once_and_its_cost_is_told() {
    let made = Described::new();
    let server = Server::new(vec![Reply::Think(think)]);
    let base = server.base();
    let units =
        ["--units", "mlp_act.1/3,mlp_act.0/5-,sample:4", "--price-read", "2", "--price-written", "10"];
    let first = json(&made.asks("describe", &base, &units));
    let llm = &first["llm"];
    let (sides, spent) = (llm["sides"].as_u64().unwrap(), &llm["spent"]);
    assert!(first["patterns"].is_null() && (4..=7).contains(&sides), "{first}");
    let count = |name: &str| llm[name].as_u64().unwrap();
    assert_eq!(count("won") + count("kept") + count("without"), sides);
    let asked = server.requests().len();
    assert_eq!(spent["answered"].as_u64().unwrap(), asked as u64);
    let money =
        (spent["tokens_read"].as_u64().unwrap() * 2 + spent["tokens_written"].as_u64().unwrap() * 10) as f64;
    assert!((spent["money"].as_f64().unwrap() - money / 1e6).abs() < 1e-12);
    let ours: Vec<String> = made.words().into_iter().filter(|w| w.0 == "llm").map(|w| w.1).collect();
    assert_eq!(ours.len() as u64, sides);
    assert!(ours.iter().any(|w| w == "tokens with the letter a"), "{ours:?}");

    // both competitors are judged on validation by simulation, each by its own means
    let both = made.scores("mlp_act.1/3");
    let by = |who: &str, scorer: &str| {
        let fits = |(name, s): &&(String, Score)| {
            name == who && s.split == Some(Split::Validation) && s.scorer.contains(scorer)
        };
        both.iter().find(fits).cloned()
    };
    let ours = by("llm", "thinker").expect("the candidate's score").1;
    assert!(ours.windows.is_some() && ours.n.is_some() && ours.interval.is_some());
    if both.iter().any(|(name, _)| name == "patterns") {
        assert!(by("patterns", "").is_some(), "{both:?}");
    }

    // again: nothing is left to do; with the rows gone, the answers are still there
    let again = json(&made.asks("describe", &base, &units));
    assert_eq!((&again["llm"]["sides"], &again["llm"]["found"]), (&Value::from(0), &Value::from(sides)));
    assert_eq!(server.requests().len(), asked);
    assert!(ok(&made.asks("describe", &base, &units)).contains("cost 0.0000"));
}

#[test]
fn a_stopped_run_goes_on_with_the_answers_it_had_to_the_same_rows() {
    let whole = Described::new();
    let cut = Described::new();
    let server = Server::new(vec![Reply::Think(think)]);
    let base = server.base();
    let units = ["--units", "mlp_act.0/0,mlp_act.0/1,mlp_act.1/2,mlp_act.1/9"];
    ok(&whole.asks("describe", &base, &units));
    let asked = server.requests().len();
    let budget = [&units[..], &["--budget-tokens", "3500"]].concat();
    let stopped = command(&cut.asks("describe", &base, &budget)).output().unwrap();
    let said = String::from_utf8(stopped.stderr).unwrap();
    assert!(!stopped.status.success() && said.contains("token budget of 3500 is used up"), "{said}");
    assert!(said.contains("run the same command again"), "{said}");
    let before = server.requests().len() - asked;
    assert!(before > 0 && before < asked, "{before} of {asked} questions");
    ok(&cut.asks("describe", &base, &units));
    // two units at a time may ask the same at the same time; what was answered before the stop is not asked again
    let requests = server.requests();
    let bodies =
        |part: &[server::Request]| -> BTreeSet<String> { part.iter().map(|r| r.body.to_string()).collect() };
    let (first, rest) = requests[asked..].split_at(before);
    assert!(!rest.is_empty() && bodies(first).is_disjoint(&bodies(rest)), "something is asked twice");
    assert_eq!(cut.words(), whole.words());
    let content = |made: &Described| made.open().content_hash().unwrap();
    assert_eq!(content(&cut), content(&whole));
}

#[test]
fn chosen_descriptions_are_scored_in_every_way_with_a_null_and_once() {
    let made = Described::new();
    let server = Server::new(vec![Reply::Think(think)]);
    let base = server.base();
    let ways = ["--by", "simulate,detect,fuzz", "--units", "sample:5"];
    let done = json(&made.asks("score", &base, &ways));
    let count = |name: &str| done[name].as_u64().unwrap();
    assert_eq!(count("scores") + count("unjudged"), 15, "{done}");
    assert!(count("scores") >= 5 && count("failed") == 0, "{done}");
    let atlas = made.open();
    let scorers = atlas.scorers().unwrap();
    let scorer = scorers.iter().find(|s| s.contains("thinker")).expect("the model is named");
    let scores = atlas.scores_by(scorer, Split::Test).unwrap();
    assert_eq!(scores.len() as u64, count("scores"));
    for (id, score) in &scores {
        assert!(score.null.is_some() && score.interval.is_some() && score.windows.is_some(), "{score:?}");
        assert_eq!((score.split, score.seed), (Some(Split::Test), Some(0)));
        assert!(atlas.description(*id).unwrap().chosen);
        let own = atlas.scores(*id).unwrap();
        assert!(own.iter().any(|s| s.scorer.is_empty()), "the description's own score stays");
    }
    drop(atlas);
    let asked = server.requests().len();
    let again = json(&made.asks("score", &base, &ways));
    assert_eq!((again["scores"].as_u64(), again["found"].as_u64()), (Some(0), Some(count("scores"))));
    assert_eq!(server.requests().len(), asked);
    let show = ok(&[&["atlas", "stats"], &made.place.of(&made.atlas)[..]].concat());
    assert!(show.contains("sides described"), "{show}");
}

#[test]
fn a_server_that_cannot_be_asked_is_said_and_leaves_no_words() {
    let made = Described::new();
    let before = made.words();
    let status =
        |code, headers: &[(&str, &str)]| Reply::status(code, headers, "{\"error\": \"server words\"}");
    let cases: Vec<(Reply, &str)> = vec![
        (Reply::Hang(Duration::from_millis(1500)), "no answer within 1 s"),
        (Reply::status(200, &[], "<html>rubbish</html>"), "expected JSON"),
        (Reply::status(200, &[], "{\"choices\": []}"), "no choice"),
        (status(401, &[]), "check the key"),
        (status(429, &[("Retry-After", "0")]), "slow down"),
        (status(503, &[]), "failed with status 503"),
        (Reply::Reset, "could not talk to the service"),
    ];
    for (reply, naming) in cases {
        let server = Server::new(vec![reply.clone()]);
        let base = server.base();
        for verb in ["describe", "score"] {
            let output = command(&made.asks(verb, &base, &["--units", "mlp_act.0/1,sample:8"]))
                .env("OPENAI_API_KEY", "sk-not-to-be-shown")
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            // a question without an answer is no score, and no failure of the run
            assert!(
                !output.status.success() || (verb == "score" && naming == "no choice"),
                "{verb} {reply:?} succeeded"
            );
            let all = format!("{said}{}", String::from_utf8(output.stdout).unwrap());
            assert!(!all.contains("panicked") && !all.contains("sk-not"), "{all}");
            let naming = if naming == "no choice" { "of choices" } else { naming };
            assert!(all.contains(naming), "{verb} {reply:?} should name {naming:?}: {all}");
            assert_eq!(made.words(), before, "{verb} {reply:?}");
        }
        assert!(server.requests().iter().all(|r| r.head.contains("sk-not-to-be-shown")));
    }
    // afterwards the same command does its work, and nothing of the failures is in it
    let server = Server::new(vec![Reply::Think(think)]);
    let done = json(&made.asks("describe", &server.base(), &["--units", "mlp_act.0/1,sample:8"]));
    assert!(done["llm"]["sides"].as_u64().unwrap() >= 8, "{done}");
    let bad = ["server words", "rubbish", "status", "http"];
    assert!(made.words().iter().all(|(_, words)| bad.iter().all(|b| !words.contains(b))));
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let made = Described::new();
    let of = made.place.of(&made.atlas);
    let refused = |more: &[&str], naming: &str| place::fails(&[more, &of[..]].concat(), naming);
    refused(&["atlas", "describe", "--explainer", "llm"], "--llm");
    refused(&["atlas", "describe", "--llm", "http://localhost:1"], "--explainer llm");
    refused(&["atlas", "score", "--llm", "http://localhost:1"], "--llm-model");
    refused(&["atlas", "score", "--llm", "gopher", "--llm-model", "m"], "expected an address");
    refused(&["atlas", "score", "--llm", "local:"], "names no model");
    refused(
        &[
            "atlas",
            "score",
            "--llm",
            "http://localhost:1",
            "--llm-model",
            "m",
            "--llm-key-env",
            "NO_SUCH_KEY",
        ],
        "NO_SUCH_KEY",
    );
    refused(&["atlas", "describe", "--units", "mlp_act.77"], "is not in");
    refused(&["atlas", "describe", "--units", "mlp_act"], "expected a site");
    // a model whose context is too short for the prompts says so, and writes nothing
    let before = made.words();
    let local = format!("local:{}", made.place.model);
    let mut arguments = vec!["atlas", "describe", "--explainer", "llm", "--llm", &local, "--no-embed"];
    arguments.extend(["--units", "mlp_act.0/1"]);
    refused(&arguments, "context is 128");
    assert_eq!(made.words(), before);
    let missing = made.place.path("missing.atlas");
    let none = ["--model", &made.place.model, "--atlas", &missing, "--llm", "http://x", "--llm-model", "m"];
    place::fails(&[&["atlas", "score"], &none[..]].concat(), "there is no atlas");
    assert!(!Path::new(&format!("{missing}.answers")).exists());
}
