//! Products with packed weights on register tiles, forward and backward, whole or in part. The inner loops take stretches whose
//! numbers stay in the nearest cache; every sum runs in order, so no bit depends on how a product is cut.

use super::kernel::{LANES, Lane, Pairs, ROWS, Tile, across, along, along_pairs, by_columns};
use super::packed::{Packed, WIDENED, check, row_of};
use super::sheet::{Block, made, sheet};
use super::{Precision, simd, tensor, tiled, tiled_back, with_slice};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;
use pellucid_kernels::columns::{pieces, share};
use pellucid_kernels::tiles::tiles_are_here;
use std::ops::Range;

/// So few rows of gradients are multiplied exactly in any precision.
const FEW: usize = 4;

/// Whether gradients of so many rows are multiplied on matrix tiles.
pub(super) fn on_tiles_back(rows: usize) -> bool {
    rows > FEW && tiles_are_here()
}

/// Row blocks that share a panel while it is near.
const GROUP: usize = 16;

/// Inputs, and panels of outputs, whose weights and gradients are multiplied while they are near.
const NEAR: [usize; 2] = [4 * ROWS, 2];

/// Rows as they are multiplied.
struct Rows {
    /// In blocks of twelve, one number of each row beside the other: `(blocks, inputs, 12)`.
    packed: Vec<[f32; ROWS]>,
    /// The inputs that their numbers are.
    inputs: Range<usize>,
}

impl Rows {
    fn new(x: &[f32], inputs: Range<usize>) -> Self {
        Rows { packed: pack_rows(x, inputs.len()), inputs }
    }
}

/// `x Wᵀ` of several matrices for the same `(rows, inner)` numbers, which are laid out once: `(rows, outer)` of each.
pub(super) fn multiply_all(all: &[&Packed], x: &[f32]) -> Vec<Vec<f32>> {
    let Some(inner) = all.first().map(|w| w.inner()) else { return Vec::new() };
    let rows = Rows::new(x, 0..inner);
    let one = |w: &&Packed| w.by_blocks(x, |block| w.sum_block(block, 0, &rows));
    all.iter().map(one).collect()
}

/// `f(x Wᵀ)`, or `f(x Wᵀ) · x Vᵀ` in a gated MLP, `(rows, inner)` to `(rows, outer)`: the bits of the steps one by one.
pub(super) fn multiply_activated(
    x: &Tensor,
    pre: &Packed,
    linear: Option<&Packed>,
    f: Activation,
) -> Result<Vec<f32>> {
    [pre].iter().chain(&linear).try_for_each(|w| check(x.dim(1)?, w.inner()))?;
    with_slice(x, |x| {
        let rows = Rows::new(x, 0..pre.inner());
        pre.by_blocks(x, |block| {
            let mut rooms = [pre, linear.unwrap_or(pre)].map(Packed::widening);
            let none = || vec![[Lane::ZERO; ROWS]; block.rows.len().div_ceil(ROWS)];
            let (mut before, mut second) = (none(), none());
            by_panels(block, 0, |panel, group, sums| {
                pre.sum_panel(panel, &rows, &mut rooms[0], group, &mut before);
                let second = linear.map(|linear| {
                    linear.sum_panel(panel, &rows, &mut rooms[1], group, &mut second);
                    bytemuck::cast_slice(&second)
                });
                simd::gated(bytemuck::cast_slice(&before), second, bytemuck::cast_slice_mut(sums), LANES, f);
            });
        })
    })
}

impl Packed {
    /// Part of the product: what inputs `inputs` alone, the columns of `x`, add to outputs `outputs`: `(rows, outputs)`.
    pub(crate) fn multiply_part(&self, x: &[f32], outputs: Range<usize>, inputs: Range<usize>) -> Vec<f32> {
        let count = x.len() / inputs.len().max(1);
        let rows = Rows::new(x, inputs);
        // panels are whole: outputs before the first that is asked for are made and dropped
        let from = outputs.start / LANES * LANES;
        let step = [GROUP * ROWS, self.share(count.div_ceil(GROUP * ROWS))];
        let made = sheet(count, outputs.end - from, step, |block| {
            self.sum_block(block, from / LANES, &rows);
        });
        if from == outputs.start {
            return made;
        }
        let (whole, skip) = (outputs.end - from, outputs.start - from);
        made.chunks_exact(whole.max(1)).flat_map(|row| &row[skip..]).copied().collect()
    }

