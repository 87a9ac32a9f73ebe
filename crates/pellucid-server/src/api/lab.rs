//! The laboratory: a behaviour is measured, and where the model shows it a method explains it, event by event.
//!
//! Every answer is a stream: `step` (LabStep) as often as something is done, `gate` (BehaviourReport; TaskGate for a task,
//! none for a text), then `done` with the method's reply, or `failed` (Failure). Where the model does not show the behaviour the reply says `shown: false` and
//! nothing else. Whoever stops reading stops the run.

pub(crate) mod graph;
pub(crate) mod places;
pub(crate) mod task;

use super::sse::{self, Events};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pellucid_core::{Seed, UnitId};
use pellucid_interp::behaviour::Behaviour;
use pellucid_interp::circuit::Scoring;
use pellucid_scope::lab::{
    self, AblationShape, BuiltIn, ChoiceShape, CircuitReport, Cutting, DirectionMethodShape, DirectionReport,
    Leading, Measured, NeuronsReport, Ranking, RankingBy, Reading, ScoringShape, Step, Subject, Watch,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// Most items of a behaviour.
const ITEMS: usize = 256;
/// The same for a circuit, which keeps what each head and MLP adds at every token.
const CIRCUIT_ITEMS: usize = 64;
/// Most tokens of all items' prompts.
const TOKENS: usize = 16_384;
/// Most neurons that are removed.
const TOP: usize = 32;
/// Most factors on a neuron.
const FACTORS: usize = 41;
/// Most positions at which directions are tried.
const POSITIONS: usize = 4;
/// Most points on the way of integrated gradients.
const STEPS: usize = 20;
/// Edges of a circuit that are listed.
const EDGES: usize = 300;
/// Edges of a circuit that are written to a file.
const FILE_EDGES: usize = 20_000;
/// Longest text that is read along a direction, bytes.
const TEXT: usize = 4_000;
/// How long a method may take: a circuit measures a hundred times what another request runs once.
const LONGEST: Duration = Duration::from_secs(900);

/// Where items come from.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LabSource {
    /// A built-in behaviour.
    Behaviour(String),
    /// Items of one's own, a JSON object a line.
    Jsonl(String),
}

/// How well does the model do this?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabBehaviourRequest {
    what: LabSource,
    /// How many items.
    items: usize,
    /// Chooses items and random controls.
    #[serde(default)]
    seed: u64,
}

/// Which neurons does it hang on? With `unit`, that neuron's dose and response instead.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabNeuronsRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    /// How many neurons are truly removed (8 if none).
    #[serde(default)]
    top: Option<usize>,
    #[serde(default)]
    by: RankingBy,
    /// A built-in behaviour that they should leave alone.
    #[serde(default)]
    off_task: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    unit: Option<UnitId>,
    /// Factors on its activation (−2 to 3 if none).
    #[serde(default)]
    factors: Option<Vec<f32>>,
}

/// Which direction leads from one class of items to the other?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabDirectionRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    method: DirectionMethodShape,
    /// Quantile that coordinates are clipped to (0.98 if none).
    #[serde(default)]
    winsorise: Option<f64>,
    /// How many positions from the end (1 if none).
    #[serde(default)]
    positions: Option<usize>,
    /// Test this layer's instead of the rule's choice.
    #[serde(default)]
    layer: Option<usize>,
    /// How many times it is added (1 if none).
    #[serde(default)]
    strength: Option<f32>,
    /// A built-in behaviour that should stay as it is.
    #[serde(default)]
    off_task: Option<String>,
}

/// Which edges carry it?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabCircuitRequest {
    what: LabSource,
    items: usize,
    #[serde(default)]
    seed: u64,
    scoring: ScoringShape,
    ablation: AblationShape,
    by: ChoiceShape,
    /// How many edges are listed; the smallest measured circuit that keeps four fifths if none.
    #[serde(default)]
    edges: Option<usize>,
    /// A built-in behaviour that the circuit should not carry.
    #[serde(default)]
    off_task: Option<String>,
}

/// A text along a direction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabReadRequest {
    text: String,
    /// As many numbers as the stream is wide.
    direction: Vec<f32>,
}

/// Event `done` of `/api/lab/behaviour`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabBehaviourReply {
    /// Whether the model shows the behaviour.
    shown: bool,
}

/// Event `done` of `/api/lab/neurons`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabNeuronsReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not.
    report: Option<NeuronsReport>,
}

/// Event `done` of `/api/lab/direction`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabDirectionReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not.
    report: Option<DirectionReport>,
    /// The tested direction, to go on with.
    vector: Option<Vec<f32>>,
}

