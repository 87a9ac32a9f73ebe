//! How much each node and edge of a graph has to do with the logits, and which may go (Ameisen et al. 2025, "Circuit Tracing").
//!
//! A graph's matrix holds in row t what every source s adds to target t. With rows of |A| made to sum to 1, a node's influence is what
//! arrives from the logits' weights over paths of every length, `w (A + A² + …)`; an edge's is its share of its target's. Nodes, then
//! edges, are kept from the largest down until they hold a given share of all influence, and what is left hanging goes too.

use crate::{Error, Result};

/// How many nodes of each kind, in the order of the matrix: features, errors, tokens, logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Features (or neurons).
    pub features: usize,
    /// What the features do not explain.
    pub errors: usize,
    /// Input tokens.
    pub tokens: usize,
    /// Logits.
    pub logits: usize,
}

impl Kinds {
    /// All nodes.
    pub fn len(&self) -> usize {
        self.features + self.errors + self.tokens + self.logits
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A square matrix of what sources (columns) add to targets (rows).
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    kinds: Kinds,
    /// `(nodes, nodes)`.
    effects: Vec<f64>,
    /// A weight for each logit node: its probability.
    weights: Vec<f64>,
}

/// What pruning keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Pruned {
    /// By node.
    pub nodes: Vec<bool>,
    /// By target and source.
    pub edges: Vec<bool>,
}

impl Graph {
    /// From a matrix, row by row, and the logits' probabilities.
    ///
    /// # Errors
    /// If sizes do not fit, a number is not finite, or nodes lead in a circle.
    pub fn new(kinds: Kinds, effects: Vec<f64>, weights: Vec<f64>) -> Result<Self> {
        let n = kinds.len();
        let bad = |why: String| Err(Error::Request(format!("this is no attribution graph: {why}")));
        if effects.len() != n * n || weights.len() != kinds.logits {
            return bad(format!(
                "{n} nodes with {} logits need {} effects and as many weights as logits; found {} and {}",
                kinds.logits,
                n * n,
                effects.len(),
                weights.len()
            ));
        }
        if effects.iter().chain(&weights).any(|v| !v.is_finite()) {
            return bad("a number in it is not finite".to_owned());
        }
        let graph = Graph { kinds, effects, weights };
        if graph.influence(&normalised(&graph.effects, n)).is_none() {
            return bad("its nodes lead in a circle".to_owned());
        }
        Ok(graph)
    }

    /// How many nodes of each kind.
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// What a source adds to a target; nothing where one of them does not exist.
    pub fn effect(&self, target: usize, source: usize) -> f64 {
        self.row(target).get(source).copied().unwrap_or(0.0)
    }

    /// What every source adds to a target, `(nodes)`.
    pub fn row(&self, target: usize) -> &[f64] {
        let n = self.kinds.len();
        self.effects.get(target * n..(target + 1) * n).unwrap_or_default()
    }

    /// The logits' weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    fn start(&self) -> Vec<f64> {
        let mut start = vec![0f64; self.kinds.len()];
        let first = start.len() - self.kinds.logits;
        start[first..].copy_from_slice(&self.weights);
        start
    }

    /// `w (A + A² + …)`; none where that does not end after as many steps as there are nodes.
    fn influence(&self, matrix: &[f64]) -> Option<Vec<f64>> {
        let n = self.kinds.len();
        let (mut now, mut sum) = (self.start(), vec![0f64; n]);
        for _ in 0..=n {
            let mut next = vec![0f64; n];
            for (weight, row) in now.iter().zip(matrix.chunks_exact(n)).filter(|(w, _)| **w != 0.0) {
                next.iter_mut().zip(row).for_each(|(x, a)| *x += weight * a);
            }
            if next.iter().all(|x| *x == 0.0) {
                return Some(sum);
            }
            sum.iter_mut().zip(&next).for_each(|(s, x)| *s += x);
            now = next;
        }
        None
    }

    /// Each node's influence on the logits.
    pub fn node_influence(&self) -> Vec<f64> {
        self.influence(&normalised(&self.effects, self.kinds.len())).unwrap_or_default()
    }

    /// Each edge's influence, by target and source, among the nodes that are kept.
    pub fn edge_influence(&self, keep: &[bool]) -> Vec<f64> {
        let n = self.kinds.len();
        let inside = |i: usize| keep[i / n] && keep[i % n];
        let kept: Vec<f64> =
            self.effects.iter().enumerate().map(|(i, e)| if inside(i) { *e } else { 0.0 }).collect();
        let mut matrix = normalised(&kept, n);
        let influence = self.influence(&matrix).unwrap_or_else(|| vec![0.0; n]);
        let start = self.start();
        for (t, row) in matrix.chunks_exact_mut(n).enumerate() {
            row.iter_mut().for_each(|a| *a *= influence[t] + start[t]);
        }
        matrix
    }

    /// Keeps nodes that hold `node_share` of all influence and edges that hold `edge_share` of what is left (0.8 and 0.98 are
    /// usual), with tokens and logits, and then drops what has no way out, or no way in.
    ///
    /// # Errors
    /// If a share is not from 0 to 1.
    pub fn prune(&self, node_share: f64, edge_share: f64) -> Result<Pruned> {
        for share in [node_share, edge_share] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::Request(format!("a share is from 0 to 1, not {share}")));
            }
        }
        let (n, Kinds { features, errors, .. }) = (self.kinds.len(), self.kinds);
        let influence = self.node_influence();
        let least = least_kept(&influence, node_share);
        let mut nodes: Vec<bool> =
            influence.iter().enumerate().map(|(i, v)| *v >= least || i >= features + errors).collect();
        let of_edges = self.edge_influence(&nodes);
        let least = least_kept(&of_edges, edge_share);
        let mut edges: Vec<bool> = of_edges.iter().map(|v| *v >= least && *v > 0.0).collect();
        loop {
            let before = nodes.clone();
            for i in 0..features + errors {
                let goes_out = (0..n).any(|t| edges[t * n + i]);
                let comes_in = i >= features || edges[i * n..(i + 1) * n].contains(&true);
                nodes[i] &= goes_out && comes_in;
            }
            edges.iter_mut().enumerate().for_each(|(e, keep)| *keep &= nodes[e / n] && nodes[e % n]);
            if nodes == before {
                return Ok(Pruned { nodes, edges });
            }
        }
    }

    /// (replacement, completeness): the share of influence that reaches tokens and not errors, and the share of inputs, weighted by
    /// their targets' influence, that are no errors.
    pub fn scores(&self) -> (f64, f64) {
        let (n, Kinds { features, errors, tokens, .. }) = (self.kinds.len(), self.kinds);
        let matrix = normalised(&self.effects, n);
        let influence = self.node_influence();
        let sum = |from: usize, count: usize| influence[from..from + count].iter().sum::<f64>();
        let (of_errors, of_tokens) = (sum(features, errors), sum(features + errors, tokens));
        let start = self.start();
        let (mut explained, mut all) = (0.0, 0.0);
        for (t, row) in matrix.chunks_exact(n).enumerate() {
            let weight = influence[t] + start[t];
            explained += weight * (1.0 - row[features..features + errors].iter().sum::<f64>());
            all += weight;
        }
        (of_tokens / (of_tokens + of_errors), explained / all)
    }
}

