//! Which sides of which units a command works on: sites, units, or a sample of what is described.

use anyhow::{Result, bail, ensure};
use clap::Args;
use pellucid::core::{Index, Polarity, Seed, Site, UnitId};
use pellucid::store::atlas::{Atlas, Query, Sort};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// One side of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Side {
    pub(crate) site: Site,
    pub(crate) index: u32,
    pub(crate) polarity: Polarity,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.site, self.index, self.polarity)
    }
}

/// Both sides of zero.
pub(crate) const POLARITIES: [Polarity; 2] = [Polarity::Positive, Polarity::Negative];

/// A part of an atlas.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Selection {
    /// All units of a site, both sides.
    Site(Site),
    /// A unit, both sides unless it names one.
    Unit(UnitId),
    /// So many of the described sides, drawn with the seed.
    Sample(usize),
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(count) = text.strip_prefix("sample:") {
            let count = count.parse().ok().filter(|n| *n > 0);
            return count
                .map(Selection::Sample)
                .ok_or_else(|| format!("`{text}`: expected a number after `sample:`, such as sample:50"));
        }
        if let Ok(unit @ (UnitId::Site { index: Index::Coordinate(_), .. } | UnitId::Latent { .. })) =
            text.parse()
        {
            return Ok(Selection::Unit(unit));
        }
        text.parse().map(Selection::Site).map_err(|_| {
            format!(
                "`{text}`: expected a site (mlp_act.3), a unit (mlp_act.3/1054, mlp_act.3/1054-) or sample:N"
            )
        })
    }
}

/// Which units.
#[derive(Args, Clone, Default)]
pub(crate) struct UnitsArgs {
    /// Only these: sites (mlp_act.3), units (mlp_act.3/1054 or one side, mlp_act.3/1054-), or sample:N, so many of the
    /// described sides, drawn with the seed.
    #[arg(long, value_name = "SELECTION", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) units: Vec<Selection>,
}

impl UnitsArgs {
    /// The sides that were asked for, each once and in order; none if the user did not choose.
    pub(crate) fn chosen(&self, atlas: &Atlas, seed: u64) -> Result<Option<Vec<Side>>> {
        if self.units.is_empty() {
            return Ok(None);
        }
        let mut sides = BTreeSet::new();
        for selection in &self.units {
            sides.extend(select(atlas, selection, seed)?);
        }
        Ok(Some(sides.into_iter().collect()))
    }
}

fn select(atlas: &Atlas, selection: &Selection, seed: u64) -> Result<Vec<Side>> {
    match selection {
        Selection::Site(site) => {
            let row = atlas.sites()?.into_iter().find(|row| row.site == *site);
            let Some(row) = row else { bail!("{site} is not in {}", atlas.path().display()) };
            let both = |index| POLARITIES.map(|polarity| Side { site: *site, index, polarity });
            Ok((0..row.width).flat_map(both).collect())
        }
        Selection::Unit(unit) => {
            let (site, index, polarity) = match unit {
                UnitId::Site { site, index: Index::Coordinate(index), polarity } => {
                    (*site, *index, *polarity)
                }
                UnitId::Latent { dictionary, index, .. }
                    if atlas.dictionary()?.as_ref() == Some(dictionary) =>
                {
                    let Some(row) = atlas.sites()?.into_iter().next() else { bail!("the atlas is empty") };
                    (row.site, *index, Some(Polarity::Positive))
                }
                _ => bail!("{unit}: expected one unit of the atlas, such as mlp_act.3/1054 or sae:NAME/7"),
            };
            ensure!(atlas.unit(site, index)?.is_some(), "{unit} is not in {}", atlas.path().display());
            let wanted = POLARITIES.into_iter().filter(|p| polarity.is_none_or(|only| only == *p));
            Ok(wanted.map(|polarity| Side { site, index, polarity }).collect())
        }
        Selection::Sample(count) => {
            let all = described(atlas)?;
            ensure!(
                !all.is_empty(),
                "{} has no descriptions to draw from; make some with `pellucid atlas describe`",
                atlas.path().display()
            );
            let drawn = Seed(seed).for_purpose("sample of sides").choose(all.len(), *count);
            Ok(drawn.into_iter().map(|i| all[i]).collect())
        }
    }
}

/// All sides with a chosen description, in order.
pub(crate) fn described(atlas: &Atlas) -> Result<Vec<Side>> {
    let hits = atlas.find(&Query { sort: Sort::Unit, ..Query::all(usize::MAX) })?;
    let side = |h: pellucid::store::atlas::Hit| Side { site: h.site, index: h.index, polarity: h.polarity };
    let mut sides: Vec<Side> = hits.into_iter().map(side).collect();
    sides.sort();
    Ok(sides)
}

/// Every side of every unit, in order.
pub(crate) fn all(atlas: &Atlas) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    for row in atlas.sites()? {
        sides.extend(select(atlas, &Selection::Site(row.site), 0)?);
    }
    sides.sort();
    Ok(sides)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn selections_are_sites_units_or_samples() {
        let read = |text: &str| text.parse::<Selection>();
        assert_eq!(read("sample:50"), Ok(Selection::Sample(50)));
        assert_eq!(read("mlp_act.3"), Ok(Selection::Site("mlp_act.3".parse().unwrap())));
        assert_eq!(read("mlp_act.3/7-"), Ok(Selection::Unit("mlp_act.3/7-".parse().unwrap())));
        for bad in ["sample:", "sample:0", "sample:-3", "mlp_act", "sae:x", ""] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
