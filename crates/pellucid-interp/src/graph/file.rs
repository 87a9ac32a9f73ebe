//! Graphs as files, in the form that circuit-tracer writes and its viewer and Neuronpedia's open: `metadata`, `qParams` (what a
//! reader pinned, grouped and named), `nodes` and `links`.
//!
//! A node's `influence` there is no influence but the share of all influence that it and those before it hold, from the largest down:
//! a viewer's threshold keeps the nodes at or below it. Their two kinds of names for a node are kept: `node_id`
//! (`layer_unit_token`, `E_id_token`) and `jsNodeId`, the same for a unit at every token.

use super::influence::Pruned;
use super::trace::{Node, Traced, What};
use crate::{Error, Result};
use pellucid_core::{Index, UnitId};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A graph's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphFile {
    /// Of what it is.
    pub metadata: Metadata,
    /// What a reader did with it.
    #[serde(rename = "qParams", default)]
    pub view: View,
    /// The nodes that were kept.
    pub nodes: Vec<FileNode>,
    /// The edges that were kept.
    pub links: Vec<Link>,
}

/// Of what a graph is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Its name.
    pub slug: String,
    /// The model's name.
    #[serde(default)]
    pub scan: String,
    /// The sets of transcoders whose latents are nodes; none where neurons are.
    #[serde(default)]
    pub transcoder_list: Vec<String>,
    /// The prompt's tokens.
    #[serde(default)]
    pub prompt_tokens: Vec<String>,
    /// The prompt.
    #[serde(default)]
    pub prompt: String,
    /// The share of influence that kept nodes hold.
    #[serde(default)]
    pub node_threshold: Option<f64>,
    /// The form's version.
    #[serde(default = "one")]
    pub schema_version: Option<u32>,
    /// Who made it.
    #[serde(default)]
    pub info: Option<Info>,
}

/// What a file leaves out or says is null.
fn lenient<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

fn one() -> Option<u32> {
    Some(1)
}

/// Who made a graph, and of what; readers that do not know it pass over it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The program.
    #[serde(default)]
    pub creator_name: String,
    /// The model file's hash.
    #[serde(default)]
    pub model_sha256: String,
    /// Share of the influence that ends in tokens and not in errors.
    #[serde(default)]
    pub replacement: f64,
    /// Share of inputs, weighed by influence, that are no errors.
    #[serde(default)]
    pub completeness: f64,
}

/// What a reader did with a graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Nodes that are pinned.
    #[serde(rename = "pinnedIds", default, deserialize_with = "lenient")]
    pub pinned: Vec<String>,
    /// Groups: a name, then its nodes.
    #[serde(default, deserialize_with = "lenient")]
    pub supernodes: Vec<Vec<String>>,
    /// Which edges are shown.
    #[serde(rename = "linkType", default, deserialize_with = "lenient")]
    pub link_type: String,
    /// The node that was clicked.
    #[serde(rename = "clickedId", default, deserialize_with = "lenient")]
    pub clicked: String,
    /// Where the pinned nodes lie.
    #[serde(default, deserialize_with = "lenient")]
    pub sg_pos: String,
}

/// A node of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileNode {
    /// Its name.
    pub node_id: String,
    /// A number for the unit.
    #[serde(default)]
    pub feature: Option<i64>,
    /// Its layer as text; `E` for tokens.
    pub layer: String,
    /// Its token.
    pub ctx_idx: usize,
    /// `cross layer transcoder` (any unit), `mlp reconstruction error`, `embedding` or `logit`.
    pub feature_type: String,
    /// A logit's probability.
    #[serde(default, deserialize_with = "lenient")]
    pub token_prob: f64,
    /// Whether it is the foremost logit.
    #[serde(default, deserialize_with = "lenient")]
    pub is_target_logit: bool,
    /// Not used.
    #[serde(default, deserialize_with = "lenient")]
    pub run_idx: i64,
    /// Not used.
    #[serde(default, deserialize_with = "lenient")]
    pub reverse_ctx_idx: i64,
    /// Its name without its token.
    #[serde(rename = "jsNodeId", default, deserialize_with = "lenient")]
    pub js_node_id: String,
    /// What it stands for, in words.
    #[serde(default, deserialize_with = "lenient")]
    pub clerp: String,
    /// The share of influence held by it and all before it.
    #[serde(default)]
    pub influence: Option<f64>,
    /// A unit's activation.
    #[serde(default)]
    pub activation: Option<f64>,
}

/// An edge of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The source's name.
    pub source: String,
    /// The target's name.
    pub target: String,
    /// What the source adds to the target.
    pub weight: f64,
}

/// The number that stands for a pair of numbers (Cantor's): how the form numbers a layer's unit.
fn pair(layer: u64, unit: u64) -> i64 {
    let sum = layer.saturating_add(unit);
    let pairs = sum.saturating_mul(sum.saturating_add(1)) / 2;
    i64::try_from(pairs.saturating_add(unit)).unwrap_or(i64::MAX)
}

/// For each node, the share of all influence that it and those with more hold.
pub fn cumulative(influence: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..influence.len()).collect();
    order.sort_by(|&a, &b| influence[b].total_cmp(&influence[a]).then(a.cmp(&b)));
    let whole: f64 = influence.iter().sum();
    let (mut held, mut shares) = (0.0, vec![1f64; influence.len()]);
    for i in order {
        held += influence[i];
        shares[i] = if whole > 0.0 { (held / whole).min(1.0) } else { 1.0 };
    }
    shares
}

