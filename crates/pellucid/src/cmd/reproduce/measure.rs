//! What neurons and latents of two models are worth on held-out text: twins in the other model, and what each kind of text is told by.
//!
//! Detectors are chosen on validation windows and told on test windows. A window's first token is left out, as everywhere with
//! dictionaries.

use super::automata::{Automaton, Firing, Following, Split};
use crate::cmd::dict::kinds::Kinds;
use crate::models::Loaded;
use crate::show::bar;
use anyhow::Result;
use pellucid::core::Site;
use pellucid::dict::{Density, Dictionary, Sparse, Twins};
use pellucid::interp::dictionary::{row_count, rows};
use pellucid::store::Window;
use serde::Serialize;

/// Windows that are looked at together.
const CHUNK: usize = 64;
/// What counts as strongly active: this share of the most that was seen on validation windows.
const STRONG: f32 = 0.5;
/// The fewest held-out tokens of a kind that is reported.
const FEWEST: u64 = 200;

/// A model with dictionaries of its neurons, the one that is looked at closely last.
pub(super) struct Subject {
    pub(super) loaded: Loaded,
    pub(super) neurons: usize,
    pub(super) dictionaries: Vec<Dictionary>,
    pub(super) site: Site,
}

impl Subject {
    /// What is active, token by token: neurons, then the latents of each dictionary.
    fn see(&self, windows: &[Window]) -> Result<Vec<Sparse>> {
        let x = rows(&self.loaded.model, self.site, windows)?;
        let mut seen = vec![Sparse::of(&x, self.neurons)];
        for dictionary in &self.dictionaries {
            seen.push(dictionary.encode(&x)?);
        }
        Ok(seen)
    }

    /// How many neurons, then how many latents of each dictionary.
    fn widths(&self) -> Vec<usize> {
        let latents = self.dictionaries.iter().map(|dictionary| dictionary.shape.latents);
        std::iter::once(self.neurons).chain(latents).collect()
    }
}

/// How well one unit tells a kind of text, on test windows.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Detector {
    pub(super) unit: u32,
    /// Correlation of its activation with being such text.
    pub(super) r: f64,
    /// Share of the tokens on which it is active that are such text.
    pub(super) active: f64,
    /// The same of those on which it is strongly active; none where it never is.
    pub(super) strong: Option<f64>,
    /// Share of such text's tokens on which it is active.
    pub(super) covered: f64,
}

/// A kind of text, and what tells it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kind {
    pub(super) name: String,
    /// Share of the test tokens.
    pub(super) share: f64,
    pub(super) latent: Option<Detector>,
    pub(super) neuron: Option<Detector>,
}

/// Each unit's best correlation with a unit of another set; units that were never active have none.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Matches {
    /// Units of the set, silent ones too.
    pub(super) units: usize,
    pub(super) best: Vec<f64>,
    /// In how many test tokens each of these units was active.
    pub(super) active: Vec<u64>,
}

impl Matches {
    fn new(twins: &Twins, density: &Density) -> Self {
        let counts = density.counts();
        let mut matches = Matches { units: counts.len(), ..Matches::default() };
        for (best, count) in twins.best().into_iter().zip(counts) {
            if let Some((_, r)) = best {
                matches.best.push(r);
                matches.active.push(*count);
            }
        }
        matches
    }

    /// Of units that were active in so many tokens: from the first number, below the second.
    pub(super) fn of(&self, least: u64, below: u64) -> Vec<f64> {
        let all = self.best.iter().zip(&self.active);
        all.filter(|(_, count)| (least..below).contains(count)).map(|(r, _)| *r).collect()
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) tokens: u64,
    pub(super) kinds: Vec<Kind>,
    /// Neurons of `a` in `b`.
    pub(super) neurons: Matches,
    /// Latents of `a` in `b`: of every dictionary.
    pub(super) latents: Vec<Matches>,
    /// Latents of `a` among the neurons that they read: of the last dictionary.
    pub(super) latents_by_neurons: Matches,
    /// In how many test tokens each latent of the last dictionary of `a` was active.
    pub(super) active: Vec<u64>,
    /// Latents of the last dictionary that lead to one another and back.
    pub(super) automata: Vec<Automaton>,
    /// Latents of the first dictionary, and what the last one makes of them; empty where there is only one.
    pub(super) splits: Vec<Split>,
}

