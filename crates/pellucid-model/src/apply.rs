//! `Apply`: a list of edits as a tap.
//!
//! Edits are checked against the model before a run starts. Applied to a value, an edit touches the covered
//! coordinates at the covered positions and nothing else, so an empty list, and one that sets what is
//! already there, changes no bit. In a backward pass each edit's derivative is applied in reverse order.
//! What is covered are coordinates of the row, or latents of a dictionary that the model carries.

use crate::batch::{Row, ranges};
use crate::latents::{Active, Attached, Part};
use crate::model::Model;
use crate::ops::{tensor, with_slice};
use crate::tap::{Place, Tap};
use crate::{Batch, Error, Plan, Record, Result};
use candle_core::Tensor;
use pellucid_core::{Edit, Latents, Op, Point, Shape, Site, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Edits made ready for one model. It holds what one run's backward pass needs, so use one for each run.
#[derive(Debug, Clone)]
pub struct Apply {
    edits: Vec<Ready>,
    /// For each clamp, which values it let pass, in the order of visits.
    open: BTreeMap<(usize, usize), Vec<bool>>,
    /// For each edit of a dictionary, the rows that it changed as they were before.
    before: BTreeMap<(usize, usize), Vec<f32>>,
}

#[derive(Debug, Clone)]
struct Ready {
    edit: Edit,
    /// Flat coordinates within a token's vector that the edit covers; at attention points, heads.
    covered: Vec<usize>,
    /// The dictionary whose part the edit covers instead.
    dictionary: Option<(Arc<dyn Latents>, Part)>,
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
        Ok(Apply { edits, open: BTreeMap::new(), before: BTreeMap::new() })
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
            let here = (0..row.prompt).filter(|&p| row.covers(&edit.positions, p));
            let (mut covered, changed) = (here.clone().count(), here.filter(|&p| ready.changes(p)).count());
            if covered > 0 && changed == 0 && row.prompt > 1 {
                return bad("a dictionary does not read a text's first token, and the edit covers no other"
                    .to_owned());
            }
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
        let dictionary = part(model, edit)?;
        let covered = match &dictionary {
            Some((_, Part::Error)) => vec![0],
            Some((_, Part::Latents(list))) => list.iter().map(|&l| l as usize).collect(),
            None => covered(model, edit)?,
        };
        if covered.is_empty() {
            return Err(bad("it covers nothing".to_owned()));
        }
        let mut edit = edit.clone();
        if let Op::PatchFrom { tokens, from } = &edit.op {
            let taken = |row: &[f32]| match &dictionary {
                Some((latents, part)) => {
                    latents.active(row).first().map_or_else(Vec::new, |active| part.values(active))
                }
                None => covered.iter().map(|&i| row[i]).collect(),
            };
            edit.op = Op::Patch { rows: other_run(model, site, tokens, from, taken)? };
        }
        check_lengths(&edit, covered.len())?;
        if matches!(dictionary, Some((_, Part::Error))) && !matches!(edit.op, Op::Zero | Op::Scale(_)) {
            return Err(bad(
                "what a dictionary does not explain can be zero or scaled, nothing else".to_owned()
            ));
        }
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
        Ok(Ready { edit, covered, dictionary, unit_direction })
    }

    fn site(&self) -> Site {
        self.edit.site
    }

    /// Whether it changes anything at a position that it covers: dictionaries do not read all.
    fn changes(&self, position: usize) -> bool {
        self.dictionary.is_none() || Attached::reads(position)
    }
}

fn unit(direction: &[f32]) -> Option<Vec<f32>> {
    let length = direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite())
        .then(|| direction.iter().map(|v| (f64::from(*v) / length) as f32).collect())
}

