//! Circuits on tiny random models: what an edge is predicted to carry is what cutting it takes away.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::circuit::{
    Ablation, Bench, Choice, Edges, Measure, NeuronBench, NeuronScoring, Scoring, alive, node_scores,
    of_nodes, order, random_order, read, score, write,
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

/// ACDC as its paper says it, with a whole run for every edge: from the logits to the input, from the latest writer to the earliest.
/// Holds every decision to it but those that rounding decides, and gives the last measure and how many were so close.
fn decisions_by_hand(
    bench: &Bench<'_>,
    start: &[bool],
    measure: Measure,
    threshold: f64,
    found: &[bool],
) -> (f64, usize) {
    let worse = |keep: &[bool]| match measure {
        Measure::Kl => bench.measure(keep).unwrap().kl,
        Measure::LogOdds => -bench.measure(keep).unwrap().log_odds.value,
    };
    let mut keep = start.to_vec();
    let (mut now, mut close) = (worse(&keep), 0);
    for edge in (0..keep.len()).rev().filter(|&e| start[e]) {
        keep[edge] = false;
        let without = worse(&keep);
        let (loss, named) = (without - now, bench.edges().name(edge));
        // KL near nothing is nothing squared
        if (loss - threshold).abs() < if measure == Measure::Kl { 3e-6 } else { 3e-5 } {
            close += 1;
        } else {
            assert_eq!(
                loss >= threshold,
                found[edge],
                "{named} loses {loss}, {measure:?}, threshold {threshold}"
            );
        }
        if found[edge] { keep[edge] = true } else { now = without }
    }
    (now, close)
}

#[test]
fn pruning_is_that_of_whole_runs() {
    for name in ["llama", "gemma3", "gpt-neox"] {
        let model = tiny(name);
        let ready = letters(&model, 3);
        for ablation in [Ablation::Counterfactual, Ablation::Zero] {
            let bench = Bench::new(&model, &ready, ablation).unwrap();
            let edges = bench.edges();
            let scores = score(&bench, Scoring::Eap, &mut || Ok(())).unwrap();
            let some = pellucid_interp::circuit::first(&order(edges, &scores, Choice::Size), edges.len() / 3);
            for (start, measure, threshold) in [
                (vec![true; edges.len()], Measure::Kl, 1e-4),
                (vec![true; edges.len()], Measure::LogOdds, 2e-3),
                (some, Measure::Kl, 1e-3),
            ] {
                let mut told = 0;
                let count = &mut || {
                    told += 1;
                    Ok(())
                };
                let found = bench.acdc(&start, measure, threshold, count).unwrap();
                let (after, close) = decisions_by_hand(&bench, &start, measure, threshold, &found.keep);
                assert!(close < 12, "{name} {measure:?}: {close} decisions are left to rounding");
                assert!((found.after - after).abs() < 5e-5, "{name}: {} {after}", found.after);
                let begun = start.iter().filter(|k| **k).count();
                assert_eq!((told, found.tested + found.unheard), (begun, begun), "{name}");
                let left = found.keep.iter().filter(|k| **k).count();
                assert!(left > 0 && left < begun, "{name} {measure:?} left {left} of {begun}");
            }
            let stopped = bench.acdc(&vec![true; edges.len()], Measure::Kl, 0.1, &mut || {
                Err(pellucid_interp::Error::Stopped)
            });
            assert!(matches!(stopped, Err(pellucid_interp::Error::Stopped)));
            assert!(bench.acdc(&[true], Measure::Kl, 0.1, &mut || Ok(())).is_err());
            assert!(bench.acdc(&vec![true; edges.len()], Measure::Kl, f64::NAN, &mut || Ok(())).is_err());
        }
    }
}

