//! Sizes and times, measured on demand.

use crate::made::{folder, harvest, judged, provenance, windows, words};
use pellucid_core::{Polarity, Seed, Site, Split};
use pellucid_store::atlas::{Atlas, Precision, Query, ScoreKind};

/// Sizes and times of an atlas like SmolLM2's, printed: 30 × 1,536 units, 70 exemplars of up to 64 tokens, 92,160
/// descriptions with 384 numbers each. `cargo test --release -p pellucid-store --test atlas -- --ignored --nocapture
/// sizes::sizes_and_times`.
#[test]
#[ignore = "a measurement: it writes some hundred megabytes"]
fn sizes_and_times() {
    use std::time::Instant;
    let windows = windows(20_000, Seed(1));
    let layers: usize = std::env::var("PELLUCID_LAYERS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    for precision in [Precision::Exact, Precision::Rounded] {
        let (_folder, path) = folder();
        let mut atlas = Atlas::create(&path, &provenance(precision)).unwrap();
        atlas.put_windows(&windows).unwrap();
        let before = atlas.summary().unwrap().bytes;
        let mut writing = 0.0;
        for layer in 0..layers {
            let harvest = harvest(&format!("mlp_act.{layer}"), 1536, 70, &windows);
            let start = Instant::now();
            atlas.put_site(&harvest).unwrap();
            writing += start.elapsed().as_secs_f64();
        }
        let summary = atlas.summary().unwrap();
        let units = (layers * 1536) as f64;
        println!(
            "{precision:?}: {:.0} bytes a unit, {:.0} MB in all, windows {:.1} MB, {:.2} s to write a site",
            (summary.bytes - before) as f64 / units,
            summary.bytes as f64 / 1e6,
            before as f64 / 1e6,
            writing / layers as f64
        );
        let mut seed = Seed(9);
        let start = Instant::now();
        for _ in 0..200 {
            let site: Site = format!("mlp_act.{}", seed.below(layers)).parse().unwrap();
            let index = seed.below(1536) as u32;
            assert!(atlas.unit(site, index).unwrap().is_some());
            assert!(!atlas.windows_of(site, index).unwrap().is_empty());
        }
        println!("  {:.3} ms to read a unit and its windows", start.elapsed().as_secs_f64() * 1e3 / 200.0);
        if precision == Precision::Rounded {
            search_times(&mut atlas, layers);
        }
    }
}

fn search_times(atlas: &mut Atlas, layers: usize) {
    use std::time::Instant;
    let mut seed = Seed(4);
    let start = Instant::now();
    for layer in 0..layers {
        let mut rows = Vec::new();
        for index in 0..1536 {
            for polarity in [Polarity::Positive, Polarity::Negative] {
                let text = format!("the {}th word after number {index}{polarity}", seed.below(50));
                let mut row = words(0, index, polarity, &text);
                row.site = format!("mlp_act.{layer}").parse().unwrap();
                rows.push(row);
            }
        }
        let ids = atlas.add_descriptions(&rows).unwrap();
        let vectors: Vec<Vec<f32>> =
            ids.iter().map(|_| (0..384).map(|_| seed.normal() as f32).collect()).collect();
        let rows: Vec<_> = ids.iter().zip(&vectors).map(|(&id, row)| (id, row.as_slice())).collect();
        atlas.put_embeddings("mini", &rows).unwrap();
        let scores: Vec<_> = ids.iter().map(|&id| (id, judged(seed.uniform(), Split::Test))).collect();
        atlas.add_scores(&scores).unwrap();
    }
    println!("  {:.1} s to write descriptions, vectors and scores", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let vectors = atlas.vectors("mini").unwrap();
    println!("  {} rows, loaded in {:.0} ms", vectors.len(), start.elapsed().as_secs_f64() * 1e3);
    let vector: Vec<f32> = (0..384).map(|_| seed.normal() as f32).collect();
    let time = |name: &str, work: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..21)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("  {name}: median {:.1} ms, slowest {:.1} ms", times[10], times[20]);
    };
    time("cosines alone", &mut || assert!(vectors.cosines(&vector).unwrap().len() == vectors.len()));
    let near = Query { vector: Some(("mini".to_owned(), vector.clone())), ..Query::all(50) };
    time("find by meaning", &mut || assert_eq!(atlas.find(&near).unwrap().len(), 50));
    let narrow = Query { layers: Some(3..=9), polarity: Some(Polarity::Positive), ..near.clone() };
    time("find by meaning, layers and polarity", &mut || assert!(!atlas.find(&narrow).unwrap().is_empty()));
    let scored = Query { score: Some((ScoreKind::Simulation, 0.5)), ..near };
    time("find by meaning and score", &mut || assert!(!atlas.find(&scored).unwrap().is_empty()));
    let text = Query { text: Some("7th number".to_owned()), ..Query::all(50) };
    time("find by words", &mut || assert!(!atlas.find(&text).unwrap().is_empty()));
    println!("  {:.0} MB with descriptions", atlas.summary().unwrap().bytes as f64 / 1e6);
}