/// Measures both models on validation and test windows.
pub(super) fn measure(
    [a, b]: &[Subject; 2],
    kinds: &Kinds,
    [validation, test]: [&[Window]; 2],
) -> Result<Measured> {
    let (widths, others) = (a.widths(), b.widths());
    let last = widths.len() - 1;
    // neurons, and the last dictionary's latents
    let looked_at = [0, last];
    let mut choices =
        looked_at.map(|set| Choice::new(kinds, widths[set])).into_iter().collect::<Result<Vec<_>>>()?;
    let shown = bar("kinds of text: windows", validation.len());
    for windows in validation.chunks(CHUNK) {
        let (seen, told) = (a.see(windows)?, kinds.rows(windows));
        for (choice, set) in choices.iter_mut().zip(looked_at) {
            choice.add(&told, &seen[set])?;
        }
        shown.inc(windows.len() as u64);
    }
    shown.finish_and_clear();
    let mut found: Vec<Vec<Option<Counted>>> = choices.iter().map(Choice::chosen).collect();
    let twins_of = |(first, second): (&usize, &usize)| Ok(Twins::new(*first, *second)?);
    let mut twins = widths.iter().zip(&others).map(twins_of).collect::<Result<Vec<_>>>()?;
    let mut by_neurons = Twins::new(widths[last], widths[0])?;
    // of the first and the last dictionary: where they are active, and which of the last go with which of the first
    let (mut narrow, mut wide) = (Firing::new(widths[1]), Following::new(widths[last])?);
    let mut parts = Twins::new(widths[last], widths[1])?;
    let mut density: Vec<Density> = widths.iter().map(|width| Density::new(*width)).collect();
    let mut told = looked_at
        .map(|set| Ok(Twins::new(kinds.names.len(), widths[set])?))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut of_kind = vec![0u64; kinds.names.len()];
    let shown = bar("twins: windows", test.len());
    for windows in test.chunks(CHUNK) {
        let (ours, theirs, here) = (a.see(windows)?, b.see(windows)?, kinds.rows(windows));
        for (set, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            twins[set].add(ours, theirs)?;
            density[set].add(ours);
        }
        by_neurons.add(&ours[last], &ours[0])?;
        if last > 1 {
            narrow.add(windows, &ours[1]);
            parts.add(&ours[last], &ours[1])?;
        }
        wide.add(windows, &ours[last])?;
        here.latents.iter().for_each(|kind| of_kind[*kind as usize] += 1);
        for ((found, told), set) in found.iter_mut().zip(&mut told).zip(looked_at) {
            told.add(&here, &ours[set])?;
            found.iter_mut().flatten().for_each(|counted| counted.add(&here, &ours[set]));
        }
        shown.inc(windows.len() as u64);
    }
    shown.finish_and_clear();
    let tokens = row_count(test) as u64;
    let detector = |place: usize, kind: usize| -> Option<Detector> {
        let counted = found[place][kind].as_ref()?;
        counted.told(told[place].correlation(kind, counted.unit as usize)?, of_kind[kind])
    };
    let reported = (0..kinds.names.len()).filter(|kind| of_kind[*kind] >= FEWEST).map(|kind| Kind {
        name: kinds.names[kind].clone(),
        share: of_kind[kind] as f64 / tokens.max(1) as f64,
        latent: detector(1, kind),
        neuron: detector(0, kind),
    });
    let splits = if last > 1 { wide.splits(&narrow, &parts, &a.loaded) } else { Vec::new() };
    let mut matches = twins.iter().zip(&density).map(|(twins, density)| Matches::new(twins, density));
    Ok(Measured {
        tokens,
        kinds: reported.collect(),
        neurons: matches.next().unwrap_or_default(),
        latents: matches.collect(),
        latents_by_neurons: Matches::new(&by_neurons, &density[last]),
        active: density[last].counts().to_vec(),
        automata: wide.automata(&a.loaded, a.site, &a.dictionaries[last - 1])?,
        splits,
    })
}

/// Which unit goes with each kind most, and the most that each unit was active.
struct Choice {
    twins: Twins,
    most: Vec<f32>,
}