    /// `x Wᵀ` for `(rows, inner)` numbers, `(rows, outer)`, with both operands rounded to bf16 and sums in f32 (`Precision::Fast`).
    pub(crate) fn multiply_fast(&self, x: &[f32]) -> Vec<f32> {
        if tiles_are_here() {
            return tiled::multiply(self, x);
        }
        let inner = self.inner();
        let packed = pair_rows(x, x.len() / inner.max(1), inner);
        let chunk = if self.has_pairs() { inner.max(1) } else { WIDENED };
        self.by_blocks(x, |block| {
            let (mut wide, mut room) = (vec![Lane::ZERO; WIDENED], vec![Pairs::NONE; WIDENED / 2]);
            by_panels(block, 0, |panel, group, sums| {
                sums.fill([Lane::ZERO; ROWS]);
                for at in pieces(0..inner, chunk) {
                    let pairs = at.start / 2..at.end.div_ceil(2);
                    let lanes = self.narrow(panel, at, &mut wide, &mut room);
                    for (rows, sums) in group.iter().zip(sums.iter_mut()) {
                        let from = rows.start / ROWS * inner.div_ceil(2);
                        along_pairs(rows.len(), &packed[from + pairs.start..from + pairs.end], lanes, sums);
                    }
                }
            });
        })
    }

    /// A block of the products of rows, whose first column is the first of a panel.
    fn sum_block(&self, block: &mut Block<'_>, first: usize, rows: &Rows) {
        let mut room = self.widening();
        by_panels(block, first, |panel, group, sums| self.sum_panel(panel, rows, &mut room, group, sums));
    }

    /// The products of rows with a panel, in tiles for each of some row blocks.
    fn sum_panel(
        &self,
        panel: usize,
        x: &Rows,
        room: &mut [Lane<f32>],
        group: &[Range<usize>],
        sums: &mut [Tile],
    ) {
        sums.fill([Lane::ZERO; ROWS]);
        let (first, width) = (x.inputs.start, x.inputs.len());
        for at in pieces(x.inputs.clone(), WIDENED) {
            let lanes = self.lanes(panel, at.clone(), room);
            for (rows, sums) in group.iter().zip(sums.iter_mut()) {
                let from = rows.start / ROWS * width;
                let here = from + at.start - first..from + at.end - first;
                along(rows.len(), &x.packed[here], lanes, sums);
            }
        }
    }

