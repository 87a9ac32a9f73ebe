//! Circuits on tiny random models: what an edge is predicted to carry is what cutting it takes away.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::circuit::{
    Ablation, Bench, Choice, Edges, Scoring, alive, node_scores, of_nodes, order, random_order, read, score,
    write,
};
use pellucid_model::{Apply, Batch, Model, Plan, Record, Storage, Tensor};
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

/// Letters after letters: no behaviour, but enough to calculate with. Every third item has two right answers.
fn letters(model: &Model, count: usize) -> Ready {
    let line = |i: usize| {
        let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
        let right = if i.is_multiple_of(3) { vec![letter(i), letter(i + 2)] } else { vec![letter(i)] };
        serde_json::json!({
            "prompt": format!("the {} cat x", letter(i)), "counterfactual": format!("the {} cat z", letter(i + 3)),
            "right": right, "wrong": [letter(i + 1)],
        })
        .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(model, count).unwrap()
}

/// Families with grouped heads, norms before, after and on both sides, shifts, soft caps, learnt positions, parallel blocks.
const FAMILIES: [&str; 8] =
    ["llama", "gemma2", "gemma3", "gpt2", "gpt-neox", "gpt-neox-sequential", "qwen3", "phi3"];

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn one(edges: &Edges, edge: usize, amount: f32) -> Vec<f32> {
    let mut all = vec![0f32; edges.len()];
    all[edge] = amount;
    all
}

#[test]
fn nothing_cut_is_the_model_and_everything_cut_the_counterfactual() {
    for name in FAMILIES {
        let model = tiny(name);
        let ready = letters(&model, 5);
        let bench = Bench::new(&model, &ready, Ablation::Counterfactual).unwrap();
        let n = bench.edges().len();
        for (amount, want) in [(0.0, bench.whole()), (1.0, bench.none())] {
            let found = bench.odds(&vec![amount; n]).unwrap();
            for (found, want) in found.iter().zip(want) {
                assert!((found - want).abs() < 2e-4, "{name}, {amount} cut: {found} {want}");
            }
        }
        assert!(bench.whole().iter().zip(bench.none()).any(|(a, b)| (a - b).abs() > 1e-3), "{name}");
    }
    let olmo = tiny("olmo2");
    assert!(Edges::of(&olmo).unwrap_err().to_string().contains("normalises the queries of all heads"));
}

/// The largest scores of every family against central differences of the edge's amount, extrapolated.
#[test]
fn an_edges_score_is_the_slope_of_cutting_it() {
    for name in FAMILIES {
        let model = tiny(name);
        let ready = letters(&model, 3);
        for ablation in [Ablation::Counterfactual, Ablation::Mean, Ablation::Zero] {
            let bench = Bench::new(&model, &ready, ablation).unwrap();
            let edges = bench.edges();
            let scores = score(&bench, Scoring::Eap, &mut || Ok(())).unwrap();
            let best = order(edges, &scores, Choice::Size);
            let slope = |e: usize, by: f32| {
                let at = |by| mean(&bench.odds(&one(edges, e, by)).unwrap());
                (at(by) - at(-by)) / f64::from(2.0 * by)
            };
            // one of each kind of reader besides the largest
            let letter = |e: usize| edges.name(e).chars().rev().nth(1);
            let kinds = ['q', 'k', 'v'].map(|c| best.iter().copied().find(|&e| letter(e) == Some(c)));
            for e in best.iter().copied().take(5).chain(kinds.into_iter().flatten()) {
                // curvature asks for a small step and rounding for a large one
                let close = |by: f32| {
                    let found = -(4.0 * slope(e, by) - slope(e, 2.0 * by)) / 3.0;
                    (found, (found - scores[e]).abs() < 1e-3 * scores[e].abs() + 2e-5)
                };
                let tried = [0.0625, 0.015625, 0.00390625].map(close);
                let named = edges.name(e);
                assert!(
                    tried.iter().any(|t| t.1),
                    "{name} {ablation:?} {named}: predicted {}, measured {tried:?}",
                    scores[e]
                );
            }
        }
    }
}

#[test]
fn an_exact_score_is_what_cutting_the_edge_takes_away() {
    for name in ["llama", "gemma3", "gpt-neox"] {
        let model = tiny(name);
        let ready = letters(&model, 3);
        let bench = Bench::new(&model, &ready, Ablation::Counterfactual).unwrap();
        let edges = bench.edges();
        let scores = score(&bench, Scoring::Exact, &mut || Ok(())).unwrap();
        for e in order(edges, &scores, Choice::Size).into_iter().step_by(7).take(9) {
            let change = mean(bench.whole()) - mean(&bench.odds(&one(edges, e, 1.0)).unwrap());
            assert!((change - scores[e]).abs() < 1e-5, "{name} {}: {change} {}", edges.name(e), scores[e]);
        }
    }
}

/// All edges that a node writes together are the node: cutting them is patching it, and their scores sum to its own.
#[test]
fn a_nodes_edges_together_are_the_node() {
    for name in ["llama", "gemma3", "gpt2", "gpt-neox"] {
        let model = tiny(name);
        let ready = letters(&model, 1);
        let bench = Bench::new(&model, &ready, Ablation::Counterfactual).unwrap();
        let edges = bench.edges();
        let nodes = node_scores(edges, &score(&bench, Scoring::Eap, &mut || Ok(())).unwrap());
        let item = &ready.items[0];
        for layer in 0..edges.layers() {
            let site = Site::new(Point::MlpOutPost, layer);
            let value = |row: &pellucid_model::Row| -> Tensor {
                let mut record = Record::new([site]);
                model.run(&Batch::one(row.clone()), &Plan::LAST, None, &mut record).unwrap();
                record.value(site).unwrap()
            };
            let (now, other) = (value(&item.row), value(item.counterfactual.as_ref().unwrap()));
            let edit = Edit {
                site,
                target: Target::Whole,
                positions: Positions::All,
                op: Op::Patch { rows: other.to_vec2().unwrap() },
            };
            let mut tap = Apply::new(&model, &[edit]).unwrap();
            let logits = model
                .run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap)
                .unwrap()
                .logits
                .unwrap();
            let logits = logits.to_vec2::<f32>().unwrap()[0].clone();
            let at = |ids: &[u32]| ids.iter().map(|&i| f64::from(logits[i as usize]).exp()).sum::<f64>().ln();
            let patched = at(&item.right) - at(&item.wrong);
            let number =
                (0..edges.writers()).find(|&n| edges.writer(n).to_string() == format!("m{layer}")).unwrap();
            let mut keep = vec![true; edges.writers()];
            keep[number] = false;
            let amount: Vec<f32> =
                of_nodes(edges, &keep).into_iter().map(|k| if k { 0.0 } else { 1.0 }).collect();
            let cut = bench.odds(&amount).unwrap()[0];
            assert!((cut - patched).abs() < 1e-5, "{name} m{layer}: {cut} {patched}");
            // a small step to the counterfactual's value, by an edit that adds it
            let step = |by: f64| {
                let rows = ((&other - &now).unwrap() * by).and_then(|d| &now + d).unwrap().to_vec2().unwrap();
                let edit =
                    Edit { site, target: Target::Whole, positions: Positions::All, op: Op::Patch { rows } };
                let mut tap = Apply::new(&model, &[edit]).unwrap();
                let logits = model
                    .run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap)
                    .unwrap()
                    .logits
                    .unwrap();
                let logits = logits.to_vec2::<f32>().unwrap()[0].clone();
                let at =
                    |ids: &[u32]| ids.iter().map(|&i| f64::from(logits[i as usize]).exp()).sum::<f64>().ln();
                at(&item.right) - at(&item.wrong)
            };
            let central = |by: f64| (step(by) - step(-by)) / (2.0 * by);
            let slope = -(4.0 * central(0.0125) - central(0.025)) / 3.0;
            assert!(
                (slope - nodes[number]).abs() < 2e-3 * slope.abs() + 1e-5,
                "{name} m{layer}: {slope} {}",
                nodes[number]
            );
        }
    }
}

