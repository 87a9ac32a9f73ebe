//! Steering by concept: `concept("months and dates", k=500, strength=0)` becomes plain edits through the atlas.

use super::find::vector;
use super::{ENCODER, open};
use crate::models::Loaded;
use anyhow::{Context, Result, bail, ensure};
use pellucid::core::{Edit, Op, Polarity, Positions, Site, Target};
use pellucid::describe::evidence::scale;
use pellucid::store::atlas::{Hit, Query, ScoreKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Concept {
    /// What the units are about.
    text: String,
    /// How many units.
    k: usize,
    /// 0 turns them off; 1 sets each to its typical strength.
    strength: f32,
    /// The least score of a unit's description on held-out text.
    score: f64,
}

/// Whether an `--edit` names a concept.
pub(crate) fn is_concept(argument: &str) -> bool {
    argument.trim_start().starts_with("concept(")
}

/// The edits of a concept, one for each site, and the units that were taken with what they respond to.
pub(crate) fn resolve(
    argument: &str,
    loaded: &Loaded,
    atlas: Option<&Path>,
) -> Result<(Vec<Edit>, Vec<Hit>)> {
    let concept = parse(argument)?;
    let atlas = open(loaded, atlas)?;
    let query = Query {
        vector: Some((ENCODER.to_owned(), vector(&concept.text)?)),
        score: Some((ScoreKind::Simulation, concept.score)),
        ..Query::all(concept.k)
    };
    let hits = atlas.find(&query)?;
    ensure!(
        !hits.is_empty(),
        "no unit of the atlas is described well enough for {argument}; lower its score="
    );
    let mut by_site: BTreeMap<Site, BTreeMap<u32, f32>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for hit in &hits {
        // both sides of one unit can fit; the nearer stands
        if seen.insert((hit.site, hit.index)) {
            let unit =
                atlas.unit(hit.site, hit.index)?.context("a description's unit is not in the atlas")?;
            let sign = if hit.polarity == Polarity::Positive { 1.0 } else { -1.0 };
            let value = sign * concept.strength * scale(&unit, hit.polarity);
            by_site.entry(hit.site).or_default().insert(hit.index, value);
        }
    }
    let edit = |(site, units): (Site, BTreeMap<u32, f32>)| Edit {
        site,
        target: Target::Units(units.keys().copied().collect()),
        positions: Positions::All,
        op: if concept.strength == 0.0 { Op::Zero } else { Op::Set(units.into_values().collect()) },
    };
    Ok((by_site.into_iter().map(edit).collect(), hits))
}

/// `concept("TEXT", k=N, strength=S, score=R)`; all but the text may be left out.
fn parse(argument: &str) -> Result<Concept> {
    let form = r#"expected concept("what it is about", k=500, strength=0, score=0.2)"#;
    let inner = argument.trim().strip_prefix("concept(").and_then(|a| a.strip_suffix(')'));
    let inner = inner.with_context(|| format!("{argument}: {form}"))?.trim();
    let quoted = inner.strip_prefix('"').and_then(|a| a.rsplit_once('"'));
    let (text, rest) =
        quoted.with_context(|| format!("{argument}: the words stand in double quotes; {form}"))?;
    let mut concept = Concept { text: text.to_owned(), k: 500, strength: 0.0, score: 0.2 };
    for part in rest.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').with_context(|| format!("{argument}: {part:?}: {form}"))?;
        let wrong = || format!("{argument}: {value:?} is no number for {name}");
        let number = || value.trim().parse::<f64>().ok().filter(|n| n.is_finite()).with_context(wrong);
        match name.trim() {
            "k" => concept.k = value.trim().parse().ok().filter(|k| *k > 0).with_context(wrong)?,
            "strength" => concept.strength = number()? as f32,
            "score" => concept.score = number()?,
            _ => bail!("{argument}: there is no {name:?}; {form}"),
        }
    }
    Ok(concept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn concepts_are_read_with_what_they_leave_out() {
        let c = parse(r#"concept("months, "quoted" and dates", k=20, strength=-1.5)"#).unwrap();
        assert_eq!(
            c,
            Concept { text: r#"months, "quoted" and dates"#.to_owned(), k: 20, strength: -1.5, score: 0.2 }
        );
        assert_eq!(parse(r#"concept("x")"#).unwrap().k, 500);
        for bad in [
            "concept(x)",
            r#"concept("x""#,
            r#"concept("x", k=0)"#,
            r#"concept("x", z=1)"#,
            r#"concept("x", strength=nan)"#,
        ] {
            assert!(is_concept(bad));
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
