//! The laboratory's reports on a tiny model, and the shapes that the OpenAPI document gives them.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use pellucid_core::Point;
use pellucid_core::{Seed, UnitId};
use pellucid_interp::behaviour::{Behaviour, Gate};
use pellucid_interp::circuit::{Ablation, Choice, Edges, Scoring, read};
use pellucid_interp::direction::Method;
use pellucid_interp::function::Task;
use pellucid_interp::patchscope::{Ask, At};
use pellucid_interp::trace::Direction;
use pellucid_model::{Model, Storage};
use pellucid_scope::lab::{
    AtShape, BackCellShape, BackGridShape, Blinding, CandidateShape, CircuitMeasuredShape, CorrelationShape,
    Cutting, DirectionMethodShape, DoseShape, EffectShape, Ends, FunctionSettingsShape, GateShape,
    GroupShape, HeadEffectShape, IntervalShape, ItemShape, KnockedOutShape, LadderShape, Leading, Measured,
    MeasuredShape, PatchCellShape, PatchGridShape, PathEffectShape, Ranking, RankingBy, Reads, ScoringShape,
    SkeletonShape, Step, Subject, Taking, Taught, Teaching, TestedShape, TraceCellShape, TraceDirectionShape,
    Tracing, TriedShape, WinsAtShape, WinsShape, built_in, circuit, direction, doses, knockout, ladder, lens,
    neurons, patch_grid, put_back, reading, readings, scored, tasks, trace,
};
use pellucid_scope::{Loaded, Text};
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

/// Items whose answers are the letters that the counterfactual moves most: what a random model can be said to know.
fn moved(model: &Model) -> Measured {
    let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
    let encode = |text: &str| model.tokenizer().encode_plain(text, true).unwrap().ids;
    let after = |text: &str| model.next_logits(&pellucid_model::Row::new(encode(text)), &mut ()).unwrap();
    let line = |i: usize| {
        let (clean, other) = (format!("the {} cat", letter(i)), format!("the {} cat", letter(i + 7)));
        let (a, b) = (after(&clean), after(&other));
        let by = |j: &usize| {
            let id = model.tokenizer().single_token(&letter(*j)).unwrap() as usize;
            f64::from(a[id]) - f64::from(b[id])
        };
        let mut order: Vec<usize> = (0..20).collect();
        order.sort_by(|i, j| by(i).total_cmp(&by(j)));
        let (right, wrong) = (letter(order[19]), letter(order[0]));
        serde_json::json!({"prompt": clean, "counterfactual": other, "right": [right], "wrong": [wrong]})
            .to_string()
    };
    let text: Vec<String> = (0..6).map(line).collect();
    let behaviour = Behaviour::read("letters", &text.join("\n")).unwrap();
    let mut of = Subject { behaviour, items: 6, seed: Seed(0) }.measure(model).unwrap();
    of.gate.shown = true;
    of
}

#[test]
fn a_lens_reads_every_depth_and_refuses_what_is_not_shown() {
    let model = model();
    let mut of = moved(&model);
    let report = lens(&model, &of, None, false, &mut |_| true).unwrap();
    assert_eq!((report.depths.len(), report.wins_at.len()), (model.spec().n_layers + 1, 6));
    fits::<WinsShape>(&report.depths[0]);
    fits::<WinsAtShape>(&report.wins_at[0]);
    let stopped = lens(&model, &of, None, false, &mut |step| step.done < 1).unwrap_err();
    assert!(stopped.to_string().contains("stopped"));
    of.gate.shown = false;
    let refused = lens(&model, &of, None, false, &mut |_| panic!("nothing is begun")).unwrap_err();
    assert!(refused.to_string().contains("does not show letters"));
}