/// |A| with rows that sum to 1; a row of zeros stays one.
fn normalised(matrix: &[f64], n: usize) -> Vec<f64> {
    let mut out: Vec<f64> = matrix.iter().map(|v| v.abs()).collect();
    for row in out.chunks_exact_mut(n.max(1)) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum.max(1e-10));
    }
    out
}

/// The smallest value that is kept when values from the largest down shall hold this share of their sum.
fn least_kept(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let whole: f64 = sorted.iter().sum();
    let mut held = 0.0;
    for value in &sorted {
        held += value;
        if held >= share * whole {
            return *value;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    const N: usize = 12;

    /// circuit-tracer's hand-made graph (its `tests/test_graph.py`, MIT): five features, four errors, two tokens, one logit, every edge of
    /// strength 10.
    fn small() -> Graph {
        let mut effects = vec![0f64; N * N];
        for (target, sources) in [(11, vec![1, 3, 6, 8]), (3, vec![0, 1, 6]), (1, vec![9, 10]), (0, vec![9])]
        {
            sources.into_iter().for_each(|s| effects[target * N + s] = 10.0);
        }
        Graph::new(Kinds { features: 5, errors: 4, tokens: 2, logits: 1 }, effects, vec![1.0]).unwrap()
    }

    /// The published influences of that graph, and those of its edges after nodes are pruned at .8.
    #[test]
    fn influence_is_as_published() {
        let graph = small();
        let want = [1.0 / 12.0, 1.0 / 3.0, 0.0, 0.25, 0.0, 0.0, 1.0 / 3.0, 0.0, 0.25, 0.25, 1.0 / 6.0, 0.0];
        for (found, want) in graph.node_influence().iter().zip(want) {
            assert!((found - want).abs() < 1e-9, "{found} {want}");
        }
        let mut keep = [true; N];
        keep[0] = false;
        let edges = graph.edge_influence(&keep);
        let mut want = vec![0f64; N * N];
        for (target, source, value) in [
            (11, 1, 0.25),
            (11, 3, 0.25),
            (11, 6, 0.25),
            (11, 8, 0.25),
            (3, 1, 0.125),
            (3, 6, 0.125),
            (1, 9, 3.0 / 16.0),
            (1, 10, 3.0 / 16.0),
        ] {
            want[target * N + source] = value;
        }
        assert!(edges.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn pruning_leaves_ways_from_tokens_and_errors_to_the_logits() {
        let graph = small();
        let pruned = graph.prune(0.8, 0.98).unwrap();
        // the node with least influence goes, and with it its edges
        assert!(!pruned.nodes[0] && !pruned.edges[3 * N] && !pruned.edges[9]);
        for kept in [1, 3, 6, 8, 9, 10, 11] {
            assert!(pruned.nodes[kept], "{kept}");
        }
        for gone in [2, 4, 5, 7] {
            assert!(!pruned.nodes[gone], "{gone}");
        }
        let all = graph.prune(1.0, 1.0).unwrap();
        assert_eq!(all.edges.iter().filter(|e| **e).count(), 10);
        assert!(graph.prune(1.5, 0.5).is_err());
        let (replacement, completeness) = graph.scores();
        let (tokens, errors) = (0.25 + 1.0 / 6.0, 1.0 / 3.0 + 0.25);
        assert!((replacement - tokens / (tokens + errors)).abs() < 1e-9);
        assert!(completeness > 0.5 && completeness < 1.0);
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        let kinds = Kinds { features: 1, errors: 0, tokens: 0, logits: 1 };
        assert!(Graph::new(kinds, vec![0.0; 3], vec![1.0]).is_err());
        assert!(Graph::new(kinds, vec![f64::NAN, 0.0, 0.0, 0.0], vec![1.0]).is_err());
        // a feature that feeds itself
        assert!(
            Graph::new(kinds, vec![1.0, 0.0, 1.0, 0.0], vec![1.0])
                .unwrap_err()
                .to_string()
                .contains("circle")
        );
    }
}
