//! Where an answer is decided: values of a clean run put into a corrupted one (or the other way round), place by place or
//! along a path, beside a stranger's value in the same place.

use super::behaviour::Measured;
use super::places::{PathEffectShape, TraceCellShape, TraceDirectionShape};
use super::shape::{GateShape, IntervalShape};
use super::{Steps, Watch, counted};
use crate::error::{Result, bad};
use crate::loaded::token_of;
use pellucid_core::{Index, Point, Site, UnitId};
use pellucid_interp::Interval;
use pellucid_interp::behaviour::Gate;
use pellucid_interp::trace::{
    Cell, Corruption, Direction, Grid, Input, Pairs, Patch, PathEffect, Receiver, grid, path,
};
use pellucid_model::Model;
use serde::Serialize;
use utoipa::ToSchema;

/// How the answer is taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Taking {
    /// By the item's counterfactual prompt.
    Counterfactual,
    /// By Gaussian noise on the tokens in which it differs.
    Noise {
        /// Its standard deviation, in standard deviations of the embeddings that it is added to.
        sigma: f64,
        /// Draws of each item.
        samples: usize,
    },
}

/// What is traced, and how.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// What is patched in every layer; heads one by one where the point has them. Not read where paths are asked for.
    pub at: Vec<Point>,
    /// Which run is changed.
    pub direction: Direction,
    /// How the answer is taken away.
    pub taking: Taking,
    /// Layers that are patched together.
    pub window: usize,
    /// Only this position; negative counts from the end.
    pub position: Option<i64>,
    /// Along paths to these ends, instead of place by place.
    pub ends: Option<Ends>,
    /// Go on though the model does not show the behaviour.
    pub anyway: bool,
}

/// Where paths begin and end.
#[derive(Clone, Debug)]
pub struct Ends {
    names: Vec<String>,
    to: Vec<Receiver>,
    from: Option<Patch>,
    through_mlps: bool,
}

/// What places or paths restore, or leave, of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TraceReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose items and noise.
    pub seed: u64,
    /// Which run was changed.
    #[schema(value_type = TraceDirectionShape)]
    pub direction: Direction,
    /// `counterfactual` or `noise`.
    #[schema(value_type = String)]
    pub corruption: &'static str,
    /// Layers that were patched together.
    pub window: usize,
    /// Items of one length that were compared.
    pub items: usize,
    /// Items that were not.
    pub left_out: usize,
    /// Log-odds of right against wrong in the clean run.
    #[schema(value_type = IntervalShape)]
    pub clean: Interval,
    /// The same in the corrupted run.
    #[schema(value_type = IntervalShape)]
    pub corrupted: Interval,
    /// What stands where.
    pub positions: Vec<TracePosition>,
    /// One for each point; empty where paths were asked for.
    pub grids: Vec<TraceGrid>,
    /// Where paths end.
    pub receivers: Vec<String>,
    /// One for each sender.
    #[schema(value_type = Vec<PathEffectShape>)]
    pub paths: Vec<PathEffect>,
}

/// What stands at a position: the first item's token, and the one of its counterfactual where some item differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TracePosition {
    /// From 0.
    pub position: usize,
    /// The first item's token.
    pub text: String,
    /// Its counterfactual's; none where no item differs.
    pub counterfactual: Option<String>,
}

/// Every place of one point.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TraceGrid {
    /// The point.
    pub point: String,
    /// Layer by layer; within one by head, or by position.
    #[schema(value_type = Vec<TraceCellShape>)]
    pub cells: Vec<Cell>,
}

/// Traces a behaviour.
///
/// # Errors
/// If the model does not show the behaviour, no item has a counterfactual of its length, the corruption leaves the answer, the
/// model lacks what is asked for, or a run fails or is stopped.
pub fn trace(model: &Model, of: &Measured, asked: &Tracing, watch: Watch<'_>) -> Result<TraceReport> {
    of.gate.pass(asked.anyway)?;
    let corruption = match asked.taking {
        Taking::Counterfactual => Corruption::Counterfactual,
        Taking::Noise { sigma, .. } if !(sigma.is_finite() && sigma > 0.0) => {
            return bad("sigma must be a positive number");
        }
        Taking::Noise { sigma, samples } => {
            Corruption::Gaussian { factor: sigma, samples, seed: of.seed.for_purpose("trace") }
        }
    };
    let points = match &asked.ends {
        None => asked.at.clone(),
        Some(ends) => Receiver::points(ends.from.map_or(Point::Z, |s| s.site.point)),
    };
    if points.is_empty() {
        return bad("nothing is to be patched; name a point such as resid_pre");
    }
    let pairs = Steps::begin(watch, "clean and corrupted runs", 1)?
        .each(|_| Pairs::new(model, &of.ready, corruption, asked.direction, &points))?;
    let position = position(asked.position, &pairs)?;
    let mut report = empty(model, of, asked, &pairs);
    match &asked.ends {
        None => {
            for &point in &asked.at {
                let what = Grid { point, heads: point == Point::Z, position, window: asked.window };
                let cells = counted(watch, words(point), |p| grid(&pairs, what, p))?;
                report.grids.push(TraceGrid { point: point.to_string(), cells });
            }
        }
        Some(ends) => {
            report.receivers = ends.names.clone();
            let senders = senders(model, ends, position);
            report.paths = Steps::begin(watch, "paths patched", senders.len())?.each(|p| {
                let one = |sender| {
                    let effect = path(&pairs, sender, &ends.to, ends.through_mlps)?;
                    p().map(|()| effect)
                };
                senders.into_iter().map(one).collect::<pellucid_interp::Result<_>>()
            })?;
        }
    }
    Ok(report)
}

