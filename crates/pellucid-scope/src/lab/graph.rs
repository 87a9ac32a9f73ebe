//! The attribution graph of a prompt and its next word, pruned, described, and checked by doing what it predicts.

use super::shape::{CorrelationShape, ZeroedShape};
use super::{Steps, Watch};
use crate::error::{Result, bad};
use crate::rows::RowEdits;
use crate::wire::{Placed, Scored, Token};
use crate::words::{self, Words};
use crate::{Loaded, Opened, Text};
use pellucid_core::{Edit, Index, Op, Point, Polarity, Positions, Seed, Site, Target, UnitId};
use pellucid_interp::graph::check::{Tried, Zeroed, zeroed};
use pellucid_interp::graph::file::{GraphFile, Info, Metadata, View, cumulative, node_id, nodes_and_links};
use pellucid_interp::graph::{Outputs, Pruned, Traced, What, foremost, steps, trace};
use pellucid_interp::{Correlation, Metric, rank_correlation};
use pellucid_model::{Batch, Logits, Plan, sample};
use serde::Serialize;
use std::time::Instant;
use utoipa::ToSchema;

/// What is asked of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Graphing {
    /// The token after which the explained one is said.
    pub position: usize,
    /// What is explained.
    pub outputs: Outputs,
    /// How many neurons are nodes at most.
    pub neurons: usize,
    /// The share of all influence that kept nodes hold.
    pub nodes: f64,
    /// The share of what is left that kept edges hold.
    pub edges: f64,
    /// How many of the foremost neurons are zeroed, each beside a control.
    pub check: usize,
    /// Draws the controls.
    pub seed: u64,
}

/// A prompt's graph: what is left of it after pruning.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphReport {
    /// The text up to the explained position.
    pub prompt: Vec<Placed>,
    /// What is explained, the likeliest first.
    pub outputs: Vec<GraphOutput>,
    /// Layers of the model.
    pub layers: usize,
    /// Neurons that were nodes before pruning.
    pub neurons: usize,
    /// All nodes before pruning.
    pub all_nodes: usize,
    /// Edges that are not nothing before pruning.
    pub all_edges: usize,
    /// Share of influence that kept nodes hold, at least.
    pub node_share: f64,
    /// Share of what is left that kept edges hold, at least.
    pub edge_share: f64,
    /// Of all influence that ends somewhere, the share that ends in tokens and not in errors.
    pub replacement: f64,
    /// Share of what reaches targets, weighed by their influence, that does not come from errors.
    pub completeness: f64,
    /// The largest share of a node's value that its sources miss: shifts (biases), or where the model has none, rounding.
    pub shifts: f64,
    /// How long it took.
    pub seconds: f64,
    /// Draws the controls.
    pub seed: u64,
    /// The kept nodes, in order of layers: neurons, errors, tokens, logits.
    pub nodes: Vec<GraphNode>,
    /// The kept edges, by their nodes' places in the list.
    pub links: Vec<GraphLink>,
    /// The foremost neurons zeroed one by one.
    pub checks: Vec<GraphCheck>,
    /// Of the predictions with what happened, by rank.
    #[schema(value_type = Option<CorrelationShape>)]
    pub agreement: Option<Correlation>,
    /// Mean size of what zeroing these neurons did.
    pub mean_change: f64,
    /// Mean size of what zeroing their controls did.
    pub mean_control: f64,
}

/// An explained token.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphOutput {
    /// The token.
    pub token: Token,
    /// What it is compared with; the mean logit if none.
    pub foil: Option<Token>,
    /// Its probability.
    pub probability: f64,
    /// Its logit above what it is compared with.
    pub value: f64,
}

/// What kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GraphKind {
    /// A neuron, or another unit.
    Unit,
    /// What an MLP adds beside its units.
    Error,
    /// An input token.
    Token,
    /// A logit.
    Logit,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphNode {
    /// Its name in the file.
    pub id: String,
    /// What it is.
    pub kind: GraphKind,
    /// The unit, with the side of zero that it is on.
    pub unit: Option<String>,
    /// Its layer; none for tokens and logits.
    pub layer: Option<usize>,
    /// Its token.
    pub position: usize,
    /// What it is called: a unit, a layer's error, a token's text.
    pub name: String,
    /// What the unit responds to, where an atlas says so.
    pub words: Option<Words>,
    /// Its activation, or its logit above what it is compared with; none for what is only a source.
    pub value: Option<f64>,
    /// What arrives at it of the outputs' weight.
    pub influence: f64,
    /// The share of all influence that it and those with more hold.
    pub held: f64,
    /// The predicted change of the first output without it.
    pub predicted: f64,
}

/// An edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphLink {
    /// The source's place among the nodes.
    pub source: usize,
    /// The target's.
    pub target: usize,
    /// What the source adds to the target's value.
    pub weight: f64,
    /// The share of all kept edges' influence that it and those with more hold.
    pub held: f64,
}

