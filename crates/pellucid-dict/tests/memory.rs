//! A step of training asks for no memory after the first ones, whatever is dead.

use pellucid_core::Seed;
use pellucid_dict::{Adam, Auxiliary, Config, ErrorScale, Precision, Recipe, Shape, Trainer};

#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

#[test]
fn a_step_asks_for_no_memory() {
    let (d, latents, batch) = (64, 512, 1000);
    let mut seed = Seed(1);
    let x: Vec<f32> = (0..batch * d).map(|_| seed.normal() as f32).collect();
    for (precision, dead_after) in
        [(Precision::Exact, 1_000_000), (Precision::Fast, 1_000_000), (Precision::Fast, 1)]
    {
        let config = Config {
            shape: Shape { d_in: d, latents, d_out: d },
            recipe: Recipe::TopK { k: 8 },
            error: ErrorScale::Variance,
            auxiliary: Some(Auxiliary { k: d / 2, coefficient: 1.0 / 32.0 }),
            dead_after,
            subtract_bias: true,
            unit_norm: true,
            learning_rate: 1e-4,
            warm_up: 0,
            decay_from: 100,
            steps: 100,
            adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            clip: Some(1.0),
            penalty_warm_up: 0,
            skip: false,
            seed: 0,
            precision,
        };
        let mut trainer = Trainer::new(config, &x[..d]).unwrap();
        for _ in 0..5 {
            trainer.step(&x, None).unwrap();
        }
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        trainer.step(&x, None).unwrap();
        // lists of a few numbers, and what threads tell each other; a batch alone has 256,000 bytes
        let more = HEAP.peak_usage().saturating_sub(before);
        assert!(more < 16_384, "{more} bytes in a step");
    }
}
