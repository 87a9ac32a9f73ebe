//! Units whose rules are known: sensible words, high scores on text never seen; noise gets neither.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use pellucid_core::{Seed, Split};
use pellucid_describe::measure::{Bootstrap, Weighting, null, score};
use pellucid_describe::{Evidence, Lexicon, Missing, Outcome, Settings, Simulate, explain, explain_with};
use std::sync::Arc;
use world::{Rule, World};

fn described(rule: Rule) -> (Evidence, Outcome) {
    let evidence = World::default().evidence(rule);
    let outcome = explain(&evidence, &Settings::default()).unwrap();
    (evidence, outcome)
}

fn expect(rule: Rule, words: &[&str], least: f64) {
    let (_, outcome) = described(rule);
    let chosen = outcome.description().expect("a description");
    let test = outcome.test.clone().unwrap();
    let all: Vec<_> = outcome.candidates.iter().map(|c| (&c.phrase, c.validation.r)).collect();
    println!("{} | {:.3} [{:.3}, {:.3}] | {all:?}", chosen.phrase, test.pearson.r, test.low, test.high);
    assert!(
        words.iter().any(|w| chosen.phrase.contains(w)),
        "{:?} should say one of {words:?}",
        chosen.phrase
    );
    assert!(test.pearson.r >= least, "{}: {:.3} < {least}", chosen.phrase, test.pearson.r);
    assert!(test.low <= test.pearson.r && test.pearson.r <= test.high && test.low > 0.3);
    assert!(chosen.phrase.chars().count() <= 90);
}

#[test]
fn months() {
    expect(world::months, &["months: "], 0.9);
}

#[test]
fn the_token_after_a_decimal_point() {
    expect(world::after_decimal_point, &["the token after a decimal point"], 0.9);
}

#[test]
fn york_after_new() {
    expect(world::york_after_new, &["\"York\" after \"New\""], 0.9);
}

#[test]
fn of_after_because() {
    expect(world::of_after_because, &["\"of\" after \"because\""], 0.9);
}

#[test]
fn any_token_after_new() {
    expect(world::anything_after_new, &["tokens after \"New\""], 0.9);
}

#[test]
fn digits() {
    expect(world::digits_only, &["digits"], 0.9);
}

#[test]
fn capitals() {
    expect(world::all_capitals, &["words in capitals"], 0.9);
}

#[test]
fn words_in_ing() {
    expect(world::ing, &["words ending in -ing: "], 0.85);
}

#[test]
fn hebrew() {
    expect(world::hebrew, &["Hebrew letters"], 0.9);
}

#[test]
fn tokens_before_york() {
    expect(world::before_york, &["before \"York\""], 0.85);
}

#[test]
fn noise_is_not_described_or_scores_near_nothing() {
    let mut described = 0;
    let mut scores = Vec::new();
    for seed in 0..30 {
        let evidence = World { seed, noise: 1.0, ..World::default() }.evidence(world::nothing);
        let outcome = explain(&evidence, &Settings::default()).unwrap();
        match (&outcome.test, &outcome.reason_none) {
            (Some(test), None) => {
                described += 1;
                scores.push(test.pearson.r);
            }
            (None, Some(Missing::NotAboveNull { .. })) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(described <= 3, "{described} of 30 noise units described: {scores:?}");
    assert!(scores.iter().all(|r| r.abs() < 0.15), "{scores:?}");
}

#[test]
fn a_silent_unit_says_why_it_has_no_description() {
    let evidence = World { noise: 0.0, ..World::default() }.evidence(world::nothing);
    let outcome = explain(&evidence, &Settings::default()).unwrap();
    assert_eq!(outcome.chosen, None);
    let words = outcome.reason_none.unwrap().to_string();
    assert_eq!(words, "inactive: no activation in the corpus");
}

#[test]
fn a_kept_lexicon_changes_no_result_and_the_result_survives_json() {
    let mut lexicon = Lexicon::new();
    for rule in [world::hebrew as Rule, world::before_york, world::months, world::ing, world::york_after_new]
    {
        let (evidence, fresh) = described(rule);
        let kept = explain_with(&evidence, &Settings::default(), &mut lexicon).unwrap();
        assert_eq!(kept, fresh);
        let back: Outcome = serde_json::from_str(&serde_json::to_string(&fresh).unwrap()).unwrap();
        // JSON keeps f32 to the bit; of an f64 it may lose the last.
        let parts = |o: &Outcome| {
            let of = |c: &pellucid_describe::Candidate| (c.phrase.clone(), c.simulator.clone(), c.source);
            (o.candidates.iter().map(of).collect::<Vec<_>>(), o.chosen, o.reason_none)
        };
        assert_eq!(parts(&back), parts(&fresh));
    }
}

#[test]
fn another_units_description_scores_near_nothing() {
    let (evidence, own) = described(world::months);
    let (_, hebrew) = described(world::hebrew);
    let (_, york) = described(world::york_after_new);
    let others: Vec<&dyn Simulate> =
        [&hebrew, &york].map(|o| &o.description().unwrap().simulator as &dyn Simulate).to_vec();
    let null = null(&evidence, Split::Test, &others, Weighting::Even).unwrap();
    assert!(null.iter().all(|r| r.abs() < 0.1), "{null:?}");
    assert!(own.test.unwrap().low > 0.8);
}

#[test]
fn the_reported_score_is_the_one_that_a_stored_description_gets() {
    let (evidence, outcome) = described(world::ing);
    let settings = Settings::default();
    let bootstrap = Bootstrap { seed: settings.seed, resamples: settings.resamples };
    let simulator = &outcome.description().unwrap().simulator;
    let again = score(&evidence, Split::Test, simulator, Weighting::Even, &bootstrap).unwrap();
    assert_eq!(Some(again), outcome.test);
}

#[test]
fn promoted_tokens_with_something_in_common_are_told() {
    let mut evidence = World::default().evidence(world::before_york);
    evidence.promoted =
        ["Monday", " Friday", " Tuesday", " Sunday", "x"].map(|w| (Arc::from(w), 1.0)).to_vec();
    let outcome = explain(&evidence, &Settings { seed: Seed(5), ..Settings::default() }).unwrap();
    assert_eq!(outcome.says.as_deref(), Some("says: Monday, Friday, Tuesday, Sunday"));
    // The texts do not go on with weekdays, so that is a note and not the description.
    assert!(!outcome.description().unwrap().phrase.starts_with("says"));
}
