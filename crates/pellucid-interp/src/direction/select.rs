//! Which of many candidate directions is taken: the published rule of Arditi et al. 2024 (arXiv 2406.11717).
//!
//! Of all positions and layers, those are left out whose layer is in the last fifth of the model, whose ablation moves the
//! distribution on unrelated prompts by more than 0.1 nats, or which do not bring the behaviour about when added; of the
//! others the one stands whose ablation leaves least of the behaviour.

use serde::Serialize;

/// A direction's three scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Token position, from the end: −1 is the last.
    pub position: i64,
    /// Layer.
    pub layer: usize,
    /// What is left of the behaviour under ablation; less is better.
    pub ablation: f64,
    /// How much of the behaviour adding it brings about; below 0 it does not.
    pub steering: f64,
    /// KL divergence, in nats, of the next-token distribution on unrelated prompts under ablation.
    pub kl: f64,
}

/// The largest divergence that is let pass, nats.
pub const MOST_KL: f64 = 0.1;

impl Candidate {
    /// Whether the rule lets it pass, in a model of so many layers.
    pub fn passes(&self, layers: usize) -> bool {
        let known = ![self.ablation, self.steering, self.kl].iter().any(|s| s.is_nan());
        known && self.layer < layers * 4 / 5 && self.kl <= MOST_KL && self.steering >= 0.0
    }
}

/// The index of the one that the rule takes; none where none passes.
pub fn choose(candidates: &[Candidate], layers: usize) -> Option<usize> {
    let passing = (0..candidates.len()).filter(|&i| candidates[i].passes(layers));
    passing.min_by(|&a, &b| candidates[a].ablation.total_cmp(&candidates[b].ablation))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    /// The score tables that were published with the paper, and what its authors chose from each; how many pass the rule was
    /// counted by hand from the tables.
    #[test]
    fn the_rule_takes_what_the_paper_took_from_its_own_tables() {
        let text = include_str!("../../../../fixtures/published/directions.csv");
        let row = |line: &str| {
            let f: Vec<&str> = line.split(',').collect();
            let candidate = Candidate {
                position: f[2].parse().unwrap(),
                layer: f[3].parse().unwrap(),
                ablation: f[4].parse().unwrap(),
                steering: f[5].parse().unwrap(),
                kl: f[6].parse().unwrap(),
            };
            (f[0].to_owned(), f[1].parse::<usize>().unwrap(), candidate)
        };
        let rows: Vec<(String, usize, Candidate)> = text.lines().skip(1).map(row).collect();
        for (model, all, passing, position, layer) in [
            ("gemma-2b-it", 90, 13, -2, 10),
            ("llama-2-7b-chat-hf", 192, 5, -1, 14),
            ("meta-llama-3-8b-instruct", 160, 25, -5, 12),
            ("qwen-1_8b-chat", 120, 12, -2, 15),
            ("yi-6b-chat", 192, 7, -5, 20),
        ] {
            let of: Vec<&(String, usize, Candidate)> = rows.iter().filter(|r| r.0 == model).collect();
            let (layers, candidates) = (of[0].1, of.iter().map(|r| r.2).collect::<Vec<_>>());
            assert_eq!(candidates.len(), all, "{model}");
            assert_eq!(candidates.iter().filter(|c| c.passes(layers)).count(), passing, "{model}");
            let chosen = candidates[choose(&candidates, layers).unwrap()];
            assert_eq!((chosen.position, chosen.layer), (position, layer), "{model}");
        }
        assert_eq!(choose(&[], 12), None);
    }
}