/// EAP-IG of activations: at the end of every way stands the gradient at the items; half-way, a place's edges into the logits are
/// checked by patching that place and pushing the final stream by hand.
#[test]
fn activations_on_their_way_are_patched_places() {
    let model = tiny("gemma3");
    let ready = letters(&model, 1);
    let bench = Bench::new(&model, &ready, Ablation::Counterfactual).unwrap();
    let edges = bench.edges();
    let scored = |by| score(&bench, by, &mut || Ok(())).unwrap();
    let eap = scored(Scoring::Eap);
    let one = scored(Scoring::EapIgActivations { steps: 1 });
    assert!(eap.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-6 + 1e-4 * a.abs()));
    assert!(score(&bench, Scoring::EapIgActivations { steps: 0 }, &mut || Ok(())).is_err());
    let two = scored(Scoring::EapIgActivations { steps: 2 });
    let item = &ready.items[0];
    let layers = edges.layers();
    let mut places = vec![Site::new(Point::ResidPre, 0)];
    places.extend((0..layers).flat_map(|l| [Point::AttnOutPost, Point::MlpOutPost].map(|p| Site::new(p, l))));
    let values = |row: &pellucid_model::Row| {
        let mut record = Record::new(places.iter().copied());
        model.run(&Batch::one(row.clone()), &Plan::LAST, None, &mut record).unwrap();
        places.iter().map(|&s| record.value(s).unwrap()).collect::<Vec<_>>()
    };
    let (now, other) = (values(&item.row), values(item.counterfactual.as_ref().unwrap()));
    let last = item.row.tokens.len() - 1;
    let odds = |resid: &Tensor| {
        let logits = model.unembed(resid).unwrap().to_vec2::<f32>().unwrap()[0].clone();
        let at = |ids: &[u32]| ids.iter().map(|&i| f64::from(logits[i as usize]).exp()).sum::<f64>().ln();
        at(&item.right) - at(&item.wrong)
    };
    for (place, site) in places.iter().enumerate().filter(|(_, s)| s.point == Point::MlpOutPost) {
        let push = (&other[place] - &now[place]).unwrap().narrow(0, last, 1).unwrap();
        let mut slopes = 0.0;
        for (p, &patched) in places.iter().enumerate() {
            let rows = ((&other[p] + &now[p]).unwrap() * 0.5).unwrap().to_vec2().unwrap();
            let edit = Edit {
                site: patched,
                target: Target::Whole,
                positions: Positions::All,
                op: Op::Patch { rows },
            };
            let mut tap = Apply::new(&model, &[edit]).unwrap();
            let resid = model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap).unwrap().resid;
            let resid = resid.narrow(0, last, 1).unwrap();
            let at = |by: f64| odds(&(&resid + (&push * by).unwrap()).unwrap());
            slopes += (at(0.02) - at(-0.02)) / 0.04;
        }
        let named = format!("m{}->logits", site.layer);
        let edge = edges.parse(&named).unwrap();
        let want = (eap[edge] - slopes / places.len() as f64) / 2.0;
        assert!((two[edge] - want).abs() < 2e-3 * want.abs() + 2e-5, "{named}: {} {want}", two[edge]);
    }
}

