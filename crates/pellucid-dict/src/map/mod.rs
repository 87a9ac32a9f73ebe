//! Many directions as points of a plane, near each other where the directions are: UMAP (McInnes, Healy and Melville 2018,
//! arXiv 1802.03426), by cosine. After the reference implementation, umap-learn 0.5, in its defaults but for exact neighbours
//! and a start that needs no solver:
//!
//! - each row's nearest neighbours i₁ … iₖ₋₁ weigh exp(−max(0, d − ρ) / σ), with ρ the distance of the nearest that is no
//!   duplicate and σ such that the weights sum to log₂ k (`fuzzy`);
//! - an edge weighs p + q − p·q, with p and q its weights from both ends;
//! - points attract along edges, as often as the edges weigh, and are repelled by random others, with
//!   1 / (1 + a·d²ᵇ) for the weight of an edge of length d on the plane (`place`).
//!
//! What is alike tends to lie near; how far groups lie from each other, and how large they are, says little, and where all
//! directions are nearly orthogonal few neighbours are kept (docs/dictionaries.md has numbers).
//!
//! What comes out depends on the rows, the settings and the seed alone, not on the number of threads.

mod fuzzy;
mod near;
mod place;

use pellucid_core::Seed;

/// Numbers that decide a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapSettings {
    /// k, with the row itself among them; fewer where there are fewer rows.
    pub neighbours: usize,
    /// How close points may come on the plane, where groups are about 1 wide.
    pub min_dist: f64,
    /// How often an edge of the largest weight is pulled; none means 500, or 200 beyond 10,000 rows.
    pub epochs: Option<usize>,
    /// The seed.
    pub seed: Seed,
}

impl Default for MapSettings {
    fn default() -> Self {
        MapSettings { neighbours: 15, min_dist: 0.05, epochs: None, seed: Seed(0) }
    }
}

/// Told how far a map is (what, done, of all); false ends the work.
pub type Telling<'a> = dyn FnMut(&'static str, usize, usize) -> bool + 'a;

/// Places of these rows `(rows, width)` on a plane; none if it was stopped. A row without a direction (all zeros, or not
/// finite) has no neighbours and lies somewhere.
pub fn map(
    rows: &[f32],
    width: usize,
    settings: &MapSettings,
    tell: &mut Telling<'_>,
) -> Option<Vec<[f32; 2]>> {
    assert!(width > 0 && rows.len().is_multiple_of(width), "rows of {width}");
    let directions = near::Directions::of(rows, width);
    let neighbours = near::nearest(&directions, settings.neighbours.saturating_sub(1), tell)?;
    let edges = fuzzy::edges(&neighbours);
    let count = directions.count();
    let epochs = settings.epochs.unwrap_or(if count > 10_000 { 200 } else { 500 });
    let mut seed = settings.seed.for_purpose("map");
    let begin = place::begin(&directions, &edges, &mut seed);
    place::settle(begin, &edges, place::curve(settings.min_dist), epochs, &mut seed, tell)
}

/// The largest cosine of each row `(rows, width)` with another one, exactly: how alike the most alike latents are. None where a row has
/// no direction, or there is no other.
pub fn largest_cosines(rows: &[f32], width: usize) -> Vec<Option<f32>> {
    assert!(width > 0 && rows.len().is_multiple_of(width), "rows of {width}");
    let nearest = near::nearest(&near::Directions::of(rows, width), 1, &mut |_, _, _| true);
    nearest.into_iter().flatten().map(|near| Some(1.0 - near.first()?.distance)).collect()
}

#[cfg(test)]
mod tests;
