//! The recipes with gates, thresholds and weighted penalties: estimates held to their formulas, training, files.

use std::path::Path;

use pellucid_core::Seed;

use super::tests::{JUMP, SHAPE, active, config, forward, moved, recipes, rows, sparse_rows};
use super::update::Gradient;
use super::*;
use crate::dictionary::{Activation, Dictionary, Shape};
use crate::files::{
    open, read_saelens, read_sparsify, write_saelens, write_saelens_transcoder, write_sparsify,
};

/// The estimate written plainly, over every latent of every row: Σ K(z' − θ) · (−θ/ε · ∂error/∂x̂ · d − λ'/ε), with λ' what one more
/// active entry costs.
#[test]
fn thresholds_move_by_the_estimate() {
    let target =
        Recipe::JumpReLU { sparsity: Sparsity::Target { weight: 2.0, l0: 3.0 }, bandwidth: 0.7, start: 5 };
    for recipe in [JUMP, target] {
        let config = config(recipe.clone());
        let Recipe::JumpReLU { sparsity, bandwidth, .. } = recipe else { unreachable!() };
        let (trainer, dead) = moved(&config);
        let (at, x) = (&trainer.at, rows(40, 6, 1));
        let pass = forward(&config, at, &x, &x, dead, 0.0);
        let mut gradient = Gradient::default();
        gradient.sort(&config, at, &pass);
        let pre = |row: usize, latent: usize| -> f32 {
            let shifted = (0..6).map(|j| x[row * 6 + j] - at.bias[j]);
            let product: f32 = shifted.zip(&at.encoder[latent * 6..]).map(|(x, e)| x * e).sum();
            product + at.encoder_bias[latent]
        };
        let all = || (0..40).flat_map(|row| (0..SHAPE.latents).map(move |latent| (row, latent)));
        let l0 = all().filter(|(r, l)| pre(*r, *l) > at.thresholds[*l]).count() as f32 / 40.0;
        let cost = match sparsity {
            Sparsity::Linear { weight } => weight / 40.0,
            Sparsity::Target { weight, l0: aim } => 2.0 * weight * (l0 / aim - 1.0) / aim / 40.0,
        };
        let mut want = vec![0f32; SHAPE.latents];
        let mut near = 0;
        for (row, latent) in all() {
            let (z, threshold) = (pre(row, latent), at.thresholds[latent]);
            if z > 0.0 && (z - threshold).abs() < bandwidth / 2.0 {
                let slope: f32 = pass.main.slopes[row * 6..][..6]
                    .iter()
                    .zip(at.feature(latent as u32))
                    .map(|(s, d)| s * d)
                    .sum();
                want[latent] -= threshold / bandwidth * slope + cost / bandwidth;
                near += 1;
            }
        }
        assert!(near > 40, "{near}");
        for (found, want) in gradient.thresholds.iter().zip(&want) {
            assert!((found - want).abs() < 1e-5 + 1e-4 * want.abs(), "{found} and {want}");
        }
        // what is near its threshold and below it is not active, and sends nothing to the encoder
        for entry in (0..40).flat_map(|row| active(&pass.main, row)) {
            let z = pre(entry.row as usize, entry.latent as usize);
            let is_active = z > at.thresholds[entry.latent as usize];
            assert!(is_active || (entry.value == 0.0 && entry.slope == 0.0), "{entry:?}");
        }
    }
}

#[test]
fn thresholds_begin_where_so_many_are_active() {
    let sample = rows(300, 6, 3);
    let trainer = Trainer::new(config(JUMP), &sample).unwrap();
    let sparse = trainer.dictionary().encode(&sample).unwrap();
    let mut density = crate::Density::new(SHAPE.latents);
    density.add(&sparse);
    assert!((density.l0() - 6.0).abs() < 0.1, "{}", density.l0());
    let transcoder = Config { shape: Shape { d_out: 4, ..SHAPE }, subtract_bias: false, ..config(JUMP) };
    let error = Trainer::new(transcoder, &rows(8, 4, 1)).unwrap_err().to_string();
    assert!(error.contains("thresholds"), "{error}");
}

