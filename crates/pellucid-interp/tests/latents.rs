//! Latents of dictionaries on tiny random models: what an edit does, its derivative, and effects that add up.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Latents, Op, Point, Positions, Seed, Site, Split, Target};
use pellucid_dict::{Activation, Dictionary, Normalisation, Shape};
use pellucid_interp::dictionary::losses;
use pellucid_interp::{
    LatentEffects, Method, Metric, Replacement, ablate_each, attribute, latent_effects, promoted,
    promoted_latents,
};
use pellucid_model::sample::{divergence, log_softmax};
use pellucid_model::{Apply, Attached, Batch, Logits, Model, Plan, Record, Row, Rules, Storage, Tap, Tensor};
use pellucid_store::{Document, Window};
use std::path::Path;
use std::sync::Arc;

const TEXT: [u32; 9] = [5, 17, 300, 42, 8, 99, 120, 7, 63];
const LATENTS: usize = 60;

fn row() -> Row {
    Row::new(TEXT)
}

fn site() -> Site {
    Site::new(Point::ResidPost, 0)
}

fn activations() -> [Activation; 3] {
    let gate = |s: f32| (0..LATENTS).map(|i| (i as f32 * s).sin() * 0.2).collect::<Vec<_>>();
    [
        Activation::TopK { k: 8 },
        Activation::JumpReLU { thresholds: vec![0.1; LATENTS] },
        Activation::Gated { log_scale: gate(0.3), bias: gate(0.7) },
    ]
}

/// A tiny model with a random dictionary of the stream after its first layer, named `d`.
fn model(name: &str, activation: Activation) -> (Model, Arc<Dictionary>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    let mut model = Model::open(&path, Storage::F32, &mut |_| ()).unwrap();
    let d = model.spec().width_at(Point::ResidPost).unwrap();
    let mut seed = Seed(5);
    let mut draw = |n: usize, s: f64| (0..n).map(|_| (s * seed.normal()) as f32).collect::<Vec<_>>();
    let dictionary = Arc::new(Dictionary {
        shape: Shape { d_in: d, latents: LATENTS, d_out: d },
        encoder: draw(LATENTS * d, 0.3),
        encoder_bias: draw(LATENTS, 0.2),
        decoder: draw(LATENTS * d, 0.3),
        decoder_bias: draw(d, 0.1),
        shift: draw(d, 0.1),
        skip: None,
        normalisation: Normalisation::None,
        activation,
    });
    let latents: Arc<dyn Latents> = dictionary.clone();
    model.attach(Attached { name: "d".to_owned(), site: site(), hash: String::new(), latents }).unwrap();
    (model, dictionary)
}

fn edit(text: &str) -> Edit {
    Edit::read(text, &|_| Some(site())).unwrap()
}

/// The rows at the dictionary's site, and the logits at the last token.
fn run(model: &Model, edits: &[Edit]) -> (Vec<Vec<f32>>, Vec<f32>) {
    let mut record = Record::new([site()]);
    let mut taps = (Apply::new(model, edits).unwrap(), &mut record);
    let logits = model.run(&Batch::one(row()), &Plan::LAST, None, &mut taps).unwrap().logits.unwrap();
    (record.value(site()).unwrap().to_vec2().unwrap(), logits.to_vec2::<f32>().unwrap().remove(0))
}

fn metric() -> Metric {
    Metric { position: TEXT.len() - 1, target: 11, foil: Some(23) }
}

fn value(model: &Model, edits: &[Edit]) -> f64 {
    let logits = run(model, edits).1;
    f64::from(logits[11]) - f64::from(logits[23])
}

fn effects(model: &Model, edits: &[Edit]) -> LatentEffects {
    let mut tap = Apply::new(model, edits).unwrap();
    let all = attribute(model, &row(), metric(), Method::GradAct, &[site()], &mut tap).unwrap();
    latent_effects(model, &all, "d").unwrap()
}