impl Choice {
    fn new(kinds: &Kinds, width: usize) -> Result<Self> {
        Ok(Choice { twins: Twins::new(kinds.names.len(), width)?, most: vec![0.0; width] })
    }

    fn add(&mut self, told: &Sparse, seen: &Sparse) -> Result<()> {
        for (unit, value) in seen.latents.iter().zip(&seen.values) {
            let most = &mut self.most[*unit as usize];
            *most = most.max(*value);
        }
        Ok(self.twins.add(told, seen)?)
    }

    fn chosen(&self) -> Vec<Option<Counted>> {
        let all = self.twins.best().into_iter().zip(0..);
        all.map(|(best, kind)| {
            let (unit, _) = best?;
            Some(Counted {
                kind,
                unit,
                floor: STRONG * self.most[unit as usize],
                active: [0; 2],
                strong: [0; 2],
            })
        })
        .collect()
    }
}

/// On how many tokens a unit is active: of its kind, and at all.
struct Counted {
    kind: u32,
    unit: u32,
    floor: f32,
    active: [u64; 2],
    strong: [u64; 2],
}

impl Counted {
    fn add(&mut self, told: &Sparse, seen: &Sparse) {
        for row in 0..seen.rows() {
            let Some((_, value)) = seen.row(row).find(|(unit, value)| *unit == self.unit && *value > 0.0)
            else {
                continue;
            };
            let here = u64::from(told.row(row).any(|(kind, _)| kind == self.kind));
            for (counts, counted) in [(&mut self.active, true), (&mut self.strong, value > self.floor)] {
                counts[0] += here * u64::from(counted);
                counts[1] += u64::from(counted);
            }
        }
    }

    fn told(&self, r: f64, of_kind: u64) -> Option<Detector> {
        let share = |[here, all]: [u64; 2]| (all > 0).then(|| here as f64 / all as f64);
        Some(Detector {
            unit: self.unit,
            r,
            active: share(self.active)?,
            strong: share(self.strong),
            covered: self.active[0] as f64 / of_kind.max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn sparse(rows: &[&[(u32, f32)]]) -> Sparse {
        let mut sparse = Sparse::default();
        rows.iter().for_each(|row| sparse.push(row.iter().copied()));
        sparse
    }

    #[test]
    fn matches_are_of_units_that_were_active_and_are_told_by_how_often() {
        let seen = sparse(&[&[(0, 1.0), (3, 2.0)], &[(0, 2.0)], &[(0, 3.0), (3, 1.0)], &[(1, 1.0)]]);
        let (mut twins, mut density) = (Twins::new(4, 4).unwrap(), Density::new(4));
        twins.add(&seen, &seen).unwrap();
        density.add(&seen);
        let matches = Matches::new(&twins, &density);
        assert_eq!((matches.units, matches.active.as_slice()), (4, &[3, 1, 2][..]));
        assert!(matches.best.iter().all(|r| (r - 1.0).abs() < 1e-9));
        let counts = [(0, 9), (2, 9), (2, 3), (4, 9)].map(|(least, below)| matches.of(least, below).len());
        assert_eq!(counts, [3, 2, 1, 0]);
    }

    #[test]
    fn a_detector_is_told_by_what_it_is_active_on() {
        let kinds = Kinds { of: HashMap::new(), names: vec!["x".into(), "y".into()] };
        let told = sparse(&[&[(0, 1.0)], &[(1, 1.0)], &[(1, 1.0)], &[], &[(1, 1.0)], &[(0, 1.0)]]);
        // unit 2 goes with kind 1, strongly on two of three, and once weakly with nothing
        let seen =
            sparse(&[&[(0, 1.0)], &[(2, 4.0)], &[(0, 1.0), (2, 3.0)], &[(2, 1.0)], &[(0, 1.0)], &[(0, 1.0)]]);
        let mut choice = Choice::new(&kinds, 3).unwrap();
        choice.add(&told, &seen).unwrap();
        let mut found = choice.chosen().remove(1).unwrap();
        assert_eq!((found.kind, found.unit, found.floor), (1, 2, 2.0));
        found.add(&told, &seen);
        let detector = found.told(0.5, 3).unwrap();
        assert_eq!((detector.active, detector.strong, detector.covered), (2.0 / 3.0, Some(1.0), 2.0 / 3.0));
    }
}
