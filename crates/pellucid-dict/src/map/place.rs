//! Points on the plane: where they begin, and how edges and chance move them.

use super::Telling;
use super::fuzzy::Edge;
use super::near::Directions;
use crate::product::{add_scaled, dot};
use pellucid_core::Seed;

/// Steps to the principal components, and steps along edges from there.
const COMPONENTS: usize = 12;
const SMOOTHING: usize = 120;
/// Half of the width that points begin in, and how much chance tells equal ones apart.
const WIDTH: f64 = 10.0;
const CHANCE: f64 = 1e-3;
/// Random others that repel for each pull.
const REPELLED: usize = 5;
/// No step moves a coordinate further.
const FURTHEST: f32 = 4.0;

/// Where points begin: the two principal components of the rows, smoothed along the edges until what lies together in the graph
/// does so here. That is a power iteration towards the first vectors of the graph's Laplacian, which are the usual start;
/// from the components it need not arrive, and separate parts of the graph do not shrink to points.
pub(super) fn begin(all: &Directions, edges: &[Edge], seed: &mut Seed) -> Vec<[f32; 2]> {
    let count = all.count();
    let mut columns = components(all, seed);
    let mut degree = vec![0f64; count];
    for edge in edges {
        edge.ends.iter().for_each(|&i| degree[i as usize] += f64::from(edge.weight));
    }
    for _ in 0..SMOOTHING {
        for column in &mut columns {
            let mut next: Vec<f64> = column.iter().zip(&degree).map(|(y, d)| y * d).collect();
            for &Edge { ends: [a, b], weight } in edges {
                next[a as usize] += f64::from(weight) * column[b as usize];
                next[b as usize] += f64::from(weight) * column[a as usize];
            }
            let halved = next.iter().zip(&degree).zip(column.iter());
            *column = halved.map(|((n, d), y)| if *d > 0.0 { n / (2.0 * d) } else { *y }).collect();
        }
        straighten(&mut columns, &degree);
    }
    let [x, y] = columns.map(spread);
    x.into_iter().zip(y).map(|(x, y)| [x, y].map(|v| (v + CHANCE * seed.normal()) as f32)).collect()
}

/// The rows along their first two principal components, by subspace iteration.
fn components(all: &Directions, seed: &mut Seed) -> [Vec<f64>; 2] {
    let (width, rows) = (all.width, || all.rows.chunks_exact(all.width));
    let mut mean = vec![0f32; width];
    rows().for_each(|row| add_scaled(&mut mean, 1.0 / all.count() as f32, row));
    let mut axes = [0, 1].map(|_| (0..width).map(|_| seed.normal() as f32).collect::<Vec<f32>>());
    for _ in 0..COMPONENTS {
        let centre = [0, 1].map(|c| dot(&mean, &axes[c]));
        let mut next = [vec![0f32; width], vec![0f32; width]];
        for row in rows() {
            for (c, next) in next.iter_mut().enumerate() {
                let along = dot(row, &axes[c]) - centre[c];
                add_scaled(next, along, row);
                add_scaled(next, -along, &mean);
            }
        }
        axes = orthonormal(next);
    }
    [0, 1].map(|c| rows().map(|row| f64::from(dot(row, &axes[c]) - dot(&mean, &axes[c]))).collect())
}

fn orthonormal([mut first, mut second]: [Vec<f32>; 2]) -> [Vec<f32>; 2] {
    let scale = |v: &mut [f32]| {
        let norm = dot(v, v).sqrt();
        v.iter_mut().for_each(|x| *x = if norm > 0.0 { *x / norm } else { 0.0 });
    };
    scale(&mut first);
    let along = dot(&first, &second);
    add_scaled(&mut second, -along, &first);
    scale(&mut second);
    [first, second]
}

/// Takes out of both columns what all points share, and out of the second what it shares with the first, counting each point
/// by its degree; else both would become the same.
fn straighten(columns: &mut [Vec<f64>; 2], degree: &[f64]) {
    let total: f64 = degree.iter().sum();
    if total <= 0.0 {
        return;
    }
    for column in columns.iter_mut() {
        let mean = column.iter().zip(degree).map(|(y, d)| y * d).sum::<f64>() / total;
        column.iter_mut().for_each(|y| *y -= mean);
    }
    let [first, second] = columns;
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).zip(degree).map(|((a, b), d)| a * b * d).sum::<f64>();
    let norm = inner(first, first);
    if norm > 0.0 {
        let along = inner(first, second) / norm;
        second.iter_mut().zip(first.iter()).for_each(|(y, x)| *y -= along * x);
    }
    for column in columns.iter_mut() {
        let norm = inner(column, column).sqrt();
        if norm > 0.0 {
            column.iter_mut().for_each(|y| *y /= norm);
        }
    }
}

/// Scaled to the width that points begin in.
fn spread(mut column: Vec<f64>) -> Vec<f64> {
    let most = column.iter().fold(0f64, |most, y| most.max(y.abs()));
    let scale = if most > 0.0 && most.is_finite() { WIDTH / most } else { 0.0 };
    column.iter_mut().for_each(|y| *y *= scale);
    column
}