/// The dictionary that an edit is of, and which part of it.
fn part(model: &Model, edit: &Edit) -> Result<Option<(Arc<dyn Latents>, Part)>> {
    let (name, part) = match &edit.target {
        Target::Latents { dictionary, indices } => (dictionary, Part::Latents(indices.clone())),
        Target::Error { dictionary } => (dictionary, Part::Error),
        _ => return Ok(None),
    };
    let bad = |why: String| Err(Error::Edit { site: edit.site, why });
    let found = model.dictionary(name)?;
    if found.site != edit.site {
        return bad(format!("the dictionary {name} is one of {}", found.site));
    }
    if let Part::Latents(list) = &part {
        if let Some(why) = list.iter().find_map(|latent| found.lacks(*latent)) {
            return bad(why);
        }
        if list.iter().collect::<BTreeSet<_>>().len() < list.len() {
            return bad("a latent is named twice".to_owned());
        }
    }
    Ok(Some((found.latents.clone(), part)))
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
        // `part` has taken these
        (Target::Latents { .. } | Target::Error { .. }, _, _) => Ok(Vec::new()),
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
    taken: impl Fn(&[f32]) -> Vec<f32>,
) -> Result<Vec<Vec<f32>>> {
    let mut record = Record::new([site]);
    let row = Row::new(tokens);
    let logits = if matches!(site.point, Point::FinalNorm | Point::LmHead) { Plan::ALL } else { Plan::LAST };
    model.run(&Batch::one(row.clone()), &logits, None, &mut record)?;
    let values = record.value(site)?.flatten_from(1)?.to_vec2::<f32>()?;
    let rows = values.iter().enumerate().filter(|(p, _)| row.covers(from, *p));
    Ok(rows.map(|(_, row)| taken(row)).collect())
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
            if let Some((latents, part)) = &ready.dictionary {
                let all = latents.active(&values);
                self.before.insert(key, values.clone());
                each_position(ready, at, x.dims(), &mut values, |nth, position, token, row| {
                    let active = all.get(token).map_or(&[][..], Vec::as_slice);
                    let before = part.values(active);
                    let mut after = before.clone();
                    forward_change(ready, &mut after, nth, position);
                    part.change(Active { latents: &**latents, active }, &before, &after, row);
                });
                continue;
            }
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
            if let Some((latents, part)) = &ready.dictionary {
                let Some(before) = self.before.get(&(i, at.first_row)) else { continue };
                let all = latents.active(before);
                each_position(ready, at, g.dims(), &mut values, |nth, position, token, g| {
                    let active = all.get(token).map_or(&[][..], Vec::as_slice);
                    let (row, was) = (&before[token * g.len()..][..g.len()], part.values(active));
                    part.pull(Active { latents: &**latents, active }, row, g, |g| {
                        backward_change(ready, g, nth, position);
                        let bound = |(g, v): (&mut f32, &f32)| {
                            if !inside(&ready.edit.op, *v) {
                                *g = 0.0
                            }
                        };
                        g.iter_mut().zip(&was).for_each(bound);
                    });
                });
                continue;
            }
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
    each_position(ready, at, dims, values, |nth, position, _, vector| {
        let mut part: Vec<f32> = ready.covered.iter().map(|&i| vector[i]).collect();
        change(ready, &mut part, nth, position);
        ready.covered.iter().zip(part).for_each(|(&i, v)| vector[i] = v);
    });
    Ok(())
}

/// Calls `change(index among the covered positions, position, which row of `values`, that row)` for each covered one.
fn each_position(
    ready: &Ready,
    at: Place<'_>,
    dims: &[usize],
    values: &mut [f32],
    mut change: impl FnMut(usize, usize, usize, &mut [f32]),
) {
    let width: usize = dims[1..].iter().product();
    for (row, range) in at.rows.iter().zip(ranges(at.rows)) {
        for token in range.clone() {
            let position = row.start + token - range.start;
            if !row.covers(&ready.edit.positions, position) || !ready.changes(position) {
                continue;
            }
            let nth = (0..position).filter(|&p| row.covers(&ready.edit.positions, p)).count();
            change(nth, position, token, &mut values[token * width..(token + 1) * width]);
        }
    }
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
