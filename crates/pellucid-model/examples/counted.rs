//! Small fixed pieces of work whose instructions `cargo xtask count` counts: three kernels and one forward pass.
//!
//!     valgrind --tool=callgrind --toggle-collect='*measured*' counted CASE
//!
//! Everything runs on the main thread, so that the same program always takes the same instructions.

use std::hint::black_box;
use std::path::Path;

use pellucid_kernels::codes::{Groups, Numbers, nibble_row};
use pellucid_kernels::kernel::{LANES, Lane, ROWS, along};
use pellucid_kernels::simd::softmax;
use pellucid_model::{Batch, Model, Plan, Storage};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What is counted: callgrind looks for this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn tile() {
    let a = vec![[0.5f32; ROWS]; 512];
    let b = vec![Lane([0.25f32; LANES]); 512];
    let mut sums = [Lane::ZERO; ROWS];
    measured(&mut || (0..50).for_each(|_| along(ROWS, black_box(&a), black_box(&b), &mut sums)));
    black_box(sums);
}

fn row_of_nibbles() {
    let x = vec![0.5f32; 1536];
    let codes = vec![[0x3Au8; LANES / 2]; x.len()];
    let lanes = vec![Lane([0.25f32; LANES]); x.len() / 32];
    let totals = vec![16.0; lanes.len()];
    let groups = Groups {
        group: 32,
        scales: Numbers::Full(&lanes),
        shifts: Some(Numbers::Full(&lanes)),
        totals: &totals,
    };
    let mut sums = Lane::ZERO;
    measured(&mut || (0..50).for_each(|_| nibble_row(black_box(&x), black_box(&codes), groups, &mut sums)));
    black_box(sums);
}

fn row_of_scores() {
    let scores: Vec<f32> = (0..1024).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut rows = vec![scores; 20];
    measured(&mut || rows.iter_mut().for_each(|row| softmax(black_box(row))));
    black_box(rows);
}

fn forward() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama");
    let model = Model::open(&folder, Storage::F32, &mut |_| ())?;
    let tokens: Vec<u32> = (0..48u32).map(|i| i * 7 % model.spec().vocabulary as u32).collect();
    let batch = Batch::new([tokens]);
    // what is set up at first use is not counted
    black_box(model.run(&batch, &Plan::LAST, None, &mut ())?);
    let mut output = None;
    measured(&mut || output = Some(model.run(&batch, &Plan::LAST, None, &mut ())));
    output.transpose()?;
    Ok(())
}

fn main() -> Outcome {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    match std::env::args().nth(1).as_deref() {
        Some("tile") => tile(),
        Some("row-of-nibbles") => row_of_nibbles(),
        Some("softmax") => row_of_scores(),
        Some("forward") => forward()?,
        other => {
            return Err(format!("expected tile, row-of-nibbles, softmax or forward, found {other:?}").into());
        }
    }
    Ok(())
}
