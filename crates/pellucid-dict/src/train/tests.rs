//! The trainer against its definition in f64, and its promises: resuming, threads, learning.

use pellucid_core::Seed;

use super::pass::{Entry, Moment, Pass};
use super::trainer::Parameters;
use super::update::Gradient;
use super::*;
use crate::Precision;
use crate::dictionary::{Activation, Shape};

pub(super) const JUMP: Recipe =
    Recipe::JumpReLU { sparsity: Sparsity::Linear { weight: 0.05 }, bandwidth: 0.4, start: 6 };
pub(super) const SHAPE: Shape = Shape { d_in: 6, latents: 20, d_out: 6 };

pub(super) fn config(recipe: Recipe) -> Config {
    let auxiliary = Auxiliary { k: 3, coefficient: 1.0 / 32.0 };
    Config {
        shape: SHAPE,
        auxiliary: (!matches!(recipe, Recipe::Gated { .. })).then_some(auxiliary),
        recipe,
        error: ErrorScale::Variance,
        dead_after: 1000,
        subtract_bias: true,
        unit_norm: true,
        learning_rate: 1e-3,
        warm_up: 3,
        decay_from: 15,
        steps: 20,
        adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
        clip: None,
        penalty_warm_up: 0,
        skip: false,
        seed: 5,
        precision: Precision::Exact,
    }
}

pub(super) fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::TopK { k: 4 },
        Recipe::BatchTopK { k: 4, threshold_decay: 0.9 },
        Recipe::Matryoshka { k: 4, threshold_decay: 0.9, prefixes: vec![5, 11, 20] },
        Recipe::ReLU { l1: 0.2 },
        Recipe::April { l1: 0.2 },
        Recipe::Gated { l1: 0.2 },
        JUMP,
        Recipe::JumpReLU { sparsity: Sparsity::Target { weight: 1.0, l0: 3.0 }, bandwidth: 0.4, start: 5 },
    ]
}

pub(super) fn rows(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let mut seed = Seed(seed);
    (0..n * d).map(|_| (0.5 + seed.normal()) as f32).collect()
}

/// A row's active latents.
pub(super) fn active(term: &super::pass::Term, row: usize) -> Vec<Entry> {
    term.entries().filter(|entry| entry.row as usize == row).collect()
}

/// A batch forward, in room of its own.
pub(super) fn forward(
    config: &Config,
    at: &Parameters,
    x: &[f32],
    y: &[f32],
    dead: &[u32],
    hint: f32,
) -> Pass {
    let mut pass = Pass::default();
    pass.run(config, at, [x, y], Moment { dead, hint, share: 1.0 });
    pass
}

/// Everything in f64 by the formulas, with the selected latents, the dead latents' target and all scales held as in `pass`.
struct Plain<'a> {
    config: &'a Config,
    pass: &'a Pass,
    /// Where the gradient is taken: what a gate's own error holds constant.
    here: Vec<Vec<f64>>,
    y: &'a [f32],
    unit: f64,
    residual: Vec<f64>,
    residual_variance: f64,
}