    /// A product of the rows of `x`, block by block.
    fn by_blocks(&self, x: &[f32], make: impl Fn(&mut Block<'_>) + Sync) -> Vec<f32> {
        let rows = x.len() / self.inner().max(1);
        let step = [GROUP * ROWS, self.share(rows.div_ceil(GROUP * ROWS))];
        sheet(rows, self.outer(), step, make)
    }

    /// Outputs for each task.
    fn share(&self, groups: usize) -> usize {
        share(self.outer().div_ceil(LANES) * groups) * LANES
    }

    /// `g W` for `(rows, outer)` numbers: `(rows, inner)`.
    pub(crate) fn multiply_back(&self, g: &[f32]) -> Vec<f32> {
        self.multiply_back_part(g, 0..self.outer())
    }

    /// [`Packed::multiply_back`] with both operands rounded to bf16 and sums in f32, where there are matrix tiles and as many
    /// rows as pay for turning the weights; elsewhere it is the exact product.
    pub(crate) fn multiply_back_fast(&self, g: &[f32]) -> Vec<f32> {
        if on_tiles_back(g.len() / self.outer().max(1)) {
            tiled_back::multiply_back(&[(self, g)])
        } else {
            self.multiply_back(g)
        }
    }

    /// `g W` with gradients of some outputs alone, `(rows, outputs)`: `(rows, inner)`.
    pub(crate) fn multiply_back_part(&self, g: &[f32], outputs: Range<usize>) -> Vec<f32> {
        let rows = g.len() / outputs.len().max(1);
        let panels = outputs.start / LANES..outputs.end.div_ceil(LANES);
        if rows == 1 {
            return self.row_back(g, outputs.start % LANES, panels);
        }
        let packed = pack_columns(g, rows, outputs);
        // all rows in one block: a stretch of the weights is widened once for all of them
        let tasks = 4 * rayon::current_num_threads();
        let share = self.inner().div_ceil(ROWS).div_ceil(tasks).max(1) * ROWS;
        sheet(rows, self.inner(), [rows, share], |block| {
            for inputs in pieces(block.columns.clone(), NEAR[0]) {
                self.back_part(&packed, panels.clone(), inputs, block);
            }
        })
    }

    /// A block's gradients at some of its inputs, from those at the outputs of some panels.
    fn back_part(&self, g: &[Lane<f32>], panels: Range<usize>, inputs: Range<usize>, block: &mut Block<'_>) {
        let group: Vec<Range<usize>> = pieces(block.rows.clone(), LANES).collect();
        let parts: Vec<Range<usize>> = pieces(inputs.clone(), ROWS).collect();
        let mut sums = vec![[Lane::ZERO; ROWS]; group.len() * parts.len()];
        let mut rooms: [_; NEAR[1]] = std::array::from_fn(|_| vec![Lane::ZERO; inputs.len()]);
        for near in pieces(panels.clone(), NEAR[1]) {
            let lanes: Vec<&[Lane<f32>]> = (near.clone().zip(&mut rooms))
                .map(|(panel, room)| self.lanes(panel, inputs.clone(), room))
                .collect();
            for (i, sums) in sums.chunks_exact_mut(parts.len()).enumerate() {
                let from = (i * panels.len() + near.start - panels.start) * LANES;
                let (g, _) = g[from..from + near.len() * LANES].as_chunks();
                for (at, sums) in parts.iter().zip(sums) {
                    let here = at.start - inputs.start..at.end - inputs.start;
                    lanes.iter().zip(g).for_each(|(lanes, g)| across(&lanes[here.clone()], g, sums));
                }
            }
        }
        for (part, at) in parts.iter().enumerate() {
            for (rows, sums) in group.iter().zip(sums.chunks_exact(parts.len())) {
                put_turned(block, rows.clone(), at.clone(), &sums[part]);
            }
        }
    }
}

/// Makes a block panel by panel, of which `first` is that of its first column: `sum` makes the tiles of its row blocks.
fn by_panels(block: &mut Block<'_>, first: usize, mut sum: impl FnMut(usize, &[Range<usize>], &mut [Tile])) {
    let group: Vec<Range<usize>> = pieces(block.rows.clone(), ROWS).collect();
    let mut sums = vec![[Lane::ZERO; ROWS]; group.len()];
    for columns in pieces(block.columns.clone(), LANES) {
        sum(first + columns.start / LANES, &group, &mut sums);
        for (rows, sums) in group.iter().zip(&sums) {
            let sums = bytemuck::cast_slice(&sums[..rows.len()]);
            block.put_tile(rows.clone(), [columns.start, columns.len()], sums);
        }
    }
}

/// A tile whose lanes are rows of the sheet.
fn put_turned(block: &mut Block<'_>, rows: Range<usize>, columns: Range<usize>, sums: &Tile) {
    for (lane, row) in rows.enumerate() {
        let turned: [f32; ROWS] = std::array::from_fn(|r| sums[r].0[lane]);
        block.put(row, columns.start, &turned[..columns.len()]);
    }
}

/// Tasks that lay out blocks of rows in pairs take so many at a time.
const BLOCKS: usize = 4;

/// Rows in blocks of twelve, rounded to bf16, two numbers of each row beside the other rows': `(blocks, ⌈inner / 2⌉, 12)`.
fn pair_rows(x: &[f32], rows: usize, inner: usize) -> Vec<[u32; ROWS]> {
    let pairs = inner.div_ceil(2).max(1);
    made(rows.div_ceil(ROWS) * pairs, BLOCKS * pairs, |from, packed| {
        let blocks = x[from / pairs * ROWS * inner..].chunks((ROWS * inner).max(1));
        for (packed, x) in packed.chunks_exact_mut(pairs).zip(blocks) {
            let rows: Vec<&[f32]> = x.chunks_exact(inner).collect();
            simd::pair_rows(&rows, packed);
        }
    })
}

/// Rows in blocks of twelve, one number of each row beside the other: `(blocks, inner, 12)`.
fn pack_rows(x: &[f32], inner: usize) -> Vec<[f32; ROWS]> {
    let (width, rows) = (inner.max(1), x.len() / inner.max(1));
    made(rows.div_ceil(ROWS) * width, width, |from, packed| {
        let rows: Vec<&[f32]> = x[from * ROWS..].chunks_exact(width).take(ROWS).collect();
        by_columns(&rows, packed);
    })
}

/// Rows of gradients at `outputs` in blocks of 32, filled up with zeros to whole panels: `(blocks, outputs, 32)`, one number
/// of each row beside the other.
fn pack_columns(g: &[f32], rows: usize, outputs: Range<usize>) -> Vec<Lane<f32>> {
    let before = outputs.start % LANES;
    let outer = outputs.len();
    let width = ((before + outer).div_ceil(LANES) * LANES).max(1);
    made(rows.div_ceil(LANES) * width, width, |from, packed: &mut [Lane<f32>]| {
        let g = &g[from / width * LANES * outer..];
        simd::columns(&g[..g.len().min(LANES * outer)], outer, &mut packed[before..]);
    })
}

/// `x Wᵀ` of each of some matrices, `(rows, inner)` to `(rows, outer)`, with the bits of each alone. Those that multiply `x` in one way are
/// taken together.
pub(super) fn products(x: &Tensor, all: &[&Packed], precision: Precision) -> Result<Vec<Vec<f32>>> {
    let (rows, inner) = x.dims2()?;
    all.iter().try_for_each(|w| check(inner, w.inner()))?;
    let as_row = all.iter().filter(|w| rows == 1 && w.takes_a_row(precision)).count();
    if as_row > 0 && as_row < all.len() {
        return all.iter().map(|w| Ok(tiled::only(products(x, &[w], precision)?))).collect();
    }
    with_slice(x, |x| match (as_row > 0, precision.rounds()) {
        (true, _) => row_of(all, x),
        (false, true) => all.iter().map(|w| w.multiply_fast(x)).collect(),
        (false, false) => multiply_all(all, x),
    })
}

/// `g W`, `(rows, outer)` to `(rows, inner)`.
pub(crate) fn product_back(g: &Tensor, w: &Packed, precision: Precision) -> Result<Tensor> {
    let (rows, outer) = g.dims2()?;
    check(outer, w.outer())?;
    let back =
        with_slice(g, |g| if precision.rounds() { w.multiply_back_fast(g) } else { w.multiply_back(g) })?;
    tensor(back, (rows, w.inner()))
}

#[cfg(test)]
mod tests {
    use super::super::mlp::activate;
    use super::*;
    use candle_core::Device;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// `x Wᵀ` of one matrix.
    fn multiply(w: &Packed, x: &[f32]) -> Vec<f32> {
        tiled::only(multiply_all(&[w], x))
    }

