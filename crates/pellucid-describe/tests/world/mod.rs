//! A small world of texts with units whose rules are known: what an explainer should find, and what it should not.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses its part

use pellucid_core::{Point, Seed, Site, UnitId};
use pellucid_describe::{Evidence, Example};
use pellucid_store::{Document, Kind};
use std::sync::Arc;

const PLAIN: &[&str] = &[
    " the", " a", " of", " in", " to", " and", " he", " she", " was", " had", " it", " that", " lamp",
    " table", " window", " river", " stone", " paper", " old", " young", " very", " quite", " because",
    " with", " for", " on", " house", " letter", " garden", " York", " new", " point", " time", " hand",
    " door", " light", " word", " day", " be", " thing", " king", " spring", " red", " bed", " city",
    " part",
];
const MONTHS: &[&str] = &[
    " January",
    " February",
    " March",
    " April",
    " June",
    " July",
    " August",
    " September",
    " October",
    " November",
    " December",
];
const STEMS: &[&str] = &[
    " walk", " talk", " read", " sing", " jump", " look", " play", " work", " cook", " turn", " call",
    " help", " rain", " paint", " plant", " build", " teach", " climb", " search", " watch", " bark",
    " burn", " count", " crawl",
];
const CAPITALS: &[&str] = &[
    " NASA", " FBI", " USA", " BBC", " IBM", " NATO", " HTTP", " CPU", " DNA", " WARNING", " ERROR", " TODO",
    " NOTE",
];
const HEBREW: &[&str] = &["ש", "ל", "ו", "ם", "ע", "ב", "ר", "י", "ת", "א", "ה", "מ", "נ", "ד"];

/// One text, cut into tokens.
pub fn text(seed: &mut Seed, length: usize) -> Vec<Arc<str>> {
    let mut out: Vec<String> = Vec::new();
    let pick = |seed: &mut Seed, list: &[&str]| list[seed.below(list.len())].to_owned();
    while out.len() < length {
        match seed.below(40) {
            0 => out.push(pick(seed, MONTHS)),
            1 => out.extend([" New".to_owned(), " York".to_owned()]),
            2 => out.extend([" ", "7", ".", "25"].map(str::to_owned).into_iter().map(|t| digits(seed, t))),
            3 => out.push(format!("{}ing", pick(seed, STEMS))),
            4 => out.push(pick(seed, STEMS)),
            5 => out.push(pick(seed, CAPITALS)),
            6 => out.extend((0..4).map(|_| pick(seed, HEBREW))),
            7 => out.extend([".".to_owned(), pick(seed, &[" The", " She", " It"])]),
            8 => out.push(",".to_owned()),
            9 => out.extend([" New".to_owned(), pick(seed, PLAIN)]),
            10 => out.push((0..3).map(|_| char::from(b'0' + seed.below(10) as u8)).collect()),
            11 => out.extend([" because".to_owned(), " of".to_owned()]),
            12 => out.push("\n".to_owned()),
            _ => out.push(pick(seed, PLAIN)),
        }
    }
    out.truncate(length);
    out.into_iter().map(Arc::from).collect()
}

fn digits(seed: &mut Seed, template: String) -> String {
    template
        .chars()
        .map(|c| if c.is_ascii_digit() { char::from(b'0' + seed.below(10) as u8) } else { c })
        .collect()
}

/// A rule: the activation at a token.
pub type Rule = fn(&[Arc<str>], usize) -> f32;

