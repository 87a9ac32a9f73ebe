//! `Apply`: a list of edits as a tap.
//!
//! Edits are checked against the model before a run starts. Applied to a value, an edit touches the covered
//! coordinates at the covered positions and nothing else, so an empty list, and one that sets what is
//! already there, changes no bit. In a backward pass each edit's derivative is applied in reverse order.

use crate::batch::{Row, ranges};
use crate::model::Model;
use crate::ops::{tensor, with_slice};
use crate::tap::{Place, Tap};
use crate::{Batch, Error, Plan, Record, Result};
use candle_core::Tensor;
use pellucid_core::{Edit, Op, Point, Shape, Site, Target};
use std::collections::{BTreeMap, BTreeSet};

/// Edits made ready for one model. It holds what one run's backward pass needs, so use one for each run.
#[derive(Debug, Clone)]
pub struct Apply {
    edits: Vec<Ready>,
    /// For each clamp, which values it let pass, in the order of visits.
    open: BTreeMap<(usize, usize), Vec<bool>>,
}

#[derive(Debug, Clone)]
struct Ready {
    edit: Edit,
    /// Flat coordinates within a token's vector that the edit covers; at attention points, heads.
    covered: Vec<usize>,
    /// Direction of length 1, for a projection.
    unit_direction: Vec<f32>,
}

impl Apply {
    /// Checks edits against a model and fetches what they take from other runs.
    ///
    /// # Errors
    /// If a site, unit or head does not exist, or a vector's length does not fit what it is applied to.
    pub fn new(model: &Model, edits: &[Edit]) -> Result<Self> {
        let edits = edits.iter().map(|edit| Ready::new(model, edit)).collect::<Result<_>>()?;
        Ok(Apply { edits, open: BTreeMap::new() })
    }

    /// Checks that the prompt fits: listed positions exist, roles are known, patches have a row for each position.
    ///
    /// # Errors
    /// If an edit would silently do nothing, or half of what it says.
    pub fn check_prompt(&self, row: &Row) -> Result<()> {
        for ready in &self.edits {
            let edit = &ready.edit;
            let bad = |why: String| Err(Error::Edit { site: edit.site, why });
            if let pellucid_core::Positions::Role(role) = &edit.positions {
                let known = *role == pellucid_core::Role::Generated || !row.roles.is_empty();
                if !known {
                    return bad(format!("it speaks of {role:?} tokens, and this prompt is no chat"));
                }
            }
            let mut covered = (0..row.prompt).filter(|&p| row.covers(&edit.positions, p)).count();
            if let pellucid_core::Positions::At(list) = &edit.positions {
                let last = row.prompt as i64;
                if let Some(p) = list.iter().find(|&&p| p < -last) {
                    return bad(format!("position {p} is before the start; the prompt has {last} tokens"));
                }
                // what is listed beyond the prompt will be generated
                covered += list.iter().filter(|&&p| p >= last).collect::<BTreeSet<_>>().len();
            }
            if let Op::Patch { rows } = &edit.op
                && rows.len() != covered
            {
                return bad(format!("the patch has {} rows and covers {covered} positions", rows.len()));
            }
        }
        Ok(())
    }

    /// The edits, with values from other runs filled in: what to keep with a result.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edits.iter().map(|r| &r.edit)
    }
}

impl Ready {
    fn new(model: &Model, edit: &Edit) -> Result<Self> {
        let site = edit.site;
        model.check_site(site)?;
        let bad = |why: String| Error::Edit { site, why };
        let covered = covered(model, edit)?;
        if covered.is_empty() {
            return Err(bad("it covers no coordinate".to_owned()));
        }
        let mut edit = edit.clone();
        if let Op::PatchFrom { tokens, from } = &edit.op {
            edit.op = Op::Patch { rows: other_run(model, site, tokens, from, &covered)? };
        }
        check_lengths(&edit, covered.len())?;
        if site.point.shape() == Shape::Attention
            && !matches!(edit.op, Op::Zero | Op::Scale(_) | Op::Set(_) | Op::Clamp { .. })
        {
            return Err(bad(
                "at an attention point an edit can be zero, set to one number, scale or clamp".to_owned()
            ));
        }
        let unit_direction = match &edit.op {
            Op::ProjectOut { direction, .. } => {
                unit(direction).ok_or_else(|| bad("its direction is zero".to_owned()))?
            }
            _ => Vec::new(),
        };
        Ok(Ready { edit, covered, unit_direction })
    }

    fn site(&self) -> Site {
        self.edit.site
    }
}

fn unit(direction: &[f32]) -> Option<Vec<f32>> {
    let length = direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite())
        .then(|| direction.iter().map(|v| (f64::from(*v) / length) as f32).collect())
}

