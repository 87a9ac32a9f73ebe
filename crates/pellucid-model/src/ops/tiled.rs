//! Products of packed weights on matrix tiles (`Precision::Fast` where the processor has them): operands rounded to bf16, sums
//! in f32, forward and backward.
//!
//! Rows become patches once. A task takes some rows and some columns, and multiplies all its rows with 32 columns at a time,
//! from one end of the inner dimension to the other.

use super::kernel::{LANES, Lane, Pairs, sheet};
use super::packed::{Packed, tiles};
use super::simd;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE};
use rayon::prelude::*;

/// Rows that one task multiplies: their patches stay in a core's own cache.
const GROUP: usize = 8 * SIDE;

/// Room for 32 columns in the form that is multiplied, and for what it is made of.
struct Room {
    wide: Vec<Lane<f32>>,
    pairs: Vec<Pairs>,
    turned: Vec<Pairs>,
}

impl Room {
    fn new(steps: usize) -> Self {
        Room {
            wide: vec![Lane::ZERO; 2 * DEPTH * steps],
            pairs: vec![Pairs::NONE; DEPTH * steps],
            turned: vec![Pairs::NONE; DEPTH * steps],
        }
    }
}

/// Weights as the right side of a product.
#[derive(Clone, Copy)]
enum Side<'w> {
    /// Wᵀ: inputs inside, outputs across.
    Forward(&'w Packed),
    /// W: outputs inside, inputs across.
    Back(&'w Packed),
}

impl Side<'_> {
    /// Numbers inside, and across.
    fn shape(&self) -> [usize; 2] {
        match self {
            Side::Forward(w) => [w.inner(), w.outer()],
            Side::Back(w) => [w.outer(), w.inner()],
        }
    }

    /// 32 columns, as pairs of neighbouring inner numbers.
    fn lanes<'a>(&'a self, columns: usize, steps: usize, room: &'a mut Room) -> &'a [Pairs] {
        let Room { wide, pairs, turned } = room;
        match self {
            Side::Forward(w) => w.steps(columns, 0..steps, wide, pairs),
            // a panel of 32 outputs is a step; its weights of 32 inputs are turned
            Side::Back(w) => {
                let turned = &mut turned[..DEPTH * steps];
                for (panel, turned) in turned.as_chunks_mut::<DEPTH>().0.iter_mut().enumerate() {
                    simd::turn_pairs(w.steps(panel, columns..columns + 1, wide, pairs), turned);
                }
                turned
            }
        }
    }
}

/// `x Wᵀ` for `(rows, inner)` numbers: `(rows, outer)`.
pub(super) fn multiply(w: &Packed, x: &[f32]) -> Vec<f32> {
    product(x, Side::Forward(w))
}

/// `g W` for `(rows, outer)` numbers: `(rows, inner)`.
pub(super) fn multiply_back(w: &Packed, g: &[f32]) -> Vec<f32> {
    product(g, Side::Back(w))
}

fn product(x: &[f32], side: Side<'_>) -> Vec<f32> {
    let [inner, width] = side.shape();
    let (rows, steps) = (x.len() / inner.max(1), inner.div_ceil(2 * DEPTH));
    let patches = patches(x, rows, inner, steps);
    let groups = rows.div_ceil(GROUP);
    let tasks = 4 * rayon::current_num_threads();
    let share = (width.div_ceil(LANES) * groups).div_ceil(tasks).clamp(1, 32) * LANES;
    sheet(rows, width, [GROUP, share], |block| {
        let mut room = Room::new(steps);
        for columns in tiles(block.columns.clone(), LANES) {
            let lanes = side.lanes(columns.start / LANES, steps, &mut room);
            for rows in tiles(block.rows.clone(), SIDE) {
                let patches = &patches[rows.start / SIDE * steps..][..steps];
                block.put_product([rows.start, rows.len()], [columns.start, columns.len()], patches, lanes);
            }
        }
    })
}

/// Rows in patches: `(⌈rows / 32⌉, steps)`.
fn patches(x: &[f32], rows: usize, inner: usize, steps: usize) -> Vec<Patch> {
    let mut out = vec![Patch::NONE; rows.div_ceil(SIDE) * steps];
    let work = out.par_chunks_mut(steps.max(1)).zip(x.par_chunks((SIDE * inner).max(1)));
    work.for_each(|(to, x)| simd::patch_rows(x, inner, inner, to));
    out
}
