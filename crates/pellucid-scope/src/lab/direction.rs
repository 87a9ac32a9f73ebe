//! The direction between two classes of a behaviour's items, and whether it acts.

use super::shape::{CandidateShape, DirectionMethodShape, GateShape, TestedShape};
use super::{Measured, Steps, Watch};
use crate::error::{Result, bad, tensor};
use pellucid_core::{Point, Site};
use pellucid_interp::behaviour::{Behaviour, Gate, Ready};
use pellucid_interp::direction::{
    Candidate, Directions, Method, On, TRIALS, Tested, candidates, choose, validate,
};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row};
use serde::Serialize;
use utoipa::ToSchema;

/// How a direction is found, and how it is tried.
#[derive(Clone, Debug)]
pub struct Leading {
    /// What finds it.
    pub method: Method,
    /// Quantile that coordinates are clipped to before; 1 clips none.
    pub winsorise: f64,
    /// How many positions from the end are tried.
    pub positions: usize,
    /// Test the direction of this layer (at the last position) instead of the one that the rule takes.
    pub layer: Option<usize>,
    /// How many times it is added.
    pub strength: f32,
    /// A behaviour that should stay as it is; capitals, or agreement where capitals are asked about, if none.
    pub off_task: Option<Behaviour>,
    /// A text whose tokens are laid along it.
    pub read: Option<String>,
    /// Go on though the model does not show the behaviour.
    pub anyway: bool,
}

/// Directions found, one chosen, and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DirectionReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose items and controls.
    pub seed: u64,
    /// From the second to the first.
    pub classes: [String; 2],
    /// None where the directions came from a file.
    #[schema(value_type = Option<DirectionMethodShape>)]
    pub method: Option<Method>,
    /// Items that directions were found on.
    pub fitted_on: usize,
    /// Items that one was chosen on.
    pub chosen_on: usize,
    /// Items that it was tested on.
    pub tested_on: usize,
    /// How many times it was added.
    pub strength: f32,
    /// Quantile that coordinates were clipped to.
    pub winsorise: f64,
    /// How well the model shows the other behaviour.
    #[schema(value_type = GateShape)]
    pub off_task: Gate,
    /// Every direction's scores.
    #[schema(value_type = Vec<CandidateShape>)]
    pub candidates: Vec<Candidate>,
    /// Whether a candidate passes the rule; where none does the one that leaves least under ablation is tested.
    pub rule_passed: bool,
    /// The chosen one, tried.
    #[schema(value_type = TestedShape)]
    pub tested: Tested,
    /// A text's tokens along it.
    pub read: Option<Reading>,
    /// The tested direction itself, for who goes on with it; not on the wire of the command.
    #[serde(skip)]
    #[schema(ignore)]
    pub vector: Vec<f32>,
}

/// A text's tokens along a direction, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Reading {
    /// The text's tokens.
    pub tokens: Vec<String>,
    /// `(x − μ) · r̂` with μ the text's own mean but for the first token; one row a layer.
    pub projections: Vec<Vec<f64>>,
}

/// Directions that were found, and the items that are left to choose and to test on.
#[derive(Clone, Debug)]
pub struct Directed {
    /// The directions. Whoever has others puts them here before they are tried.
    pub directions: Directions,
    /// Whether they come from a file.
    pub from_file: bool,
    other: Ready,
    fitted_on: usize,
    choose_on: Ready,
    test: Ready,
}

/// Finds the direction of every layer and position on half of the items.
///
/// # Errors
/// If the model does not show the behaviour, its items are not of two classes or too few, a layer is asked for that is not
/// there, or a run fails.
pub fn directions(model: &Model, of: &Measured, asked: &Leading) -> Result<Directed> {
    of.gate.pass(asked.anyway)?;
    if !asked.strength.is_finite() {
        return bad("the strength must be a finite number");
    }
    let n = model.spec().n_layers;
    if let Some(layer) = asked.layer.filter(|l| *l >= n) {
        return bad(format!("there is no layer {layer}; the model's layers are 0 to {}", n - 1));
    }
    let other = of.off_task(model, asked.off_task.as_ref())?;
    let [fit, rest] = of.ready.halves()?;
    let [choose_on, test] = rest.halves()?;
    let directions = Directions::find(model, &fit, asked.method, asked.positions, asked.winsorise)?;
    Ok(Directed { directions, from_file: false, other, fitted_on: fit.items.len(), choose_on, test })
}

