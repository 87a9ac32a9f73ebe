//! Scores that can be believed: signed, on documents that the explainer never saw, with a null.
#![allow(clippy::unwrap_used)]

mod world;

use pellucid_core::{Seed, Split};
use pellucid_describe::measure::{
    Bootstrap, MeasureError, Weighting, score, score_predictions, single_token,
};
use pellucid_describe::{Evidence, Settings, Simulate, Simulator, explain};
use std::sync::Arc;
use world::World;

const DRAW: Bootstrap = Bootstrap { seed: Seed(11), resamples: 200 };

fn months() -> (Evidence, Simulator) {
    let evidence = World::default().evidence(world::months);
    let simulator =
        explain(&evidence, &Settings::default()).unwrap().description().unwrap().simulator.clone();
    (evidence, simulator)
}

struct Opposite(Simulator);
impl Simulate for Opposite {
    fn predict(&self, tokens: &[u32], texts: &[Arc<str>], begins: bool) -> Vec<f32> {
        self.0.predict(tokens, texts, begins).into_iter().map(|p| 1.0 - p).collect()
    }
}

struct Constant;
impl Simulate for Constant {
    fn predict(&self, tokens: &[u32], _: &[Arc<str>], _: bool) -> Vec<f32> {
        vec![0.1; tokens.len()]
    }
}

#[test]
fn an_opposite_description_scores_as_far_below_zero_as_the_right_one_above() {
    let (evidence, simulator) = months();
    let right = score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW).unwrap();
    let wrong = score(&evidence, Split::Test, &Opposite(simulator), Weighting::Even, &DRAW).unwrap();
    assert!(right.pearson.r > 0.9);
    assert!((wrong.pearson.r + right.pearson.r).abs() < 1e-5);
    assert!(wrong.high < 0.0, "the whole interval is below 0: {wrong:?}");
}

#[test]
fn a_shuffled_description_scores_nothing_on_average() {
    let (evidence, simulator) = months();
    let mut seed = Seed(5);
    let lengths: Vec<usize> = evidence.test.iter().map(|e| e.tokens.len()).collect();
    let flat: Vec<f32> =
        evidence.test.iter().flat_map(|e| simulator.predict(&e.tokens, &e.texts, false)).collect();
    let draws = 200;
    let mut sum = 0.0;
    let mut most: f64 = 0.0;
    for _ in 0..draws {
        let mut values = seed.choose(flat.len(), flat.len()).into_iter().map(|i| flat[i]);
        let rows: Vec<Vec<f32>> = lengths.iter().map(|&n| values.by_ref().take(n).collect()).collect();
        let bootstrap = Bootstrap { resamples: 0, ..DRAW };
        let r =
            score_predictions(&evidence, Split::Test, &rows, Weighting::Even, &bootstrap).unwrap().pearson.r;
        sum += r;
        most = most.max(r.abs());
    }
    // The standard deviation of r under shuffling is 1/√(n − 1); the mean of 200 draws has a 14th of it.
    let deviation = 1.0 / (flat.len() as f64 - 1.0).sqrt();
    assert!(
        (sum / f64::from(draws)).abs() < 5.0 * deviation / f64::from(draws).sqrt(),
        "{}",
        sum / f64::from(draws)
    );
    assert!(most < 6.0 * deviation, "{most}");
}

#[test]
fn a_constant_prediction_is_flagged_and_worth_nothing() {
    let (evidence, _) = months();
    let got = score(&evidence, Split::Test, &Constant, Weighting::Even, &DRAW).unwrap();
    assert!(got.pearson.constant && got.pearson.r == 0.0 && got.low == 0.0 && got.high == 0.0);
}

#[test]
fn no_train_document_is_among_the_test_examples_or_nothing_is_scored() {
    let (mut evidence, simulator) = months();
    let train: Vec<_> = evidence.train.iter().map(|e| e.document).collect();
    assert!(evidence.validation.iter().chain(&evidence.test).all(|e| !train.contains(&e.document)));
    assert!(evidence.disjoint().is_ok());
    evidence.test[3].document = evidence.train[5].document;
    let leak = evidence.disjoint().unwrap_err();
    assert_eq!((leak.first, leak.second), ("train", "test"));
    let refused = score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW);
    assert!(matches!(refused, Err(MeasureError::Leak(_))));
    assert!(matches!(explain(&evidence, &Settings::default()), Err(MeasureError::Leak(_))));
}

#[test]
fn the_choice_and_the_candidates_do_not_depend_on_the_test_examples() {
    let evidence = World::default().evidence(world::ing);
    let mut other = evidence.clone();
    other.test.iter_mut().for_each(|e| e.activations.iter_mut().for_each(|a| *a = 1.0 - *a));
    let (a, b) = (explain(&evidence, &Settings::default()), explain(&other, &Settings::default()));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.candidates, a.chosen), (b.candidates, b.chosen));
    assert!(b.test.unwrap().pearson.r < -0.8);
}

#[test]
fn rubbish_is_an_error_and_not_a_score() {
    let (evidence, _) = months();
    let rows = |v: f32| evidence.test.iter().map(|e| vec![v; e.tokens.len()]).collect::<Vec<_>>();
    let on = |rows: &[Vec<f32>]| score_predictions(&evidence, Split::Test, rows, Weighting::Even, &DRAW);
    assert!(matches!(on(&rows(f32::NAN)), Err(MeasureError::NotFinite { .. })));
    let mut short = rows(0.0);
    short[2].pop();
    assert!(matches!(on(&short), Err(MeasureError::Shape { example: 2, .. })));
    short.pop();
    assert!(on(&short).is_err());
}

#[test]
fn uncounted_tokens_do_not_count() {
    let (mut evidence, simulator) = months();
    let before = score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW).unwrap();
    for example in &mut evidence.test {
        example.tokens.push(0);
        example.texts.push(Arc::from("<end>"));
        example.activations.push(1e6);
        example.counted.push(false);
    }
    assert_eq!(score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW).unwrap(), before);
}

#[test]
fn density_weighting_measures_running_text() {
    let (mut evidence, simulator) = months();
    let even = score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW).unwrap();
    evidence.density = 1e-12;
    let weighted = score(&evidence, Split::Test, &simulator, Weighting::Density, &DRAW).unwrap();
    let random: Vec<_> =
        evidence.test.iter().filter(|e| e.kind == pellucid_store::Kind::Random).cloned().collect();
    evidence.test = random;
    let alone = score(&evidence, Split::Test, &simulator, Weighting::Even, &DRAW).unwrap();
    assert!((weighted.pearson.r - alone.pearson.r).abs() < 1e-6 && weighted.pearson.r != even.pearson.r);
}

#[test]
fn a_unit_of_one_token_is_recognised() {
    let single = single_token(&World::default().evidence(world::york_after_new).train).unwrap();
    assert!(single.text == " York" && single.share >= 0.9, "{single:?}");
    let many = single_token(&World::default().evidence(world::months).train).unwrap();
    assert!(many.share < 0.5, "{many:?}");
    assert_eq!(single_token(&[]), None);
}
