//! The encoder's product in register tiles, without an array of tokens × latents: E is packed once into panels of 32 latents, a
//! block of rows goes through them panel by panel, and every tile of 12 rows × 32 latents is looked at while it is in the
//! nearest cache. In f32, or of operands rounded to bf16 with sums in f32 (`Precision::Fast`).

use pellucid_kernels::kernel::{LANES, Lane, Pairs, ROWS, Tile, along, along_pairs};
use pellucid_kernels::pages::Pages;
use pellucid_kernels::tiles::{Course, DEPTH, Patch, products, tiles_are_here, whole_steps};
use pellucid_kernels::{Precision, patches, simd};
use rayon::prelude::*;

/// Rows of a block: eight tiles, whose operands stay in a core's own cache beside a panel. How many there are does not
/// depend on the number of threads.
pub(crate) const BLOCK: usize = 8 * ROWS;

/// E (latents, width) in panels of 32 latents, and b_enc; the last panel is filled up with zeros.
#[derive(Default)]
pub(crate) struct Panels {
    width: usize,
    latents: usize,
    weights: Weights,
    bias: Vec<Lane<f32>>,
}

#[derive(Default)]
enum Weights {
    #[default]
    Nothing,
    /// `(panels, width, 32)`.
    Plain(Pages<Lane<f32>>),
    /// `(panels, pairs, 32)`, each panel filled up with zeros to whole steps of matrix tiles.
    Rounded(Pages<Pairs>),
}

impl Panels {
    /// Packs an encoder, into the memory of the last one where that was of the same shape.
    pub(crate) fn pack(&mut self, encoder: &[f32], bias: &[f32], width: usize, precision: Precision) {
        if (self.width, self.latents) != (width, bias.len()) {
            // what the last panel is filled up with must be zeros
            (self.width, self.latents, self.weights) = (width, bias.len(), Weights::Nothing);
        }
        let (panels, pairs) = (self.latents.div_ceil(LANES), whole_steps(width));
        self.bias.clear();
        self.bias.extend(bias.chunks(LANES).map(|part| {
            let mut lane = Lane::ZERO;
            lane.0[..part.len()].copy_from_slice(part);
            lane
        }));
        let rows = encoder.par_chunks(LANES * width);
        if precision.rounds() {
            if !matches!(&self.weights, Weights::Rounded(all) if all.len() == panels * pairs) {
                self.weights = Weights::Rounded(Pages::zeroed(panels * pairs));
            }
            if let Weights::Rounded(all) = &mut self.weights {
                let work = all.par_chunks_mut(pairs).zip(rows);
                work.for_each(|(panel, rows)| patches::pair_columns(rows, width, width, panel));
            }
        } else {
            if !matches!(&self.weights, Weights::Plain(all) if all.len() == panels * width) {
                self.weights = Weights::Plain(Pages::zeroed(panels * width));
            }
            if let Weights::Plain(all) = &mut self.weights {
                let work = all.par_chunks_mut(width).zip(rows);
                work.for_each(|(panel, rows)| simd::columns(rows, width, panel));
            }
        }
    }

    /// Calls `see(first row, rows, first latent, sums)` for every tile of E x + b_enc, with x the rows of a block: all tiles of a
    /// panel, then the next panel's, so that a row meets its latents in ascending order. On this thread.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        room: &mut Operands,
        mut see: impl FnMut(usize, usize, usize, &Tile),
    ) {
        room.pack(x, self.width, matches!(self.weights, Weights::Rounded(_)));
        let rows = x.len() / self.width;
        if let (Weights::Rounded(all), true) = (&self.weights, tiles_are_here()) {
            return self.multiply_squares(all, rows, &room.patches, see);
        }
        for (panel, bias) in self.bias.iter().enumerate() {
            for (tile, first) in (0..rows).step_by(ROWS).enumerate() {
                let count = (rows - first).min(ROWS);
                // sums begin with the bias: it costs nothing there
                let mut sums = [*bias; ROWS];
                match &self.weights {
                    Weights::Nothing => {}
                    Weights::Plain(all) => {
                        let weights = &all[panel * self.width..][..self.width];
                        along(count, &room.plain[tile * self.width..][..self.width], weights, &mut sums);
                    }
                    Weights::Rounded(all) => {
                        let pairs = self.width.div_ceil(2);
                        let weights = &all[panel * whole_steps(self.width)..][..pairs];
                        along_pairs(count, &room.rounded[tile * pairs..][..pairs], weights, &mut sums);
                    }
                }
                see(first, count, panel * LANES, &sums);
            }
        }
    }
}

/// Rows that matrix tiles multiply at a time: whole tiles, whose first rows everything after them counts in.
const TWO: usize = 2 * ROWS;

