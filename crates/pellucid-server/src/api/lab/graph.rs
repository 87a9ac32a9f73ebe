//! The attribution graph of a prompt, event by event: `step` (LabStep), then `done` (LabGraphReply) or `failed` (Failure). No gate stands
//! before it: a prompt's next word is there by itself.

use super::{most, streamed};
use crate::App;
use crate::api::ask::unit_id;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pellucid_interp::graph::Outputs;
use pellucid_scope::TextSpec;
use pellucid_scope::lab::{self, GraphReport, GraphZeroed, Graphing};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most neurons that are nodes.
const NEURONS: usize = 1000;
/// Most neurons that are zeroed to check a graph.
const CHECKS: usize = 40;
/// Most edges that are sent.
const LINKS: usize = 40_000;
/// Most units that are zeroed together.
const TOGETHER: usize = 200;

/// What made the model say its next word, as a graph?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabGraphRequest {
    text: TextSpec,
    /// The token after which the explained one is said (the last if none).
    #[serde(default)]
    position: Option<usize>,
    /// The word to explain, one token with its leading space if it has one; the likeliest ones together if none.
    #[serde(default)]
    target: Option<String>,
    /// Explain why the target and not this word.
    #[serde(default)]
    foil: Option<String>,
    /// How many neurons at tokens are nodes (400 if none).
    #[serde(default)]
    neurons: Option<usize>,
    /// Keep the nodes that hold this share of all influence (0.8 if none).
    #[serde(default)]
    node_share: Option<f64>,
    /// Keep the edges that hold this share of what is left (0.98 if none).
    #[serde(default)]
    edge_share: Option<f64>,
    /// How many of the foremost neurons are zeroed, each beside a control (10 if none).
    #[serde(default)]
    check: Option<usize>,
    #[serde(default)]
    seed: u64,
}

/// Event `done` of `/api/lab/graph`.
#[derive(Serialize, ToSchema)]
pub(crate) struct LabGraphReply {
    /// The graph; of its edges those with most influence, at most 40,000.
    report: GraphReport,
    /// Edges that were kept, sent or not.
    links: usize,
    /// The graph as a file that circuit-tracer and Neuronpedia read; none where it is too large to send.
    file: Option<String>,
}

/// What does the model say without these nodes?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabZeroRequest {
    text: TextSpec,
    /// The token after which the model speaks (the last if none).
    #[serde(default)]
    position: Option<usize>,
    /// The neurons, each at its token; they are zeroed together.
    nodes: Vec<LabZeroNode>,
}

/// A neuron at a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabZeroNode {
    /// The neuron, such as `mlp_act.3/1054`.
    unit: String,
    /// The token.
    position: usize,
}

/// The question in the library's words, with its text.
fn asked(app: &App, asked: &LabGraphRequest) -> ApiResult<(pellucid_scope::Text, Graphing)> {
    let (neurons, check) = (asked.neurons.unwrap_or(400), asked.check.unwrap_or(10));
    most("neurons", neurons, NEURONS)?;
    most("neurons to zero", check, CHECKS)?;
    let text = app.text(&asked.text)?;
    let position = asked.position.unwrap_or_else(|| text.tokens.len().saturating_sub(1));
    let token = |word: &Option<String>| {
        let found = word.as_ref().map(|w| app.loaded.model.tokenizer().single_token(w)).transpose();
        found.map_err(|e| ApiError::from(pellucid_scope::Error::from(e)))
    };
    let outputs = match (token(&asked.target)?, token(&asked.foil)?) {
        (Some(target), foil) => Outputs::Contrast { target, foil },
        (None, Some(_)) => {
            return Err(ApiError::bad("a foil stands beside a target; name the target as well"));
        }
        (None, None) => Outputs::USUAL,
    };
    let graphing = Graphing {
        position,
        outputs,
        neurons,
        nodes: asked.node_share.unwrap_or(0.8),
        edges: asked.edge_share.unwrap_or(0.98),
        check,
        seed: asked.seed,
    };
    Ok((text, graphing))
}

pub(crate) async fn graph(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(request): Body<LabGraphRequest>,
) -> ApiResult<Response> {
    let prepare = move |app: &App| asked(app, &request);
    streamed(app, asker, prepare, |telling, (text, graphing)| {
        let atlas = telling.app.atlas()?;
        telling.done(|watch| {
            let (mut report, file) =
                lab::graph(&telling.app.loaded, atlas.as_deref(), text, &graphing, watch)?;
            let links = report.links.len();
            if links > LINKS {
                report.links.sort_by(|a, b| a.held.total_cmp(&b.held));
                report.links.truncate(LINKS);
            }
            let file = (links <= LINKS).then(|| file.write()).transpose()?;
            Ok(LabGraphReply { report, links, file })
        })
    })
    .await
}

pub(crate) async fn zero(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabZeroRequest>,
) -> ApiResult<Json<GraphZeroed>> {
    most("nodes", asked.nodes.len(), TOGETHER)?;
    run(&app, &asker, move |app| {
        let text = app.text(&asked.text)?;
        let position = asked.position.unwrap_or_else(|| text.tokens.len().saturating_sub(1));
        let units = asked.nodes.iter().map(|n| Ok((unit_id(&n.unit)?, n.position)));
        let units = units.collect::<ApiResult<Vec<_>>>()?;
        Ok(Json(lab::graph_zeroed(&app.loaded, text, position, &units)?))
    })
    .await
}
