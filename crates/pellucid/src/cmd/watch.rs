//! `run --watch`: what stands at sites and units, token by token.

use crate::json::{Placed, SiteToken, UnitToken, Watched};
use crate::models::Loaded;
use crate::show::{Out, Table, quoted};
use crate::text::Text;
use anyhow::{Result, bail, ensure};
use pellucid::core::{EditError, Index, Shape, Site, UnitId};
use pellucid::model::{Batch, Plan, Record, Row, Tap, Tensor};
use pellucid::scope::place;

/// A place that the user wants to see.
pub(crate) enum Watch {
    Site(Site),
    Unit { unit: UnitId, site: Site, index: Index },
    Latent { unit: UnitId, dictionary: String, site: Site, index: u32 },
}

impl Watch {
    fn site(&self) -> Site {
        match self {
            Watch::Site(site) | Watch::Unit { site, .. } | Watch::Latent { site, .. } => *site,
        }
    }
}

/// Reads names of sites and units.
pub(crate) fn parse(names: &[String], site_of: &dyn Fn(&str) -> Option<Site>) -> Result<Vec<Watch>> {
    names.iter().map(|name| parse_one(name.trim(), site_of)).collect()
}

fn parse_one(name: &str, site_of: &dyn Fn(&str) -> Option<Site>) -> Result<Watch> {
    if !name.contains('/') {
        return Ok(Watch::Site(name.parse()?));
    }
    let unit: UnitId = name.parse()?;
    match &unit {
        UnitId::Site { site, index, .. } => Ok(Watch::Unit { site: *site, index: *index, unit }),
        UnitId::Latent { dictionary, index, .. } => {
            let absent = || EditError::Dictionary { found: dictionary.clone() };
            let site = site_of(dictionary).ok_or_else(absent)?;
            Ok(Watch::Latent { site, dictionary: dictionary.clone(), index: *index, unit })
        }
    }
}

/// The sites without repetition.
pub(crate) fn sites(watched: &[Watch]) -> Vec<Site> {
    let mut sites: Vec<Site> = watched.iter().map(Watch::site).collect();
    sites.sort();
    sites.dedup();
    sites
}

/// Refuses places that the model does not have.
pub(crate) fn check(loaded: &Loaded, watched: &[Watch]) -> Result<()> {
    let spec = loaded.model.spec();
    for watch in watched {
        let site = watch.site();
        loaded.model.check_site(site)?;
        let (unit, index) = match watch {
            Watch::Site(_) => continue,
            Watch::Latent { unit, .. } => {
                place(loaded, unit)?;
                continue;
            }
            Watch::Unit { unit, index, .. } => (unit, index),
        };
        let Some(width) = spec.width_at(site.point) else {
            bail!("{unit} is no value of a token; watch {site} as a whole");
        };
        let (i, count, what) = match index {
            Index::Coordinate(i) => (*i as usize, width, "units"),
            Index::Head(h) => (*h as usize, spec.heads_at(site.point).unwrap_or(0), "heads"),
        };
        ensure!(i < count, "{unit} does not exist: {site} has {count} {what}, counted from 0");
    }
    Ok(())
}

/// What a run showed: for people and JSON, and as tensors.
pub(crate) struct Seen {
    pub(crate) shown: Vec<Watched>,
    pub(crate) values: Vec<(Site, Tensor)>,
}

/// Runs a whole text once more with everybody watching (the same values as while it was generated).
pub(crate) fn run(loaded: &Loaded, row: Row, watched: &[Watch], tap: &mut dyn Tap) -> Result<Seen> {
    let mut record = Record::new(sites(watched));
    let text = Text::of(loaded, row.clone())?;
    let at_logits = sites(watched).iter().any(|s| !s.point.per_layer());
    let plan = if at_logits { Plan::ALL } else { Plan::LAST };
    loaded.model.run(&Batch::one(row), &plan, None, &mut (tap, &mut record))?;
    let values = sites(watched).into_iter().map(|s| Ok((s, record.value(s)?))).collect::<Result<Vec<_>>>()?;
    let shown = watched.iter().map(|w| summary(loaded, w, &record.value(w.site())?, &text.tokens));
    Ok(Seen { shown: shown.collect::<Result<_>>()?, values })
}

