//! Gradients against finite differences, a language whose best loss is known, resuming, and input that must be refused.

use super::*;
use crate::pass::Pass;
use pellucid_core::Seed;

const TINY: Shape = Shape { vocabulary: 11, context: 7, d_model: 8, heads: 2, d_mlp: 12 };

fn config(shape: Shape, steps: u64) -> Config {
    Config {
        shape,
        learning_rate: 1e-2,
        warm_up: steps / 10,
        steps,
        adam: Adam { beta1: 0.9, beta2: 0.98, epsilon: 1e-8 },
        clip: 1.0,
        seed: 3,
    }
}

fn texts(all: &[Vec<u32>]) -> Vec<&[u32]> {
    all.iter().map(Vec::as_slice).collect()
}

/// A fifth of the time any token, otherwise the one that its predecessor always brings.
fn language(seed: u64, count: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut seed = Seed(seed);
    let mut text = || {
        let mut token = seed.below(vocabulary);
        let mut next = || {
            let found = token as u32;
            token = if seed.uniform() < 0.2 { seed.below(vocabulary) } else { (token * 5 + 3) % vocabulary };
            found
        };
        (0..length).map(|_| next()).collect()
    };
    (0..count).map(|_| text()).collect()
}

#[test]
fn every_gradient_is_that_of_finite_differences() {
    let mut seed = Seed(8);
    let mut at = Trainer::new(config(TINY, 1)).unwrap().at;
    at.iter_mut().for_each(|w| *w += (0.3 * seed.normal()) as f32);
    let all = [vec![1, 4, 4, 10, 0, 3, 2], vec![7, 7], vec![5, 9, 1, 2]];
    let texts = texts(&all);
    let mut gradient = vec![0f32; at.len()];
    let loss = Pass::new(TINY, &at).learn(&texts, &mut gradient);
    assert!((loss - Pass::new(TINY, &at).loss(&texts)).abs() < 1e-9);
    for (name, _, place) in TINY.tensors() {
        let direction: Vec<f64> = place.clone().map(|_| seed.normal()).collect();
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        let along: f64 =
            direction.iter().zip(&gradient[place.clone()]).map(|(d, g)| d / length * f64::from(*g)).sum();
        let size = gradient[place.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let moved = |by: f64| {
            let mut at = at.clone();
            at[place.clone()].iter_mut().zip(&direction).for_each(|(w, d)| *w += (by * d / length) as f32);
            Pass::new(TINY, &at).loss(&texts)
        };
        let step = 5e-3;
        let measured = (moved(step) - moved(-step)) / (2.0 * step);
        assert!(size > 1e-3, "{name} has no gradient");
        assert!(
            (measured - along).abs() < 0.01 * size,
            "{name}: {measured} measured, {along} of {size} said"
        );
    }
}

#[test]
fn a_text_is_not_changed_by_its_neighbours() {
    let at = Trainer::new(config(TINY, 1)).unwrap().at;
    let (one, two): (&[u32], &[u32]) = (&[1, 2, 3, 4, 5], &[9, 8, 7]);
    let pass = Pass::new(TINY, &at);
    let apart = pass.loss(&[one]) + pass.loss(&[two]);
    assert!((pass.loss(&[one, two]) - apart).abs() < 1e-5);
}

#[test]
fn a_language_is_learned_to_nearly_its_entropy() {
    let shape = Shape { vocabulary: 16, context: 12, d_model: 16, heads: 2, d_mlp: 32 };
    let mut trainer = Trainer::new(config(shape, 300)).unwrap();
    let held_out = language(99, 200, 12, 16);
    let before = trainer.loss(&texts(&held_out)).unwrap().0;
    assert!((before - 16f64.ln()).abs() < 0.1, "{before}");
    for step in 0..300 {
        let batch = language(1000 + step, 32, 12, 16);
        assert_eq!(trainer.step(&texts(&batch)).unwrap().step, step);
    }
    // the expected token comes with .8 + .2/16, any other with .2/16
    let (likely, other) = (0.8 + 0.2 / 16.0f64, 0.2 / 16.0f64);
    let entropy = -likely * likely.ln() - 15.0 * other * other.ln();
    let (after, predicted) = trainer.loss(&texts(&held_out)).unwrap();
    assert_eq!(predicted, 200 * 11);
    assert!(after < entropy + 0.08, "{after} nats, and {entropy} is possible");
    assert!(after > entropy - 0.08, "{after} nats is better than possible: {entropy}");
}

#[test]
fn a_run_goes_on_to_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let batches: Vec<_> = (0..6).map(|i| language(i, 11, 6, 11)).collect();
    let run = |trainer: &mut Trainer, batches: &[Vec<Vec<u32>>]| {
        batches.iter().for_each(|batch| {
            trainer.step(&texts(batch)).unwrap();
        });
    };
    let mut whole = Trainer::new(config(TINY, 6)).unwrap();
    run(&mut whole, &batches);
    let mut first = Trainer::new(config(TINY, 6)).unwrap();
    run(&mut first, &batches[..2]);
    first.save(&path).unwrap();
    let mut rest = Trainer::load(&path).unwrap();
    assert!(rest == first);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    alone.install(|| run(&mut rest, &batches[2..]));
    assert!(rest == whole);
    let mut other = Trainer::new(Config { seed: 4, ..config(TINY, 6) }).unwrap();
    run(&mut other, &batches);
    assert!(other.at != whole.at, "another seed is another model");
}

