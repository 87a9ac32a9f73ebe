//! The laboratory's reports on a tiny model, and the shapes that the OpenAPI document gives them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use pellucid_core::{Seed, UnitId};
use pellucid_interp::behaviour::{Behaviour, Gate};
use pellucid_interp::circuit::{Ablation, Choice, Edges, Scoring, read};
use pellucid_interp::direction::Method;
use pellucid_model::{Model, Storage};
use pellucid_scope::lab::{
    CandidateShape, CircuitMeasuredShape, CorrelationShape, Cutting, DirectionMethodShape, DoseShape,
    EffectShape, GateShape, GroupShape, ItemShape, Leading, Measured, MeasuredShape, Ranking, RankingBy,
    ScoringShape, SkeletonShape, Step, Subject, TestedShape, built_in, circuit, direction, doses, neurons,
    reading, scored,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

fn model() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama");
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

fn items() -> Behaviour {
    let text: String = (0..16)
        .map(|i| {
            let (class, a, b) = if i % 2 == 0 { ("first", "a", "b") } else { ("second", "b", "a") };
            let (prompt, other) = if i % 2 == 0 { ("x y", "y x") } else { ("y x", "x y") };
            format!(
                "{{\"prompt\": \"{i} {prompt}\", \"counterfactual\": \"{i} {other}\", \"right\": [\"{a}\"], \"wrong\": \
                 [\"{b}\"], \"class\": \"{class}\"}}\n"
            )
        })
        .collect();
    Behaviour::read("letters", &text).unwrap()
}

/// As if the model showed it: a random one shows nothing, and what methods do is the same.
fn measured(model: &Model) -> Measured {
    Subject { behaviour: items(), items: 16, seed: Seed(0) }.measure(model).unwrap()
}

/// Reads what was written through the shape, and finds nothing more or less in it.
fn fits<S: DeserializeOwned + Serialize>(value: &impl Serialize) {
    let written = serde_json::to_value(value).unwrap();
    let read: S = serde_json::from_value(written.clone()).unwrap();
    let again = serde_json::to_value(read).unwrap();
    assert_eq!(keys(&written), keys(&again));
}

fn keys(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), keys(v))).collect()),
        Value::Array(list) => Value::Array(list.iter().map(keys).collect()),
        Value::Number(_) => Value::Null,
        other => other.clone(),
    }
}

fn off_task() -> Option<Behaviour> {
    let mut other = items();
    other.name = "others".to_owned();
    Some(other)
}

#[test]
fn neurons_are_ranked_replaced_and_dosed_and_a_watch_stops_them() {
    let model = model();
    let of = measured(&model);
    let asked = Ranking { top: 3, by: RankingBy::Gradient, off_task: off_task(), anyway: true };
    let mut seen: Vec<Step> = Vec::new();
    let report = neurons(&model, &of, &asked, &mut |step| {
        seen.push(step);
        true
    })
    .unwrap();
    assert_eq!((report.ranked.len(), report.measured.len(), report.groups.len()), (3, 3, 3));
    // each kind of step ends with all of it done
    for what in ["effects predicted", "neurons removed", "groups removed"] {
        let last = seen.iter().rfind(|s| s.what == what).unwrap();
        assert_eq!(last.done, last.total, "{what}");
    }
    fits::<GateShape>(&report.gate);
    fits::<EffectShape>(&report.ranked[0]);
    fits::<MeasuredShape>(&report.measured[0]);
    fits::<GroupShape>(&report.groups[0]);
    fits::<Option<CorrelationShape>>(&report.gradient_rank_correlation);
    let unit: UnitId = "mlp_act.0/1".parse().unwrap();
    let dosed = doses(&model, &of, (&unit, &[0.0, 1.0]), (RankingBy::Direct, true), &mut |_| true).unwrap();
    assert_eq!(dosed.doses.len(), 2);
    fits::<DoseShape>(&dosed.doses[0]);
    let stopped = neurons(&model, &of, &asked, &mut |step| step.what != "neurons removed");
    assert!(stopped.unwrap_err().to_string().contains("stopped"));
}

#[test]
fn what_is_not_shown_is_not_explained() {
    let model = model();
    let mut of = measured(&model);
    of.gate = Gate { shown: false, ..of.gate };
    let asked = Ranking { top: 3, by: RankingBy::Direct, off_task: None, anyway: false };
    let refused = neurons(&model, &of, &asked, &mut |_| panic!("nothing is begun"));
    assert!(refused.unwrap_err().to_string().contains("does not show letters"));
    let same = Ranking { off_task: Some(items()), anyway: true, ..asked };
    assert!(neurons(&model, &of, &same, &mut |_| true).unwrap_err().to_string().contains("another than"));
}

#[test]
fn a_direction_is_found_tried_and_read_along() {
    let model = model();
    let of = measured(&model);
    let asked = Leading {
        method: Method::Mean,
        winsorise: 1.0,
        positions: 1,
        layer: Some(0),
        strength: 1.0,
        off_task: off_task(),
        read: Some("x y x".to_owned()),
        anyway: true,
    };
    let report = direction(&model, &of, &asked, &mut |_| true).unwrap();
    assert_eq!((report.tested.layer, report.tested.outcomes.len()), (0, 6));
    assert_eq!(report.vector.len(), model.spec().d_model);
    assert_eq!(report.read, Some(reading(&model, "x y x", &report.vector).unwrap()));
    assert!(serde_json::to_value(&report).unwrap().get("vector").is_none(), "the command does not print it");
    fits::<CandidateShape>(&report.candidates[0]);
    fits::<TestedShape>(&report.tested);
    fits::<Option<DirectionMethodShape>>(&report.method);
    assert!(reading(&model, "x y x", &[0.0; 3]).unwrap_err().to_string().contains("finite numbers"));
    let far = Leading { layer: Some(99), ..asked };
    assert!(direction(&model, &of, &far, &mut |_| true).unwrap_err().to_string().contains("no layer 99"));
}

#[test]
fn a_circuit_is_scored_measured_and_written_with_what_it_keeps_alone() {
    let model = model();
    let of = measured(&model);
    let asked = Cutting {
        scoring: Scoring::EapIg { steps: 2 },
        ablation: Ablation::Mean,
        by: Choice::Size,
        edges: Some(5),
        off_task: off_task(),
        prune: None,
        anyway: true,
    };
    let report = circuit(&model, &of, &asked, &mut |_| true).unwrap();
    assert_eq!(report.circuit.len(), 5);
    fits::<SkeletonShape>(&report.skeleton);
    fits::<CircuitMeasuredShape>(&report.nodes[0].together);
    fits::<Option<ScoringShape>>(&report.scoring);
    let weighed = scored(&model, &of, &asked, None, &mut |_| true).unwrap();
    let file = weighed.file(&model, asked.by, 5, true).unwrap();
    let (scores, keep) = read(&Edges::of(&model).unwrap(), &file).unwrap();
    assert_eq!(keep.iter().filter(|k| **k).count(), 5);
    assert_eq!(scores.iter().filter(|s| **s != 0.0).count(), 5);
}

#[test]
fn every_built_in_behaviour_comes_with_an_item() {
    for one in built_in().unwrap() {
        assert!(!one.about.is_empty() && !one.example.prompt.is_empty(), "{}", one.name);
        assert_eq!(one.classes, !["capitals", "refusal"].contains(&one.name), "{}", one.name);
        fits::<ItemShape>(&one.example);
    }
}
