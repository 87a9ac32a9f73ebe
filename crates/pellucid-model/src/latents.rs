//! Dictionaries that a model carries: second sets of units for its sites, under names. This crate knows them as
//! [`pellucid_core::Latents`] and asks nothing else of them.
//!
//! Nobody reads the first token of a text with them: massive activations stand there, dictionaries are trained without it, and
//! what one would make of it says nothing. All of that row is error.
//!
//! A change of latents leaves the error term alone: with a → a′ the row becomes x + Σ (a′ⱼ − aⱼ) dⱼ, so an edit that sets
//! what is already there changes no bit.

use crate::model::Model;
use crate::{Error, Result};
use pellucid_core::{Latents, Shape, Site};
use std::sync::Arc;

/// A dictionary with its name and its site.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name, as in `sae:NAME/7`.
    pub name: String,
    /// The site whose rows it reads and writes.
    pub site: Site,
    /// What tells its numbers from any other dictionary's, in hexadecimal.
    pub hash: String,
    /// The dictionary.
    pub latents: Arc<dyn Latents>,
}

/// A latent's place among the active ones of a row, which are ascending; none where it is silent.
fn place(active: &[(u32, f32)], latent: u32) -> Option<usize> {
    active.binary_search_by_key(&latent, |a| a.0).ok()
}

impl Attached {
    /// A latent's value among the active ones of a row.
    pub fn value(active: &[(u32, f32)], latent: u32) -> f32 {
        place(active, latent).map_or(0.0, |i| active[i].1)
    }

    /// Whether the row at this position of a text is read.
    pub fn reads(position: usize) -> bool {
        position > 0
    }

    /// One latent's value at each row of one text, `(tokens, width)` from its start.
    pub fn values(&self, rows: &[f32], latent: u32) -> Vec<f32> {
        self.active(rows).iter().map(|active| Attached::value(active, latent)).collect()
    }

    /// Why there is no such latent, in words; none where there is one.
    pub fn lacks(&self, latent: u32) -> Option<String> {
        let count = self.latents.count();
        (latent as usize >= count).then(|| {
            format!("sae:{}/{latent} does not exist; there are {count} latents, counted from 0", self.name)
        })
    }

    /// The active latents of each row of one text, `(tokens, width)` from its start.
    pub fn active(&self, rows: &[f32]) -> Vec<Vec<(u32, f32)>> {
        let first = self.latents.width().min(rows.len());
        let none = (first > 0).then(Vec::new);
        none.into_iter().chain(self.latents.active(&rows[first..])).collect()
    }
}

impl Model {
    /// Gives the model a dictionary, for who owns the model and shares it with nobody yet. A run without edits of its
    /// latents does not look at it.
    ///
    /// # Errors
    /// If the name is taken or cannot stand in a unit's name, the site does not exist, or its rows have another width.
    pub fn attach(&mut self, dictionary: Attached) -> Result<()> {
        let Attached { name, site, latents, .. } = &dictionary;
        let bad = |why: String| Err(Error::Request(format!("the dictionary {name:?}: {why}")));
        if name.is_empty() || name.contains([',', '=', '@']) || name.contains(char::is_whitespace) {
            return bad("a name has letters, digits, dots, dashes and slashes only".to_owned());
        }
        if self.dictionaries.iter().any(|d| d.name == *name) {
            return bad("there is another one of that name; give it another".to_owned());
        }
        self.check_site(*site)?;
        let width = self.spec.width_at(site.point).filter(|_| site.point.shape() != Shape::Attention);
        if width != Some(latents.width()) {
            let has = width.map_or_else(|| "no rows".to_owned(), |w| format!("rows of {w} numbers"));
            return bad(format!("it reads rows of {} numbers, and {site} has {has}", latents.width()));
        }
        self.dictionaries.push(dictionary);
        Ok(())
    }

    /// The dictionaries it was given.
    pub fn dictionaries(&self) -> &[Attached] {
        &self.dictionaries
    }

    /// The dictionary of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn dictionary(&self, name: &str) -> Result<&Attached> {
        self.dictionaries.iter().find(|d| d.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.dictionaries.iter().map(|d| d.name.as_str()).collect();
            let loaded = if names.is_empty() {
                "none is loaded".to_owned()
            } else {
                format!("loaded are {}", names.join(", "))
            };
            Error::Request(format!(
                "no dictionary is named {name:?}; {loaded} (--dictionary NAME=PATH loads one)"
            ))
        })
    }
}

/// A dictionary, and which of its latents are active in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active<'a> {
    pub(crate) latents: &'a dyn Latents,
    pub(crate) active: &'a [(u32, f32)],
}

/// Which part of a dictionary an edit is of.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// These latents.
    Latents(Vec<u32>),
    /// What it does not explain, whose share in the row is one number: 1.
    Error,
}

impl Part {
    /// The values that an edit changes, of a row with these active latents.
    pub(crate) fn values(&self, active: &[(u32, f32)]) -> Vec<f32> {
        match self {
            Part::Error => vec![1.0],
            Part::Latents(list) => list.iter().map(|&latent| Attached::value(active, latent)).collect(),
        }
    }

    /// The row in which those values are `after` instead of `before`.
    pub(crate) fn change(&self, from: Active<'_>, before: &[f32], after: &[f32], row: &mut [f32]) {
        if before == after {
            return;
        }
        let (was, Active { latents, active }) = (row.to_vec(), from);
        match self {
            Part::Error => {
                let explained = latents.explained(active, &was);
                row.iter_mut().zip(explained).for_each(|(x, e)| *x = e + after[0] * (*x - e));
            }
            Part::Latents(list) => {
                let changed = list.iter().zip(before.iter().zip(after)).filter(|(_, (b, a))| b != a);
                changed.for_each(|(l, (b, a))| latents.write(*l, a - b, &was, row));
            }
        }
    }

    /// The gradient of the row before the change. `g` is that of the row after it, and `back` takes the gradient of the
    /// changed values to that of the values before.
    pub(crate) fn pull(&self, from: Active<'_>, row: &[f32], g: &mut [f32], back: impl Fn(&mut [f32])) {
        let Active { latents, active } = from;
        match self {
            Part::Error => {
                let mut kept = [1.0];
                back(&mut kept);
                let explained = 1.0 - kept[0];
                let after = g.to_vec();
                g.iter_mut().for_each(|g| *g *= kept[0]);
                for &(latent, _) in active {
                    latents.pull(latent, explained * latents.worth(latent, &after, row), row, g);
                }
            }
            Part::Latents(list) => {
                let worth: Vec<f32> = list.iter().map(|&l| latents.worth(l, g, row)).collect();
                let mut before = worth.clone();
                back(&mut before);
                for (&latent, (before, after)) in list.iter().zip(before.iter().zip(&worth)) {
                    if place(active, latent).is_some() && before != after {
                        latents.pull(latent, before - after, row, g);
                    }
                }
            }
        }
    }
}