/// A configuration for rows that sums of few known directions give.
fn sparse_config(recipe: Recipe) -> Config {
    let shape = Shape { d_in: 16, latents: 24, d_out: 16 };
    let free = matches!(recipe, Recipe::April { .. });
    Config {
        shape,
        learning_rate: 1e-2,
        steps: 400,
        decay_from: 300,
        penalty_warm_up: 20,
        unit_norm: !free,
        ..config(recipe)
    }
}

fn sparse_recipes() -> Vec<Recipe> {
    vec![
        Recipe::ReLU { l1: 0.05 },
        Recipe::April { l1: 0.05 },
        Recipe::Gated { l1: 0.4 },
        Recipe::JumpReLU { sparsity: Sparsity::Linear { weight: 0.03 }, bandwidth: 0.1, start: 4 },
        Recipe::JumpReLU { sparsity: Sparsity::Target { weight: 1.0, l0: 2.0 }, bandwidth: 0.1, start: 4 },
    ]
}

#[test]
fn known_directions_are_found_by_every_recipe() {
    for recipe in sparse_recipes() {
        let mut trainer = Trainer::new(sparse_config(recipe.clone()), &sparse_rows(100, 16, 1)).unwrap();
        let mut reports = Vec::new();
        for step in 0..400 {
            reports.push(trainer.step(&sparse_rows(256, 16, 2 + step), None).unwrap());
        }
        let (first, last) = (reports[0], reports[399]);
        assert!(
            last.unexplained < 0.15 * first.unexplained && last.unexplained < 0.15,
            "{recipe:?} {last:?}"
        );
        assert!(last.l0 < 6.0, "{recipe:?}: {last:?}");
        let dictionary = trainer.dictionary();
        let truth = init::directions(12, 16, Seed(77));
        let found = truth
            .chunks_exact(16)
            .filter(|t| (0..24).any(|i| crate::product::dot(t, dictionary.feature(i)) > 0.9))
            .count();
        assert!(found >= 9, "{recipe:?}: {found}");
        let norm = |i| crate::product::dot(dictionary.feature(i), dictionary.feature(i));
        assert!((0..24).all(|i| (norm(i) - 1.0).abs() < 1e-4), "{recipe:?}");
        let shrunk = trainer.at.thresholds.iter().all(|t| *t >= 0.0);
        assert!(shrunk, "a threshold below 0");
    }
}

/// The dictionary says what the trainer's own forward said.
#[test]
fn a_dictionary_computes_what_was_trained() {
    for recipe in recipes() {
        if matches!(recipe, Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. }) {
            continue; // these choose by batch while they train
        }
        for skip in [false, true] {
            let config = Config { skip, subtract_bias: !skip, auxiliary: None, ..config(recipe.clone()) };
            let (trainer, _) = moved(&config);
            let x = rows(30, 6, 9);
            let pass = forward(&config, &trainer.at, &x, &x, &[], 0.0);
            let output = trainer.dictionary().reconstruct(&x).unwrap();
            let error: f64 = x.iter().zip(&output).map(|(x, y)| f64::from(x - y).powi(2)).sum();
            let wide: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
            let found = error / super::tests::centred(&wide, 6);
            assert!((found - pass.unexplained).abs() < 1e-4 * found, "{config:?}");
        }
    }
}

/// What a file gives back encodes to the same latents and decodes to the same rows.
fn same(dictionary: &Dictionary, back: &Dictionary, d: usize) {
    let x = rows(60, d, 12);
    let (a, b) = (dictionary.encode(&x).unwrap(), back.encode(&x).unwrap());
    assert!(a == b, "{:?}", dictionary.activation);
    assert!(dictionary.decode(&a, Some(&x)).unwrap() == back.decode(&b, Some(&x)).unwrap());
}

