//! Methods over layers, positions and heads: lens, tracing, knockout, patchscopes; and one text's ladder.

use super::{ITEMS, LabSource, TEXT, TOKENS, answer, most, streamed, subject};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body};
use axum::extract::State;
use axum::response::Response;
use pellucid_core::Point;
use pellucid_interp::patchscope::{Ask, Placed};
use pellucid_scope::Text;
use pellucid_scope::lab::{
    self, AtShape, BackGridReport, Blinding, Ends, KnockoutReport, LadderReport, LensReport, PatchGridReport,
    Reads, ScopeReadings, Taking, TraceDirectionShape, TraceReport, Tracing,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most items of a method that runs a model once for each layer and place.
const PLACED_ITEMS: usize = 64;
/// Most tokens of all items and draws of noise where every layer of two runs is kept.
const TRACED_TOKENS: usize = 2_048;
/// What may be patched in every layer.
const PATCHED: [Point; 5] =
    [Point::ResidPre, Point::ResidMid, Point::AttnOutPost, Point::MlpOutPost, Point::Z];
/// Most of them at once.
const POINTS: usize = 3;
/// Most draws of noise of an item.
const SAMPLES: usize = 20;
/// Most ends of a path.
const ENDS: usize = 4;
/// Most tokens of a text that is read at every layer.
const TEXT_TOKENS: usize = 512;
/// Most tokens that are written after each value.
const WRITTEN: usize = 24;

/// At which layers does its answer win?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabLensRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
}

/// Event `done` of `/api/lab/lens`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabLensReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not.
    report: Option<LensReport>,
}

pub(crate) async fn lens(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabLensRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, ITEMS)?;
    answer(app, asker, (subject, TOKENS), |app, of, watch| {
        let report = lab::lens(&app.loaded.model, of, None, false, watch)?;
        Ok(LabLensReply { shown: true, report: Some(report) })
    })
    .await
}

/// Noise on the tokens in which an item differs from its counterfactual.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabNoise {
    /// Its standard deviation, in standard deviations of the embeddings that it is added to.
    sigma: f64,
    /// Draws of each item.
    samples: usize,
}

/// Where is its answer decided?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabTraceRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    /// What is patched in every layer, at most three of `resid_pre`, `resid_mid`, `attn_out_post`, `mlp_out_post` and `z`
    /// (heads); `resid_pre` if none.
    #[serde(default)]
    at: Vec<String>,
    #[serde(default)]
    direction: TraceDirectionShape,
    /// Takes the answer away; the counterfactual prompt does if none.
    #[serde(default)]
    noise: Option<LabNoise>,
    /// Layers that are patched together (1 if none).
    #[serde(default)]
    window: Option<usize>,
    /// Only this position; negative counts from the end.
    #[serde(default)]
    position: Option<i64>,
    /// Along paths to these ends instead of place by place: `logits`, or a head's input as `z.9/h6:q`.
    #[serde(default)]
    to: Vec<String>,
    /// Where the paths begin; every head before the ends if none.
    #[serde(default)]
    from: Option<String>,
    /// Whether the MLPs between compute; they are held otherwise.
    #[serde(default)]
    through_mlps: bool,
}

/// Event `done` of `/api/lab/trace`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabTraceReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not.
    report: Option<TraceReport>,
}

fn tracing(asked: &LabTraceRequest) -> ApiResult<Tracing> {
    most("points", asked.at.len(), POINTS)?;
    most("ends of paths", asked.to.len(), ENDS)?;
    let mut at = Vec::new();
    for name in &asked.at {
        let point: Point = name.parse().map_err(pellucid_scope::Error::from)?;
        if !PATCHED.contains(&point) {
            let names = PATCHED.map(|p| p.to_string()).join(", ");
            return Err(ApiError::bad(format!("{point} is not patched in every layer; take {names}")));
        }
        if !at.contains(&point) {
            at.push(point);
        }
    }
    if at.is_empty() {
        at.push(Point::ResidPre);
    }
    let taking = match &asked.noise {
        None => Taking::Counterfactual,
        Some(noise) => {
            most("draws of noise", noise.samples, SAMPLES)?;
            if noise.samples == 0 || !(noise.sigma.is_finite() && noise.sigma > 0.0) {
                return Err(ApiError::bad("noise needs at least one draw, and a positive sigma"));
            }
            Taking::Noise { sigma: noise.sigma, samples: noise.samples }
        }
    };
    let ends = match asked.to.is_empty() {
        true => None,
        false => Some(Ends::read(&asked.to, asked.from.as_deref(), asked.through_mlps)?),
    };
    Ok(Tracing {
        at,
        direction: asked.direction.into(),
        taking,
        window: asked.window.unwrap_or(1),
        position: asked.position,
        ends,
        anyway: false,
    })
}

pub(crate) async fn trace(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabTraceRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, PLACED_ITEMS)?;
    let tracing = tracing(&asked)?;
    layers(&app, tracing.window)?;
    let draws = asked.noise.as_ref().map_or(1, |n| n.samples);
    answer(app, asker, (subject, TRACED_TOKENS / draws), move |app, of, watch| {
        let report = lab::trace(&app.loaded.model, of, &tracing, watch)?;
        Ok(LabTraceReply { shown: true, report: Some(report) })
    })
    .await
}

/// Refuses a window of layers that the model has not.
fn layers(app: &App, window: usize) -> ApiResult<()> {
    let n = app.loaded.model.spec().n_layers;
    match (1..=n).contains(&window) {
        true => Ok(()),
        false => Err(ApiError::bad(format!("there is no window of {window} layers; take 1 to {n}"))),
    }
}