impl Plain<'_> {
    fn loss(&self, p: &[Vec<f64>], x: &[f32]) -> f64 {
        let rows = x.len() / self.config.shape.d_in;
        let penalty = match self.config.recipe {
            Recipe::JumpReLU { sparsity, .. } => {
                let active = self.pass.main.entries().filter(|e| e.value > 0.0).count();
                let l0 = active as f64 / rows as f64;
                match sparsity {
                    Sparsity::Linear { weight } => f64::from(weight) * l0,
                    Sparsity::Target { weight, l0: aim } => {
                        f64::from(weight) * (l0 / f64::from(aim) - 1.0).powi(2)
                    }
                }
            }
            _ => 0.0,
        };
        penalty + (0..rows).map(|row| self.row(p, x, row)).sum::<f64>()
    }

    /// E (x − s), of one latent and row.
    fn product(&self, p: &[Vec<f64>], x: &[f32], row: usize, latent: usize) -> f64 {
        let d = self.config.shape.d_in;
        let shift = |j: usize| if self.config.subtract_bias { p[3][j] } else { 0.0 };
        (0..d).map(|j| p[0][latent * d + j] * (f64::from(x[row * d + j]) - shift(j))).sum()
    }

    /// What latents say in a coordinate.
    fn said(&self, decoder: &[f64], j: usize, terms: &[(usize, f64)]) -> f64 {
        terms.iter().map(|(latent, value)| value * decoder[latent * self.config.shape.d_out + j]).sum()
    }

    fn row(&self, p: &[Vec<f64>], x: &[f32], row: usize) -> f64 {
        let [_, encoder_bias, decoder, bias, _, log_scale, magnitude_bias, skip] = p else { unreachable!() };
        let Shape { d_in, d_out, .. } = self.config.shape;
        let target = |j: usize, skip: &[f64]| {
            let skipped: f64 = match skip.is_empty() {
                true => 0.0,
                false => (0..d_in).map(|i| skip[j * d_in + i] * f64::from(x[row * d_in + i])).sum(),
            };
            f64::from(self.y[row * d_out + j]) - skipped
        };
        let pre = |latent: usize| self.product(p, x, row, latent) + encoder_bias[latent];
        let kept = active(&self.pass.main, row);
        let terms: Vec<(usize, f64)> = kept
            .iter()
            .filter(|e| e.value > 0.0)
            .map(|e| e.latent as usize)
            .map(|latent| match self.config.recipe {
                Recipe::Gated { .. } => {
                    let scaled = log_scale[latent].exp() * self.product(p, x, row, latent);
                    (latent, scaled + magnitude_bias[latent])
                }
                _ => (latent, pre(latent)),
            })
            .collect();
        let (mut loss, ends) = (0.0, self.config.prefixes());
        for end in &ends {
            let inside = terms.partition_point(|term| term.0 < *end);
            for (j, bias) in bias.iter().enumerate() {
                let error = self.said(decoder, j, &terms[..inside]) + bias - target(j, skip);
                loss += error * error / self.unit / ends.len() as f64;
            }
        }
        let norm = |l: usize| decoder[l * d_out..][..d_out].iter().map(|v| v * v).sum::<f64>().sqrt();
        let each = |l1: f32| f64::from(l1) / (x.len() / d_in) as f64;
        match self.config.recipe {
            Recipe::ReLU { l1 } => loss += each(l1) * terms.iter().map(|t| t.1).sum::<f64>(),
            Recipe::April { l1 } => loss += each(l1) * terms.iter().map(|t| t.1 * norm(t.0)).sum::<f64>(),
            Recipe::Gated { l1 } => {
                let open: Vec<_> = kept.iter().map(|e| (e.latent as usize, pre(e.latent as usize))).collect();
                loss += each(l1) * open.iter().map(|t| t.1).sum::<f64>();
                for j in 0..d_out {
                    let error =
                        self.said(&self.here[2], j, &open) + self.here[3][j] - target(j, &self.here[7]);
                    loss += error * error / self.unit;
                }
            }
            _ => {}
        }
        if let (1.., Some(setting)) = (self.pass.auxiliary.rows(), self.config.auxiliary) {
            let dead = active(&self.pass.auxiliary, row);
            let dead: Vec<_> = dead.iter().map(|e| (e.latent as usize, pre(e.latent as usize))).collect();
            for j in 0..d_out {
                let error = self.said(decoder, j, &dead) - self.residual[row * d_out + j];
                loss += f64::from(setting.coefficient) * error * error / self.residual_variance;
            }
        }
        loss
    }
}

pub(super) fn centred(y: &[f64], width: usize) -> f64 {
    let rows = (y.len() / width) as f64;
    let mean = |j: usize| y.iter().skip(j).step_by(width).sum::<f64>() / rows;
    (0..width).map(|j| y.iter().skip(j).step_by(width).map(|v| (v - mean(j)).powi(2)).sum::<f64>()).sum()
}