#[test]
fn bad_batches_and_settings_are_refused_and_nothing_is_learned() {
    let mut trainer = Trainer::new(config(TINY, 6)).unwrap();
    let before = trainer.clone();
    for (batch, says) in [
        (vec![], "at least one text"),
        (vec![vec![1]], "2 to 7 tokens"),
        (vec![vec![1; 8]], "2 to 7 tokens"),
        (vec![vec![1, 2], vec![3, 11]], "below 11"),
    ] {
        let error = trainer.step(&texts(&batch)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(trainer == before);
    let bad = |change: &dyn Fn(&mut Config)| {
        let mut config = config(TINY, 6);
        change(&mut config);
        Trainer::new(config).unwrap_err().to_string()
    };
    assert!(bad(&|c| c.shape.heads = 3).contains("a multiple of the 3 heads"));
    assert!(bad(&|c| c.shape.d_mlp = 0).contains("at least 1"));
    assert!(bad(&|c| c.shape.vocabulary = usize::MAX).contains("at most"));
    assert!(bad(&|c| c.learning_rate = f32::NAN).contains("finite and above 0"));
    assert!(bad(&|c| c.warm_up = 7).contains("at most the 6 steps"));
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let trainer = Trainer::new(config(TINY, 6)).unwrap();
    trainer.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(Trainer::load(&path).is_err(), "{cut} bytes");
    }
    let mut wide = trainer.clone();
    wide.config.shape.d_mlp += 1;
    wide.save(&path).unwrap();
    let error = Trainer::load(&path).unwrap_err().to_string();
    assert!(error.contains("`at` is F32"), "{error}");
}

#[test]
fn a_vocabulary_is_learned_and_read_back() {
    let line = "the whale, the whale! there she blows. 1851, 1851 — שלום שלום\n";
    let all: Vec<String> = (0..50).map(|i| format!("{line}{i}")).collect();
    let learned = learn(all.iter().map(String::as_str), 300).unwrap();
    assert_eq!(learned, learn(all.iter().map(String::as_str), 300).unwrap());
    assert!((280..=300).contains(&learned.size()), "{}", learned.size());
    let folder = tempfile::tempdir().unwrap();
    learned.write(folder.path()).unwrap();
    assert_eq!(Vocabulary::read(folder.path()).unwrap(), learned);
    let engine: tokenizers::Tokenizer = learned.json.parse().unwrap();
    let ids = engine.encode(line, false).unwrap();
    assert!(ids.len() < line.len() / 2, "{} pieces", ids.len());
    assert_eq!(engine.decode(ids.get_ids(), false).unwrap(), line);
    assert_eq!(engine.token_to_id(END), Some(0));
    assert!(learn(["a"].into_iter(), 256).unwrap_err().to_string().contains("ask for more"));
}
