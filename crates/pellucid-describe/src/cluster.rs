//! Groups of units whose descriptions mean the same: average linkage on cosine distance between description
//! vectors, cut at a distance, small groups dropped, each group held against random groups of its size. After the
//! linter of Transluce's Monitor, but with polarity kept, a test in place of a language model's opinion, and a label
//! that needs none.

use kodama::{Method, linkage};
use pellucid_core::{Seed, UnitId};
use std::collections::{BTreeMap, BTreeSet};

/// A described unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The unit, with its polarity. Items are told apart by unit and text.
    pub unit: UnitId,
    /// Its description's vector, of any length above 0.
    pub vector: Vec<f32>,
    /// Its signed effect.
    pub effect: f32,
    /// Its description.
    pub text: String,
}

/// Numbers that decide the groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterSettings {
    /// Groups are merged up to this average cosine distance.
    pub cut: f32,
    /// Smallest group kept.
    pub least: usize,
    /// Most items: time and memory grow with the square.
    pub most: usize,
    /// Random groups of the same size that a group's coherence is held against.
    pub draws: usize,
    /// A group stands if at most this share of them is as coherent.
    pub chance: f64,
    /// Seed of the random groups.
    pub seed: Seed,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { cut: 0.6, least: 3, most: 5000, draws: 200, chance: 0.05, seed: Seed(0) }
    }
}

/// Items that mean the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Shared words of the members' descriptions, or the description of the most central member.
    pub label: String,
    /// The members in order of unit, with their polarities.
    pub members: Vec<UnitId>,
    /// The most central member.
    pub medoid: UnitId,
    /// Mean cosine between two members.
    pub coherence: f64,
    /// Share of random groups of this size that are as coherent; none where the group holds more than half of all
    /// items, since random groups then are mostly itself.
    pub chance: Option<f64>,
    /// Sum of the members' signed effects.
    pub effect: f64,
}

/// Items that cannot be grouped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClusterError {
    /// A vector without direction, or of another width.
    #[error(
        "the vector of {unit} cannot be compared: expected {expected} finite numbers that are not all 0, found {found}"
    )]
    Vector {
        /// Whose.
        unit: UnitId,
        /// Width of the first item's vector.
        expected: usize,
        /// Its own width.
        found: usize,
    },
    /// Too many.
    #[error("{found} items to group, at most {most}; keep those with the largest effects")]
    TooMany {
        /// How many were given.
        found: usize,
        /// The limit.
        most: usize,
    },
}

/// Groups the items; the groups with the largest summed effect (in size) come first. The order of the items does not
/// matter.
///
/// # Errors
/// [`ClusterError`].
pub fn cluster(items: &[Item], settings: &ClusterSettings) -> Result<Vec<Cluster>, ClusterError> {
    if items.len() > settings.most {
        return Err(ClusterError::TooMany { found: items.len(), most: settings.most });
    }
    // One order whatever order they came in: linkage breaks ties by position.
    let mut items: Vec<&Item> = items.iter().collect();
    items.sort_by(|a, b| (&a.unit, &a.text).cmp(&(&b.unit, &b.text)).then(a.effect.total_cmp(&b.effect)));
    let vectors = unit_vectors(&items)?;
    let mut clusters: Vec<Cluster> = groups(&vectors, settings.cut)
        .into_iter()
        .filter(|members| members.len() >= settings.least.max(1))
        .filter_map(|members| made(&items, &vectors, &members, settings))
        .collect();
    clusters
        .sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()).then_with(|| a.members.cmp(&b.members)));
    Ok(clusters)
}