#[test]
fn trained_dictionaries_go_through_files() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for (i, recipe) in recipes().into_iter().enumerate() {
        let config = Config { dead_after: 900, ..config(recipe) };
        let mut trainer = Trainer::new(config, &rows(50, 6, 3)).unwrap();
        for step in 0..5 {
            trainer.step(&rows(100, 6, step), None).unwrap();
        }
        let dictionary = trainer.dictionary();
        let path = place(&i.to_string());
        write_saelens(&dictionary, None, &path).unwrap();
        same(&dictionary, &read_saelens(&path).unwrap(), 6);
    }
    transcoders_go_through_files(&place("between"), &place("topk"));
}

fn transcoders_go_through_files(between: &Path, topk: &Path) {
    let shape = Shape { d_out: 4, ..SHAPE };
    for recipe in recipes() {
        for skip in [false, true] {
            let config =
                Config { shape, skip, subtract_bias: false, dead_after: 900, ..config(recipe.clone()) };
            let (x, y) = (rows(100, 6, 1), rows(100, 4, 2));
            let mut trainer = Trainer::between(config, &x, &y).unwrap();
            let before = trainer.step(&x, Some(&y)).unwrap().loss;
            let after = (0..20).map(|_| trainer.step(&x, Some(&y)).unwrap().loss).last().unwrap();
            assert!(after < before, "{recipe:?}: {before} to {after}");
            let dictionary = trainer.dictionary();
            let hooks = ["blocks.3.hook_mlp_in", "blocks.3.hook_mlp_out"];
            match dictionary.activation {
                Activation::TopK { .. } => {
                    write_sparsify(&dictionary, topk).unwrap();
                    same(&dictionary, &read_sparsify(topk).unwrap(), 6);
                }
                Activation::Gated { .. } => {
                    assert!(write_saelens_transcoder(&dictionary, hooks, between).is_err());
                }
                _ => {
                    write_saelens_transcoder(&dictionary, hooks, between).unwrap();
                    let opened = open(between).unwrap();
                    same(&dictionary, &opened.dictionary, 6);
                    assert_eq!([opened.input.unwrap(), opened.output.unwrap()], hooks);
                }
            }
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |recipe: Recipe, change: &dyn Fn(&mut Config)| {
        let mut config = config(recipe);
        change(&mut config);
        Trainer::new(config, &rows(8, 6, 3)).unwrap_err().to_string()
    };
    let auxiliary = Auxiliary { k: 3, coefficient: 0.1 };
    let error = refused(Recipe::Gated { l1: 0.1 }, &|c| c.auxiliary = Some(auxiliary));
    assert!(error.contains("auxiliary"), "{error}");
    let jump = |sparsity, bandwidth, start| Recipe::JumpReLU { sparsity, bandwidth, start };
    let linear = Sparsity::Linear { weight: 0.1 };
    assert!(refused(jump(linear, 0.0, 4), &|_| {}).contains("bandwidth"));
    assert!(refused(jump(linear, 0.1, 21), &|_| {}).contains("start"));
    assert!(refused(jump(Sparsity::Target { weight: 1.0, l0: 21.0 }, 0.1, 4), &|_| {}).contains("L0"));
    assert!(refused(jump(Sparsity::Linear { weight: -1.0 }, 0.1, 4), &|_| {}).contains("weight"));
    assert!(refused(Recipe::April { l1: f32::NAN }, &|_| {}).contains("l1"));
    assert!(refused(Recipe::TopK { k: 4 }, &|c| c.skip = true).contains("skip"));
    let mut trainer = Trainer::new(config(JUMP), &rows(8, 6, 3)).unwrap();
    assert!(trainer.resample(&rows(8, 6, 3)).is_err());
}

/// A run's files are what they were before recipes had parameters of their own.
#[test]
fn a_configuration_says_nothing_of_what_it_does_not_have() {
    let mut config = config(Recipe::TopK { k: 4 });
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("skip") && !text.contains("penalty"), "{text}");
    assert!(serde_json::from_str::<Config>(&text).unwrap() == config);
    config.penalty_warm_up = 4;
    let shares: Vec<f32> = (0..6).map(|step| config.share(step)).collect();
    assert_eq!(shares, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
}
