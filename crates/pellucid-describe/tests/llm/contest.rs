//! Who wins a contest, and what a judgement says, with a model that writes given words and knows what some of them mean.

use crate::unit::{ANIMALS, Rule, Speaker, evidence};
use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError};
use pellucid_describe::Simulate;
use pellucid_describe::llm::*;
use pellucid_describe::measure::windows_hash;
use pellucid_store::Document;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Writes one of its words, by the seed of the question, and judges "animals" rightly, "no animals" by the opposite, and
/// anything else by chance.
struct Author(&'static [&'static str]);

impl Chat for Author {
    fn name(&self) -> &str {
        "author"
    }

    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        let all: String = ask.messages.iter().map(|m| m.content.as_str()).collect();
        if all.contains("[DESCRIPTION]") {
            let words = self.0[(ask.temperature * 10.0).round() as usize % self.0.len()];
            let text = format!("[DESCRIPTION]: {words}");
            return Ok(Answer { text, top_log_probs: vec![], prompt_tokens: 9, answer_tokens: 3 });
        }
        let of = |words: &str| all.contains(&format!(": {words}\n"));
        let rule = match (of("animals"), of("no animals")) {
            (true, _) => Rule::Right,
            (_, true) => Rule::Opposite,
            _ => Rule::Chance,
        };
        Speaker(rule).answer(ask)
    }
}

/// What predicts the unit exactly, times a factor.
struct Oracle(f32);

impl Simulate for Oracle {
    fn predict(&self, _: &[u32], texts: &[Arc<str>], _: bool) -> Vec<f32> {
        texts.iter().map(|t| self.0 * f32::from(u8::from(ANIMALS.iter().any(|a| t.contains(a))))).collect()
    }
}

/// Candidates by temperature: 0.0 the first word, 0.1 the second, …
fn settings(candidates: usize) -> ContestSettings {
    let temperatures = (0..candidates).map(|i| i as f32 / 10.0).collect();
    let explain = ExplainSettings { temperatures, ..ExplainSettings::large(Seed(3)) };
    ContestSettings::new(explain, ScorerSettings { simulated: 8, ..ScorerSettings::large(Seed(4)) })
}

fn documents<'a>(examples: impl IntoIterator<Item = &'a pellucid_describe::Example>) -> BTreeSet<Document> {
    examples.into_iter().map(|e| e.document).collect()
}

#[test]
fn the_words_that_hold_on_validation_win_and_what_chose_them_is_told() {
    let evidence = evidence(2);
    let author = Author(&["names of plants", "animals", "no animals"]);
    let contest = contest(&author, &evidence, None, &settings(3)).unwrap();
    let said: Vec<&str> = contest.entrants.iter().map(|e| e.candidate.text.as_str()).collect();
    assert_eq!(said, author.0);
    assert_eq!(contest.winner, Winner::Candidate(1));
    let r = |i: usize| contest.entrants[i].validation.as_ref().unwrap().pearson.r;
    assert!(r(1) > 0.9 && r(0).abs() < 0.3 && r(2) < -0.9, "{} {} {}", r(0), r(1), r(2));
    assert!(contest.entrants.iter().all(|e| e.validation.as_ref().unwrap().split == "validation"));
    assert_eq!(contest.rival, None);
}

#[test]
fn words_stand_only_above_the_description_that_was_there() {
    let evidence = evidence(2);
    let held = |words: &'static [&'static str], rival: f32| {
        let oracle = Oracle(rival);
        contest(&Author(words), &evidence, Some(&oracle), &settings(1)).unwrap()
    };
    let (good, bad) = (held(&["animals"], 1.0), held(&["animals"], -1.0));
    assert!(good.rival.as_ref().unwrap().pearson.r > 0.9);
    assert_eq!(bad.winner, Winner::Candidate(0));
    assert!(bad.rival.unwrap().pearson.r < -0.9);
    // words that chance could have written leave even a bad description where it is
    assert_eq!(held(&["no animals"], -1.0).winner, Winner::Rival);
    let alone = contest(&Author(&["no animals"]), &evidence, None, &settings(1)).unwrap();
    assert!(matches!(&alone.winner, Winner::Nobody(why) if why.contains("beats the null")), "{alone:?}");
}

#[test]
fn a_judgement_has_an_interval_a_null_and_windows_that_the_author_never_saw() {
    let evidence = evidence(7);
    let author = Author(&["animals"]);
    let made = contest(&author, &evidence, None, &settings(1)).unwrap();
    let seen = documents(made.entrants[0].candidate.passages.iter().map(|&i| &evidence.train[i]));
    let mut asked = BTreeSet::new();
    let scorer = ScorerSettings { classified: 12, ..ScorerSettings::large(Seed(4)) };
    for by in [By::Simulation, By::Detection, By::Fuzzing] {
        let judged = judge(&author, by, "animals", Some("names of plants"), &evidence, &scorer).unwrap();
        assert!(judged.value > 0.9, "{judged:?}");
        let (low, high) = judged.interval;
        assert!(low <= judged.value && judged.value <= high, "{judged:?}");
        let chance = if by == By::Simulation { -0.3..0.3 } else { 0.2..0.8 };
        assert!(chance.contains(&judged.null.unwrap()), "{judged:?}");
        assert!(judged.n > 0 && judged.failed == 0);
        asked.insert(judged.windows);
        let opposite = judge(&author, by, "no animals", None, &evidence, &scorer).unwrap();
        assert!(opposite.value < if by == By::Simulation { -0.9 } else { 0.1 }, "{opposite:?}");
        assert_eq!((opposite.windows, opposite.null), (judged.windows, None), "the same windows");
    }
    assert_eq!(asked.len(), 3, "the three ask about different windows");
    // by document: nothing that the author saw is in any split that scores
    assert!(!seen.is_empty());
    assert!(
        seen.is_disjoint(&documents(&evidence.validation)) && seen.is_disjoint(&documents(&evidence.test))
    );
    let validation = windows_hash(&evidence.validation);
    assert!(!asked.contains(&validation) && !asked.contains(&windows_hash(&evidence.train)));
}

#[test]
fn the_windows_hash_is_of_what_was_simulated_whatever_the_order() {
    let evidence = evidence(7);
    let scorer = ScorerSettings { simulated: 1000, ..ScorerSettings::large(Seed(4)) };
    let all = judge(&Author(&["animals"]), By::Simulation, "animals", None, &evidence, &scorer).unwrap();
    let mut turned = evidence.test.clone();
    turned.reverse();
    assert_eq!(all.windows, windows_hash(&turned), "all test examples were asked about");
    assert_ne!(all.windows, windows_hash(&turned[1..]));
}

#[test]
fn answers_that_cannot_be_read_are_no_score() {
    struct Mute;
    impl Chat for Mute {
        fn name(&self) -> &str {
            "mute"
        }
        fn answer(&self, _: &Ask) -> Result<Answer, ServiceError> {
            Ok(Answer { text: "hm".to_owned(), top_log_probs: vec![], prompt_tokens: 1, answer_tokens: 1 })
        }
    }
    let scorer = ScorerSettings::large(Seed(1));
    for by in [By::Simulation, By::Detection, By::Fuzzing] {
        let error = judge(&Mute, by, "animals", None, &evidence(1), &scorer).unwrap_err();
        assert!(matches!(&error, ScoreError::NoAnswer { .. }), "{error}");
    }
    let made = contest(&Author(&["animals"]), &evidence(1), None, &settings(1)).unwrap();
    assert!(made.entrants[0].validation.is_some());
}
