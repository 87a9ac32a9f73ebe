//! Each row's nearest others by cosine, exactly: products of blocks of rows with blocks of rows, of which only the best are kept.

use super::Telling;
use crate::product::times_transposed;
use rayon::prelude::*;

/// Rows of one task, and rows that they are multiplied with at a time. Fixed, so that sums do not depend on threads.
const BLOCK: usize = 64;
const AGAINST: usize = 512;
/// Tasks between two words on how far it is.
const TOGETHER: usize = 16;

/// Rows of length 1; those without a direction are zeros.
pub(super) struct Directions {
    pub(super) width: usize,
    // (rows, width)
    pub(super) rows: Vec<f32>,
    pub(super) lost: Vec<bool>,
}

/// Another row, and one minus the cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) distance: f32,
    pub(super) index: u32,
}

impl Directions {
    pub(super) fn of(rows: &[f32], width: usize) -> Self {
        let mut all = rows.to_vec();
        let lost = all
            .chunks_exact_mut(width)
            .map(|row| {
                let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
                let lost = !norm.is_finite() || norm == 0.0;
                row.iter_mut().for_each(|v| *v = if lost { 0.0 } else { (f64::from(*v) / norm) as f32 });
                lost
            })
            .collect();
        Directions { width, rows: all, lost }
    }

    pub(super) fn count(&self) -> usize {
        self.lost.len()
    }
}

/// For each row its `k` nearest others, the nearest first; of equals the lower index. None if it was stopped.
pub(super) fn nearest(all: &Directions, k: usize, tell: &mut Telling<'_>) -> Option<Vec<Vec<Near>>> {
    let (count, step) = (all.count(), BLOCK * all.width);
    let mut found = Vec::with_capacity(count);
    for (group, rows) in all.rows.chunks(TOGETHER * step).enumerate() {
        if !tell("nearest neighbours", found.len(), count) {
            return None;
        }
        let blocks = rows.par_chunks(step).enumerate();
        let of = |(i, rows): (usize, &[f32])| block(all, (group * TOGETHER + i) * BLOCK, rows, k);
        found.extend(blocks.map(of).collect::<Vec<_>>().into_iter().flatten());
    }
    Some(found)
}

/// The same for one block of rows, the first of which is `from`.
fn block(all: &Directions, from: usize, rows: &[f32], k: usize) -> Vec<Vec<Near>> {
    let count = rows.len() / all.width;
    let mut best: Vec<Vec<Near>> = vec![Vec::with_capacity(k + 1); count];
    let mut cosines = vec![0f32; count * AGAINST];
    for (part, others) in all.rows.chunks(AGAINST * all.width).enumerate() {
        let across = others.len() / all.width;
        let cosines = &mut cosines[..count * across];
        times_transposed(rows, others, all.width, cosines);
        for (i, (best, cosines)) in best.iter_mut().zip(cosines.chunks_exact(across)).enumerate() {
            if all.lost[from + i] {
                continue;
            }
            for (j, &cosine) in cosines.iter().enumerate() {
                let (distance, index) = ((1.0 - cosine).max(0.0), part * AGAINST + j);
                let worse = best.len() >= k && best.last().is_none_or(|last| distance >= last.distance);
                if worse || index == from + i || all.lost[index] {
                    continue;
                }
                // they come by index, so an equal one goes behind those that are there
                let at = best.partition_point(|near| near.distance <= distance);
                best.insert(at, Near { distance, index: index as u32 });
                best.truncate(k);
            }
        }
    }
    best
}