fn unit_vectors(items: &[&Item]) -> Result<Vec<Vec<f32>>, ClusterError> {
    let expected = items.first().map_or(0, |i| i.vector.len());
    items
        .iter()
        .map(|item| {
            let norm = item.vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            if item.vector.len() != expected || !norm.is_finite() || norm == 0.0 {
                let (unit, found) = (item.unit.clone(), item.vector.len());
                return Err(ClusterError::Vector { unit, expected, found });
            }
            Ok(item.vector.iter().map(|&v| (f64::from(v) / norm) as f32).collect())
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Members of each group, ascending; groups by their first member.
fn groups(vectors: &[Vec<f32>], cut: f32) -> Vec<Vec<usize>> {
    let n = vectors.len();
    if n < 2 {
        return (0..n).map(|i| vec![i]).collect();
    }
    let mut distances = Vec::with_capacity(n * (n - 1) / 2);
    for i in 0..n {
        distances.extend((i + 1..n).map(|j| 1.0 - cosine(&vectors[i], &vectors[j])));
    }
    let tree = linkage(&mut distances, n, Method::Average);
    // Step s makes group n + s of two earlier groups.
    let mut parent: Vec<usize> = (0..2 * n).collect();
    for (s, step) in tree.steps().iter().enumerate() {
        if step.dissimilarity <= cut {
            parent[step.cluster1] = n + s;
            parent[step.cluster2] = n + s;
        }
    }
    let mut by_root: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in 0..n {
        let mut root = i;
        while parent[root] != root {
            root = parent[root];
        }
        by_root.entry(root).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = by_root.into_values().collect();
    groups.sort();
    groups
}

/// A group as a cluster, if it is more coherent than chance.
fn made(
    items: &[&Item],
    vectors: &[Vec<f32>],
    members: &[usize],
    settings: &ClusterSettings,
) -> Option<Cluster> {
    let coherence = coherence(vectors, members);
    let chance = (2 * members.len() <= items.len() && settings.draws > 0).then(|| {
        // The seed hangs on the size alone, so that groups of one size meet the same random groups.
        let mut seed = Seed(settings.seed.0 ^ members.len() as u64).for_purpose("random groups");
        let draw = |_: &usize| {
            self::coherence(vectors, &seed.choose(items.len(), members.len())) >= coherence - 1e-9
        };
        (0..settings.draws).filter(draw).count() as f64 / settings.draws as f64
    });
    if chance.is_some_and(|c| c > settings.chance) {
        return None;
    }
    let medoid = medoid(vectors, members);
    let label = label(items, members).unwrap_or_else(|| items[medoid].text.clone());
    Some(Cluster {
        label,
        members: members.iter().map(|&i| items[i].unit.clone()).collect(),
        medoid: items[medoid].unit.clone(),
        coherence,
        chance,
        effect: members.iter().map(|&i| f64::from(items[i].effect)).sum(),
    })
}

/// Mean cosine between two different members: `(|Σv|² − m)/(m(m − 1))` for unit vectors; 1 for a single one.
fn coherence(vectors: &[Vec<f32>], members: &[usize]) -> f64 {
    let m = members.len() as f64;
    if members.len() < 2 {
        return 1.0;
    }
    let sum = total(vectors, members);
    let square: f64 = sum.iter().map(|v| v * v).sum();
    (square - m) / (m * (m - 1.0))
}

fn total(vectors: &[Vec<f32>], members: &[usize]) -> Vec<f64> {
    let width = members.first().map_or(0, |&i| vectors[i].len());
    let mut sum = vec![0.0f64; width];
    for &i in members {
        sum.iter_mut().zip(&vectors[i]).for_each(|(s, &v)| *s += f64::from(v));
    }
    sum
}

/// The member nearest to all others; the first of equals.
fn medoid(vectors: &[Vec<f32>], members: &[usize]) -> usize {
    let sum = total(vectors, members);
    let near = |i: usize| -> f64 { sum.iter().zip(&vectors[i]).map(|(s, &v)| s * f64::from(v)).sum() };
    let mut best = members[0];
    for &i in &members[1..] {
        if near(i) > near(best) + 1e-9 {
            best = i;
        }
    }
    best
}

/// Words that say nothing about a group.
const EMPTY_WORDS: &[&str] = &[
    "the", "and", "for", "with", "that", "this", "from", "into", "after", "before", "token", "tokens",
    "word", "words", "says", "inside", "ending", "one", "first", "text", "texts", "letters", "such", "are",
    "its", "or", "of", "in", "to",
];

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|w| w.chars().count() >= 2 && !EMPTY_WORDS.contains(&w.as_str()))
        .collect()
}

/// Up to three words that at least half of the members' descriptions hold, by `in · ln(in/out)`, where `in` is the
/// share of members with the word and `out` that of the rest, each started with one half of an item so that rare
/// words stay finite; none if no word is commoner inside than outside.
fn label(items: &[&Item], members: &[usize]) -> Option<String> {
    let mut counts: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (i, item) in items.iter().enumerate() {
        let inside = members.binary_search(&i).is_ok();
        for word in words(&item.text) {
            let entry = counts.entry(word).or_default();
            if inside { entry.0 += 1.0 } else { entry.1 += 1.0 }
        }
    }
    let (n, rest) = (members.len() as f64, (items.len() - members.len()) as f64);
    let mut scored: Vec<(f64, String)> = counts
        .into_iter()
        .filter(|(_, (inside, _))| 2.0 * inside >= n)
        .map(|(word, (inside, outside))| {
            let (p, q) = (inside / n, (outside + 0.5) / (rest + 1.0));
            (p * (p / q).ln(), word)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let words: Vec<String> = scored.into_iter().take(3).map(|(_, w)| w).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