#[test]
fn an_edit_that_sets_what_is_there_changes_no_bit_and_any_other_leaves_the_error_alone() {
    for activation in activations() {
        let (model, dictionary) = model("llama", activation);
        let (plain, logits) = run(&model, &[]);
        let active = dictionary.active(&plain.concat());
        let (latent, a) = active[4][0];
        for same in
            [format!("sae:d/{latent}=x1"), format!("sae:d/{latent}={a}@4"), "sae:d/error=x1".to_owned()]
        {
            assert_eq!(run(&model, &[edit(&same)]), (plain.clone(), logits.clone()), "{same}");
        }
        // off, at one position: the row loses the latent's part and keeps everything else
        let (changed, _) = run(&model, &[edit(&format!("sae:d/{latent}=0@4"))]);
        let lost = dictionary.feature(latent as usize).iter().map(|d| a * d);
        let expected: Vec<f32> = plain[4].iter().zip(lost).map(|(x, l)| x - l).collect();
        assert!(changed[4].iter().zip(&expected).all(|(c, e)| (c - e).abs() < 1e-5));
        assert_eq!((&changed[..4], &changed[5..]), (&plain[..4], &plain[5..]));
        // a latent that was silent is switched on
        let silent = (0..LATENTS as u32).find(|l| active[4].iter().all(|a| a.0 != *l)).unwrap();
        let (on, _) = run(&model, &[edit(&format!("sae:d/{silent}=2.5@4"))]);
        let written: Vec<f32> = on[4].iter().zip(&plain[4]).map(|(on, x)| on - x).collect();
        assert!(
            written.iter().zip(dictionary.feature(silent as usize)).all(|(w, d)| (w - 2.5 * d).abs() < 1e-4)
        );
        // without the error the reconstruction stands alone, but for the first token, which is not read
        let (spliced, _) = run(&model, &[edit("sae:d/error=0")]);
        assert_eq!(spliced[0], plain[0]);
        let reconstruction = dictionary.reconstruct(&plain[1..].concat()).unwrap();
        assert!(spliced[1..].concat().iter().zip(reconstruction).all(|(s, r)| (s - r).abs() < 1e-4));
        let first = Apply::new(&model, &[edit("sae:d/error=0@0")]).unwrap().check_prompt(&row()).unwrap_err();
        assert!(first.to_string().contains("first token"));
    }
}

