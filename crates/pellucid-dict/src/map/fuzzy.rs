//! How much neighbours belong together: distances to weights, each row by its own scale, and both ends of an edge agreed.

use super::near::Near;

/// A pair of rows, the lower first, and how much they belong together: above 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) ends: [u32; 2],
    pub(super) weight: f32,
}

/// Steps of the search for σ, and how near log₂ k is near enough.
const STEPS: usize = 64;
const NEAR_ENOUGH: f64 = 1e-5;
/// σ is at least this share of the mean distance, so that equal distances do not make it 0.
const LEAST: f64 = 1e-3;

/// All edges, by their ends.
pub(super) fn edges(neighbours: &[Vec<Near>]) -> Vec<Edge> {
    let distances = || neighbours.iter().flatten().map(|near| f64::from(near.distance));
    let overall = distances().sum::<f64>() / distances().count().max(1) as f64;
    let mut half: Vec<Edge> = Vec::new();
    for (i, near) in neighbours.iter().enumerate() {
        for (near, weight) in near.iter().zip(weights(near, overall)) {
            let (a, b) = (i as u32, near.index);
            half.push(Edge { ends: [a.min(b), a.max(b)], weight });
        }
    }
    half.sort_by_key(|edge| edge.ends);
    let mut whole: Vec<Edge> = Vec::with_capacity(half.len());
    for edge in half {
        match whole.last_mut() {
            // a + b − a·b: the union of the two fuzzy sets
            Some(last) if last.ends == edge.ends => last.weight += edge.weight * (1.0 - last.weight),
            _ => whole.push(edge),
        }
    }
    whole.retain(|edge| edge.weight > 0.0);
    whole
}

/// The weights of one row's neighbours, which are sorted by distance.
fn weights(near: &[Near], overall: f64) -> Vec<f32> {
    let distances: Vec<f64> = near.iter().map(|near| f64::from(near.distance)).collect();
    let rho = distances.iter().copied().find(|&d| d > 0.0).unwrap_or(0.0);
    // the row itself counts among its neighbours
    let target = ((near.len() + 1) as f64).log2();
    let sum = |sigma: f64| distances.iter().map(|d| weight(*d, rho, sigma)).sum::<f64>();
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let found = sum(sigma);
        if (found - target).abs() < NEAR_ENOUGH {
            break;
        }
        if found > target {
            high = sigma;
            sigma = (low + high) / 2.0;
        } else {
            low = sigma;
            sigma = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * sigma };
        }
    }
    let mean = match rho > 0.0 {
        true => distances.iter().sum::<f64>() / distances.len().max(1) as f64,
        false => overall,
    };
    let sigma = sigma.max(LEAST * mean);
    distances.iter().map(|d| weight(*d, rho, sigma) as f32).collect()
}

fn weight(distance: f64, rho: f64, sigma: f64) -> f64 {
    match distance - rho {
        beyond if beyond <= 0.0 || sigma <= 0.0 => 1.0,
        beyond => (-beyond / sigma).exp(),
    }
}