/// A neuron zeroed at its token, beside its control.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphCheck {
    /// Its place among the nodes.
    pub node: usize,
    /// The change of the first output that the graph predicts.
    pub predicted: f64,
    /// What zeroing it did.
    #[schema(value_type = ZeroedShape)]
    pub unit: Zeroed,
    /// What zeroing a neuron of the same layer and token did that is about as active and no node.
    #[schema(value_type = Option<ZeroedShape>)]
    pub control: Option<Zeroed>,
}

/// What zeroing some nodes together does to the next token.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphZeroed {
    /// The likeliest tokens as the model has them.
    pub plain: Vec<Scored>,
    /// The likeliest tokens without the nodes.
    pub without: Vec<Scored>,
    /// The tokens of both lists: what they are, their logit above the mean, plain and without.
    pub logits: Vec<GraphLogit>,
}

/// A token's logit above the mean, plain and changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct GraphLogit {
    /// The token.
    pub token: Token,
    /// As the model has it.
    pub plain: f64,
    /// Without the nodes.
    pub without: f64,
}

/// The graph of a text's next token, with its file. Nodes of neurons get their words from the atlas, where there is one.
///
/// # Errors
/// If the position, an output, a share or the size do not fit, or the work is stopped.
pub fn graph(
    loaded: &Loaded,
    opened: Option<&Opened>,
    mut text: Text,
    asked: &Graphing,
    watch: Watch<'_>,
) -> Result<(GraphReport, GraphFile)> {
    let (model, begun) = (&loaded.model, Instant::now());
    text.position(Some(i64::try_from(asked.position).unwrap_or(i64::MAX)))?;
    text.cut(asked.position + 1);
    let run = model.frozen(&text.row, asked.position)?;
    let outputs = asked.outputs.metrics(run.logits(), asked.position)?;
    Steps::begin(watch, "the neurons chosen", 1)?;
    let neurons = foremost(model, &text.row, &outputs, asked.neurons)?;
    let total = steps(text.tokens.len(), neurons.len(), outputs.len());
    let traced = Steps::begin(watch, "what reaches each node", total)?
        .each(|told| trace(&run, &neurons, &outputs, told))?;
    Steps::begin(watch, "the graph pruned", 1)?;
    let kept = traced.graph.prune(asked.nodes, asked.edges)?;
    let influence = traced.graph.node_influence();
    Steps::begin(watch, "the foremost neurons zeroed", 1)?;
    let best = best_units(&traced, &kept, &influence, asked.check);
    let tried = match outputs.first().filter(|_| !best.is_empty()) {
        Some((metric, _)) => zeroed(&run, &text.row, &traced, (0, *metric), &best, Seed(asked.seed))?,
        None => Vec::new(),
    };
    let words = described(opened, &traced, &kept)?;
    let drawing = Drawing { loaded, traced: &traced, kept: &kept, influence: &influence, words: &words };
    let file = drawing.file(&text, asked);
    let outputs = outputs.iter().map(|o| output(loaded, o, run.logits())).collect();
    let mut report = drawing.report(text.tokens, outputs, tried, asked);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok((report, file))
}

/// The kept units with the most influence.
fn best_units(traced: &Traced, kept: &Pruned, influence: &[f64], most: usize) -> Vec<usize> {
    let units = 0..traced.graph.kinds().features;
    let mut best: Vec<usize> = units.filter(|&n| kept.nodes[n]).collect();
    best.sort_by(|&a, &b| influence[b].total_cmp(&influence[a]).then(a.cmp(&b)));
    best.truncate(most);
    best
}

fn mean_size(list: &[f64]) -> f64 {
    list.iter().map(|x| x.abs()).sum::<f64>() / list.len().max(1) as f64
}

fn output(loaded: &Loaded, (metric, probability): &(Metric, f64), logits: &[f32]) -> GraphOutput {
    GraphOutput {
        token: loaded.token(metric.target),
        foil: metric.foil.map(|f| loaded.token(f)),
        probability: *probability,
        value: metric.value(logits),
    }
}

/// A unit's side of zero, and where it stands; none for a head or a dictionary's latent.
fn side(unit: &UnitId, value: f64) -> Option<(Site, u32, Polarity)> {
    let UnitId::Site { site, index: Index::Coordinate(i), .. } = unit else { return None };
    Some((*site, *i, if value < 0.0 { Polarity::Negative } else { Polarity::Positive }))
}