impl Panels {
    /// The same on matrix tiles: two tiles' rows × 32 latents at a time.
    fn multiply_squares(
        &self,
        weights: &[Pairs],
        rows: usize,
        patches: &[Patch],
        mut see: impl FnMut(usize, usize, usize, &Tile),
    ) {
        let pairs = whole_steps(self.width);
        let steps = pairs / DEPTH;
        let mut sums = [0f32; TWO * LANES];
        for (panel, bias) in self.bias.iter().enumerate() {
            let weights = &weights[panel * pairs..][..pairs];
            for (square, first) in (0..rows).step_by(TWO).enumerate() {
                let count = (rows - first).min(TWO);
                let patches = &patches[square * steps..][..steps];
                products(count, steps, patches, weights, &mut sums, LANES, Course::ONE);
                let tiles = sums.chunks(ROWS * LANES);
                for (from, sums) in (0..count).step_by(ROWS).zip(tiles) {
                    let mut tile = [*bias; ROWS];
                    for (tile, sums) in tile.iter_mut().zip(sums.as_chunks::<LANES>().0) {
                        tile.0.iter_mut().zip(sums).for_each(|(tile, sum)| *tile += sum);
                    }
                    see(first + from, (count - from).min(ROWS), panel * LANES, &tile);
                }
            }
        }
    }
}

/// Room for a block's rows, packed: one number (or pair) of each of twelve rows beside the other rows', or patches of 32 rows
/// for matrix tiles.
#[derive(Default)]
pub(crate) struct Operands {
    plain: Vec<[f32; ROWS]>,
    rounded: Vec<[u32; ROWS]>,
    patches: Vec<Patch>,
}

impl Operands {
    fn pack(&mut self, x: &[f32], width: usize, rounds: bool) {
        let tiles = x.chunks(ROWS * width);
        if rounds && tiles_are_here() {
            let squares = x.chunks(TWO * width);
            let steps = width.div_ceil(2 * DEPTH);
            self.patches.resize(squares.len() * steps, Patch::NONE);
            for (patches, x) in self.patches.chunks_exact_mut(steps).zip(squares) {
                patches::patch_rows(x, width, width, patches);
            }
        } else if rounds {
            let pairs = width.div_ceil(2);
            self.rounded.resize(tiles.len() * pairs, [0; ROWS]);
            for (packed, x) in self.rounded.chunks_exact_mut(pairs).zip(tiles) {
                let mut rows: [&[f32]; ROWS] = [&[]; ROWS];
                rows.iter_mut().zip(x.chunks_exact(width)).for_each(|(to, row)| *to = row);
                simd::pair_rows(&rows[..x.len() / width], packed);
            }
        } else {
            self.plain.resize(tiles.len() * width, [0.0; ROWS]);
            for (packed, x) in self.plain.chunks_exact_mut(width).zip(tiles) {
                for (r, row) in x.chunks_exact(width).enumerate() {
                    packed.iter_mut().zip(row).for_each(|(to, x)| to[r] = *x);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_kernels::fast_is_quicker;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// All tiles as one matrix (rows, latents).
    fn whole(panels: &Panels, x: &[f32], width: usize, latents: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len() / width * latents];
        panels.multiply(x, &mut Operands::default(), |first, rows, latent, sums| {
            for (r, sums) in sums.iter().enumerate().take(rows) {
                for (l, sum) in sums.0.iter().enumerate().take(latents - latent.min(latents)) {
                    out[(first + r) * latents + latent + l] = *sum;
                }
            }
        });
        out
    }

    fn rounded(x: &[f32]) -> Vec<f32> {
        x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect()
    }

    #[test]
    fn products_equal_the_definition_and_the_fast_ones_that_of_rounded_operands() {
        // the same panels again and again: a smaller shape must not see a larger one's numbers
        let mut panels = Panels::default();
        for (rows, width, latents) in [(1, 1, 1), (13, 7, 33), (96, 64, 70), (5, 130, 32), (12, 33, 64)] {
            let (x, e, b) =
                (numbers(rows * width, 0.7), numbers(latents * width, 0.3), numbers(latents, 0.9));
            let want = |x: &[f32], e: &[f32]| -> Vec<f64> {
                let sum = |i: usize, j: usize| -> f64 {
                    (0..width).map(|l| f64::from(x[i * width + l]) * f64::from(e[j * width + l])).sum()
                };
                let all = (0..rows).flat_map(|i| (0..latents).map(move |j| (i, j)));
                all.map(|(i, j)| sum(i, j) + f64::from(b[j])).collect()
            };
            panels.pack(&e, &b, width, Precision::Exact);
            let exact = whole(&panels, &x, width, latents);
            assert!(exact.iter().zip(want(&x, &e)).all(|(f, w)| (f64::from(*f) - w).abs() < 1e-5));
            panels.pack(&e, &b, width, Precision::Fast);
            let fast = whole(&panels, &x, width, latents);
            let want = if fast_is_quicker() { want(&rounded(&x), &rounded(&e)) } else { want(&x, &e) };
            assert!(fast.iter().zip(want).all(|(f, w)| (f64::from(*f) - w).abs() < 1e-5));
        }
    }
}