/// Finds directions, chooses one by the published rule and tries it.
///
/// # Errors
/// As [`directions`] and [`Directed::tried`].
pub fn direction(model: &Model, of: &Measured, asked: &Leading, watch: Watch<'_>) -> Result<DirectionReport> {
    directions(model, of, asked)?.tried(model, of, asked, watch)
}

impl Directed {
    /// Tries every direction on some items, takes one by the published rule, and tests it on others.
    ///
    /// # Errors
    /// If there is none at the layer that was asked for, or a run fails or is stopped.
    pub fn tried(
        self,
        model: &Model,
        of: &Measured,
        asked: &Leading,
        watch: Watch<'_>,
    ) -> Result<DirectionReport> {
        let Directed { directions: found, from_file, other, fitted_on, choose_on, test } = self;
        let on = On { items: &choose_on.items, off_task: &other.items };
        let tried = Steps::begin(watch, "directions tried", found.vectors.len())?
            .each(|p| candidates(model, &found, on, asked.strength, p))?;
        let by_rule = choose(&tried, model.spec().n_layers);
        let least = (0..tried.len()).min_by(|&a, &b| tried[a].ablation.total_cmp(&tried[b].ablation));
        let at = match asked.layer {
            Some(layer) => tried.iter().position(|c| c.layer == layer && c.position == -1),
            None => by_rule.or(least),
        };
        let Some(at) = at else { return bad("no direction was found at that layer") };
        let place = (tried[at].position, tried[at].layer);
        let on = On { items: &test.items, off_task: &other.items };
        let tested = Steps::begin(watch, "the chosen one tested", TRIALS)?
            .each(|p| validate(model, &found, place, on, asked.strength, of.seed, p))?;
        let vector = found.vectors[&place].clone();
        let read = asked.read.as_deref().map(|text| reading(model, text, &vector)).transpose()?;
        Ok(DirectionReport {
            gate: of.gate.clone(),
            seed: of.seed.0,
            classes: found.classes.clone(),
            method: (!from_file).then_some(asked.method),
            fitted_on,
            chosen_on: choose_on.items.len(),
            tested_on: test.items.len(),
            strength: asked.strength,
            winsorise: asked.winsorise,
            off_task: Gate::measure(model, &other)?,
            candidates: tried,
            rule_passed: by_rule.is_some(),
            tested,
            read,
            vector,
        })
    }
}

/// How far along a direction each token of a text lies, layer by layer.
///
/// # Errors
/// If the text has no two tokens, the direction has not the stream's width or no length, or the run fails.
pub fn reading(model: &Model, text: &str, direction: &[f32]) -> Result<Reading> {
    let encoded = model.tokenizer().encode_plain(text, true)?;
    if encoded.ids.len() < 2 {
        return bad("the text to read needs at least two tokens");
    }
    let (d, length) =
        (model.spec().d_model, direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt());
    if direction.len() != d || !length.is_finite() || length == 0.0 {
        return bad(format!("a direction of this model is {d} finite numbers, not all of them 0"));
    }
    let tokens = model.tokenizer().tokens(&encoded.ids)?.into_iter().map(|t| t.text.to_string()).collect();
    let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::ResidPost, l)).collect();
    let mut record = Record::new(sites.iter().copied());
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    model.run(&Batch::one(Row::new(encoded.ids)), &plan, None, &mut record)?;
    let mut projections = Vec::new();
    for site in sites {
        let rows = tensor(record.value(site)?.to_vec2::<f32>())?;
        let along = |row: &Vec<f32>| -> f64 {
            row.iter().zip(direction).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum::<f64>() / length
        };
        let along: Vec<f64> = rows.iter().map(along).collect();
        let mean = along[1..].iter().sum::<f64>() / (along.len() - 1) as f64;
        // the first token is far from all others in any direction
        projections
            .push(along.iter().enumerate().map(|(i, a)| if i == 0 { 0.0 } else { a - mean }).collect());
    }
    Ok(Reading { tokens, projections })
}
