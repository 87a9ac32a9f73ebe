//! Whatever the evidence, there is a description, a reason or an error; never a panic, and never one of the first
//! without a score from the test documents.
#![allow(clippy::unwrap_used)]

use pellucid_core::{Point, Site, UnitId};
use pellucid_describe::{Evidence, Example, Settings, explain};
use pellucid_store::{Document, Kind};
use proptest::prelude::*;
use std::sync::Arc;

fn token() -> impl Strategy<Value = (String, f32, bool)> {
    let text = prop_oneof![Just(" New".to_owned()), Just("\n".to_owned()), Just(String::new()), ".{0,5}"];
    let value = prop_oneof![Just(0.0f32), 0.0f32..9.0, Just(1e30f32)];
    (text, value, any::<bool>())
}

fn example() -> impl Strategy<Value = Example> {
    let kind = prop_oneof![Just(Kind::Top), Just(Kind::Random), Just(Kind::Band(2))];
    (proptest::collection::vec(token(), 0..12), kind, 0u32..2).prop_map(|(tokens, kind, start)| Example {
        tokens: (0..tokens.len() as u32).collect(),
        texts: tokens.iter().map(|t| Arc::from(t.0.as_str())).collect(),
        activations: tokens.iter().map(|t| t.1).collect(),
        counted: tokens.iter().map(|t| t.2).collect(),
        document: Document([0; 16]),
        window: 0,
        start,
        kind,
    })
}

fn split(number: u8) -> impl Strategy<Value = Vec<Example>> {
    proptest::collection::vec(example(), 0..6).prop_map(move |mut examples| {
        for (i, e) in examples.iter_mut().enumerate() {
            e.document.0[0] = number;
            e.document.0[1] = i as u8;
        }
        examples
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let scale = prop_oneof![Just(0.0f32), Just(f32::NAN), 0.1f32..5.0];
    let promoted = proptest::collection::vec((".{0,6}", -1.0f32..1.0), 0..12);
    (split(0), split(1), split(2), scale, promoted).prop_map(|(train, validation, test, scale, promoted)| {
        Evidence {
            unit: UnitId::coordinate(Site::new(Point::MlpAct, 0), 1),
            scale,
            density: 0.01,
            train,
            validation,
            test,
            promoted: promoted.into_iter().map(|(t, w)| (Arc::from(t.as_str()), w)).collect(),
            suppressed: Vec::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn there_is_an_answer(evidence in evidence()) {
        let outcome = explain(&evidence, &Settings::default()).unwrap();
        prop_assert_eq!(outcome.chosen.is_none(), outcome.reason_none.is_some());
        prop_assert_eq!(outcome.chosen.is_some(), outcome.test.is_some());
        for candidate in &outcome.candidates {
            prop_assert!(!candidate.phrase.is_empty() && candidate.phrase.chars().count() <= 90);
            prop_assert!(!candidate.phrase.contains('\n'), "{:?}", candidate.phrase);
            prop_assert!((-1.0..=1.0).contains(&candidate.validation.r));
        }
    }

    #[test]
    fn parts_of_different_length_are_an_error(evidence in evidence(), cut in 0usize..3) {
        let mut evidence = evidence;
        let Some(example) = evidence.train.iter_mut().find(|e| !e.tokens.is_empty()) else { return Ok(()) };
        match cut {
            0 => drop(example.activations.pop()),
            1 => drop(example.counted.pop()),
            _ => drop(example.texts.pop()),
        }
        prop_assert!(explain(&evidence, &Settings::default()).is_err());
    }
}