#[test]
fn an_answer_is_traced_place_by_place_and_along_paths() {
    let model = model();
    let of = moved(&model);
    let asked = Tracing {
        at: vec![Point::ResidPre, Point::Z],
        direction: Direction::Denoise,
        taking: Taking::Counterfactual,
        window: 1,
        position: None,
        ends: None,
        anyway: false,
    };
    let mut seen: Vec<Step> = Vec::new();
    let report = trace(&model, &of, &asked, &mut |step| {
        seen.push(step);
        true
    })
    .unwrap();
    assert_eq!(report.grids.iter().map(|g| g.point.as_str()).collect::<Vec<_>>(), ["resid_pre", "z"]);
    assert!(seen.iter().any(|s| s.what == "heads patched" && s.done == s.total && s.total > 0));
    // what differs, restored before the first block, is the clean run
    assert!((report.grids[0].cells[0].recovered.value - 1.0).abs() < 1e-6);
    let at = report.grids[0].cells[0].position.unwrap();
    assert!(report.positions[at].counterfactual.as_ref().is_some_and(|c| *c != report.positions[at].text));
    fits::<TraceCellShape>(&report.grids[1].cells[0]);
    fits::<TraceDirectionShape>(&report.direction);
    fits::<IntervalShape>(&report.clean);
    let ends = Ends::read(&["z.1/h1:q".to_owned(), "z.1/h0:v".to_owned()], Some("z.0/h1"), true).unwrap();
    let paths = trace(&model, &of, &Tracing { ends: Some(ends), ..asked.clone() }, &mut |_| true).unwrap();
    assert_eq!((paths.receivers.len(), paths.paths.len(), paths.grids.len()), (2, 1, 0));
    fits::<PathEffectShape>(&paths.paths[0]);
    assert!(Ends::read(&["z.1/h0".to_owned()], None, false).unwrap_err().to_string().contains("receiver"));
    assert!(Ends::read(&[], None, false).is_err());
    let wrong = |asked: Tracing, naming: &str| {
        let error = trace(&model, &of, &asked, &mut |_| true).unwrap_err().to_string();
        assert!(error.contains(naming), "{error} should name {naming:?}");
    };
    wrong(Tracing { position: Some(i64::MIN), ..asked.clone() }, "beyond");
    wrong(Tracing { window: 0, ..asked.clone() }, "window");
    wrong(Tracing { at: Vec::new(), ..asked.clone() }, "nothing");
    wrong(Tracing { taking: Taking::Noise { sigma: f64::NAN, samples: 2 }, ..asked.clone() }, "sigma");
    let stopped = trace(&model, &of, &asked, &mut |step| step.what != "heads patched").unwrap_err();
    assert!(stopped.to_string().contains("stopped"));
}

#[test]
fn attention_is_cut_edge_by_edge() {
    let model = model();
    let of = moved(&model);
    let asked = Blinding { query: -1, window: 1, anyway: false };
    let report = knockout(&model, &of, asked, &mut |_| true).unwrap();
    assert_eq!(report.cut.len(), model.spec().n_layers * (report.tokens.len() - 1));
    fits::<KnockedOutShape>(&report.cut[0]);
    let stopped = knockout(&model, &of, asked, &mut |step| step.done < 3).unwrap_err();
    assert!(stopped.to_string().contains("stopped"));
    let nothing = Blinding { query: 0, ..asked };
    assert!(knockout(&model, &of, nothing, &mut |_| true).unwrap_err().to_string().contains("position 0"));
}

