//! Our side of `cargo xtask bench --kernels`: the tile linear, from f32 rows to f32 rows and from bf16 to bf16, and what the registers
//! can do at most.
//!
//!     kernel_bench --threads T --runs N
//!
//! One line of JSON: for each shape, rows × inner × outer, the seconds of every run after one to warm up.

use pellucid_kernels::columns::{Columns, Plain, group, multiply, pack_all};
use pellucid_kernels::kernel::{LANES, Lane, Pairs};
use pellucid_kernels::pages::Pages;
use pellucid_kernels::patches::patch_rows;
use pellucid_kernels::sheet::made;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE, peak, products_below, tiles_are_here};
use std::hint::black_box;
use std::time::Instant;

/// A layer's up and down projection and its queries on 2,048 tokens of SmolLM2-135M, and a square.
const SHAPES: [[usize; 3]; 4] = [[2048, 576, 1536], [2048, 1536, 576], [2048, 576, 576], [1024, 1024, 1024]];

/// Weights in panels.
struct Panels {
    pairs: Pages<Pairs>,
    shape: [usize; 2],
}

impl Columns for Panels {
    type Room = ();

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn room(&self, _: usize) {}

    fn ready(&self) -> bool {
        true
    }

    fn lanes<'a>(&'a self, panel: usize, steps: usize, (): &'a mut ()) -> &'a [Pairs] {
        &self.pairs[panel * steps * DEPTH..][..steps * DEPTH]
    }
}

/// The product as the layers of an MLP hand rows to each other: given rounded and laid out, and given on so.
fn rounded(x: &[Patch], weights: &Panels) -> Vec<Patch> {
    let [inner, outer] = weights.shape;
    let (steps, panels) = (inner / LANES, outer / LANES);
    let blocks = x.len() / steps;
    let group = group(blocks * SIDE, steps).unwrap_or(SIDE) / SIDE;
    made(blocks * panels, group * panels, |from, to| {
        let x = &x[from / panels * steps..][..to.len() / panels * steps];
        let rows = x.len() / steps * SIDE;
        let mut tile = vec![0f32; rows * LANES];
        for panel in 0..panels {
            products_below(rows, x, weights.lanes(panel, steps, &mut ()), &mut tile, LANES);
            for (tile, to) in tile.chunks(SIDE * LANES).zip(to.chunks_mut(panels)) {
                patch_rows(tile, LANES, LANES, &mut to[panel..=panel]);
            }
        }
    })
}

fn seconds(runs: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    let timed = (0..runs).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    });
    timed.collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let flag = |name: &str| -> Result<usize, Box<dyn std::error::Error>> {
        let at = args.iter().position(|a| a == name).ok_or(format!("{name} is missing"))?;
        Ok(args.get(at + 1).ok_or(format!("{name} needs a value"))?.parse()?)
    };
    let (threads, runs) = (flag("--threads")?, flag("--runs")?);
    rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global()?;
    let mut shapes = Vec::new();
    for [rows, inner, outer] in SHAPES {
        let lane = Lane([0x3F80_BF80u32; LANES]);
        let mut pairs = Pages::zeroed(outer.div_ceil(LANES) * inner / 2);
        pairs.fill(lane);
        let weights = Panels { pairs, shape: [inner, outer] };
        let x = vec![1.5f32; rows * inner];
        let taken = seconds(runs, || {
            black_box(multiply(&Plain { x: &x, inner }, std::slice::from_ref(&weights)));
        });
        let patches = pack_all(&Plain { x: &x, inner });
        let narrow = seconds(runs, || {
            black_box(rounded(&patches, &weights));
        });
        shapes.push(format!(
            "{{\"shape\": [{rows}, {inner}, {outer}], \"whole_seconds\": {taken:?}, \"rounded_seconds\": {narrow:?}}}"
        ));
    }
    const TIMES: u64 = 2_000_000;
    let at_most = seconds(runs, || {
        rayon::broadcast(|_| black_box(peak(TIMES)));
    });
    let operations = threads as u64 * peak(1) * TIMES;
    println!(
        "{{\"tiles\": {}, \"shapes\": [{}], \"peak_operations\": {operations}, \"peak_seconds\": {at_most:?}}}",
        tiles_are_here(),
        shapes.join(", ")
    );
    Ok(())
}
