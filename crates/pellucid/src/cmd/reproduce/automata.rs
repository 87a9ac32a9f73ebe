//! Latents that go on to one another: finite-state automata, found by themselves; and latents of a narrow dictionary that a wide one splits.
//!
//! A latent leads to another if at least half of the other's activation lies on the ten tokens that it speaks for most (weights), and the two
//! go together on held-out text, one token apart (Pearson's r). Ways that come back to where they began are automata (Bricken et al. 2023).

use super::report::OFTEN;
use crate::models::Loaded;
use anyhow::Result;
use pellucid::core::Site;
use pellucid::dict::{Dictionary, Sparse, Twins};
use pellucid::interp::promoted_latents;
use pellucid::model::Attached;
use pellucid::store::Window;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Tokens that a latent is taken to speak for.
const SPOKEN: usize = 10;
/// The share of a latent's activation that must lie on them.
const FIRED: f64 = 0.5;
/// The least correlation with what is active one token later.
const FOLLOWS: f64 = 0.1;
/// The least correlation of a wide latent with the narrow one that it is a part of.
const PART: f64 = 0.3;
/// Tokens that a latent is named by.
const NAMES: usize = 3;

/// A latent, and the tokens on which it is active most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Named {
    pub(super) latent: u32,
    pub(super) tokens: Vec<String>,
}

/// Latents in the order in which they lead to one another, the last to the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Automaton {
    pub(super) states: Vec<Named>,
    /// The smallest correlation on the way.
    pub(super) r: f64,
}

/// A latent of a narrow dictionary, and those of a wide one that go with it more than with any other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Split {
    pub(super) of: Named,
    pub(super) into: Vec<Named>,
}

/// On which tokens latents are active.
pub(super) struct Firing {
    /// Σ of activation by token, latent by latent.
    on: Vec<BTreeMap<u32, f64>>,
    active: Vec<u64>,
}

/// The same, and what is active one token later.
pub(super) struct Following {
    firing: Firing,
    next: Twins,
}

impl Firing {
    pub(super) fn new(latents: usize) -> Self {
        Firing { on: vec![BTreeMap::new(); latents], active: vec![0; latents] }
    }

    /// Adds windows with what was active in all their tokens but the first.
    pub(super) fn add(&mut self, windows: &[Window], seen: &Sparse) {
        let tokens = windows.iter().flat_map(|window| window.tokens.iter().skip(1));
        for (row, token) in tokens.enumerate() {
            for (latent, value) in seen.row(row) {
                *self.on[latent as usize].entry(*token).or_default() += f64::from(value);
                self.active[latent as usize] += 1;
            }
        }
    }

    /// The tokens on which a latent is active most, of equal ones the first.
    fn named(&self, latent: u32, texts: &[Arc<str>]) -> Named {
        let mut on: Vec<(u32, f64)> = self.on[latent as usize].iter().map(|(t, v)| (*t, *v)).collect();
        on.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let text =
            |(token, _): &(u32, f64)| texts.get(*token as usize).map(ToString::to_string).unwrap_or_default();
        Named { latent, tokens: on.iter().take(NAMES).map(text).collect() }
    }

    fn often(&self, latent: usize) -> bool {
        self.active[latent] >= OFTEN
    }
}

impl Following {
    pub(super) fn new(latents: usize) -> Result<Self> {
        Ok(Following { firing: Firing::new(latents), next: Twins::new(latents, latents)? })
    }

    /// As [`Firing::add`].
    pub(super) fn add(&mut self, windows: &[Window], seen: &Sparse) -> Result<()> {
        self.firing.add(windows, seen);
        let (mut now, mut later) = (Sparse::default(), Sparse::default());
        let mut first = 0;
        for window in windows {
            let rows = window.tokens.len().saturating_sub(1);
            for row in first..first + rows.saturating_sub(1) {
                now.push(seen.row(row));
                later.push(seen.row(row + 1));
            }
            first += rows;
        }
        Ok(self.next.add(&now, &later)?)
    }

    /// Which latents each one leads to, with the correlation; `spoken` are the tokens that each one speaks for.
    fn leads(&self, spoken: &[Vec<u32>]) -> Vec<BTreeMap<u32, f64>> {
        let often = |latent: usize| self.firing.often(latent);
        let mut by_token: HashMap<u32, Vec<(u32, f64)>> = HashMap::new();
        for (latent, on) in self.firing.on.iter().enumerate().filter(|(latent, _)| often(*latent)) {
            let all: f64 = on.values().sum();
            for (token, value) in on {
                by_token.entry(*token).or_default().push((latent as u32, value / all));
            }
        }
        let of = |(latent, spoken): (usize, &Vec<u32>)| -> BTreeMap<u32, f64> {
            let mut fired: BTreeMap<u32, f64> = BTreeMap::new();
            for (other, share) in spoken.iter().filter_map(|token| by_token.get(token)).flatten() {
                *fired.entry(*other).or_default() += share;
            }
            let follows = |(other, share): (u32, f64)| {
                let r = self.next.correlation(latent, other as usize)?;
                (share >= FIRED && r >= FOLLOWS).then_some((other, r))
            };
            fired.into_iter().filter_map(follows).collect()
        };
        spoken.iter().enumerate().map(|pair| if often(pair.0) { of(pair) } else { BTreeMap::new() }).collect()
    }