fn all(p: &Parameters) -> Vec<Vec<f64>> {
    p.fields().map(|(_, part)| part.iter().map(|v| f64::from(*v)).collect()).to_vec()
}

fn gathered(gradient: &Gradient, pass: &Pass, at: &Parameters, shape: Shape) -> Vec<Vec<f32>> {
    let mut encoder = vec![0f32; shape.latents * shape.d_in];
    let mut decoder = vec![0f32; shape.latents * shape.d_out];
    let rows = encoder.chunks_exact_mut(shape.d_in).zip(decoder.chunks_exact_mut(shape.d_out));
    let of = at.decoder.chunks_exact(shape.d_out);
    rows.zip(of).enumerate().for_each(|(i, ((e, d), row))| gradient.latent(pass, i, row, [e, d]));
    let Gradient { encoder_bias, bias, thresholds, log_scale, magnitude_bias, skip, .. } = gradient;
    let others = [thresholds, log_scale, magnitude_bias, skip];
    [vec![encoder, encoder_bias.clone(), decoder, bias.clone()], others.map(Clone::clone).to_vec()].concat()
}

/// A trainer whose parameters have all moved, and which of its latents are to be dead.
pub(super) fn moved(config: &Config) -> (Trainer, &'static [u32]) {
    let shape = config.shape;
    let sample = |d| rows(8, d, 3);
    let mut trainer = Trainer::between(config.clone(), &sample(shape.d_in), &sample(shape.d_out)).unwrap();
    let mut seed = Seed(8);
    let Parameters { encoder_bias, decoder, thresholds, log_scale, magnitude_bias, skip, .. } =
        &mut trainer.at;
    for part in [encoder_bias, decoder, log_scale, magnitude_bias, skip] {
        part.iter_mut().for_each(|b| *b += 0.1 * seed.normal() as f32);
    }
    thresholds.iter_mut().for_each(|t| *t *= 0.5 + seed.uniform() as f32);
    (trainer, if config.auxiliary.is_some() { &[2, 7, 13, 19] } else { &[] })
}