fn empty(model: &Model, of: &Measured, asked: &Tracing, pairs: &Pairs<'_>) -> TraceReport {
    TraceReport {
        gate: of.gate.clone(),
        seed: of.seed.0,
        direction: asked.direction,
        corruption: if asked.taking == Taking::Counterfactual { "counterfactual" } else { "noise" },
        window: asked.window,
        items: pairs.items().len(),
        left_out: pairs.left_out(),
        clean: Interval::mean(pairs.clean()),
        corrupted: Interval::mean(pairs.corrupted()),
        positions: positions(model, pairs),
        grids: Vec::new(),
        receivers: Vec::new(),
        paths: Vec::new(),
    }
}

/// What is patched, for who waits.
fn words(point: Point) -> &'static str {
    match point {
        Point::ResidPre | Point::ResidMid | Point::ResidPost => "places of the stream patched",
        Point::Z => "heads patched",
        Point::AttnOut | Point::AttnOutPost => "places of attention patched",
        Point::MlpOut | Point::MlpOutPost => "places of MLPs patched",
        _ => "places patched",
    }
}

fn position(asked: Option<i64>, pairs: &Pairs<'_>) -> Result<Option<usize>> {
    let Some(asked) = asked else { return Ok(None) };
    let n = pairs.length() as i64;
    let position = if asked < 0 { asked.saturating_add(n) } else { asked };
    if !(0..n).contains(&position) {
        return bad(format!("position {asked} is beyond the items' {n} tokens"));
    }
    Ok(Some(position as usize))
}

fn positions(model: &Model, pairs: &Pairs<'_>) -> Vec<TracePosition> {
    let Some(first) = pairs.items().first() else { return Vec::new() };
    let text = |ids: &[u32], p: usize| ids.get(p).map_or_else(String::new, |id| token_of(model, *id).text);
    let other = first.counterfactual.as_ref().map_or(&[][..], |c| &c.tokens);
    let position = |p: usize| TracePosition {
        position: p,
        text: text(&first.row.tokens, p),
        counterfactual: pairs.differing().contains(&p).then(|| text(other, p)),
    };
    (0..pairs.length()).map(position).collect()
}

/// The sender that was named, or every head before the last receiver.
fn senders(model: &Model, ends: &Ends, position: Option<usize>) -> Vec<Patch> {
    if let Some(sender) = ends.from {
        return vec![Patch { position, ..sender }];
    }
    let spec = model.spec();
    let layer = |r: &Receiver| match r {
        Receiver::Logits => spec.n_layers,
        Receiver::Head { layer, .. } => (*layer).min(spec.n_layers),
    };
    let end = ends.to.iter().map(layer).min().unwrap_or(0);
    let head = |l: usize| {
        (0..spec.n_heads).map(move |h| Patch { site: Site::new(Point::Z, l), head: Some(h), position })
    };
    (0..end).flat_map(head).collect()
}

impl Ends {
    /// Reads where paths end (`logits`, or a head's input as `z.9/h6:q`, `:k` or `:v`) and where they begin (a head as
    /// `z.8/h6`, or a site; every head before the ends if none). With `through_mlps` the MLPs between compute, and are held
    /// otherwise.
    ///
    /// # Errors
    /// If a name is none of these, or no end is named.
    pub fn read(to: &[String], from: Option<&str>, through_mlps: bool) -> Result<Self> {
        if to.is_empty() {
            return bad("a path ends somewhere; name logits, or a head's input as z.9/h6:q");
        }
        let receivers = to.iter().map(|t| receiver(t)).collect::<Result<Vec<_>>>()?;
        Ok(Ends { names: to.to_vec(), to: receivers, from: from.map(place).transpose()?, through_mlps })
    }
}

fn receiver(text: &str) -> Result<Receiver> {
    if text == "logits" {
        return Ok(Receiver::Logits);
    }
    let form = || format!("{text:?} is no receiver; write logits, or a head's input as z.9/h6:q, :k or :v");
    let Some((unit, input)) = text.rsplit_once(':') else { return bad(form()) };
    let input = match input {
        "q" => Input::Query,
        "k" => Input::Key,
        "v" => Input::Value,
        _ => return bad(form()),
    };
    match place(unit)? {
        Patch { site, head: Some(head), .. } if site.point == Point::Z => {
            Ok(Receiver::Head { layer: site.layer as usize, head, input })
        }
        _ => bad(form()),
    }
}

/// A head, or a whole site.
fn place(text: &str) -> Result<Patch> {
    if text.contains('/') {
        return match text.parse::<UnitId>()? {
            UnitId::Site { site, index: Index::Head(h), .. } => {
                Ok(Patch { site, head: Some(h as usize), position: None })
            }
            _ => bad(format!("{text:?} is no head; write it as z.8/h6")),
        };
    }
    Ok(Patch { site: text.parse()?, head: None, position: None })
}
