//! Circuits as files, in the form that EAP-IG and the MIB benchmark read and write: `cfg`, `nodes` and `edges` by name, each
//! edge with its score and whether it is in the circuit.

use super::edges::Edges;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
struct Circuit {
    cfg: Shape,
    nodes: BTreeMap<String, Node>,
    edges: BTreeMap<String, Edge>,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    n_layers: usize,
    n_heads: usize,
    #[serde(default)]
    parallel_attn_mlp: bool,
    #[serde(default)]
    d_model: usize,
}

#[derive(Serialize, Deserialize)]
struct Node {
    in_graph: bool,
}

#[derive(Serialize, Deserialize)]
struct Edge {
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    in_graph: bool,
}

/// A circuit as JSON, with every edge or those that are kept alone; [`read`] takes the others to score 0.
///
/// # Errors
/// If a score is no number JSON can hold.
pub fn write(
    edges: &Edges,
    d_model: usize,
    scores: &[f64],
    keep: &[bool],
    kept_alone: bool,
) -> Result<String> {
    let shape = Shape {
        n_layers: edges.layers(),
        n_heads: edges.heads(),
        parallel_attn_mlp: edges.parallel(),
        d_model,
    };
    let mut inside = vec![false; edges.writers()];
    for (e, _) in keep.iter().enumerate().filter(|(_, k)| **k) {
        let (writer, reader) = edges.ends(e);
        inside[writer] = true;
        edges.node_of(reader).into_iter().for_each(|n| inside[n] = true);
    }
    let node = |(n, &in_graph): (usize, &bool)| (edges.writer(n).to_string(), Node { in_graph });
    let mut nodes: BTreeMap<String, Node> = inside.iter().enumerate().map(node).collect();
    nodes.insert("logits".to_owned(), Node { in_graph: true });
    let edge = |(e, (score, &in_graph)): (usize, (&f64, &bool))| {
        (edges.name(e), Edge { score: Some(*score), in_graph })
    };
    let edges =
        scores.iter().zip(keep).enumerate().filter(|(_, (_, k))| **k || !kept_alone).map(edge).collect();
    serde_json::to_string(&Circuit { cfg: shape, nodes, edges }).map_err(|e| Error::Request(e.to_string()))
}

/// Scores and kept edges of a circuit's JSON, for a model of this shape. Edges that the file does not name are not kept, with
/// score 0.
///
/// # Errors
/// If the text is no circuit, or one of another model.
pub fn read(edges: &Edges, text: &str) -> Result<(Vec<f64>, Vec<bool>)> {
    let bad = |why: String| Error::Request(format!("this is no circuit of this model: {why}"));
    let circuit: Circuit = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let found = (circuit.cfg.n_layers, circuit.cfg.n_heads, circuit.cfg.parallel_attn_mlp);
    let expected = (edges.layers(), edges.heads(), edges.parallel());
    if found != expected {
        return Err(bad(format!(
            "it has {} layers of {} heads, the model has {} of {}",
            found.0, found.1, expected.0, expected.1
        )));
    }
    let (mut scores, mut keep) = (vec![0f64; edges.len()], vec![false; edges.len()]);
    for (name, edge) in circuit.edges {
        let e = edges.parse(&name)?;
        scores[e] = edge.score.unwrap_or(0.0);
        keep[e] = edge.in_graph;
        if !scores[e].is_finite() {
            return Err(bad(format!("the score of {name} is not finite")));
        }
    }
    Ok((scores, keep))
}