/// The words of each kept unit, by node.
fn described(opened: Option<&Opened>, traced: &Traced, kept: &Pruned) -> Result<Vec<Option<Words>>> {
    let mut all = Vec::with_capacity(traced.nodes.len());
    for (node, kept) in traced.nodes.iter().zip(&kept.nodes) {
        let place = match &node.what {
            What::Unit(unit) if *kept => side(unit, node.value),
            _ => None,
        };
        all.push(match (opened, place) {
            (Some(opened), Some((site, index, polarity))) => {
                words::chosen(&opened.atlas(), site, index, polarity)?.map(|(_, words)| words)
            }
            _ => None,
        });
    }
    Ok(all)
}

/// A graph made ready to be shown.
struct Drawing<'a> {
    loaded: &'a Loaded,
    traced: &'a Traced,
    kept: &'a Pruned,
    influence: &'a [f64],
    words: &'a [Option<Words>],
}

impl Drawing<'_> {
    fn report(
        &self,
        prompt: Vec<Placed>,
        outputs: Vec<GraphOutput>,
        tried: Vec<Tried>,
        asked: &Graphing,
    ) -> GraphReport {
        let (nodes, links, places) = self.draw();
        let (replacement, completeness) = self.traced.graph.scores();
        let check = |t: Tried| GraphCheck {
            node: places[t.node],
            predicted: t.predicted,
            unit: t.unit,
            control: t.control,
        };
        let checks: Vec<GraphCheck> = tried.into_iter().map(check).collect();
        let (predicted, changes): (Vec<f64>, Vec<f64>) =
            checks.iter().map(|c| (c.predicted, c.unit.change)).unzip();
        let control: Vec<f64> = checks.iter().filter_map(|c| c.control.as_ref()).map(|c| c.change).collect();
        let n = self.traced.nodes.len();
        GraphReport {
            prompt,
            outputs,
            layers: self.loaded.model.spec().n_layers,
            neurons: self.traced.graph.kinds().features,
            all_nodes: n,
            all_edges: (0..n).flat_map(|t| self.traced.graph.row(t)).filter(|e| **e != 0.0).count(),
            node_share: asked.nodes,
            edge_share: asked.edges,
            replacement,
            completeness,
            shifts: self.traced.gap(),
            seconds: 0.0,
            seed: asked.seed,
            nodes,
            links,
            agreement: rank_correlation(&predicted, &changes),
            mean_change: mean_size(&changes),
            mean_control: mean_size(&control),
            checks,
        }
    }

    /// Kept nodes and edges, and the place of each node of the graph among the kept ones.
    fn draw(&self) -> (Vec<GraphNode>, Vec<GraphLink>, Vec<usize>) {
        let (n, held) = (self.traced.nodes.len(), cumulative(self.influence));
        let predicted = self.traced.predicted(0);
        let layers = self.loaded.model.spec().n_layers;
        let (mut nodes, mut places) = (Vec::new(), vec![0; n]);
        for i in (0..n).filter(|&i| self.kept.nodes[i]) {
            places[i] = nodes.len();
            nodes.push(self.node(
                i,
                node_id(&self.traced.nodes[i], layers),
                held[i],
                -predicted.get(i).copied().unwrap_or(0.0),
            ));
        }
        let of_edges = self.traced.graph.edge_influence(&self.kept.nodes);
        let edges: Vec<usize> = (0..n * n).filter(|&e| self.kept.edges[e]).collect();
        let shares = cumulative(&edges.iter().map(|&e| of_edges[e]).collect::<Vec<_>>());
        let link = |(&e, held)| GraphLink {
            source: places[e % n],
            target: places[e / n],
            weight: self.traced.graph.effect(e / n, e % n),
            held,
        };
        (nodes, edges.iter().zip(shares).map(link).collect(), places)
    }

    fn node(&self, i: usize, id: String, held: f64, predicted: f64) -> GraphNode {
        let node = &self.traced.nodes[i];
        let (kind, unit, name) = match &node.what {
            What::Unit(unit) => {
                let named = match side(unit, node.value) {
                    Some((site, index, polarity)) => {
                        let index = Index::Coordinate(index);
                        UnitId::Site { site, index, polarity: Some(polarity) }.to_string()
                    }
                    None => unit.to_string(),
                };
                (GraphKind::Unit, Some(named.clone()), named)
            }
            What::Error => {
                (GraphKind::Error, None, format!("error of layer {}", node.layer.unwrap_or_default()))
            }
            What::Token(token) => (GraphKind::Token, None, self.loaded.token(*token).text),
            What::Logit { token, foil, .. } => {
                let text = |id: u32| format!("{:?}", self.loaded.token(id).text);
                let against = foil.map_or_else(String::new, |f| format!(" above {}", text(f)));
                (GraphKind::Logit, None, format!("{}{against}", text(*token)))
            }
        };
        GraphNode {
            id,
            kind,
            unit,
            layer: node.layer,
            position: node.position,
            name,
            words: self.words[i].clone(),
            value: matches!(kind, GraphKind::Unit | GraphKind::Logit).then_some(node.value),
            influence: self.influence[i],
            held,
            predicted: if kind == GraphKind::Logit { 0.0 } else { predicted },
        }
    }

    fn file(&self, text: &Text, asked: &Graphing) -> GraphFile {
        let model = &self.loaded.model;
        let token = |id: u32| self.loaded.token(id).text;
        let words = |i: usize| {
            let said = self.words[i].as_ref().map(|w| w.text.clone());
            match &self.traced.nodes[i].what {
                What::Unit(unit) => Some(said.unwrap_or_else(|| unit.to_string())),
                _ => None,
            }
        };
        let (nodes, links) = nodes_and_links(self.traced, self.kept, model.spec().n_layers, &token, &words);
        let (replacement, completeness) = self.traced.graph.scores();
        let prompt: String = text.tokens.iter().map(|t| t.text.as_str()).collect();
        let slug: String =
            prompt.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(60).collect();
        let metadata = Metadata {
            slug: slug.trim_matches('-').to_lowercase(),
            scan: self.loaded.name.clone(),
            transcoder_list: Vec::new(),
            prompt_tokens: text.tokens.iter().map(|t| t.text.clone()).collect(),
            prompt,
            node_threshold: Some(asked.nodes),
            schema_version: Some(1),
            info: Some(Info {
                creator_name: format!("pellucid {}", env!("CARGO_PKG_VERSION")),
                model_sha256: model.sha256().to_owned(),
                replacement,
                completeness,
            }),
        };
        GraphFile { metadata, view: View { link_type: "both".to_owned(), ..View::default() }, nodes, links }
    }
}