    /// Wide enough for several stretches of every kind: sums are those of the definition, and their bits do not depend on the rows, the
    /// gradients or the matrices beside them.
    #[test]
    fn no_bit_depends_on_how_a_product_is_cut() -> Result<()> {
        let (rows, inner, outer) = (61, 300, 200);
        let (x, g) = (numbers(rows * inner, 0.37), numbers(rows * outer, 0.7));
        let w = Tensor::from_vec(numbers(outer * inner, 0.53), (outer, inner), &Device::Cpu)?;
        for kept in [candle_core::DType::F32, candle_core::DType::BF16, candle_core::DType::F16] {
            let stored = w.to_dtype(kept)?.to_dtype(candle_core::DType::F32)?;
            let packed = Packed::new(&w.to_dtype(kept)?)?;
            let both = multiply_all(&[&packed, &Packed::new(&w)?], &x);
            let (found, back) = (multiply(&packed, &x), packed.multiply_back(&g));
            assert!(both[0] == found && both.len() == 2, "{kept:?}");
            let apart: Vec<f32> = x.chunks(5 * inner).flat_map(|x| multiply(&packed, x)).collect();
            assert!(apart == found, "{kept:?}");
            let apart: Vec<f32> = g.chunks(7 * outer).flat_map(|g| packed.multiply_back(g)).collect();
            assert!(apart == back, "{kept:?}");
            let want = Tensor::new(&x[..], &Device::Cpu)?.reshape((rows, inner))?.matmul(&stored.t()?)?;
            let want_back = Tensor::new(&g[..], &Device::Cpu)?.reshape((rows, outer))?.matmul(&stored)?;
            for (found, want) in [(&found, want), (&back, want_back)] {
                let want = want.flatten_all()?.to_vec1::<f32>()?;
                assert!(found.len() == want.len());
                assert!(found.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4), "{kept:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn activations_at_once_are_those_step_by_step() -> Result<()> {
        let (rows, inner, outer) = (29, 150, 70);
        let x = Tensor::new(numbers(rows * inner, 0.37), &Device::Cpu)?.reshape((rows, inner))?;
        let weight = |step| {
            let w = Tensor::new(numbers(outer * inner, step), &Device::Cpu)?.reshape((outer, inner))?;
            Packed::new(&w)
        };
        let (pre, linear) = (weight(0.53)?, weight(0.29)?);
        let made = products(&x, &[&pre, &linear], Precision::Exact)?;
        let [before, second] = [0, 1].map(|i| tensor(made[i].clone(), (rows, outer)));
        let (before, second) = (before?, second?);
        for f in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            for (linear, second) in [(None, None), (Some(&linear), Some(&second))] {
                let want = activate(&before, second, f)?.flatten_all()?.to_vec1::<f32>()?;
                assert!(multiply_activated(&x, &pre, linear, f)? == want, "{f:?}");
            }
        }
        Ok(())
    }

    /// A part of a product, forward and backward, is the whole product of operands that are zero elsewhere.
    #[test]
    fn a_part_of_a_product_is_the_whole_of_zeros_elsewhere() -> Result<()> {
        let (rows, inner, outer) = (19, 150, 130);
        let (x, w, g) =
            (numbers(rows * inner, 0.37), numbers(outer * inner, 0.53), numbers(rows * outer, 0.7));
        let cut = |all: &[f32], width: usize, keep: &Range<usize>| -> (Vec<f32>, Vec<f32>) {
            let part = all.chunks_exact(width).flat_map(|row| &row[keep.clone()]).copied().collect();
            let zeroed =
                all.iter().enumerate().map(|(i, v)| if keep.contains(&(i % width)) { *v } else { 0.0 });
            (part, zeroed.collect())
        };
        let near =
            |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        for kept in [candle_core::DType::F32, candle_core::DType::BF16] {
            let packed =
                Packed::new(&Tensor::from_vec(w.clone(), (outer, inner), &Device::Cpu)?.to_dtype(kept)?)?;
            for (outputs, inputs) in
                [(0..outer, 0..inner), (32..96, 64..128), (7..40, 3..149), (129..130, 1..2)]
            {
                let (part, zeroed) = cut(&x, inner, &inputs);
                let (want, _) = cut(&multiply(&packed, &zeroed), outer, &outputs);
                assert!(
                    near(&packed.multiply_part(&part, outputs.clone(), inputs), &want),
                    "{outputs:?} {kept:?}"
                );
                let (part, zeroed) = cut(&g, outer, &outputs);
                assert!(near(
                    &packed.multiply_back_part(&part, outputs.clone()),
                    &packed.multiply_back(&zeroed)
                ));
            }
        }
        Ok(())
    }

    /// The fast products are the exact ones of operands rounded to bf16, whatever the weights are kept as.
    #[test]
    fn the_fast_products_are_those_of_rounded_operands() -> Result<()> {
        let rounded = |x: &[f32]| x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect::<Vec<_>>();
        for (rows, inner, outer) in [(1, 1, 1), (5, 7, 33), (13, 131, 40), (200, 300, 96)] {
            let (x, w) = (numbers(rows * inner, 0.37), rounded(&numbers(outer * inner, 0.53)));
            let g = numbers(rows * outer, 0.71);
            let w = Tensor::from_vec(w, (outer, inner), &Device::Cpu)?;
            let plain = Packed::new(&w)?;
            let want = multiply(&plain, &rounded(&x));
            let back = if tiles_are_here() && rows > FEW { rounded(&g) } else { g.clone() };
            let back = plain.multiply_back(&back);
            for kept in [candle_core::DType::F32, candle_core::DType::BF16] {
                let packed = Packed::new(&w.to_dtype(kept)?)?;
                let found = packed.multiply_fast(&x);
                assert!(packed.rows(&[outer as u32 - 1]) == w.get(outer - 1)?.to_vec1::<f32>()?);
                let found_back = packed.multiply_back_fast(&g);
                assert_eq!(found_back.len(), back.len());
                for (found, want) in found.iter().zip(&want).chain(found_back.iter().zip(&back)) {
                    assert!((found - want).abs() < 1e-4, "{rows}×{inner}×{outer} {kept:?}: {found} {want}");
                }
            }
        }
        Ok(())
    }
}