/// Checks every entry of a recipe's gradient; 17 rows, three latents dead.
fn check_gradient(config: &Config, x: &[f32], targets: Option<&[f32]>) {
    let y = targets.unwrap_or(x);
    let (trainer, dead) = moved(config);
    let pass = forward(config, &trainer.at, x, y, dead, 0.0);
    let mut gradient = Gradient::default();
    gradient.sort(config, &trainer.at, &pass);
    let found = gathered(&gradient, &pass, &trainer.at, config.shape);
    let d_out = config.shape.d_out;
    let wide: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
    let unit = match config.error {
        ErrorScale::Variance => centred(&wide, d_out),
        ErrorScale::Rows => (y.len() / d_out) as f64,
        ErrorScale::Elements => y.len() as f64,
    };
    // e = y − x̂, from the slopes' definition: the last group's slope is 2 (x̂ − y) / (unit · prefixes)
    let factor = 2.0 / (unit * config.prefixes().len() as f64);
    let last = pass.main.slopes.chunks_exact(d_out).skip(config.prefixes().len() - 1);
    let last = last.step_by(config.prefixes().len()).flatten();
    let residual: Vec<f64> = last.map(|s| -f64::from(*s) / factor).collect();
    let residual_variance = centred(&residual, d_out);
    let at = all(&trainer.at);
    let plain = Plain { config, pass: &pass, here: at.clone(), y, unit, residual, residual_variance };
    let loss = plain.loss(&at, x);
    assert!((loss - pass.loss).abs() < 1e-5 * loss, "{loss} and {}", pass.loss);
    assert!(dead.is_empty() || pass.auxiliary_loss > 0.0);
    // thresholds have no slope but an estimate, which has a test of its own
    for part in (0..at.len()).filter(|part| *part != 4) {
        for i in 0..at[part].len() {
            let moved = |by: f64| {
                let mut moved = at.clone();
                moved[part][i] += by;
                plain.loss(&moved, x)
            };
            let want = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            let error = (want - f64::from(found[part][i])).abs();
            assert!(error < 1e-5 + 1e-4 * want.abs(), "part {part} at {i}: {want} and {}", found[part][i]);
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for recipe in recipes() {
        for error in [ErrorScale::Variance, ErrorScale::Rows, ErrorScale::Elements] {
            check_gradient(&Config { error, ..config(recipe.clone()) }, &rows(17, 6, 1), None);
        }
    }
}

#[test]
fn a_transcoder_has_its_own_gradient() {
    let shape = Shape { d_out: 4, ..SHAPE };
    let config = Config { shape, subtract_bias: false, ..config(Recipe::TopK { k: 4 }) };
    check_gradient(&config, &rows(17, 6, 1), Some(&rows(17, 4, 2)));
    for recipe in recipes() {
        let skip = Config { shape, subtract_bias: false, skip: true, ..self::config(recipe) };
        check_gradient(&skip, &rows(17, 6, 1), Some(&rows(17, 4, 2)));
    }
}

#[test]
fn a_batch_keeps_the_largest_whatever_was_hinted() {
    let config = config(Recipe::BatchTopK { k: 3, threshold_decay: 0.9 });
    let trainer = Trainer::new(config.clone(), &rows(8, 6, 3)).unwrap();
    let x = rows(200, 6, 4);
    let kept_with = |hint: f32| -> Vec<Vec<(u32, f32)>> {
        let pass = forward(&config, &trainer.at, &x, &x, &[], hint);
        let entries = |row| active(&pass.main, row).iter().map(|e| (e.latent, e.value)).collect();
        (0..200).map(entries).collect()
    };
    let plain = kept_with(0.0);
    assert_eq!(plain.iter().map(Vec::len).sum::<usize>(), 600);
    assert!(plain == kept_with(0.3) && plain == kept_with(100.0));
    let relu = Config { recipe: Recipe::ReLU { l1: 0.0 }, ..config.clone() };
    let pass = forward(&relu, &trainer.at, &x, &x, &[], 0.0);
    let mut all: Vec<f32> = pass.main.entries().map(|e| e.value).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    let mut kept: Vec<f32> = plain.iter().flatten().map(|e| e.1).collect();
    kept.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(kept, all[..600]);
}

fn train(trainer: &mut Trainer, steps: std::ops::Range<u64>) {
    for step in steps {
        trainer.step(&rows(300, 6, 100 + step), None).unwrap();
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let fast = Config { precision: Precision::Fast, clip: Some(0.1), ..config(Recipe::TopK { k: 4 }) };
    for config in recipes().into_iter().map(config).chain([fast]) {
        let config = Config { dead_after: 900, ..config };
        let mut whole = Trainer::new(config.clone(), &rows(50, 6, 3)).unwrap();
        let mut half = whole.clone();
        train(&mut whole, 0..20);
        train(&mut half, 0..10);
        let path = folder.path().join("run.safetensors");
        half.save(&path).unwrap();
        let mut loaded = Trainer::load(&path).unwrap();
        assert!(loaded == half);
        train(&mut loaded, 10..20);
        assert!(loaded == whole);
        let other = folder.path().join("other.safetensors");
        loaded.save(&path).unwrap();
        whole.save(&other).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&other).unwrap());
    }
    let path = folder.path().join("run.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Trainer::load(&path).unwrap_err().to_string();
        assert!(error.contains("not a readable training checkpoint"), "{error}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // more latents than one task has, more rows than one block
    let shape = Shape { latents: 150, ..SHAPE };
    for (precision, clip) in [(Precision::Exact, None), (Precision::Fast, Some(0.1))] {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let config =
                    Config { dead_after: 900, precision, clip, shape, ..config(Recipe::TopK { k: 4 }) };
                let mut trainer = Trainer::new(config, &rows(50, 6, 3)).unwrap();
                train(&mut trainer, 0..8);
                trainer
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(5));
    }
}

#[test]
fn a_runs_room_is_no_part_of_it() {
    let config = Config { dead_after: 900, ..config(Recipe::TopK { k: 4 }) };
    let mut kept = Trainer::new(config, &rows(50, 6, 3)).unwrap();
    let mut fresh = kept.clone();
    for step in 0..6 {
        // batches of several sizes leave room of several sizes behind
        let x = rows([300, 7, 130][step as usize % 3], 6, 100 + step);
        let reports = [&mut kept, &mut fresh].map(|trainer| trainer.step(&x, None).unwrap());
        assert!(reports[0] == reports[1] && kept == fresh);
        fresh = fresh.clone();
    }
}

#[test]
fn a_clipped_step_is_one_of_a_gradient_of_that_norm() {
    let x = rows(300, 6, 9);
    let free = Config { error: ErrorScale::Rows, ..config(Recipe::TopK { k: 4 }) };
    let moments = |clip: Option<f32>| {
        let mut trainer = Trainer::new(Config { clip, ..free.clone() }, &rows(50, 6, 3)).unwrap();
        trainer.step(&x, None).unwrap();
        let first = all(&trainer.first).concat();
        let norm = first.iter().map(|m| (m / 0.1).powi(2)).sum::<f64>().sqrt();
        (first, norm)
    };
    let (whole, norm) = moments(None);
    let (clipped, shrunk) = moments(Some(0.01));
    assert!(norm > 0.02 && (shrunk - 0.01).abs() < 1e-5, "{norm} {shrunk}");
    assert!(whole.iter().zip(&clipped).all(|(w, c)| (w * 0.01 / norm - c).abs() < 1e-6));
    assert!(moments(Some(1e3)).0 == whole);
}

/// What is active is chosen by the rounded product; in everything else a fast step is an exact one.
#[test]
fn a_fast_forward_differs_by_what_rounding_makes() {
    let exact = config(Recipe::TopK { k: 4 });
    let trainer = Trainer::new(exact.clone(), &rows(50, 6, 3)).unwrap();
    let x = rows(200, 6, 4);
    let run = |precision| forward(&Config { precision, ..exact.clone() }, &trainer.at, &x, &x, &[], 0.0);
    let (exact, fast) = (run(Precision::Exact), run(Precision::Fast));
    assert!((exact.loss - fast.loss).abs() < 0.01 * exact.loss);
    assert!(fast.inputs == exact.inputs);
    if !pellucid_kernels::fast_is_quicker() {
        assert!(fast.loss == exact.loss);
    }
}

/// A configuration that was written before it said these things is still read, and means what it meant.
#[test]
fn configurations_without_precision_and_clip_are_exact_and_unclipped() {
    let config = config(Recipe::TopK { k: 4 });
    let mut json = serde_json::to_value(&config).unwrap();
    let fields = json.as_object_mut().unwrap();
    assert_eq!(fields.remove("precision").unwrap(), "exact");
    fields.remove("clip");
    assert!(serde_json::from_value::<Config>(json).unwrap() == config);
}

/// Sums of few out of 12 known directions.
pub(super) fn sparse_rows(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let truth = init::directions(12, d, Seed(77));
    let mut seed = Seed(seed);
    let mut out = vec![0f32; n * d];
    for row in out.chunks_exact_mut(d) {
        for latent in seed.choose(12, 2) {
            crate::product::add_scaled(row, 0.5 + seed.uniform() as f32, &truth[latent * d..][..d]);
        }
        row.iter_mut().for_each(|v| *v += 3.0);
    }
    out
}

#[test]
fn known_directions_are_found() {
    let shape = Shape { d_in: 16, latents: 24, d_out: 16 };
    let config =
        Config { shape, learning_rate: 1e-2, steps: 400, decay_from: 300, ..config(Recipe::TopK { k: 2 }) };
    let mut trainer = Trainer::new(config, &sparse_rows(100, 16, 1)).unwrap();
    let mut last = None;
    for step in 0..400 {
        last = Some(trainer.step(&sparse_rows(256, 16, 2 + step), None).unwrap());
    }
    let last = last.unwrap();
    assert!(last.unexplained < 0.05 && last.l0 <= 2.0, "{last:?}");
    let dictionary = trainer.dictionary();
    dictionary.check().unwrap();
    let truth = init::directions(12, 16, Seed(77));
    let found = truth
        .chunks_exact(16)
        .filter(|t| (0..24).any(|i| crate::product::dot(t, dictionary.feature(i)) > 0.95));
    assert!(found.count() >= 10);
    assert!(
        (0..24)
            .all(|i| (crate::product::dot(dictionary.feature(i), dictionary.feature(i)) - 1.0).abs() < 1e-5)
    );
}

#[test]
fn resampled_latents_begin_at_badly_explained_inputs() {
    let config = Config { dead_after: 300, ..config(Recipe::ReLU { l1: 0.1 }) };
    let mut trainer = Trainer::new(config, &rows(50, 6, 3)).unwrap();
    trainer.at.encoder_bias[4] = -1e3;
    train(&mut trainer, 0..1);
    assert_eq!(trainer.dead(), [4]);
    let mut sample = rows(1, 6, 1).repeat(9);
    sample[18..24].copy_from_slice(&[0.0, 50.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(trainer.resample(&sample).unwrap(), 1);
    assert!(trainer.at.feature(4)[1] > 0.99 && trainer.dead().is_empty());
    let row = &trainer.at.encoder[24..30];
    let norm = crate::product::dot(row, row).sqrt();
    assert!((norm - 0.2).abs() < 0.02, "{norm}");
}

#[test]
fn schedules_and_medians_are_as_stated() {
    let config = config(Recipe::TopK { k: 4 });
    let rates: Vec<f32> = [0, 1, 2, 3, 15, 16, 19].map(|step| config.rate(step) / 1e-3).to_vec();
    let want = [1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0, 0.8, 0.2];
    assert!(rates.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{rates:?}");
    assert!((automatic_rate(16_384) - 2e-4).abs() < 1e-10 && (automatic_rate(4096) - 4e-4).abs() < 1e-10);
    assert_eq!([1, 100, 10_000, 1 << 40].map(haste), [8.0, 8.0, 1.0, 1.0]);
    assert!((haste(1000) - 10f32.sqrt()).abs() < 1e-5);
    let median = geometric_median(&[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.5, 1e6], 2).unwrap();
    assert!(median.iter().all(|v| (0.0..=1.5).contains(v)), "{median:?}");
    assert_eq!(geometric_median(&[], 2), None);
}

#[test]
fn bad_settings_and_rows_are_refused() {
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config(Recipe::TopK { k: 4 });
        change(&mut config);
        Trainer::new(config, &rows(8, 6, 3)).is_err()
    };
    assert!(refused(&|c| c.recipe = Recipe::TopK { k: 21 }));
    assert!(refused(&|c| c.learning_rate = f32::NAN));
    assert!(refused(&|c| c.decay_from = 21));
    assert!(refused(&|c| c.clip = Some(0.0)));
    assert!(refused(&|c| c.shape.d_out = 5));
    let prefixes = |p: &[usize]| Recipe::Matryoshka { k: 4, threshold_decay: 0.9, prefixes: p.to_vec() };
    assert!(refused(&|c| c.recipe = prefixes(&[5, 5, 20])));
    assert!(refused(&|c| c.recipe = prefixes(&[5, 11])));
    assert!(refused(&|c| c.recipe = prefixes(&[])));
    let mut trainer = Trainer::new(config(Recipe::TopK { k: 4 }), &rows(8, 6, 3)).unwrap();
    let before = trainer.clone();
    assert!(trainer.step(&[f32::INFINITY; 6], None).is_err());
    assert!(trainer.step(&[1.0; 7], None).is_err());
    assert!(trainer.step(&[], None).is_err());
    assert!(trainer == before);
    assert!(matches!(trainer.dictionary().activation, Activation::TopK { k: 4 }));
}