/// One row of numbers for each token; at an attention point the token is the query.
fn rows(site: Site, x: &Tensor) -> Result<Vec<Vec<f32>>> {
    let rows = match site.point.shape() {
        // (heads, queries, keys) -> (queries, heads · keys)
        Shape::Attention => x.transpose(0, 1).and_then(|x| x.contiguous()).and_then(|x| x.flatten_from(1)),
        _ => x.flatten_from(1),
    };
    Ok(rows.and_then(|x| x.to_vec2::<f32>()).map_err(pellucid::model::Error::from)?)
}

fn length(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn summary(loaded: &Loaded, watch: &Watch, x: &Tensor, tokens: &[Placed]) -> Result<Watched> {
    let spec = loaded.model.spec();
    let site = watch.site();
    let rows = rows(site, x)?;
    let each = tokens.iter().zip(&rows);
    Ok(match watch {
        Watch::Site(site) => {
            let tokens = each.map(|(at, row)| site_token(*site, at, row, rows.len())).collect();
            Watched::Site { site: *site, shape: x.dims().to_vec(), tokens }
        }
        Watch::Unit { unit, index, .. } => {
            let value = |row: &[f32]| match index {
                Index::Coordinate(i) => row[*i as usize],
                Index::Head(h) => {
                    let dim = row.len() / spec.heads_at(site.point).unwrap_or(1).max(1);
                    length(&row[*h as usize * dim..(*h as usize + 1) * dim]) as f32
                }
            };
            let tokens = each.map(|(at, row)| UnitToken { at: at.clone(), value: value(row) }).collect();
            Watched::Unit { unit: unit.clone(), tokens }
        }
        Watch::Latent { unit, dictionary, index, .. } => {
            let values = loaded.model.dictionary(dictionary)?.values(&rows.concat(), *index);
            let each = tokens.iter().zip(values);
            let tokens = each.map(|(at, value)| UnitToken { at: at.clone(), value }).collect();
            Watched::Unit { unit: unit.clone(), tokens }
        }
    })
}

/// `keys`: how many tokens an attention point's rows look at, as many as there are queries.
fn site_token(site: Site, at: &Placed, row: &[f32], keys: usize) -> SiteToken {
    let largest = (0..row.len()).max_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs()).then(b.cmp(&a)));
    let largest = largest.unwrap_or(0);
    let name = match site.point.shape() {
        Shape::Attention => format!("{site}/h{} to {}", largest / keys.max(1), largest % keys.max(1)),
        _ => UnitId::coordinate(site, largest).to_string(),
    };
    SiteToken {
        at: at.clone(),
        norm: length(row),
        largest: name,
        value: row.get(largest).copied().unwrap_or(0.0),
    }
}

/// A table for one site or unit.
pub(crate) fn show(watched: &Watched, label: &str, out: &mut Out) -> Result<()> {
    match watched {
        Watched::Site { site, shape, tokens } => {
            out.heading(format!("{site}{label}, shape {shape:?}"))?;
            let mut table = Table::new(&[">", "token", ">norm", "largest", ">value"]);
            for t in tokens {
                let (norm, value) = (format!("{:.3}", t.norm), format!("{:+.3}", t.value));
                table.row(vec![
                    t.at.position.to_string(),
                    quoted(&t.at.text),
                    norm,
                    t.largest.clone(),
                    value,
                ]);
            }
            out.table(table)
        }
        Watched::Unit { unit, tokens } => {
            out.heading(format!("{unit}{label}"))?;
            let mut table = Table::new(&[">", "token", ">value"]);
            for t in tokens {
                table.row(vec![t.at.position.to_string(), quoted(&t.at.text), format!("{:+.3}", t.value)]);
            }
            out.table(table)?;
            let heat: Vec<(String, f64)> =
                tokens.iter().map(|t| (t.at.text.clone(), f64::from(t.value))).collect();
            out.line(crate::show::heat(&heat))
        }
    }
}
