//! How long a unit takes: `cargo test --release -p pellucid-describe --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

mod world;

use pellucid_describe::{Lexicon, Settings, explain_with};
use std::time::Instant;
use world::{Rule, World};

#[test]
#[ignore = "a measurement, to be run alone and optimised"]
fn milliseconds_for_a_unit_on_one_core() {
    let world = World { length: 64, documents: 400, top: 30, random: 30, ..World::default() };
    let rules: [Rule; 6] = [
        world::months,
        world::after_decimal_point,
        world::york_after_new,
        world::ing,
        world::hebrew,
        world::nothing,
    ];
    let units: Vec<_> = rules.iter().map(|&r| world.evidence(r)).collect();
    let tokens: usize = units[0].train.iter().map(|e| e.tokens.len()).sum();
    let mut lexicon = Lexicon::new();
    let mut times: Vec<f64> = Vec::new();
    for unit in units.iter().cycle().take(120) {
        let start = Instant::now();
        explain_with(unit, &Settings::default(), &mut lexicon).unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{tokens} training tokens: median {:.2} ms, p90 {:.2} ms", times[60], times[108]);
}