pub fn months(t: &[Arc<str>], i: usize) -> f32 {
    if MONTHS.contains(&t[i].as_ref()) { 1.0 } else { 0.0 }
}
pub fn after_decimal_point(t: &[Arc<str>], i: usize) -> f32 {
    let number = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if i >= 2 && t[i - 1].as_ref() == "." && number(&t[i - 2]) { 1.0 } else { 0.0 }
}
pub fn york_after_new(t: &[Arc<str>], i: usize) -> f32 {
    if i >= 1 && t[i].as_ref() == " York" && t[i - 1].as_ref() == " New" { 1.0 } else { 0.0 }
}
pub fn of_after_because(t: &[Arc<str>], i: usize) -> f32 {
    if i >= 1 && t[i].as_ref() == " of" && t[i - 1].as_ref() == " because" { 1.0 } else { 0.0 }
}
pub fn anything_after_new(t: &[Arc<str>], i: usize) -> f32 {
    if i >= 1 && t[i - 1].as_ref() == " New" { 1.0 } else { 0.0 }
}
pub fn digits_only(t: &[Arc<str>], i: usize) -> f32 {
    let inner = t[i].trim();
    if !inner.is_empty() && inner.chars().all(|c| c.is_ascii_digit()) { 1.0 } else { 0.0 }
}
pub fn all_capitals(t: &[Arc<str>], i: usize) -> f32 {
    if CAPITALS.contains(&t[i].as_ref()) { 1.0 } else { 0.0 }
}
pub fn ing(t: &[Arc<str>], i: usize) -> f32 {
    let stem = t[i].strip_suffix("ing");
    if stem.is_some_and(|s| STEMS.contains(&s)) { 1.0 } else { 0.0 }
}
pub fn hebrew(t: &[Arc<str>], i: usize) -> f32 {
    if HEBREW.contains(&t[i].as_ref()) { 1.0 } else { 0.0 }
}
pub fn before_york(t: &[Arc<str>], i: usize) -> f32 {
    if t.get(i + 1).is_some_and(|n| n.as_ref() == " York") { 1.0 } else { 0.0 }
}
pub fn nothing(_: &[Arc<str>], _: usize) -> f32 {
    0.0
}

/// How evidence is made.
#[derive(Clone, Copy)]
pub struct World {
    pub seed: u64,
    pub noise: f32,
    pub documents: usize,
    pub length: usize,
    pub top: usize,
    pub random: usize,
}

impl Default for World {
    fn default() -> Self {
        World { seed: 1, noise: 0.05, documents: 300, length: 48, top: 15, random: 20 }
    }
}

impl World {
    /// A unit of this world: for each split the strongest texts and random ones.
    pub fn evidence(&self, rule: Rule) -> Evidence {
        let mut seed = Seed(self.seed);
        let mut splits: [Vec<Example>; 3] = Default::default();
        for number in 0..self.documents {
            splits[[0, 0, 1, 2][number % 4]].push(self.example(number, rule, &mut seed));
        }
        let all: Vec<f32> = splits.iter().flatten().flat_map(|e| e.activations.clone()).collect();
        let scale = all.iter().copied().fold(0.0, f32::max);
        let density = all.iter().filter(|a| **a > 0.5 * scale).count() as f64 / all.len() as f64;
        let [train, validation, test] = splits.map(|s| self.kept(s));
        let site = Site::new(Point::MlpAct, 3);
        let unit = UnitId::coordinate(site, 7);
        Evidence { unit, scale, density, train, validation, test, promoted: vec![], suppressed: vec![] }
    }

    fn example(&self, number: usize, rule: Rule, seed: &mut Seed) -> Example {
        let texts = text(seed, self.length);
        let noise = |seed: &mut Seed| self.noise * (seed.normal().abs() as f32);
        // The rule's strength varies as a real unit's does.
        let activations = (0..texts.len())
            .map(|i| rule(&texts, i) * (0.7 + 0.6 * seed.uniform() as f32) + noise(seed))
            .collect();
        let mut name = [0u8; 16];
        name[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Example {
            tokens: texts
                .iter()
                .map(|t| t.bytes().fold(7u32, |h, b| h.wrapping_mul(31) ^ u32::from(b)))
                .collect(),
            activations,
            counted: vec![true; texts.len()],
            texts,
            document: Document(name),
            window: 0,
            start: 1,
            kind: Kind::Random,
        }
    }

    fn kept(&self, mut examples: Vec<Example>) -> Vec<Example> {
        let random: Vec<Example> = examples.split_off(examples.len().saturating_sub(self.random));
        let peak = |e: &Example| e.peak().map_or(0.0, |(_, a)| a);
        examples.sort_by(|a, b| peak(b).total_cmp(&peak(a)).then(a.document.cmp(&b.document)));
        examples.truncate(self.top);
        examples.iter_mut().for_each(|e| e.kind = Kind::Top);
        examples.into_iter().chain(random).collect()
    }
}
