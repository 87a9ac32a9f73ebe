//! The product of many rows with a matrix on matrix tiles: rows are rounded and laid out once, and every task multiplies some
//! of them with some columns, 32 at a time, from one end of the inner dimension to the other.

use crate::kernel::{LANES, Pairs};
use crate::patches;
use crate::sheet::{Block, Layout, made, sheet, sheets};
use crate::tiles::{DEPTH, Patch, SIDE};
use std::ops::Range;

/// Rows that one task multiplies at most.
const GROUP: usize = 16 * SIDE;

/// Bytes of the rows that one task multiplies: they stay in a core's own cache beside the columns that go by.
const NEAR: usize = 1100 << 10;

/// So many rows pay for making columns once in every task.
const MANY: usize = 2 * GROUP;

/// A matrix `(inner, width)` that gives its columns in the form in which they are multiplied.
pub trait Columns: Sync {
    /// What a task needs to make columns in.
    type Room: Send;

    /// `[inner, width]`.
    fn shape(&self) -> [usize; 2];

    /// Room for columns of so many steps.
    fn room(&self, steps: usize) -> Self::Room;

    /// Whether columns lie ready; others are better made once for all rows than by every task.
    fn ready(&self) -> bool;

    /// The 32 columns from `32 · panel` on, as pairs of neighbouring inner numbers: sixteen lanes for each step, those beyond
    /// the matrix filled with zeros.
    fn lanes<'a>(&'a self, panel: usize, steps: usize, room: &'a mut Self::Room) -> &'a [Pairs];
}

/// Rows `(rows, inner)` that give themselves in patches.
pub trait Rows: Sync {
    /// `[rows, inner]`.
    fn shape(&self) -> [usize; 2];

    /// Up to 32 rows, rounded, to `(⌈inner / 32⌉)` patches that hold zeros or what other rows left there; `room` is for whatever
    /// is made on the way.
    fn pack(&self, rows: Range<usize>, room: &mut Vec<f32>, to: &mut [Patch]);
}

/// Rows below each other without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The numbers.
    pub x: &'a [f32],
    /// Numbers of a row.
    pub inner: usize,
}

impl Rows for Plain<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.x.len() / self.inner.max(1), self.inner]
    }

    fn pack(&self, rows: Range<usize>, _: &mut Vec<f32>, to: &mut [Patch]) {
        patches::patch_rows(
            &self.x[rows.start * self.inner..rows.end * self.inner],
            self.inner,
            self.inner,
            to,
        );
    }
}

/// Rows that one task takes through whole matrices, where there are enough of them for every thread; else none. `steps` are those
/// of a row in all that must stay near.
pub fn group(rows: usize, steps: usize) -> Option<usize> {
    let threads = rayon::current_num_threads();
    let near = NEAR / (steps * size_of::<Patch>()).max(1) * SIDE;
    let most = near.clamp(2 * SIDE, GROUP);
    let tasks = threads * rows.div_ceil(threads * most);
    (rows >= 2 * SIDE * threads).then(|| rows.div_ceil(tasks).next_multiple_of(SIDE))
}

/// Patches of some rows, 32 after 32.
pub fn pack_group(x: &impl Rows, rows: Range<usize>, room: &mut Vec<f32>, to: &mut [Patch]) {
    let steps = x.shape()[1].div_ceil(2 * DEPTH).max(1);
    for (rows, to) in pieces(rows, SIDE).zip(to.chunks_exact_mut(steps)) {
        x.pack(rows, room, to);
    }
}

/// Patches of all rows, made on all threads: `(⌈rows / 32⌉, ⌈inner / 32⌉)`.
pub fn pack_all(x: &impl Rows) -> Vec<Patch> {
    let [rows, inner] = x.shape();
    let steps = inner.div_ceil(2 * DEPTH);
    made(rows.div_ceil(SIDE) * steps, steps, |from, to| {
        let first = from / steps * SIDE;
        x.pack(first..(first + SIDE).min(rows), &mut Vec::new(), to);
    })
}

/// How many of so many panels each task takes, so that there are a few tasks for each thread.
pub fn share(panels: usize) -> usize {
    panels.div_ceil(4 * rayon::current_num_threads()).clamp(1, 32)
}

