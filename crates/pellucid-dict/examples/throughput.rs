//! How many vectors a second TopK training takes on synthetic sparse rows.
//!
//!     cargo run --release -p pellucid-dict --example throughput -- [d latents k batch steps exact|fast]

use std::time::Instant;

use pellucid_core::Seed;
use pellucid_dict::{Adam, Auxiliary, Config, ErrorScale, Precision, Recipe, Shape, Trainer, automatic_rate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = [512usize, 4096, 32, 2048, 20];
    for (number, word) in numbers.iter_mut().zip(std::env::args().skip(1)) {
        *number = word.parse()?;
    }
    let [d, latents, k, batch, steps] = numbers;
    let exact = std::env::args().nth(6).is_some_and(|word| word == Precision::Exact.name());
    let precision = if exact { Precision::Exact } else { Precision::Fast };
    let config = Config {
        shape: Shape { d_in: d, latents, d_out: d },
        recipe: Recipe::TopK { k },
        error: ErrorScale::Variance,
        auxiliary: Some(Auxiliary { k: d / 2, coefficient: 1.0 / 32.0 }),
        dead_after: 10_000_000,
        subtract_bias: true,
        unit_norm: true,
        learning_rate: automatic_rate(latents),
        warm_up: 1000,
        decay_from: 1_000_000,
        steps: 1_000_000,
        adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 6.25e-10 },
        clip: None,
        penalty_warm_up: 0,
        skip: false,
        seed: 0,
        precision,
    };
    let rows = synthetic(d, 2 * d, 16, 4 * batch);
    let mut trainer = Trainer::new(config, &rows[..256 * d])?;
    let batches: Vec<&[f32]> = rows.chunks_exact(batch * d).collect();
    for batch in batches.iter().take(2) {
        trainer.step(batch, None)?;
    }
    let start = Instant::now();
    let mut last = None;
    for step in 0..steps {
        last = Some(trainer.step(batches[step % batches.len()], None)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "d={d} latents={latents} k={k} batch={batch} threads={} {}: {:.0} vectors/s ({:.1} ms a step)",
        rayon_threads(),
        precision.name(),
        (steps * batch) as f64 / seconds,
        1e3 * seconds / steps as f64
    );
    println!("last step: {last:?}");
    Ok(())
}

fn rayon_threads() -> usize {
    std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Rows that are sums of `active` out of `count` random directions, and a little noise.
fn synthetic(d: usize, count: usize, active: usize, rows: usize) -> Vec<f32> {
    let mut seed = Seed(1);
    let truth: Vec<f32> = (0..count * d).map(|_| (seed.normal() / (d as f64).sqrt()) as f32).collect();
    let mut out: Vec<f32> = (0..rows * d).map(|_| (0.01 * seed.normal()) as f32).collect();
    for row in out.chunks_exact_mut(d) {
        for _ in 0..active {
            let (at, strength) = (seed.below(count), 0.5 + seed.uniform() as f32);
            row.iter_mut().zip(&truth[at * d..]).for_each(|(v, t)| *v += strength * t);
        }
    }
    out
}