#[test]
fn a_circuit_is_measured_written_and_read_again() {
    let model = tiny("gemma3");
    let ready = letters(&model, 6);
    let bench = Bench::new(&model, &ready, Ablation::Counterfactual).unwrap();
    let edges = bench.edges();
    let scores = score(&bench, Scoring::EapIg { steps: 3 }, &mut || Ok(())).unwrap();
    let best = order(edges, &scores, Choice::Size);
    let mut keep = vec![false; edges.len()];
    best.iter().take(edges.len() / 3).for_each(|&e| keep[e] = true);
    let whole = bench.measure(&vec![true; edges.len()]).unwrap();
    assert!((whole.faithfulness - 1.0).abs() < 1e-3 && whole.kl.abs() < 1e-5 && whole.alive == edges.len());
    let none = bench.measure(&vec![false; edges.len()]).unwrap();
    assert!(none.faithfulness.abs() < 1e-3 && none.edges == 0);
    // what leads nowhere may go
    let lean = alive(edges, &keep);
    let (kept, pruned) = (bench.measure(&keep).unwrap(), bench.measure(&lean).unwrap());
    assert_eq!(kept.alive, pruned.edges);
    assert!((kept.log_odds.value - pruned.log_odds.value).abs() < 1e-3);
    let text = write(edges, model.spec().d_model, &scores, &keep, false).unwrap();
    let again = read(edges, &text).unwrap();
    assert_eq!(again.1, keep);
    assert!(again.0.iter().zip(&scores).all(|(a, b)| (a - b).abs() <= 1e-15 + 1e-14 * b.abs()));
    assert!(read(&Edges::new(2, 3, false), &text).unwrap_err().to_string().contains("heads"));
    assert!(read(edges, "{}").is_err());
    let mut random = random_order(edges, Seed(1));
    random.sort_unstable();
    assert!(random.into_iter().eq(0..edges.len()));
}
