//! Which edges make a circuit of a given size.

use super::edges::Edges;
use pellucid_core::Seed;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// How edges are chosen by their scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The largest by size.
    Size,
    /// The largest by sign: those that help most.
    Signed,
    /// From the logits on, always the largest (by size) into what is in the circuit (Hanna et al. 2024).
    Greedy,
}

fn better(scores: &[f64], by: Choice, a: usize, b: usize) -> Ordering {
    let key = |e: usize| if by == Choice::Signed { scores[e] } else { scores[e].abs() };
    key(b).total_cmp(&key(a)).then(a.cmp(&b))
}

/// Edges from the best to the worst: a circuit of k edges is the first k.
pub fn order(edges: &Edges, scores: &[f64], by: Choice) -> Vec<usize> {
    if by == Choice::Greedy {
        return greedy(edges, scores);
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| better(scores, by, a, b));
    order
}

/// An edge that waits for its turn; the larger comes first.
#[derive(PartialEq)]
struct Waiting(f64, usize);

impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

fn greedy(edges: &Edges, scores: &[f64]) -> Vec<usize> {
    let mut order = Vec::with_capacity(scores.len());
    let mut reached = vec![false; edges.writers()];
    let mut waiting: BinaryHeap<Waiting> =
        edges.reads(edges.logits()).map(|e| Waiting(scores[e].abs(), e)).collect();
    while let Some(Waiting(_, edge)) = waiting.pop() {
        order.push(edge);
        let writer = edges.ends(edge).0;
        if !std::mem::replace(&mut reached[writer], true) {
            for reader in edges.inputs_of(writer) {
                waiting.extend(edges.reads(reader).map(|e| Waiting(scores[e].abs(), e)));
            }
        }
    }
    order
}

/// A random order, as a control.
pub fn random_order(edges: &Edges, seed: Seed) -> Vec<usize> {
    seed.for_purpose("random edges").choose(edges.len(), edges.len())
}

/// Of the edges that are kept, those on a way from the input to the logits.
pub fn alive(edges: &Edges, keep: &[bool]) -> Vec<bool> {
    let mut keep = keep.to_vec();
    // forward: a writer speaks if something it reads does; readers come after the writers they see
    let mut speaks = vec![false; edges.writers()];
    speaks[0] = true;
    for reader in 0..edges.readers() {
        let into = edges.reads(reader);
        let from = into.start;
        let mut any = false;
        for e in into {
            keep[e] &= speaks[e - from];
            any |= keep[e];
        }
        if let Some(node) = edges.node_of(reader) {
            speaks[node] |= any;
        }
    }
    // backward: a reader is heard if its node reaches the logits
    let mut heard = vec![false; edges.writers()];
    for reader in (0..edges.readers()).rev() {
        let into = edges.reads(reader);
        let from = into.start;
        let open = edges.node_of(reader).is_none_or(|node| heard[node]);
        for e in into {
            keep[e] &= open;
            heard[e - from] |= keep[e];
        }
    }
    keep
}

/// What each node's replacement everywhere is predicted to take away: the sum over the edges that it writes.
pub fn node_scores(edges: &Edges, scores: &[f64]) -> Vec<f64> {
    let mut nodes = vec![0f64; edges.writers()];
    for reader in 0..edges.readers() {
        for (writer, e) in edges.reads(reader).enumerate() {
            nodes[writer] += scores[e];
        }
    }
    nodes
}

/// The edges of a circuit of nodes: all that they write. What another writes is cut.
pub fn of_nodes(edges: &Edges, nodes: &[bool]) -> Vec<bool> {
    let mut keep = vec![false; edges.len()];
    for reader in 0..edges.readers() {
        for (writer, e) in edges.reads(reader).enumerate() {
            keep[e] = nodes[writer];
        }
    }
    keep
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    fn keep(edges: &Edges, names: &[&str]) -> Vec<bool> {
        let mut keep = vec![false; edges.len()];
        names.iter().for_each(|n| keep[edges.parse(n).unwrap()] = true);
        keep
    }

    #[test]
    fn what_leads_nowhere_is_dead() {
        let edges = Edges::new(2, 2, false);
        let way = ["input->a0.h1<v>", "a0.h1->m1", "m1->logits"];
        let dead = ["input->m0", "a1.h0->logits", "m0->a1.h1<q>"];
        let all: Vec<&str> = way.iter().chain(&dead).copied().collect();
        assert_eq!(alive(&edges, &keep(&edges, &all)), keep(&edges, &way));
        let whole = vec![true; edges.len()];
        assert_eq!(alive(&edges, &whole), whole);
    }

    #[test]
    fn a_greedy_circuit_grows_from_the_logits_and_orders_hold_every_edge_once() {
        let edges = Edges::new(3, 2, true);
        let scores: Vec<f64> = (0..edges.len()).map(|e| (e as f64 * 0.7).sin()).collect();
        for by in [Choice::Size, Choice::Signed, Choice::Greedy] {
            let mut order = order(&edges, &scores, by);
            if by == Choice::Greedy {
                for k in 1..order.len() {
                    let mut kept = vec![false; edges.len()];
                    order[..k].iter().for_each(|&e| kept[e] = true);
                    let (_, reader) = edges.ends(order[k - 1]);
                    let node = edges.node_of(reader);
                    let feeds = |n| (0..edges.len()).any(|e| kept[e] && edges.ends(e).0 == n);
                    assert!(node.is_none_or(feeds), "{}", edges.name(order[k - 1]));
                }
            }
            order.sort_unstable();
            assert!(order.into_iter().eq(0..edges.len()));
        }
    }
}