/// `(rows, inner)` numbers times matrices of `inner` rows, all rounded to bf16, with sums in f32: `(rows, width)` each.
pub fn multiply<C: Columns>(x: &impl Rows, matrices: &[C]) -> Vec<Vec<f32>> {
    let [rows, inner] = x.shape();
    let steps = inner.div_ceil(2 * DEPTH);
    let few = rows < MANY && !matrices.iter().all(C::ready);
    let Some(group) = group(rows, steps).filter(|_| !few) else { return multiply_few(x, matrices) };
    let layouts: Vec<Layout> = matrices.iter().map(|m| Layout::Rows(m.shape()[1])).collect();
    let room = || {
        let rooms: Vec<C::Room> = matrices.iter().map(|m| m.room(steps)).collect();
        (vec![Patch::NONE; group / SIDE * steps], Vec::new(), rooms)
    };
    sheets(rows, &layouts, group, room, |(patches, normed, rooms), blocks| {
        let Some(rows) = blocks.first().map(|b| b.rows.clone()) else { return };
        pack_group(x, rows.clone(), normed, patches);
        let patches = &patches[..rows.len().div_ceil(SIDE) * steps];
        for ((matrix, room), block) in matrices.iter().zip(rooms).zip(blocks) {
            put(matrix, steps, room, patches, block);
        }
    })
}

/// The same where columns must be shared among threads too.
fn multiply_few<C: Columns>(x: &impl Rows, matrices: &[C]) -> Vec<Vec<f32>> {
    let [rows, inner] = x.shape();
    let steps = inner.div_ceil(2 * DEPTH);
    let patches = pack_all(x);
    let one = |matrix: &C| {
        let width = matrix.shape()[1];
        let share = share(width.div_ceil(LANES)) * LANES;
        sheet(rows, width, [GROUP / 2, share], |block| {
            let here = block.rows.start / SIDE * steps..block.rows.end.div_ceil(SIDE) * steps;
            put(matrix, steps, &mut matrix.room(steps), &patches[here], block);
        })
    };
    matrices.iter().map(one).collect()
}

/// A block's rows, in patches, times its columns of a matrix.
pub fn put<C: Columns>(
    matrix: &C,
    steps: usize,
    room: &mut C::Room,
    patches: &[Patch],
    block: &mut Block<'_>,
) {
    let rows = [block.rows.start, block.rows.len()];
    for columns in pieces(block.columns.clone(), LANES) {
        let lanes = matrix.lanes(columns.start / LANES, steps, room);
        block.put_products(rows, [columns.start, columns.len()], patches, lanes);
    }
}

/// Pieces of a range of at most `step`.
pub fn pieces(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(step.max(1)).map(move |from| from..(from + step).min(end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernel::{Lane, split};
    use crate::simd::bf16_bits;

    /// Entry (i, j) is `sin(i + 3 j)`, rounded.
    struct Sines([usize; 2]);

    impl Columns for Sines {
        type Room = Vec<Pairs>;

        fn shape(&self) -> [usize; 2] {
            self.0
        }

        fn room(&self, steps: usize) -> Vec<Pairs> {
            vec![Pairs::NONE; DEPTH * steps]
        }

        fn ready(&self) -> bool {
            self.0[1].is_multiple_of(2)
        }

        fn lanes<'a>(&'a self, panel: usize, _: usize, room: &'a mut Vec<Pairs>) -> &'a [Pairs] {
            let at = |i: usize, j: usize| {
                let inside = i < self.0[0] && j < self.0[1];
                if inside { bf16_bits(((i + 3 * j) as f32).sin()) } else { 0 }
            };
            for (p, lane) in room.iter_mut().enumerate() {
                let column = |l: usize| panel * LANES + l;
                *lane = Lane(std::array::from_fn(|l| at(2 * p, column(l)) | at(2 * p + 1, column(l)) << 16));
            }
            room
        }
    }

    #[test]
    fn rows_times_columns_are_the_product_of_rounded_numbers() {
        let round = |x: f32| split(bf16_bits(x))[0];
        for (rows, inner, width) in [(1, 1, 1), (33, 31, 40), (300, 75, 33), (64, 64, 96), (2100, 40, 64)] {
            let x: Vec<f32> = (0..rows * inner).map(|i| (i as f32 * 0.37).cos()).collect();
            let matrices = [Sines([inner, width]), Sines([inner, width + 5])];
            let [found, wider] = multiply(&Plain { x: &x, inner }, &matrices).try_into().unwrap();
            assert_eq!(found.len(), rows * width);
            let same = |(row, more): (&[f32], &[f32])| row == &more[..width];
            assert!(found.chunks_exact(width).zip(wider.chunks_exact(width + 5)).all(same));
            for (r, row) in found.chunks_exact(width).enumerate() {
                for (j, found) in row.iter().enumerate() {
                    let term = |i: usize| {
                        f64::from(round(x[r * inner + i])) * f64::from(round(((i + 3 * j) as f32).sin()))
                    };
                    let want: f64 = (0..inner).map(term).sum();
                    assert!((f64::from(*found) - want).abs() < 1e-4, "{rows}×{inner}×{width}: {r}, {j}");
                }
            }
        }
        assert!(multiply(&Plain { x: &[], inner: 7 }, &[Sines([7, 5])])[0].is_empty());
    }
}