/// Which token must be seen?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabKnockoutRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    /// The position that may no longer look; negative counts from the end (−1 if none).
    #[serde(default)]
    query: Option<i64>,
    /// Layers that are cut together, from each layer on (4, or all, if none).
    #[serde(default)]
    window: Option<usize>,
}

/// Event `done` of `/api/lab/knockout`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabKnockoutReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not.
    report: Option<KnockoutReport>,
}

pub(crate) async fn knockout(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabKnockoutRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, PLACED_ITEMS)?;
    let window = asked.window.unwrap_or_else(|| app.loaded.model.spec().n_layers.min(4));
    layers(&app, window)?;
    let blinding = Blinding { query: asked.query.unwrap_or(-1), window, anyway: false };
    answer(app, asker, (subject, TRACED_TOKENS), move |app, of, watch| {
        let report = lab::knockout(&app.loaded.model, of, blinding, watch)?;
        Ok(LabKnockoutReply { shown: true, report: Some(report) })
    })
    .await
}

/// Where an item's values are put.
#[derive(Clone, Copy, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LabInto {
    /// Into a target text.
    Target,
    /// Back into the item itself, at an earlier layer.
    Back,
}

/// Does the target say the right answer when an item's value stands in it?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabPatchscopeRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    into: LabInto,
    /// `identity`, or a text in which `{}` is the place (`identity` if none).
    #[serde(default)]
    target: Option<String>,
    /// Which token of an item gives the value.
    #[serde(default)]
    from: AtShape,
    /// Every how manieth layer, on both sides (3, or all, if none).
    #[serde(default)]
    every: Option<usize>,
}

/// Event `done` of `/api/lab/patchscope`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabPatchscopeReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// Into a target; none where it was not asked for, or the model does not show the behaviour.
    report: Option<PatchGridReport>,
    /// Back into the item; none likewise.
    back: Option<BackGridReport>,
}

pub(crate) async fn patchscope(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabPatchscopeRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, PLACED_ITEMS)?;
    let target = asked.target.unwrap_or_else(|| "identity".to_owned());
    let every = asked.every.unwrap_or_else(|| app.loaded.model.spec().n_layers.min(3));
    most("bytes of target", target.len(), TEXT)?;
    layers(&app, every)?;
    // a target without a place is refused before anything runs
    if asked.into == LabInto::Target {
        Placed::new(&app.loaded.model, lab::target(&target)).map_err(pellucid_scope::Error::from)?;
    }
    let at = asked.from.into();
    answer(app, asker, (subject, TOKENS), move |app, of, watch| {
        let model = &app.loaded.model;
        let mut reply = LabPatchscopeReply { shown: true, ..LabPatchscopeReply::default() };
        if asked.into == LabInto::Back {
            reply.back = Some(lab::put_back(model, of, (at, every), false, watch)?);
        } else {
            let ask = Ask { target, at, every };
            reply.report = Some(lab::patch_grid(model, of, &ask, None, false, watch)?);
        }
        Ok(reply)
    })
    .await
}

/// One token of a text at every layer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabLadderRequest {
    text: String,
    /// Which token; negative counts from the end (the last if none).
    #[serde(default)]
    position: Option<i64>,
    /// The token that is followed; the one that the model says if none.
    #[serde(default)]
    follow: Option<String>,
    /// Back-patching puts a value this many layers earlier (4, or all, if none).
    #[serde(default)]
    back_by: Option<usize>,
    /// What goes on from each value: `identity`, `description` or a text in which `{}` is the place (`description` if none).
    #[serde(default)]
    target: Option<String>,
    /// How many tokens it writes (8 if none).
    #[serde(default)]
    generate: Option<usize>,
}

/// Event `done` of `/api/lab/ladder`.
#[derive(Serialize, ToSchema)]
pub(crate) struct LabLadderReply {
    /// Four readings of every layer.
    ladder: LadderReport,
    /// What the target goes on with.
    readings: ScopeReadings,
}

pub(crate) async fn ladder(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabLadderRequest>,
) -> ApiResult<Response> {
    most("bytes of text", asked.text.len(), TEXT)?;
    let back_by = asked.back_by.unwrap_or_else(|| app.loaded.model.spec().n_layers.min(4));
    layers(&app, back_by)?;
    let reads = Reads {
        position: asked.position,
        target: asked.target.unwrap_or_else(|| "description".to_owned()),
        target_position: None,
        from: None,
        into: None,
        generate: asked.generate.unwrap_or(8),
    };
    most("bytes of target", reads.target.len(), TEXT)?;
    most("tokens to write", reads.generate, WRITTEN)?;
    if reads.generate == 0 {
        return Err(ApiError::bad("at least one token must be written"));
    }
    let (position, target, follow) = (reads.position, reads.target.clone(), asked.follow);
    let prepare = move |app: &App| {
        let model = &app.loaded.model;
        let text = Text::plain(&app.loaded, &asked.text)?;
        most("tokens", text.row.tokens.len(), TEXT_TOKENS)?;
        text.position(position)?;
        let target = Placed::new(model, lab::target(&target)).map_err(pellucid_scope::Error::from)?;
        most("tokens of target", target.row.tokens.len(), TEXT_TOKENS)?;
        let follow = follow.as_deref().map(|t| model.tokenizer().single_token(t)).transpose();
        Ok((text, follow.map_err(pellucid_scope::Error::from)?))
    };
    streamed(app, asker, prepare, move |telling, (text, follow)| {
        telling.done(|watch| {
            let loaded = &telling.app.loaded;
            let ladder = lab::ladder(loaded, &text, (position, follow), None, back_by, watch)?;
            let readings = lab::readings(loaded, &text, &reads, None, watch)?;
            Ok(LabLadderReply { ladder, readings })
        })
    })
    .await
}