    /// Ways of at most three latents that come back, the best correlated first.
    pub(super) fn automata(
        &self,
        loaded: &Loaded,
        site: Site,
        dictionary: &Dictionary,
    ) -> Result<Vec<Automaton>> {
        let attached = Attached {
            name: "latents".to_owned(),
            site,
            hash: String::new(),
            latents: Arc::new(dictionary.clone()),
        };
        let all = 0..dictionary.shape.latents;
        let promoted = promoted_latents(&loaded.model, &attached, all, SPOKEN, &mut |_| ())?;
        let spoken: Vec<Vec<u32>> =
            promoted.iter().map(|p| p.up.iter().map(|(token, _)| *token).collect()).collect();
        let texts = loaded.vocabulary();
        let mut found: Vec<Automaton> = cycles(&self.leads(&spoken))
            .into_iter()
            .map(|(way, r)| Automaton {
                states: way.iter().map(|l| self.firing.named(*l, texts)).collect(),
                r,
            })
            .collect();
        found.sort_by(|a, b| b.r.total_cmp(&a.r));
        Ok(found)
    }

    /// What a wide dictionary, whose firing this is, makes of a narrow one's latents; `together` are correlations of wide with narrow.
    pub(super) fn splits(&self, narrow: &Firing, together: &Twins, loaded: &Loaded) -> Vec<Split> {
        let texts = loaded.vocabulary();
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (wide, best) in together.best().into_iter().enumerate() {
            if let Some((of, r)) = best
                && r >= PART
                && self.firing.often(wide)
            {
                parts.entry(of).or_default().push(wide as u32);
            }
        }
        let mut splits: Vec<Split> = parts
            .into_iter()
            .map(|(of, into)| Split {
                of: narrow.named(of, texts),
                into: into.into_iter().map(|latent| self.firing.named(latent, texts)).collect(),
            })
            .collect();
        splits.sort_by_key(|split| std::cmp::Reverse(split.into.len()));
        splits
    }
}

/// Ways of one, two or three different latents that come back to their first, which is the lowest, with the smallest correlation on them.
fn cycles(leads: &[BTreeMap<u32, f64>]) -> Vec<(Vec<u32>, f64)> {
    let mut found = Vec::new();
    for (first, to) in (0u32..).zip(leads) {
        for (second, a) in to.range(first..) {
            if *second == first {
                found.push((vec![first], *a));
                continue;
            }
            for (third, b) in &leads[*second as usize] {
                if *third == first {
                    found.push((vec![first, *second], a.min(*b)));
                } else if *third > first
                    && third != second
                    && let Some(c) = leads[*third as usize].get(&first)
                {
                    found.push((vec![first, *second, *third], a.min(*b).min(*c)));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid::core::Split as Part;
    use pellucid::store::Document;

    #[test]
    fn ways_that_come_back_are_found_once_each() {
        let leads: Vec<BTreeMap<u32, f64>> =
            [vec![(0, 0.9), (1, 0.5)], vec![(0, 0.4), (2, 0.8)], vec![(0, 0.7), (3, 1.0)], vec![]]
                .into_iter()
                .map(BTreeMap::from_iter)
                .collect();
        assert_eq!(cycles(&leads), [(vec![0], 0.9), (vec![0, 1], 0.4), (vec![0, 1, 2], 0.5)]);
    }

    #[test]
    fn a_latent_leads_to_what_is_active_on_the_tokens_it_speaks_for_and_follows_it() {
        // tokens 7 and 8 by turns, and latent 0 on 7, latent 1 on 8; latent 2 on both
        let tokens: Vec<u32> = (0..401).map(|i| if i % 2 == 0 { 7 } else { 8 }).collect();
        let mut seen = Sparse::default();
        for token in &tokens[1..] {
            let own = if *token == 7 { 0 } else { 1 };
            seen.push([(own, 1.0), (2, 1.0 + own as f32)]);
        }
        let counted = vec![true; tokens.len()];
        let window = Window { document: Document([0; 16]), split: Part::Test, index: 0, tokens, counted };
        let mut following = Following::new(3).unwrap();
        following.add(&[window], &seen).unwrap();
        assert_eq!(following.firing.active, [200, 200, 400]);
        // 0 speaks for 8 and 1 for 7, as they should; two thirds of 2 lie on 8. It speaks for 9, on which nothing is active
        let leads = following.leads(&[vec![8], vec![7], vec![9]]);
        let of = |latent: usize| leads[latent].keys().copied().collect::<Vec<_>>();
        assert_eq!((of(0), of(1), of(2)), (vec![1, 2], vec![0], vec![]));
        assert!(cycles(&leads).iter().any(|(way, r)| *way == [0, 1] && *r > 0.99));
        let texts: Vec<Arc<str>> = (0..9).map(|i| format!("t{i}").into()).collect();
        assert_eq!(following.firing.named(1, &texts).tokens, ["t8"]);
    }
}