#[test]
fn a_latent_of_neurons_speaks_for_what_its_neurons_speak_for() {
    // gemma3 normalises what an MLP adds once more
    for name in ["llama", "gpt2", "gemma3"] {
        let (mut model, _) = model(name, Activation::ReLU);
        let width = model.spec().d_mlp;
        // every latent is one neuron, in reverse order
        let one = |latent: usize| (0..width).map(move |i| if i == width - 1 - latent { 1.0 } else { 0.0 });
        let decoder: Vec<f32> = (0..width).flat_map(one).collect();
        let dictionary = Dictionary {
            shape: Shape { d_in: width, latents: width, d_out: width },
            encoder: decoder.clone(),
            encoder_bias: vec![0.0; width],
            decoder,
            decoder_bias: vec![0.0; width],
            shift: vec![0.0; width],
            skip: None,
            normalisation: Normalisation::None,
            activation: Activation::ReLU,
        };
        let site = Site::new(Point::MlpAct, 1);
        let latents: Arc<dyn Latents> = Arc::new(dictionary);
        let attached = Attached { name: "neurons".to_owned(), site, hash: String::new(), latents };
        model.attach(attached.clone()).unwrap();
        let neurons = promoted(&model, 1, 5, &mut |_| ()).unwrap();
        let latents = promoted_latents(&model, &attached, 0..width, 5, &mut |_| ()).unwrap();
        for (neuron, latent) in neurons.iter().zip(latents.iter().rev()) {
            assert_eq!(neuron.up, latent.up, "{name}");
            assert_eq!(neuron.down, latent.down, "{name}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_and_says_what_would() {
    let (mut model, dictionary) = model("llama", Activation::ReLU);
    let refused = |model: &Model, edit: Edit| Apply::new(model, &[edit]).unwrap_err().to_string();
    assert!(refused(&model, edit("sae:d/60=0")).contains("there are 60 latents"));
    assert!(refused(&model, edit("sae:d/1,1=0")).contains("named twice"));
    assert!(refused(&model, edit("sae:other/1=0")).contains("loaded are d"));
    assert!(refused(&model, edit("sae:d/error=2")).contains("zero or scaled"));
    let elsewhere = Edit { site: Site::new(Point::ResidPost, 1), ..edit("sae:d/1=0") };
    assert!(refused(&model, elsewhere).contains("resid_post.0"));
    let mut attach = |name: &str, site: Site| {
        let latents: Arc<dyn Latents> = dictionary.clone();
        model
            .attach(Attached { name: name.to_owned(), site, hash: String::new(), latents })
            .unwrap_err()
            .to_string()
    };
    assert!(attach("d", site()).contains("another one of that name"));
    assert!(attach("a b", site()).contains("letters"));
    assert!(attach("e", Site::new(Point::MlpAct, 0)).contains("mlp_act.0 has rows of"));
    assert!(attach("e", Site::new(Point::AttnProbs, 0)).contains("no rows"));
}

/// The derivative of the metric through edits, along a random change of the embeddings, by central differences.
#[test]
fn gradients_pass_through_edits_of_latents() {
    for name in ["llama", "gemma3"] {
        for activation in activations() {
            let (model, dictionary) = model(name, activation);
            let active = dictionary.active(&run(&model, &[]).0.concat());
            let (first, second) = (active[3][0].0, active[3][1].0);
            let here = |op: Op| Edit {
                op,
                positions: Positions::At(vec![3, 6]),
                ..edit(&format!("sae:d/{first},{second}=0"))
            };
            for list in [
                vec![here(Op::Zero)],
                vec![here(Op::Scale(-2.0))],
                vec![here(Op::Add(vec![0.7]))],
                vec![here(Op::Clamp { min: None, max: Some(0.5 * active[3][0].1) })],
                vec![here(Op::Scale(3.0)), edit("sae:d/error=x0.5")],
                vec![edit("sae:d/error=0@2..7")],
            ] {
                let embeddings = Site::new(Point::Embeddings, 0);
                let mut record = Record::with_gradients([embeddings]);
                let mut taps = (Apply::new(&model, &list).unwrap(), &mut record);
                let plan = Plan { logits: Logits::At(vec![TEXT.len() - 1]), start: None, stop_after: None };
                let (output, trace) = model.trace(&Batch::one(row()), &plan, &mut taps).unwrap();
                let logits = output.logits.unwrap();
                let mut seed = vec![0f32; logits.elem_count()];
                (seed[11], seed[23]) = (1.0, -1.0);
                let seed = Tensor::from_vec(seed, logits.shape(), logits.device()).unwrap();
                model.backward(trace, &seed, Rules::EXACT, &mut taps).unwrap();
                let gradient: Vec<f32> =
                    record.gradient(embeddings).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                let width = gradient.len() / TEXT.len();
                let mut draw = Seed(11);
                let way: Vec<f32> = (0..width).map(|_| draw.normal() as f32).collect();
                let predicted: f64 = (gradient.chunks(width))
                    .map(|g| g.iter().zip(&way).map(|(g, w)| f64::from(*g) * f64::from(*w)).sum::<f64>())
                    .sum();
                let moved = |by: f32| {
                    let push = Op::Add(way.iter().map(|w| w * by).collect());
                    let push =
                        Edit { site: embeddings, target: Target::Whole, positions: Positions::All, op: push };
                    value(&model, &[vec![push], list.clone()].concat())
                };
                // a threshold may lie within one step, and rounding outweigh a small one: of three steps one must agree
                let found =
                    [1e-4, 3e-4, 1e-3].map(|step| (moved(step) - moved(-step)) / (2.0 * f64::from(step)));
                let agrees = |found: f64| (found - predicted).abs() <= 0.02 * found.abs().max(0.1);
                assert!(found.into_iter().any(agrees), "{name}: {found:?} beside {predicted}: {list:?}");
            }
        }
    }
}

#[test]
fn effects_of_latents_error_and_constant_are_the_rows_and_what_scaling_a_latent_does() {
    for activation in activations() {
        let (model, _) = model("llama", activation);
        for edits in [vec![], vec![edit("sae:d/error=x0.5")]] {
            let all = effects(&model, &edits);
            assert!(all.incompleteness() < 1e-5, "{}", all.incompleteness());
            assert_eq!(all.latents.len(), TEXT.len());
            assert!(all.latents[0].is_empty() && (all.error[0] - all.row[0]).abs() < 1e-9);
            let plain = value(&model, &edits);
            for (position, l) in [(8, all.latents[8][0]), (3, all.latents[3][1])] {
                let scaled = |by: f32| {
                    let change = edit(&format!("sae:d/{}=x{by}@{position}", l.latent));
                    value(&model, &[edits.clone(), vec![change]].concat())
                };
                let found = (scaled(1.01) - scaled(0.99)) / 0.02;
                assert!(
                    (found - l.effect).abs() <= 0.02 * l.effect.abs().max(0.02),
                    "{found} {l:?} of {plain}"
                );
            }
            let best = &all.ranked(3)[0];
            if edits.is_empty() {
                let unit = best.unit.clone().unwrap();
                let removed = ablate_each(
                    &model,
                    &row(),
                    metric(),
                    std::slice::from_ref(&unit),
                    Replacement::Zero,
                    &mut |_, _| (),
                )
                .unwrap();
                let expected = value(&model, &[edit(&format!("{unit}=0"))]) - plain;
                assert!((removed[0].change - expected).abs() < 1e-4, "{removed:?} {expected}");
            }
            let Some(pellucid_core::UnitId::Latent { index, .. }) = best.unit else { panic!("{best:?}") };
            let by_position = all.by_position(index);
            assert!((by_position.iter().sum::<f64>() - best.effect).abs() < 1e-9);
            assert_eq!(by_position[best.position], best.effect_there);
        }
    }
}

#[test]
fn what_a_dictionary_costs_is_what_leaving_out_its_error_costs() {
    let (model, dictionary) = model("llama", Activation::TopK { k: 8 });
    let (document, split, counted) = (Document([0; 16]), Split::Test, vec![true; TEXT.len()]);
    let window = Window { document, split, index: 0, tokens: TEXT.to_vec(), counted };
    let mean = vec![0.0; dictionary.shape.d_out];
    let found = losses(&model, site(), &[window.clone(), window], &dictionary, &mean).unwrap();
    let said = |tap: &mut dyn Tap| -> Vec<Vec<f32>> {
        let logits = model.forward(&Batch::one(row()), tap).unwrap().to_vec2::<f32>().unwrap();
        logits.iter().map(|row| log_softmax(row)).collect()
    };
    // the first token is not asked for: nobody changes what tells it
    let next = |rows: &[Vec<f32>]| {
        let asked: Vec<f64> =
            (1..TEXT.len() - 1).map(|at| -f64::from(rows[at][TEXT[at + 1] as usize])).collect();
        asked.iter().sum::<f64>() / asked.len() as f64
    };
    let plain = said(&mut ());
    let without = said(&mut Apply::new(&model, &[edit("sae:d/error=0")]).unwrap());
    let zero =
        said(&mut Apply::new(&model, &[Edit::read("resid_post.0=0@1..", &|_| None).unwrap()]).unwrap());
    let kl = |rows: &[Vec<f32>]| {
        let each = plain.iter().zip(rows).take(TEXT.len() - 1).skip(1).map(|(p, q)| divergence(p, q));
        each.sum::<f64>() / (TEXT.len() - 2) as f64
    };
    assert!((found.plain - next(&plain)).abs() < 1e-6);
    for (said, rows) in [(found.spliced, &without), (found.zero, &zero), (found.mean, &zero)] {
        assert!((said.loss - next(rows)).abs() < 1e-5 && (said.kl - kl(rows)).abs() < 1e-5, "{said:?}");
        assert!(said.kl > 1e-3);
    }
    let share = (found.zero.kl - found.spliced.kl) / found.zero.kl;
    assert_eq!(found.kl_recovered_from_zero(), Some(share));
}