/// a and b with which 1 / (1 + a·x²ᵇ) is nearest to 1 up to `min_dist` and exp(min_dist − x) beyond, by least squares over 300
/// places up to 3 (Levenberg and Marquardt).
pub(super) fn curve(min_dist: f64) -> [f64; 2] {
    let places: Vec<f64> = (1..300).map(|i| f64::from(i) * 3.0 / 299.0).collect();
    let wanted = |x: f64| if x < min_dist { 1.0 } else { (min_dist - x).exp() };
    let value = |[a, b]: [f64; 2], x: f64| 1.0 / (1.0 + a * x.powf(2.0 * b));
    let error = |ab| places.iter().map(|&x| (value(ab, x) - wanted(x)).powi(2)).sum::<f64>();
    let (mut ab, mut damping) = ([1.0, 1.0], 1e-3);
    for _ in 0..200 {
        // normal equations: two slopes, [[p, q], [q, r]] · step = −[g, h]
        let (mut p, mut q, mut r, mut g, mut h) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &x in &places {
            let (f, power) = (value(ab, x), x.powf(2.0 * ab[1]));
            let (da, db) = (-f * f * power, -f * f * ab[0] * power * 2.0 * x.ln());
            let away = f - wanted(x);
            (p, q, r) = (p + da * da, q + da * db, r + db * db);
            (g, h) = (g + da * away, h + db * away);
        }
        let (p, r) = (p * (1.0 + damping), r * (1.0 + damping));
        let determinant = p * r - q * q;
        let next = [ab[0] - (r * g - q * h) / determinant, ab[1] - (p * h - q * g) / determinant];
        if next.iter().all(|v| *v > 0.0) && error(next) < error(ab) {
            (ab, damping) = (next, damping / 3.0);
        } else {
            damping *= 3.0;
        }
    }
    ab
}

/// An edge's turn: how often it comes, and when next, counted in epochs.
struct Turn {
    ends: [usize; 2],
    every: f32,
    next: f32,
}

/// Moves points along edges and away from random others; none if it was stopped.
pub(super) fn settle(
    mut points: Vec<[f32; 2]>,
    edges: &[Edge],
    [a, b]: [f64; 2],
    epochs: usize,
    seed: &mut Seed,
    tell: &mut Telling<'_>,
) -> Option<Vec<[f32; 2]>> {
    let (a, b) = (a as f32, b as f32);
    let most = edges.iter().fold(0f32, |most, edge| most.max(edge.weight));
    // what would never have its turn is left out
    let kept = edges.iter().filter(|edge| edge.weight * epochs as f32 >= most);
    let mut turns: Vec<Turn> = kept
        .map(|edge| {
            let every = most / edge.weight;
            Turn { ends: edge.ends.map(|i| i as usize), every, next: every }
        })
        .collect();
    for epoch in 0..epochs {
        if !tell("placing", epoch, epochs) {
            return None;
        }
        let step = 1.0 - epoch as f32 / epochs as f32;
        for turn in &mut turns {
            if turn.next > (epoch + 1) as f32 {
                continue;
            }
            turn.next += turn.every;
            let [i, j] = turn.ends;
            for (i, j) in [(i, j), (j, i)] {
                pull(&mut points, i, j, step, [a, b]);
                for _ in 0..REPELLED {
                    let other = seed.below(points.len());
                    push(&mut points, i, other, step, [a, b]);
                }
            }
        }
    }
    Some(points)
}

/// How far two points are, squared, and from where to where.
fn between(points: &[[f32; 2]], i: usize, j: usize) -> (f32, [f32; 2]) {
    let away = [points[i][0] - points[j][0], points[i][1] - points[j][1]];
    (away[0] * away[0] + away[1] * away[1], away)
}

fn bounded(v: f32) -> f32 {
    v.clamp(-FURTHEST, FURTHEST)
}

/// Both ends of an edge come nearer: the gradient of the logarithm of its weight on the plane.
fn pull(points: &mut [[f32; 2]], i: usize, j: usize, step: f32, [a, b]: [f32; 2]) {
    let (square, away) = between(points, i, j);
    if square <= 0.0 {
        return;
    }
    let power = square.powf(b);
    let slope = -2.0 * a * b * (power / square) / (1.0 + a * power);
    for (c, away) in away.into_iter().enumerate() {
        let by = step * bounded(slope * away);
        points[i][c] += by;
        points[j][c] -= by;
    }
}

/// A point goes away from another one, which stays.
fn push(points: &mut [[f32; 2]], i: usize, j: usize, step: f32, [a, b]: [f32; 2]) {
    let (square, away) = between(points, i, j);
    if i == j || square <= 0.0 {
        return;
    }
    let slope = 2.0 * b / ((0.001 + square) * (1.0 + a * square.powf(b)));
    for (c, away) in away.into_iter().enumerate() {
        points[i][c] += step * bounded(slope * away);
    }
}