/// Tokens that are listed of each run.
const LISTED: usize = 10;

/// The next token with some units zeroed, each at its token, and everything after them free to answer.
///
/// # Errors
/// If there is no unit, or one or its token does not exist.
pub fn graph_zeroed(
    loaded: &Loaded,
    mut text: Text,
    position: usize,
    units: &[(UnitId, usize)],
) -> Result<GraphZeroed> {
    if units.is_empty() || position >= text.tokens.len() {
        return bad(format!(
            "expected at least one unit and a position within {} tokens; found {} and {position}",
            text.tokens.len(),
            units.len()
        ));
    }
    text.cut(position + 1);
    let edits = units.iter().map(|(unit, at)| zero(loaded, &text, unit, *at)).collect::<Result<Vec<_>>>()?;
    let mut rows = RowEdits(vec![text.edits(loaded, &[])?, text.edits(loaded, &edits)?]);
    let n = text.row.tokens.len();
    let plan = Plan { logits: Logits::At(vec![position, n + position]), start: None, stop_after: None };
    let batch = Batch { rows: vec![text.row.clone(); 2] };
    let logits = loaded.model.run(&batch, &plan, None, &mut rows)?.logits;
    let logits: Vec<Vec<f32>> =
        crate::error::tensor(logits.map(|l| l.to_vec2()).transpose())?.unwrap_or_default();
    let [plain, without] = logits.as_slice() else { return bad("the run gave no logits") };
    let likeliest = |logits: &[f32]| Scored::likeliest(loaded, &sample::log_softmax(logits), LISTED);
    let mean = |l: &[f32]| l.iter().map(|v| f64::from(*v)).sum::<f64>() / l.len().max(1) as f64;
    let above = |l: &[f32], id: u32| f64::from(l[id as usize]) - mean(l);
    let (before, after) = (likeliest(plain), likeliest(without));
    let mut ids: Vec<u32> = Vec::new();
    for scored in before.iter().chain(&after) {
        if !ids.contains(&scored.token.id) {
            ids.push(scored.token.id);
        }
    }
    let logits = ids.into_iter().map(|id| GraphLogit {
        token: loaded.token(id),
        plain: above(plain, id),
        without: above(without, id),
    });
    Ok(GraphZeroed { logits: logits.collect(), plain: before, without: after })
}

fn zero(loaded: &Loaded, text: &Text, unit: &UnitId, at: usize) -> Result<Edit> {
    let UnitId::Site { site, index: Index::Coordinate(i), .. } = unit else {
        return bad(format!("{unit} cannot be zeroed at a token: expected a neuron such as mlp_act.3/1054"));
    };
    loaded.model.check_site(*site)?;
    let width = loaded.model.spec().width_at(site.point).unwrap_or(0);
    if site.point != Point::MlpAct || *i as usize >= width || at >= text.tokens.len() {
        return bad(format!(
            "{unit} at token {at}: expected a neuron mlp_act.LAYER/0 to {} and a token before {}",
            width.saturating_sub(1),
            text.tokens.len()
        ));
    }
    let positions = Positions::At(vec![i64::try_from(at).unwrap_or(i64::MAX)]);
    Ok(Edit { site: *site, target: Target::Units(vec![*i]), positions, op: Op::Zero })
}