/// Event `done` of `/api/lab/circuit`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabCircuitReply {
    /// Whether the model shows the behaviour.
    shown: bool,
    /// None where it does not. Its `circuit` holds the foremost edges alone.
    report: Option<CircuitReport>,
    /// Edges of the whole circuit.
    size: usize,
    /// The whole circuit as a file that EAP-IG and MIB read; none where it is too large to send.
    file: Option<String>,
}

fn most(what: &str, asked: usize, most: usize) -> ApiResult<()> {
    match asked > most {
        true => Err(ApiError::large(format!("{asked} {what}; this server takes {most} at most"))),
        false => Ok(()),
    }
}

/// The items in words, and what is wrong with them before a model runs.
fn subject(what: &LabSource, items: usize, seed: u64, at_most: usize) -> ApiResult<Subject> {
    most("items", items, at_most)?;
    if items == 0 {
        return Err(ApiError::bad("at least one item is needed"));
    }
    match what {
        LabSource::Behaviour(name) => Ok(Subject::built_in(name, items, seed)?),
        LabSource::Jsonl(text) => {
            let lines = text.lines().filter(|l| !l.trim().is_empty()).count();
            most("pasted items", lines, ITEMS)?;
            let behaviour =
                Behaviour::read("the pasted behaviour", text).map_err(pellucid_scope::Error::from)?;
            Ok(Subject { behaviour, items, seed: Seed(seed) })
        }
    }
}

fn off_task(name: Option<&str>, seed: u64) -> ApiResult<Option<Behaviour>> {
    Ok(name.map(|n| Subject::built_in(n, lab::OFF_TASK, seed).map(|s| s.behaviour)).transpose()?)
}

/// Waits for a turn and answers as a stream. What `prepare` refuses is refused before the stream begins.
async fn streamed<T: Send + 'static>(
    app: Arc<App>,
    asker: Asker,
    prepare: impl FnOnce(&App) -> ApiResult<T> + Send + 'static,
    work: impl FnOnce(&Telling<'_>, T) -> ApiResult<()> + Send + 'static,
) -> ApiResult<Response> {
    let turn = app.turn(&asker.0).await?;
    let of = Arc::clone(&app);
    let ready = tokio::task::spawn_blocking(move || prepare(&of)).await;
    let ready =
        ready.map_err(|_| ApiError::internal("the request could not be read; please report this"))??;
    let (events, response) = sse::channel();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let telling = Telling { app: &app, events: &events, begun: Instant::now() };
        if let Err(error) = work(&telling, ready) {
            // nobody left to tell is no failure
            let _ = events.send("failed", &error.what());
        }
        app.counts.runs.fetch_add(1, Ordering::Relaxed);
        app.counts.run_micros.fetch_add(telling.begun.elapsed().as_micros() as u64, Ordering::Relaxed);
    });
    Ok(response)
}

/// As [`streamed`], for a behaviour: the gate, then `work` if it lets it pass. Its items have at most so many tokens.
async fn answer<R: Serialize + Default + Send + 'static>(
    app: Arc<App>,
    asker: Asker,
    (subject, tokens): (Subject, usize),
    work: impl FnOnce(&App, &Measured, Watch<'_>) -> pellucid_scope::Result<R> + Send + 'static,
) -> ApiResult<Response> {
    let seed = subject.seed;
    let prepare = move |app: &App| {
        let ready = subject.ready(&app.loaded.model)?;
        most("tokens", ready.items.iter().map(|i| i.row.tokens.len()).sum(), tokens)?;
        Ok(ready)
    };
    streamed(app, asker, prepare, move |telling, ready| {
        telling.gate("the behaviour measured");
        let measured = Measured::of(&telling.app.loaded.model, ready, seed)?;
        if telling.events.send("gate", &measured.report()).is_err() {
            return Ok(());
        }
        telling.done(|watch| match measured.gate.shown {
            true => work(telling.app, &measured, watch),
            false => Ok(R::default()),
        })
    })
    .await
}

/// Who is told, and since when.
struct Telling<'a> {
    app: &'a App,
    events: &'a Events,
    begun: Instant,
}

