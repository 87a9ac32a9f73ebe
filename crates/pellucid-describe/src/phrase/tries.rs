//! Tries in words: the heaviest patterns, those of one context together.

use super::tokens::{LONGEST, Surface, clean, fit, listed};
use crate::pattern::{Pattern, Step, Trie};
use crate::proxy::{class as class_of, number_of};
use crate::reading::Lexicon;

/// Patterns weaker than this share of the strongest are not spoken of.
const WEAK: f32 = 0.3;
/// A pattern is told by its longer forms alone if these hold this share of its mass.
const INHERITED: f32 = 0.75;
/// Contexts spoken of.
const GROUPS: usize = 3;

/// Patterns with one context.
struct Group {
    context: String,
    /// Shown, folded and mass; the heaviest first.
    words: Vec<(String, String, f32)>,
    any: bool,
    mass: f32,
}

/// A trie as a phrase; none for one without patterns.
pub(crate) fn of_trie(trie: &Trie, surface: &Surface<'_>, lexicon: &Lexicon) -> Option<String> {
    let groups = grouped(&spoken(trie.patterns()), surface);
    let total: f32 = groups.iter().map(|g| g.mass).sum();
    let class = trie.class.as_ref().map(|c| c.many.as_str());
    let mut phrase = String::new();
    for group in groups.iter().take(GROUPS) {
        let used = phrase.chars().count();
        // What holds little of the mass is left out once something has been said.
        if !phrase.is_empty() && (group.mass < 0.1 * total || used + 16 > LONGEST) {
            break;
        }
        let separator = if phrase.is_empty() { "" } else { "; " };
        let part = in_words(group, class, lexicon, LONGEST - used);
        if used > 0 && used + separator.len() + part.chars().count() > LONGEST {
            break;
        }
        phrase.push_str(separator);
        phrase.push_str(&part);
    }
    (!phrase.is_empty()).then(|| fit(phrase))
}

fn mass(p: &Pattern) -> f32 {
    p.mean * p.count as f32
}

/// The patterns worth words: strong ones, and of a pattern and its longer forms whichever tells more.
fn spoken(all: Vec<Pattern>) -> Vec<Pattern> {
    let strongest = all.iter().map(|p| p.mean).fold(0.0, f32::max);
    let strong: Vec<Pattern> =
        all.into_iter().filter(|p| p.mean >= WEAK * strongest && p.mean > 0.0).collect();
    let longer = |p: &Pattern, q: &Pattern| q.steps.len() > p.steps.len() && q.steps.starts_with(&p.steps);
    let told = |p: &Pattern| {
        let heirs: f32 = strong
            .iter()
            .filter(|q| longer(p, q) && q.mean > p.mean && q.steps.len() == p.steps.len() + 1)
            .map(mass)
            .sum();
        heirs < INHERITED * mass(p)
    };
    let kept: Vec<bool> = strong.iter().map(told).collect();
    let shadowed =
        |q: &Pattern| strong.iter().zip(&kept).any(|(p, k)| *k && longer(p, q) && p.mean >= 0.6 * q.mean);
    strong.iter().zip(&kept).filter(|(q, k)| **k && !shadowed(q)).map(|(q, _)| q.clone()).collect()
}

fn grouped(patterns: &[Pattern], surface: &Surface<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for pattern in patterns {
        let Some((first, rest)) = pattern.steps.split_first() else { continue };
        let context = context(rest, surface);
        let (shown, folded) = step(first, surface);
        let any = *first == Step::Any;
        let weight = mass(pattern);
        match groups.iter_mut().find(|g| g.context == context && g.any == any) {
            Some(group) => {
                group.mass += weight;
                if !group.words.iter().any(|w| w.0 == shown) {
                    group.words.push((shown, folded, weight));
                }
            }
            None => groups.push(Group { context, words: vec![(shown, folded, weight)], any, mass: weight }),
        }
    }
    groups.sort_by(|a, b| b.mass.total_cmp(&a.mass));
    // "Tokens after C" has said what "X after C" would.
    let open: Vec<String> = groups.iter().filter(|g| g.any).map(|g| g.context.clone()).collect();
    groups.retain(|g| g.any || !open.contains(&g.context));
    merge_any(groups)
}

/// "Tokens after A" and "tokens after B" are one group.
fn merge_any(groups: Vec<Group>) -> Vec<Group> {
    let mut merged: Vec<Group> = Vec::new();
    for group in groups {
        match merged.iter_mut().find(|g| g.any && group.any) {
            Some(first) => {
                first.context = format!("{}, {}", first.context, group.context);
                first.mass += group.mass;
            }
            None => merged.push(group),
        }
    }
    merged
}

/// As shown, and folded.
fn step(step: &Step, surface: &Surface<'_>) -> (String, String) {
    match step {
        Step::Any => ("…".to_owned(), String::new()),
        Step::Exact(text) => (clean(text), crate::reading::fold(text)),
        Step::Folded(text) => (surface.show(text), text.clone()),
    }
}

/// The context in reading order, quoted; empty for none.
fn context(steps: &[Step], surface: &Surface<'_>) -> String {
    let words: Vec<String> = steps.iter().rev().map(|s| step(s, surface).0).collect();
    if words.is_empty() { String::new() } else { format!("\"{}\"", words.join(" ")) }
}

fn in_words(group: &Group, class: Option<&str>, lexicon: &Lexicon, room: usize) -> String {
    if group.any {
        return format!("tokens after {}", group.context);
    }
    let shown: Vec<String> = group.words.iter().map(|w| w.0.clone()).collect();
    if group.context.is_empty() {
        let Some(many) = class else { return listed("", &quoted(&shown), 6, room) };
        let number = number_of(many);
        if !number.is_some_and(|n| class_of(n).examples) {
            return many.to_owned();
        }
        let fits = |w: &&(String, String, f32)| number.is_some_and(|n| lexicon.classes(&w.1).has(n));
        let members: Vec<String> = group.words.iter().filter(fits).map(|w| w.0.clone()).collect();
        return listed(&format!("{many}: "), &members, 5, room);
    }
    let tail = format!(" after {}", group.context);
    let head = listed("", &quoted(&shown), 4, room.saturating_sub(tail.chars().count()).max(12));
    format!("{head}{tail}")
}

fn quoted(words: &[String]) -> Vec<String> {
    words.iter().map(|w| format!("\"{w}\"")).collect()
}