/// What is kept of a graph as a file's nodes and edges. `text` gives a token's text, `words` a node's description.
pub fn nodes_and_links(
    traced: &Traced,
    kept: &Pruned,
    layers: usize,
    text: &dyn Fn(u32) -> String,
    words: &dyn Fn(usize) -> Option<String>,
) -> (Vec<FileNode>, Vec<Link>) {
    let shares = cumulative(&traced.graph.node_influence());
    let names: Vec<FileNode> =
        (0..traced.nodes.len()).map(|i| node(traced, i, layers, shares[i], text, words)).collect();
    let n = traced.nodes.len();
    let edge = |e: usize| Link {
        source: names[e % n].node_id.clone(),
        target: names[e / n].node_id.clone(),
        weight: traced.graph.effect(e / n, e % n),
    };
    let links: Vec<Link> = (0..n * n).filter(|&e| kept.edges[e]).map(edge).collect();
    let nodes = names.into_iter().zip(&kept.nodes).filter(|(_, k)| **k).map(|(node, _)| node).collect();
    (nodes, links)
}

/// A unit's number at its site or in its dictionary.
fn number(unit: &UnitId) -> u32 {
    match unit {
        UnitId::Site { index: Index::Coordinate(i) | Index::Head(i), .. }
        | UnitId::Latent { index: i, .. } => *i,
    }
}

/// A node's name in a file, of a model with so many layers.
pub fn node_id(node: &Node, layers: usize) -> String {
    let (p, layer) = (node.position, node.layer.unwrap_or(0));
    match &node.what {
        What::Unit(unit) => format!("{layer}_{}_{p}", number(unit)),
        What::Error => format!("{layer}_-1_{p}"),
        What::Token(id) => format!("E_{id}_{p}"),
        What::Logit { token, .. } => format!("{}_{token}_{p}", layers + 1),
    }
}

fn node(
    traced: &Traced,
    i: usize,
    layers: usize,
    share: f64,
    text: &dyn Fn(u32) -> String,
    words: &dyn Fn(usize) -> Option<String>,
) -> FileNode {
    let node = &traced.nodes[i];
    let (p, layer) = (node.position, node.layer.unwrap_or(0));
    let mut out = FileNode {
        node_id: node_id(node, layers),
        feature: Some(-1),
        layer: layer.to_string(),
        ctx_idx: p,
        feature_type: String::new(),
        token_prob: 0.0,
        is_target_logit: false,
        run_idx: 0,
        reverse_ctx_idx: 0,
        js_node_id: String::new(),
        clerp: words(i).unwrap_or_default(),
        influence: Some(share),
        activation: None,
    };
    match &node.what {
        What::Unit(unit) => {
            let index = number(unit);
            out.js_node_id = format!("{layer}_{index}-0");
            out.feature = Some(pair(layer as u64, u64::from(index)));
            "cross layer transcoder".clone_into(&mut out.feature_type);
            out.activation = Some(node.value);
        }
        What::Error => {
            out.js_node_id = format!("{layer}_-1-{p}");
            "mlp reconstruction error".clone_into(&mut out.feature_type);
        }
        What::Token(id) => {
            out.js_node_id = format!("E_{id}-{p}");
            out.feature = Some(p as i64);
            "E".clone_into(&mut out.layer);
            "embedding".clone_into(&mut out.feature_type);
            out.clerp = text(*id);
        }
        What::Logit { token, foil, probability } => {
            out.layer = (layers + 1).to_string();
            out.js_node_id = format!("L_{token}-{p}");
            out.feature = Some(i64::from(*token));
            "logit".clone_into(&mut out.feature_type);
            out.token_prob = *probability;
            out.is_target_logit = i + traced.graph.kinds().logits == traced.nodes.len();
            let against = foil.map_or_else(String::new, |f| format!(" above \"{}\"", text(f)));
            out.clerp = format!("Output \"{}\"{against} (p={probability:.3})", text(*token));
        }
    }
    out
}

impl GraphFile {
    /// The file's text.
    ///
    /// # Errors
    /// If a number is one that JSON cannot hold.
    pub fn write(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::Request(e.to_string()))
    }

    /// Reads a graph's file, ours or circuit-tracer's.
    ///
    /// # Errors
    /// If it is none: names that occur twice, edges between nodes that it does not have, numbers that are not finite.
    pub fn read(json: &str) -> Result<GraphFile> {
        let bad = |why: String| {
            Error::Request(format!(
                "this is no attribution graph (expected JSON with metadata, nodes and links, as circuit-tracer writes \
                 it): {why}"
            ))
        };
        let file: GraphFile = serde_json::from_str(json).map_err(|e| bad(e.to_string()))?;
        let mut names = HashSet::new();
        for node in &file.nodes {
            if !names.insert(node.node_id.as_str()) {
                return Err(bad(format!("two nodes are called {:?}", node.node_id)));
            }
            let numbers = [Some(node.token_prob), node.influence, node.activation];
            if numbers.into_iter().flatten().any(|v| !v.is_finite()) {
                return Err(bad(format!("a number of node {:?} is not finite", node.node_id)));
            }
        }
        for link in &file.links {
            if let Some(name) = [&link.source, &link.target].into_iter().find(|n| !names.contains(n.as_str()))
            {
                return Err(bad(format!("an edge names a node {name:?} that it does not have")));
            }
            if !link.weight.is_finite() {
                return Err(bad(format!(
                    "the edge from {:?} to {:?} is not finite",
                    link.source, link.target
                )));
            }
        }
        Ok(file)
    }
}