impl Telling<'_> {
    /// Says that a gate is being measured.
    fn gate(&self, what: &'static str) {
        // a reader who has left is seen at the next event
        let _ = self.events.send("step", &Step { what, done: 0, total: 1 });
    }

    /// Works until it is done, takes too long, or nobody listens; then says what came of it.
    fn done<R: Serialize>(&self, work: impl FnOnce(Watch<'_>) -> pellucid_scope::Result<R>) -> ApiResult<()> {
        let Telling { app, events, begun } = self;
        let mut watch = |step: Step| {
            begun.elapsed() <= LONGEST && !*app.stopping.borrow() && events.send("step", &step).is_ok()
        };
        match work(&mut watch) {
            Ok(reply) => {
                let _ = events.send("done", &reply);
                Ok(())
            }
            Err(_) if *app.stopping.borrow() => Err(ApiError::stopping()),
            Err(_) if begun.elapsed() > LONGEST => Err(ApiError::late(LONGEST.as_secs())),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) async fn behaviours() -> ApiResult<Json<Vec<BuiltIn>>> {
    Ok(Json(lab::built_in()?))
}

pub(crate) async fn behaviour(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabBehaviourRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, ITEMS)?;
    answer(app, asker, (subject, TOKENS), |_, _, _| Ok(LabBehaviourReply { shown: true })).await
}

pub(crate) async fn neurons(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabNeuronsRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, ITEMS)?;
    let factors = asked.factors.unwrap_or_else(|| (-2..=3).map(|f| f as f32).collect());
    let top = asked.top.unwrap_or(8);
    most("neurons", top, TOP)?;
    most("factors", factors.len(), FACTORS)?;
    if top == 0 || factors.is_empty() || factors.iter().any(|f| !f.is_finite()) {
        return Err(ApiError::bad("at least one neuron and one factor are needed, and factors are finite"));
    }
    let ranking = Ranking {
        top,
        by: asked.by,
        off_task: off_task(asked.off_task.as_deref(), asked.seed)?,
        anyway: false,
    };
    answer(app, asker, (subject, TOKENS), move |app, of, watch| {
        let model = &app.loaded.model;
        let report = match &asked.unit {
            Some(unit) => lab::doses(model, of, (unit, &factors), (ranking.by, false), watch)?,
            None => lab::neurons(model, of, &ranking, watch)?,
        };
        Ok(LabNeuronsReply { shown: true, report: Some(report) })
    })
    .await
}

pub(crate) async fn direction(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabDirectionRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, ITEMS)?;
    let positions = asked.positions.unwrap_or(1);
    most("positions", positions, POSITIONS)?;
    let leading = Leading {
        method: asked.method.into(),
        winsorise: asked.winsorise.unwrap_or(0.98),
        positions,
        layer: asked.layer,
        strength: asked.strength.unwrap_or(1.0),
        off_task: off_task(asked.off_task.as_deref(), asked.seed)?,
        read: None,
        anyway: false,
    };
    answer(app, asker, (subject, TOKENS), move |app, of, watch| {
        let mut report = lab::direction(&app.loaded.model, of, &leading, watch)?;
        let vector = Some(std::mem::take(&mut report.vector));
        Ok(LabDirectionReply { shown: true, report: Some(report), vector })
    })
    .await
}

pub(crate) async fn circuit(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabCircuitRequest>,
) -> ApiResult<Response> {
    let subject = subject(&asked.what, asked.items, asked.seed, CIRCUIT_ITEMS)?;
    let scoring = Scoring::from(asked.scoring);
    match scoring {
        Scoring::EapIg { steps } | Scoring::EapIgActivations { steps } => most("steps", steps, STEPS)?,
        Scoring::Exact => {
            return Err(ApiError::bad(
                "exact scores take one run an edge; ask for them with `pellucid circuit --method exact`",
            ));
        }
        Scoring::Eap | Scoring::CleanCorrupted => {}
    }
    let cutting = Cutting {
        scoring,
        ablation: asked.ablation.into(),
        by: asked.by.into(),
        edges: asked.edges,
        off_task: off_task(asked.off_task.as_deref(), asked.seed)?,
        prune: None,
        anyway: false,
    };
    answer(app, asker, (subject, TOKENS), move |app, of, watch| {
        let model = &app.loaded.model;
        let weighed = lab::scored(model, of, &cutting, None, watch)?;
        let mut report = weighed.measured(model, of, &cutting, watch)?;
        let size = report.circuit.len();
        report.circuit.truncate(EDGES);
        let file = (size <= FILE_EDGES).then(|| weighed.file(model, cutting.by, size, true)).transpose()?;
        Ok(LabCircuitReply { shown: true, report: Some(report), size, file })
    })
    .await
}

pub(crate) async fn read(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabReadRequest>,
) -> ApiResult<Json<Reading>> {
    most("bytes of text", asked.text.len(), TEXT)?;
    run(&app, &asker, move |app| Ok(Json(lab::reading(&app.loaded.model, &asked.text, &asked.direction)?)))
        .await
}