fn covered(model: &Model, edit: &Edit) -> Result<Vec<usize>> {
    let (spec, point) = (model.spec(), edit.site.point);
    let bad = |why: String| Err(Error::Edit { site: edit.site, why });
    let heads = spec.heads_at(point);
    let in_range = |list: &[u32], end: usize, what: &str| match list.iter().find(|&&i| i as usize >= end) {
        Some(i) => bad(format!("{what} {i} does not exist; there are {end}, counted from 0")),
        None => Ok(list.iter().map(|&i| i as usize).collect::<Vec<_>>()),
    };
    match (&edit.target, spec.width_at(point), heads) {
        (Target::Whole, Some(width), _) => Ok((0..width).collect()),
        (Target::Units(list), Some(width), _) => in_range(list, width, "unit"),
        (Target::Heads(list), Some(width), Some(heads)) => {
            let dim = width / heads;
            let list = in_range(list, heads, "head")?;
            Ok(list.into_iter().flat_map(|h| h * dim..(h + 1) * dim).collect())
        }
        (Target::Heads(_), Some(_), None) => bad("there are no heads here".to_owned()),
        // attention points: what is covered are heads
        (Target::Whole, None, Some(heads)) => Ok((0..heads).collect()),
        (Target::Heads(list), None, Some(heads)) => in_range(list, heads, "head"),
        (_, None, _) => bad("name heads here (as in attn_probs.3/h5), not units".to_owned()),
    }
}

fn check_lengths(edit: &Edit, covered: usize) -> Result<()> {
    let bad = |why: String| Err(Error::Edit { site: edit.site, why });
    let fits = |values: &[f32], what: &str| {
        if values.len() != 1 && values.len() != covered {
            return bad(format!("{what} has {} numbers, expected 1 or {covered}", values.len()));
        }
        if values.iter().any(|v| !v.is_finite()) {
            return bad(format!("{what} holds a number that is not finite"));
        }
        Ok(())
    };
    match &edit.op {
        Op::Zero | Op::PatchFrom { .. } => Ok(()),
        Op::Mean { values, .. } => fits(values, "the mean"),
        Op::Set(values) => fits(values, "the value"),
        Op::Add(values) => fits(values, "the vector"),
        Op::Scale(by) => fits(&[*by], "the factor"),
        Op::Clamp { min, max } => {
            let bounds: Vec<f32> = [min, max].into_iter().flatten().copied().collect();
            if bounds.iter().any(|v| !v.is_finite()) {
                return bad("a bound is not a finite number".to_owned());
            }
            match (min, max) {
                (Some(min), Some(max)) if min > max => bad(format!("its bounds {min} and {max} are crossed")),
                (None, None) => bad("a clamp needs a bound".to_owned()),
                _ => Ok(()),
            }
        }
        Op::ProjectOut { direction, centre } => {
            if direction.len() != covered || centre.as_ref().is_some_and(|c| c.len() != covered) {
                return bad(format!("direction and centre need {covered} numbers each"));
            }
            fits(direction, "the direction")?;
            centre.as_ref().map_or(Ok(()), |c| fits(c, "the centre"))
        }
        Op::Patch { rows } => match rows.iter().find(|r| r.len() != covered) {
            Some(row) => bad(format!("a patch row has {} numbers, expected {covered}", row.len())),
            None => rows.iter().try_for_each(|row| fits(row, "a patch row")),
        },
    }
}

/// The covered values of another, plain run.
fn other_run(
    model: &Model,
    site: Site,
    tokens: &[u32],
    from: &pellucid_core::Positions,
    covered: &[usize],
) -> Result<Vec<Vec<f32>>> {
    let mut record = Record::new([site]);
    let row = Row::new(tokens);
    let logits = if matches!(site.point, Point::FinalNorm | Point::LmHead) { Plan::ALL } else { Plan::LAST };
    model.run(&Batch::one(row.clone()), &logits, None, &mut record)?;
    let values = record.value(site)?.flatten_from(1)?.to_vec2::<f32>()?;
    let rows = values.iter().enumerate().filter(|(p, _)| row.covers(from, *p));
    Ok(rows.map(|(_, row)| covered.iter().map(|&i| row[i]).collect()).collect())
}

impl Tap for Apply {
    fn wants(&self, site: Site) -> bool {
        self.edits.iter().any(|r| r.site() == site)
    }