#[test]
fn values_are_read_in_other_texts_and_back_in_their_own() {
    let model = model();
    let of = moved(&model);
    let ask = Ask { target: "identity".to_owned(), at: At::Last, every: 1 };
    let report = patch_grid(&model, &of, &ask, None, false, &mut |_| true).unwrap();
    let depths = model.spec().n_layers + 1;
    assert_eq!(report.grid.cells.len(), depths * depths);
    assert!(report.target.as_ref().unwrap().contains("hello -> hello"), "a built-in target is its text");
    fits::<PatchGridShape>(&report.grid);
    fits::<PatchCellShape>(&report.grid.cells[0]);
    fits::<AtShape>(&report.from);
    let back = put_back(&model, &of, (At::Last, 1), false, &mut |_| true).unwrap();
    assert_eq!(back.grid.cells.len(), depths * (depths - 1) / 2);
    fits::<BackGridShape>(&back.grid);
    fits::<BackCellShape>(&back.grid.cells[0]);
    let stopped = put_back(&model, &of, (At::Last, 1), false, &mut |step| step.done < 2).unwrap_err();
    assert!(stopped.to_string().contains("stopped"));

    let loaded = Loaded::new("tiny", self::model());
    let text = Text::plain(&loaded, "the cat").unwrap();
    let rungs = ladder(&loaded, &text, (None, None), None, 1, &mut |_| true).unwrap();
    assert_eq!(rungs.ladder.rungs.len(), depths);
    fits::<LadderShape>(&rungs.ladder);
    let asked = Reads {
        position: Some(0),
        target: "the {} cat".to_owned(),
        target_position: None,
        from: None,
        into: None,
        generate: 2,
    };
    let read = readings(&loaded, &text, &asked, None, &mut |_| true).unwrap();
    assert_eq!((read.readings.len(), read.position), (depths, 0));
    assert!(read.readings.iter().all(|r| r.source == r.target));
    let far = Reads { position: Some(99), ..asked };
    assert!(readings(&loaded, &text, &far, None, &mut |_| true).unwrap_err().to_string().contains("99"));
}

#[test]
fn a_task_is_measured_before_its_vector_is_found() {
    let model = model();
    let tokenizer = model.tokenizer();
    // words of this small vocabulary, each asking for the next
    let words: Vec<String> = (0..tokenizer.vocab_size() as u32)
        .filter_map(|id| Some(tokenizer.tokens(&[id]).ok()?[0].text.to_string()))
        .filter_map(|text| text.strip_prefix(' ').map(str::to_owned))
        .filter(|word| !word.is_empty() && word.chars().all(char::is_alphabetic))
        .filter(|word| tokenizer.single_token(&format!(" {word}")).is_ok())
        .take(21)
        .collect();
    let pairs: Vec<(String, String)> = words.windows(2).map(|w| (w[0].clone(), w[1].clone())).collect();
    let task = Task { name: "next".to_owned(), pairs };
    assert!(Taught::pairs(&model, &task, 0, Seed(0)).unwrap_err().to_string().contains("at least one"));
    assert!(Taught::pairs(&model, &task, 19, Seed(0)).unwrap_err().to_string().contains("too few"));
    let pairs = Taught::pairs(&model, &task, 2, Seed(0)).unwrap();
    let mut taught = Taught::measure(&model, pairs, 2, Seed(0)).unwrap();
    taught.gate.learns = false;
    let asked = Teaching { means: 4, trials: 2, heads: 2, strengths: vec![1.0, 4.0], anyway: false };
    let refused = taught.vector(&model, &asked, &mut |_| panic!("nothing is begun")).unwrap_err();
    assert!(refused.to_string().contains("nothing is explained that is not there"), "{refused}");
    taught.gate.learns = true;
    let report = taught.vector(&model, &asked, &mut |_| true).unwrap();
    assert_eq!(report.heads.len(), model.spec().n_layers * model.spec().n_heads);
    assert!(report.tried.iter().any(|t| (t.layer, t.strength) == (report.layer, report.strength)));
    fits::<FunctionSettingsShape>(&report.settings);
    fits::<HeadEffectShape>(&report.heads[0]);
    fits::<TriedShape>(&report.tried[0]);
    let stopped = taught.vector(&model, &asked, &mut |step| step.done < 2).unwrap_err();
    assert!(stopped.to_string().contains("stopped"));
    let none = Teaching { strengths: vec![f32::NAN], ..asked };
    assert!(taught.vector(&model, &none, &mut |_| true).is_err());
    assert!(tasks().unwrap().iter().all(|t| t.pairs > 20 && !t.about.is_empty()));
}