/// Neurons kept by edits that patch the others, item by item, against the bench; scores against small steps and against what all
/// neurons together take away.
#[test]
fn neurons_are_replaced_and_scored_as_by_hand() {
    for name in ["llama", "gemma3", "gpt2", "gpt-neox"] {
        let model = tiny(name);
        let ready = letters(&model, 2);
        let (layers, width) = (model.spec().n_layers, model.spec().d_mlp);
        let bench = NeuronBench::new(&model, &ready, Ablation::Counterfactual).unwrap();
        let values = |row: &pellucid_model::Row, layer: usize| -> Vec<Vec<f32>> {
            let site = Site::new(Point::MlpAct, layer);
            let mut record = Record::new([site]);
            model.run(&Batch::one(row.clone()), &Plan::LAST, None, &mut record).unwrap();
            record.value(site).unwrap().to_vec2().unwrap()
        };
        // each neuron that is not kept stands at `share` of the way to its counterfactual
        let by_hand = |keep: &dyn Fn(usize, usize) -> bool, share: f32| -> f64 {
            let odds = ready.items.iter().map(|item| {
                let edits: Vec<Edit> = (0..layers)
                    .map(|l| {
                        let units: Vec<u32> = (0..width).filter(|&i| !keep(l, i)).map(|i| i as u32).collect();
                        let (now, other) =
                            (values(&item.row, l), values(item.counterfactual.as_ref().unwrap(), l));
                        let row = |(n, o): (&Vec<f32>, &Vec<f32>)| {
                            units
                                .iter()
                                .map(|&u| n[u as usize] + share * (o[u as usize] - n[u as usize]))
                                .collect()
                        };
                        let rows = now.iter().zip(&other).map(row).collect();
                        let site = Site::new(Point::MlpAct, l);
                        Edit {
                            site,
                            target: Target::Units(units),
                            positions: Positions::All,
                            op: Op::Patch { rows },
                        }
                    })
                    .filter(|e| !matches!(&e.target, Target::Units(u) if u.is_empty()))
                    .collect();
                let mut tap = Apply::new(&model, &edits).unwrap();
                let logits =
                    model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap).unwrap().logits;
                let logits = logits.unwrap().to_vec2::<f32>().unwrap()[0].clone();
                let at =
                    |ids: &[u32]| ids.iter().map(|&i| f64::from(logits[i as usize]).exp()).sum::<f64>().ln();
                at(&item.right) - at(&item.wrong)
            });
            odds.sum::<f64>() / ready.items.len() as f64
        };
        let some = |l: usize, i: usize| (l + 3 * i).is_multiple_of(4);
        let keep: Vec<bool> = (0..bench.len()).map(|n| bench.place(n)).map(|(l, i)| some(l, i)).collect();
        let (found, want) = (mean(&bench.odds(&keep).unwrap()), by_hand(&some, 1.0));
        assert!((found - want).abs() < 1e-4, "{name}: {found} {want}");
        let none = by_hand(&|_, _| false, 1.0);
        assert!((mean(bench.none()) - none).abs() < 1e-4, "{name}: {} {none}", mean(bench.none()));
        let whole = bench.measure(&vec![true; bench.len()]).unwrap();
        assert!((whole.faithfulness - 1.0).abs() < 1e-4 && whole.kl.abs() < 1e-6, "{name}");
        assert!(bench.measure(&vec![false; bench.len()]).unwrap().faithfulness.abs() < 1e-6, "{name}");

        let scores = bench.scores(NeuronScoring::Gradient, &mut || Ok(())).unwrap();
        for neuron in pellucid_interp::circuit::ranked(&scores).into_iter().take(4) {
            let (layer, index) = bench.place(neuron);
            let at = |by: f32| by_hand(&|l, i| (l, i) != (layer, index), by);
            let step = |by: f32| (at(by) - at(-by)) / f64::from(2.0 * by);
            let close = |by: f32| (-(4.0 * step(by) - step(2.0 * by)) / 3.0 - scores[neuron]).abs();
            let tried = [0.1f32, 0.02].map(close);
            assert!(
                tried.iter().any(|e| *e < 2e-3 * scores[neuron].abs() + 5e-5),
                "{name} {layer}/{index}: {} {tried:?}",
                scores[neuron]
            );
        }
        let sum = |steps| -> f64 {
            bench.scores(NeuronScoring::Integrated { steps }, &mut || Ok(())).unwrap().iter().sum()
        };
        let taken = mean(bench.whole()) - mean(bench.none());
        assert!((sum(64) - taken).abs() < 1e-3 * taken.abs() + 2e-4, "{name}: {} {taken}", sum(64));
        assert!(bench.scores(NeuronScoring::Integrated { steps: 0 }, &mut || Ok(())).is_err());
        let points = bench.curve(&scores, Seed(3), &mut || Ok(())).unwrap();
        let end = points.last().unwrap();
        assert_eq!(end.circuit.neurons, bench.len(), "{name}");
        assert!((end.circuit.faithfulness - 1.0).abs() < 1e-4, "{name}");
        for ablation in [Ablation::Mean, Ablation::Zero] {
            let other = NeuronBench::new(&model, &ready, ablation).unwrap();
            assert!(other.none().iter().zip(bench.none()).any(|(a, b)| (a - b).abs() > 1e-6), "{name}");
        }
    }
}
