//! How long collecting takes: blocks of 2048 tokens for 30 sites of 1536 units, as a sweep over SmolLM2-135M
//! would bring them, whole and by turns in pieces that were just made, with the memory stated and used. A list of exemplars takes the
//! `n`th window with a chance of its length over `n`, so that blocks become cheaper.
//!
//! `cargo run --release -p pellucid-store --example collect_speed [SITES] [BLOCKS]`

use pellucid_core::{Point, Seed, Site, Split};
use pellucid_store::collect::{Block, CollectError, Keep, PANEL, SiteCollector, memory};
use pellucid_store::{Document, Window};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
    let mut best = [Duration::MAX; 2];
    for number in 0..blocks {
        let windows = windows(number);
        let mut spent = Duration::ZERO;
        for (layer, collector) in collectors.iter_mut().enumerate() {
            // Other numbers for each block and layer, without the time to draw them; a prime step keeps windows
            // from meeting themselves.
            let from = (number * 7919 + layer * 104_729) % (values.len() - WINDOWS * WINDOW * WIDTH);
            let values = &values[from..][..WINDOWS * WINDOW * WIDTH];
            spent += match number % 2 {
                0 => whole(collector, values, &windows)?,
                _ => in_pieces(collector, values, &windows)?,
            };
        }
        best[number % 2] = best[number % 2].min(spent);
        let per_value = spent.as_secs_f64() * 1e9 / (sites * WIDTH * WINDOWS * WINDOW) as f64;
        let how = ["whole", "in pieces"][number % 2];
        println!("block {number}, {how}: {:.0?}, {per_value:.2} ns a value", spent);
    }
    println!("best block whole {:.0?}, in pieces {:.0?}", best[0], best[1]);
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

fn whole(
    collector: &mut SiteCollector,
    values: &[f32],
    windows: &[Window],
) -> Result<Duration, CollectError> {
    let started = Instant::now();
    collector.collect_or_spoil(&Block { values, width: WIDTH, windows })?;
    Ok(started.elapsed())
}

/// Time in the collector alone, of all threads together and shared out on them, without that to make the pieces.
fn in_pieces(
    collector: &mut SiteCollector,
    values: &[f32],
    windows: &[Window],
) -> Result<Duration, CollectError> {
    let parts = collector.begin(windows)?;
    let spent = AtomicU64::new(0);
    values.par_chunks_exact(WINDOW * WIDTH).enumerate().for_each(|(window, values)| {
        let mut piece = Vec::new();
        for first in (0..WIDTH).step_by(PANEL) {
            piece.clear();
            values.chunks_exact(WIDTH).for_each(|row| piece.extend_from_slice(&row[first..first + PANEL]));
            let started = Instant::now();
            parts.take(window, first, &piece);
            spent.fetch_add(started.elapsed().as_nanos() as u64, Relaxed);
        }
    });
    parts.end()?;
    Ok(Duration::from_nanos(spent.into_inner() / rayon::current_num_threads() as u64))
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
