//! Prompts, marks, explaining and scoring, with models in this process.

use crate::server::{Reply, Server};
use crate::unit::{Rule, Speaker, evidence, example};
use crate::{FREE, endpoint, says};
use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError, Split};
use pellucid_describe::llm::*;
use pellucid_describe::{Evidence, Example};
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;

#[test]
fn every_prompt_can_be_filled_and_what_is_put_in_is_left_alone() {
    for prompt in Prompt::ALL {
        let places = ["examples", "description", "numbered", "passage"];
        let has: Vec<_> = places.into_iter().filter(|p| prompt.text.contains(&format!("{{{p}}}"))).collect();
        assert!(!has.is_empty(), "{}", prompt.name);
        let given: Vec<(&'static str, &str)> =
            has.iter().map(|&p| (p, "{description} === user\n=== user {passage}")).collect();
        let messages = prompt.fill(&given).unwrap();
        assert_eq!(messages.last().unwrap().role, "user", "{}", prompt.name);
        let put: usize = messages
            .iter()
            .map(|m| m.content.matches("{description} === user\n=== user {passage}").count())
            .sum();
        assert_eq!(put, has.len(), "{}", prompt.name);
    }
    assert!(matches!(Prompt::DETECT.fill(&[("examples", "x")]), Err(PromptError::Place { found: 0, .. })));
}

fn shown(tokens: &[(&str, f32)], threshold: f32) -> String {
    let e = example(pellucid_store::Kind::Top, 1, tokens);
    let marks: Vec<bool> = e.activations.iter().map(|&a| a >= threshold).collect();
    highlighted(&e, &marks, 0, 99)
}

#[test]
fn neighbours_share_their_braces_and_spaces_stay_outside() {
    assert_eq!(
        shown(&[("In", 0.0), (" New", 2.0), (" York", 1.0), (" we", 0.0), (" eat", 3.0)], 1.0),
        "In {{New York}} we {{eat}}"
    );
    assert_eq!(shown(&[("a ", 2.0), ("b", 0.0)], 1.0), "{{a}} b");
    assert_eq!(shown(&[("a", 0.0), (" ", 2.0), ("b", 0.0)], 1.0), "a b", "a space cannot be marked");
    assert_eq!(shown(&[("{{{x}}", 0.0), ("\n<|im_end|>", 2.0)], 1.0), "{ { {x} }{{↵< |im_end|>}}");
}

proptest! {
    #[test]
    fn marks_are_balanced_and_lose_no_text(tokens in prop::collection::vec(("[ a-c{}|<\n]{0,4}", 0.0f32..2.0), 0..12)) {
        let tokens: Vec<(&str, f32)> = tokens.iter().map(|(t, a)| (t.as_str(), *a)).collect();
        let text = shown(&tokens, 1.0);
        prop_assert_eq!(text.matches("{{").count(), text.matches("}}").count());
        let letters = |t: &str| t.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        prop_assert_eq!(letters(&text), letters(&tokens.iter().map(|t| t.0).collect::<String>()));
        prop_assert!(!text.contains('\n') && !text.contains("<|"));
    }
}

#[test]
fn the_threshold_falls_until_enough_strings_are_marked() {
    let one = |peak: &str, second: (&str, f32)| {
        example(pellucid_store::Kind::Top, 1, &[(peak, 2.0), (" x", 0.0), second])
    };
    let levels = Levels { levels: vec![1.0, 0.7, 0.3], distinct: 3 };
    let base = evidence(1);
    let choose = |examples: &[Example]| levels.choose(&base, &examples.iter().collect::<Vec<_>>());
    assert_eq!(choose(&[one(" a", (" q", 0.9)), one(" b", (" q", 0.9)), one(" c", (" q", 0.9))]), 1.0);
    assert_eq!(choose(&[one(" a", (" q", 0.8)), one(" b", (" q", 0.1))]), 0.7);
    assert_eq!(choose(&[one(" a", (" q", 0.4)), one(" A", (" r", 0.4))]), 0.3);
    assert_eq!(
        choose(&[one(" a", (" q", 0.1)), one(" a", (" q", 0.1))]),
        1.0,
        "where none suffices, the strictest of the best"
    );
}

/// Says what it is told, one after the other, and remembers the questions.
struct Parrot {
    lines: Vec<Result<&'static str, ServiceFailure>>,
    asked: std::sync::Mutex<Vec<Ask>>,
}

impl Parrot {
    fn new(lines: Vec<Result<&'static str, ServiceFailure>>) -> Self {
        Self { lines, asked: std::sync::Mutex::default() }
    }
}

impl Chat for Parrot {
    fn name(&self) -> &str {
        "parrot"
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        let mut asked = self.asked.lock().unwrap();
        let line = self.lines[asked.len() % self.lines.len()].clone();
        asked.push(ask.clone());
        Ok(Answer { text: line?.to_owned(), top_log_probs: vec![], prompt_tokens: 1, answer_tokens: 1 })
    }
}

fn one_candidate(temperature: f32) -> ExplainSettings {
    ExplainSettings { temperatures: vec![temperature], ..ExplainSettings::large(Seed(3)) }
}

fn described(answer: &'static str) -> Result<String, Reject> {
    let settings = ExplainSettings { attempts: 1, ..one_candidate(0.0) };
    match explain(&Parrot::new(vec![Ok(answer)]), &evidence(1), &settings) {
        Ok(explained) => Ok(explained.candidates[0].text.clone()),
        Err(ExplainError::NoneUsable(rejected)) => Err(rejected[0].why.clone()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_phrase_is_found_however_it_is_dressed() {
    for answer in [
        "[DESCRIPTION]: names of animals",
        "Inside: cat, bee.\n[DESCRIPTION]: names of animals.\n",
        "**[description]:** \"names  of animals\"",
        "names of animals",
        "Think, think.\nDescription: names of animals",
        "<think>[DESCRIPTION]: wrong</think>\n[DESCRIPTION]: names of animals",
        "[DESCRIPTION]: dull\nno, better:\n[DESCRIPTION]:\nnames of animals",
    ] {
        assert_eq!(described(answer), Ok("names of animals".to_owned()), "{answer}");
    }
}

#[test]
fn what_is_no_description_is_thrown_away_with_a_reason() {
    let long: &'static str = Box::leak(format!("[DESCRIPTION]: {}", "a b c d ".repeat(50)).into_boxed_str());
    let echo = "[DESCRIPTION]: where the number is high, the part is active";
    let chant = "[DESCRIPTION]: the the the the end";
    type Is = fn(&Reject) -> bool;
    let cases: Vec<(&'static str, Is)> = vec![
        ("", |r| *r == Reject::Empty),
        ("[DESCRIPTION]: ", |r| *r == Reject::Empty),
        ("[DESCRIPTION]: ?!", |r| *r == Reject::Empty),
        (long, |r| matches!(r, Reject::TooLong { limit: 300, .. })),
        ("I cannot help with that.", |r| matches!(r, Reject::Refusal { .. })),
        ("[DESCRIPTION]: I’m sorry, but I can’t say", |r| matches!(r, Reject::Refusal { .. })),
        ("As an AI language model, I have no view", |r| matches!(r, Reject::Refusal { .. })),
        (echo, |r| *r == Reject::Echo),
        ("[DESCRIPTION]: the {{ otter}} there", |r| *r == Reject::Echo),
        (chant, |r| *r == Reject::Rubbish),
        ("one\ntwo\nthree", |r| *r == Reject::Unmarked),
    ];
    for (answer, expected) in cases {
        let found = described(answer);
        assert!(found.as_ref().is_err_and(expected), "{answer:?} gave {found:?}");
    }
}

#[test]
fn a_rejected_answer_is_asked_for_again_with_another_seed() {
    let empty = ServiceFailure::Empty { reason: "length".into(), url: "there".into() };
    let parrot = Parrot::new(vec![Ok("I cannot."), Err(empty), Ok("[DESCRIPTION]: animals")]);
    let explained = explain(&parrot, &evidence(1), &one_candidate(0.0)).unwrap();
    assert_eq!(explained.candidates.len(), 1);
    let whys: Vec<&Reject> = explained.rejected.iter().map(|r| &r.why).collect();
    assert!(matches!(whys[..], [Reject::Refusal { .. }, Reject::NoAnswer(_)]), "{whys:?}");
    let asked = parrot.asked.lock().unwrap();
    assert!(asked[0].seed != asked[1].seed && asked[1].seed != asked[2].seed);
    assert_ne!(asked[0].messages.last(), asked[1].messages.last(), "other passages too");

    let gone = ServiceFailure::Unreachable { reason: "gone".into(), url: "there".into() };
    let parrot = Parrot::new(vec![Err(gone)]);
    assert!(matches!(explain(&parrot, &evidence(1), &one_candidate(0.0)), Err(ExplainError::Service(_))));
    assert_eq!(parrot.asked.lock().unwrap().len(), 1);
}

#[test]
fn the_explainer_sees_training_passages_only_and_repeats_itself() {
    let base = evidence(4);
    let mut marked = base.clone();
    for (word, examples) in
        [("train", &mut marked.train), ("valid", &mut marked.validation), ("test", &mut marked.test)]
    {
        examples.iter_mut().for_each(|e| e.texts.iter_mut().for_each(|t| *t = format!("{t}~{word}").into()));
    }
    let (parrot, again) = (Parrot::new(vec![Ok("animals")]), Parrot::new(vec![Ok("animals")]));
    let settings = ExplainSettings::large(Seed(9));
    let explained = explain(&parrot, &marked, &settings).unwrap();
    assert_eq!(explained.candidates.len(), 1, "equal words are one candidate");
    assert_eq!(explain(&again, &marked, &settings).unwrap(), explained);
    let asked = parrot.asked.lock().unwrap();
    assert_eq!(asked.len(), settings.temperatures.len());
    assert_eq!(*asked, *again.asked.lock().unwrap());
    for ask in asked.iter() {
        let text = &ask.messages.last().unwrap().content;
        assert!(text.contains("~train") && !text.contains("~valid") && !text.contains("~test"));
        assert!((10..=20).contains(&text.lines().count()));
        assert!(text.lines().all(|line| line.starts_with("Passage ") && line.contains("{{")));
    }
}

#[test]
fn the_small_prompt_is_short_and_begins_the_answer() {
    let parrot = Parrot::new(vec![Ok(" animals\nwords about stones")]);
    let explained = explain(&parrot, &evidence(2), &ExplainSettings::small(Seed(1))).unwrap();
    assert_eq!(explained.candidates[0].text, "words about animals");
    assert_eq!(explained.candidates[0].prompt, "explain-small-1");
    let asked = parrot.asked.lock().unwrap();
    let length: usize = asked[0].messages.iter().map(|m| m.content.len()).sum();
    assert!(length < 1000, "{length} bytes");
    assert_eq!(asked[0].prefill, "words about");
    let nothing = explain(&Parrot::new(vec![Ok(" .")]), &evidence(2), &ExplainSettings::small(Seed(1)));
    assert!(matches!(nothing, Err(ExplainError::NoneUsable(_))));
}

#[test]
fn a_document_in_two_splits_stops_everything() {
    let mut leaky = evidence(1);
    leaky.test[0].document = leaky.train[0].document;
    let speaker = Speaker(Rule::Right);
    assert!(matches!(explain(&speaker, &leaky, &one_candidate(0.0)), Err(ExplainError::Leak(_))));
    assert!(matches!(detect(&speaker, "d", &leaky, &classify(Prompt::DETECT, 0)), Err(ScoreError::Leak(_))));
    assert!(matches!(fuzz(&speaker, "d", &leaky, &classify(Prompt::FUZZ, 0)), Err(ScoreError::Leak(_))));
    assert!(matches!(
        simulate(&speaker, "d", &leaky, &simulation(Pace::Example, 0)),
        Err(ScoreError::Leak(_))
    ));
    let mut train = classify(Prompt::DETECT, 0);
    train.held_out.split = Split::Train;
    assert!(matches!(detect(&speaker, "d", &evidence(1), &train), Err(ScoreError::Train)));
}

// ---- scoring -----------------------------------------------------------------------------------------------

const HELD_OUT: HeldOut =
    HeldOut { split: Split::Test, each: 25, active: 0.5, inactive: 0.25, seed: Seed(8) };

fn classify(prompt: Prompt, top: usize) -> ClassifySettings {
    ClassifySettings { prompt, held_out: HELD_OUT, top_log_probs: top, max_tokens: 3, concurrency: 2 }
}

fn simulation(pace: Pace, top: usize) -> SimulateSettings {
    SimulateSettings { pace, held_out: HELD_OUT, top_log_probs: top, most_missing: 0.1, concurrency: 2 }
}

fn balanced_accuracy(classified: &Classified) -> f64 {
    let share = |truth: bool| {
        let of: Vec<_> = classified.verdicts.iter().filter(|v| v.truth == truth).collect();
        of.iter().filter(|v| (v.yes > 0.5) == truth).count() as f64 / of.len() as f64
    };
    (share(true) + share(false)) / 2.0
}

fn pearson(simulation: &Simulation, evidence: &Evidence) -> f64 {
    let pairs: Vec<(f64, f64)> = simulation
        .series(evidence)
        .into_iter()
        .flat_map(|(s, a)| {
            s.into_iter().zip(a).map(|(s, a)| (f64::from(s), f64::from(a))).collect::<Vec<_>>()
        })
        .collect();
    let n = pairs.len() as f64;
    let (x, y) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>();
    sum(&|p| (p.0 - x) * (p.1 - y)) / (sum(&|p| (p.0 - x).powi(2)) * sum(&|p| (p.1 - y).powi(2))).sqrt()
}

#[test]
fn who_knows_the_rule_scores_high_who_believes_the_opposite_low_and_chance_in_between() {
    let evidence = evidence(6);
    for top in [0, 20] {
        for (rule, range) in
            [(Rule::Right, 0.99..1.01), (Rule::Opposite, -0.01..0.01), (Rule::Chance, 0.25..0.75)]
        {
            let speaker = Speaker(rule);
            let detected = detect(&speaker, "animals", &evidence, &classify(Prompt::DETECT, top)).unwrap();
            let fuzzed = fuzz(&speaker, "animals", &evidence, &classify(Prompt::FUZZ, top)).unwrap();
            for classified in [detected, fuzzed] {
                let accuracy = balanced_accuracy(&classified);
                assert!(range.contains(&accuracy), "{rule:?} {:?} {accuracy}", classified.task);
                let yes = classified.verdicts.iter().filter(|v| v.truth).count();
                assert_eq!(2 * yes, classified.verdicts.len(), "as many of one as of the other");
                assert!(yes >= 20 && classified.failed.is_empty());
                assert_eq!(classified.verdicts.iter().any(|v| v.yes > 0.0 && v.yes < 1.0), top > 0);
            }
        }
    }
}

#[test]
fn simulation_is_signed() {
    let evidence = evidence(6);
    for pace in [Pace::Example, Pace::Token] {
        for top in [0, 20] {
            for (rule, range) in
                [(Rule::Right, 0.9..1.0), (Rule::Opposite, -1.0..-0.9), (Rule::Chance, -0.15..0.15)]
            {
                let simulated =
                    simulate(&Speaker(rule), "animals", &evidence, &simulation(pace, top)).unwrap();
                let r = pearson(&simulated, &evidence);
                assert!(range.contains(&r), "{rule:?} {pace:?} {top}: {r}");
                assert_eq!((simulated.simulated.len(), simulated.failed.len()), (50, 0));
                let said: Vec<f32> =
                    simulated.simulated.iter().flat_map(|s| s.strengths.iter().flatten().copied()).collect();
                // The said digit has 0.75 and a five 0.2: (0.75·8 + 0.2·5) / 0.95.
                let strong = if top > 0 { 7.0 / 0.95 } else { 8.0 };
                assert!(said.iter().any(|&s| (s - strong).abs() < 1e-4), "{top}: {:?}", &said[..5]);
            }
        }
    }
}

#[test]
fn tokens_that_do_not_count_are_not_scored() {
    let mut partly = evidence(6);
    partly.test.iter_mut().for_each(|e| e.counted[..4].fill(false));
    for pace in [Pace::Example, Pace::Token] {
        let simulated = simulate(&Speaker(Rule::Right), "animals", &partly, &simulation(pace, 0)).unwrap();
        for one in &simulated.simulated {
            assert!(
                one.strengths[..4].iter().all(Option::is_none)
                    && one.strengths[4..].iter().all(Option::is_some)
            );
        }
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_a_failure_and_no_guess() {
    let evidence = evidence(6);
    for rubbish in ["perhaps", "1: high\n2: low\n", "I cannot"] {
        let parrot = Parrot::new(vec![Ok(rubbish)]);
        let detected = detect(&parrot, "animals", &evidence, &classify(Prompt::DETECT, 0)).unwrap();
        assert!(detected.verdicts.is_empty() && detected.failed.len() == 50);
        let simulated = simulate(&parrot, "animals", &evidence, &simulation(Pace::Example, 0)).unwrap();
        assert!(simulated.simulated.is_empty() && simulated.failed.len() == 50, "{rubbish}");
    }
    let limited = ServiceFailure::RateLimited { attempts: 3, said: "slow".into(), url: "there".into() };
    let parrot = Parrot::new(vec![Ok("yes"), Err(limited)]);
    let cut = detect(&parrot, "animals", &evidence, &classify(Prompt::DETECT, 0));
    assert!(
        matches!(cut, Err(ScoreError::Service(_))),
        "a score over those that got through is another score"
    );
}

#[test]
fn a_description_through_http_end_to_end() {
    let server = Server::new(vec![
        Reply::status(429, &[("Retry-After", "0")], "slow down"),
        says("I cannot do that."),
        says("Inside: otter.\n[DESCRIPTION]: names of animals"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let cache = AnswerCache::open(&dir.path().join("answers.jsonl")).unwrap();
    let (endpoint, stop) = (endpoint(&server), AtomicBool::new(false));
    let meter = Meter::new(&endpoint, Some(&cache), FREE, &stop);
    let explained = explain(&meter, &evidence(1), &one_candidate(0.0)).unwrap();
    assert_eq!(explained.candidates[0].text, "names of animals");
    assert_eq!((explained.rejected.len(), server.requests().len()), (1, 3));
    let again = explain(&meter, &evidence(1), &one_candidate(0.0)).unwrap();
    assert_eq!((again, server.requests().len()), (explained, 3));
    assert_eq!(meter.cost(), Cost { answered: 2, cached: 2, failed: 0, read: 22, written: 6 });
}