    fn expects(&self) -> Vec<Site> {
        self.edits.iter().map(Ready::site).collect()
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> Result<Tensor> {
        let mut values = with_slice(&x, <[f32]>::to_vec)?;
        for (i, ready) in self.edits.iter().enumerate().filter(|(_, r)| r.site() == at.site) {
            let key = (i, at.first_row);
            if matches!(ready.edit.op, Op::Clamp { .. }) {
                self.open.insert(key, values.iter().map(|v| inside(&ready.edit.op, *v)).collect());
            }
            each_covered(ready, at, x.dims(), &mut values, forward_change)?;
        }
        tensor(values, x.shape())
    }

    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> Result<Tensor> {
        if !self.wants(at.site) {
            return Ok(g);
        }
        let mut values = with_slice(&g, <[f32]>::to_vec)?;
        for (i, ready) in self.edits.iter().enumerate().rev().filter(|(_, r)| r.site() == at.site) {
            if let (Op::Clamp { .. }, Some(open)) = (&ready.edit.op, self.open.get(&(i, at.first_row))) {
                // a clamp passes the gradient where it did not bind; elsewhere it was never covered or bound
                let before = values.clone();
                each_covered(ready, at, g.dims(), &mut values, |_, v, _, _| {
                    v.iter_mut().for_each(|v| *v = 0.0)
                })?;
                let restored = values.iter_mut().zip(&before).zip(open).filter(|(_, open)| **open);
                restored.for_each(|((v, b), _)| *v = *b);
            } else {
                each_covered(ready, at, g.dims(), &mut values, backward_change)?;
            }
        }
        tensor(values, g.shape())
    }
}

/// Whether a clamp leaves a value alone.
fn inside(op: &Op, v: f32) -> bool {
    let Op::Clamp { min, max } = op else { return true };
    min.is_none_or(|min| v >= min) && max.is_none_or(|max| v <= max)
}

/// Calls `change(ready, covered values, index of the position among the covered ones, number of it)` for each
/// covered position, on a copy of the covered values that is then put back.
fn each_covered(
    ready: &Ready,
    at: Place<'_>,
    dims: &[usize],
    values: &mut [f32],
    change: impl Fn(&Ready, &mut [f32], usize, usize),
) -> Result<()> {
    if at.site.point.shape() == Shape::Attention {
        return each_head(ready, at, dims, values, change);
    }
    let width: usize = dims[1..].iter().product();
    for (row, range) in at.rows.iter().zip(ranges(at.rows)) {
        for token in range.clone() {
            let position = row.start + token - range.start;
            if !row.covers(&ready.edit.positions, position) {
                continue;
            }
            let nth = (0..position).filter(|&p| row.covers(&ready.edit.positions, p)).count();
            let vector = &mut values[token * width..(token + 1) * width];
            let mut part: Vec<f32> = ready.covered.iter().map(|&i| vector[i]).collect();
            change(ready, &mut part, nth, position);
            ready.covered.iter().zip(part).for_each(|(&i, v)| vector[i] = v);
        }
    }
    Ok(())
}

/// At an attention point: each covered head's row of keys at each covered query.
fn each_head(
    ready: &Ready,
    at: Place<'_>,
    dims: &[usize],
    values: &mut [f32],
    change: impl Fn(&Ready, &mut [f32], usize, usize),
) -> Result<()> {
    let &[_, queries, keys] = dims else {
        return Err(Error::Edit { site: at.site, why: format!("unexpected shape {dims:?}") });
    };
    let row = &at.rows[0];
    for &head in &ready.covered {
        for query in (0..queries).filter(|q| row.covers(&ready.edit.positions, row.start + q)) {
            let from = (head * queries + query) * keys;
            change(ready, &mut values[from..from + keys], 0, query);
        }
    }
    Ok(())
}

fn assign(to: &mut [f32], from: &[f32]) {
    match from {
        [one] => to.fill(*one),
        many => to.copy_from_slice(many),
    }
}

fn forward_change(ready: &Ready, x: &mut [f32], nth: usize, _position: usize) {
    match &ready.edit.op {
        Op::Zero => x.fill(0.0),
        Op::Mean { values, .. } | Op::Set(values) => assign(x, values),
        Op::Scale(by) => x.iter_mut().for_each(|v| *v *= by),
        Op::Add(by) if by.len() == 1 => x.iter_mut().for_each(|v| *v += by[0]),
        Op::Add(by) => x.iter_mut().zip(by).for_each(|(v, b)| *v += b),
        Op::Clamp { min, max } => {
            let low = min.unwrap_or(f32::NEG_INFINITY);
            let high = max.unwrap_or(f32::INFINITY);
            x.iter_mut().for_each(|v| *v = v.clamp(low, high));
        }
        Op::ProjectOut { centre, .. } => {
            let d = &ready.unit_direction;
            let from_centre = |i: usize, v: f32| v - centre.as_ref().map_or(0.0, |c| c[i]);
            let along: f32 = x.iter().enumerate().map(|(i, v)| from_centre(i, *v) * d[i]).sum();
            x.iter_mut().zip(d).for_each(|(v, d)| *v -= along * d);
        }
        // generated positions beyond the patch keep their own values
        Op::Patch { rows } => {
            if let Some(row) = rows.get(nth) {
                x.copy_from_slice(row);
            }
        }
        Op::PatchFrom { .. } => {}
    }
}

fn backward_change(ready: &Ready, g: &mut [f32], nth: usize, _position: usize) {
    match &ready.edit.op {
        Op::Zero | Op::Mean { .. } | Op::Set(_) => g.fill(0.0),
        Op::Scale(by) => g.iter_mut().for_each(|v| *v *= by),
        Op::ProjectOut { .. } => {
            let d = &ready.unit_direction;
            let along: f32 = g.iter().zip(d).map(|(g, d)| g * d).sum();
            g.iter_mut().zip(d).for_each(|(g, d)| *g -= along * d);
        }
        Op::Patch { rows } if nth < rows.len() => g.fill(0.0),
        Op::Add(_) | Op::Clamp { .. } | Op::Patch { .. } | Op::PatchFrom { .. } => {}
    }
}
