//! How long collecting takes: blocks of 2048 tokens for 30 sites of 1536 units, as a sweep over SmolLM2-135M
//! would bring them, with the memory stated and used.
//!
//! `cargo run --release -p pellucid-store --example collect_speed [SITES] [BLOCKS]`

use pellucid_core::{Point, Seed, Site, Split};
use pellucid_store::collect::{Block, Collector, Keep, SiteCollector, memory};
use pellucid_store::{Document, Window};
use std::time::{Duration, Instant};

const WIDTH: usize = 1536;
const WINDOW: usize = 128;
const WINDOWS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let sites = numbers.next().transpose()?.unwrap_or(30);
    let blocks = numbers.next().transpose()?.unwrap_or(12);
    let keep = Keep::for_sweep(Seed(1));
    let values = activations();
    let before = resident();
    let started = Instant::now();
    let mut collectors = (0..sites)
        .map(|layer| SiteCollector::new(Site::new(Point::MlpAct, layer), WIDTH, &keep))
        .collect::<Result<Vec<_>, _>>()?;
    println!("{} threads; reserved in {:.0?}", rayon::current_num_threads(), started.elapsed());
    let mut best = Duration::MAX;
    for number in 0..blocks {
        let windows = windows(number);
        let mut spent = Duration::ZERO;
        for (layer, collector) in collectors.iter_mut().enumerate() {
            // Other numbers for each block and layer, without the time to draw them; a prime step keeps windows
            // from meeting themselves.
            let from = (number * 7919 + layer * 104_729) % (values.len() - WINDOWS * WINDOW * WIDTH);
            let block = Block {
                values: &values[from..][..WINDOWS * WINDOW * WIDTH],
                width: WIDTH,
                windows: &windows,
            };
            let started = Instant::now();
            collector.collect(&block)?;
            spent += started.elapsed();
        }
        best = best.min(spent);
        let per_value = spent.as_secs_f64() * 1e9 / (sites * WIDTH * WINDOWS * WINDOW) as f64;
        println!("block {number}: {:.0?}, {per_value:.2} ns a value", spent);
    }
    println!("best block: {best:.0?}");
    let stated: u64 = collectors.iter().map(|_| memory(WIDTH, &keep)).sum();
    println!(
        "memory: {} MB stated, {:?} MB used",
        stated / 1_000_000,
        resident().zip(before).map(|(b, a)| b.saturating_sub(a) / 1_000_000)
    );
    if let Some(first) = collectors.into_iter().next() {
        let mut file = Vec::new();
        let started = Instant::now();
        first.save(&mut file)?;
        println!("saving a site: {:.0?}, {} kB", started.elapsed(), file.len() / 1000);
        let started = Instant::now();
        SiteCollector::load(&mut file.as_slice(), first.site(), WIDTH, &keep)?;
        println!("loading it: {:.0?}", started.elapsed());
    }
    Ok(())
}

/// Numbers distributed like those of gated neurons: products of two normals, a few large.
fn activations() -> Vec<f32> {
    let mut seed = Seed(7);
    (0..3 * WINDOWS * WINDOW * WIDTH).map(|_| (seed.normal() * seed.normal() * 0.3) as f32).collect()
}

fn windows(block: usize) -> Vec<Window> {
    let window = |i: usize| {
        let mut seed = Seed((block * WINDOWS + i) as u64);
        let mut name = [0; 16];
        name[..8].copy_from_slice(&seed.next().to_le_bytes());
        name[8..].copy_from_slice(&seed.next().to_le_bytes());
        let counted = (0..WINDOW).map(|t| t > 0).collect();
        Window {
            document: Document(name),
            split: Split::of(&name),
            index: 0,
            tokens: vec![0; WINDOW],
            counted,
        }
    };
    (0..WINDOWS).map(window).collect()
}

/// Bytes of memory in use, where the system says so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}
