//! A proxy is one predicate, or two that must both hold, with the mean activation where it is true and where it is
//! not. Candidates are those whose truth correlates best with the training activations: for an indicator that
//! holds on `n₁` of `n` tokens with mean `m₁` against `m` overall, `r = (m₁ − m)·√(p/(1−p))/σ`, `p = n₁/n`.

use super::Bits;
use super::classes::{class, classes, number_of};
use crate::reading::{Lexicon, Reading};
use std::collections::BTreeMap;

/// One predicate over a position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// The token, or its place, is of this class (by name).
    This(String),
    /// The token before it is.
    After(String),
    /// The token after it is.
    Before(String),
    /// The token has one of these folded texts.
    ThisWords(Vec<String>),
    /// The token before it has.
    AfterWords(Vec<String>),
    /// The token after it has.
    BeforeWords(Vec<String>),
}

/// One or two predicates, and what the unit does where they hold.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Proxy {
    /// All must hold.
    pub tests: Vec<Test>,
    /// Mean activation where they hold, in units of the typical strength.
    pub on: f32,
    /// Mean activation elsewhere.
    pub off: f32,
    /// Tokens of the training examples on which they hold.
    pub count: u32,
}

impl Proxy {
    /// One prediction for each token. Class names of another version that no longer exist hold nowhere.
    pub fn predict_reading(&self, lexicon: &Lexicon, reading: &Reading) -> Vec<f32> {
        self.predict_readings(lexicon, std::slice::from_ref(reading)).pop().unwrap_or_default()
    }

    /// The same for many rows.
    pub(crate) fn predict_readings(&self, lexicon: &Lexicon, readings: &[Reading]) -> Vec<Vec<f32>> {
        let tests: Vec<Ready> = self.tests.iter().map(|t| Ready::new(t, lexicon)).collect();
        let at = |reading: &Reading, i: usize| {
            if tests.iter().all(|t| t.holds(lexicon, reading, i)) { self.on } else { self.off }
        };
        readings.iter().map(|r| (0..r.bits.len()).map(|i| at(r, i)).collect()).collect()
    }
}

/// A test with its class looked up, or the numbers of its words in a lexicon (words it does not know occur nowhere).
enum Ready {
    Class(isize, Option<usize>),
    Words(isize, Vec<u32>),
}

impl Ready {
    fn new(test: &Test, lexicon: &Lexicon) -> Self {
        let known = |words: &[String]| words.iter().filter_map(|w| lexicon.known_fold(w)).collect();
        match test {
            Test::This(name) => Ready::Class(0, number_of(name)),
            Test::After(name) => Ready::Class(-1, number_of(name)),
            Test::Before(name) => Ready::Class(1, number_of(name)),
            Test::ThisWords(words) => Ready::Words(0, known(words)),
            Test::AfterWords(words) => Ready::Words(-1, known(words)),
            Test::BeforeWords(words) => Ready::Words(1, known(words)),
        }
    }

    fn holds(&self, lexicon: &Lexicon, reading: &Reading, i: usize) -> bool {
        match self {
            Ready::Class(shift, number) => {
                let at = i.checked_add_signed(*shift).and_then(|j| reading.bits.get(j));
                at.is_some_and(|bits| number.is_some_and(|n| bits.has(n)))
            }
            Ready::Words(shift, words) => {
                let at = i.checked_add_signed(*shift).and_then(|j| reading.words.get(j));
                at.is_some_and(|&w| words.contains(&lexicon.word(w).fold))
            }
        }
    }
}

/// A training row: what was read, the activation of each token relative to the typical strength, and which count.
pub(crate) struct Row<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) activations: &'a [f32],
    pub(crate) counted: &'a [bool],
}

impl Row<'_> {
    /// The counted positions.
    fn places(&self) -> impl Iterator<Item = usize> {
        let length = self.reading.words.len().min(self.activations.len()).min(self.counted.len());
        (0..length).filter(|&i| self.counted[i])
    }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    n: f64,
    sum: f64,
}

impl Sum {
    fn add(&mut self, value: f32) {
        self.n += 1.0;
        self.sum += f64::from(value);
    }
}

/// Count, mean and deviation of all counted tokens.
struct Whole {
    n: f64,
    mean: f64,
    deviation: f64,
}

impl Whole {
    fn of(rows: &[Row<'_>]) -> Self {
        let (mut n, mut sum, mut square) = (0.0, 0.0, 0.0);
        for (a, _) in rows.iter().flat_map(|r| r.activations.iter().zip(r.counted).filter(|(_, c)| **c)) {
            let a = f64::from(*a);
            n += 1.0;
            sum += a;
            square += a * a;
        }
        let mean = if n > 0.0 { sum / n } else { 0.0 };
        let variance = if n > 0.0 { (square / n - mean * mean).max(0.0) } else { 0.0 };
        Self { n, mean, deviation: variance.sqrt() }
    }

    /// Pearson's r of an indicator with the activations.
    fn correlation(&self, part: Sum) -> f64 {
        if part.n < 2.0 || part.n >= self.n || self.deviation == 0.0 {
            return 0.0;
        }
        let p = part.n / self.n;
        (part.sum / part.n - self.mean) * (p / (1.0 - p)).sqrt() / self.deviation
    }

    fn proxy(&self, tests: Vec<Test>, part: Sum) -> Proxy {
        let rest = self.n - part.n;
        let off = if rest > 0.0 { (self.mean * self.n - part.sum) / rest } else { 0.0 };
        let on = if part.n > 0.0 { part.sum / part.n } else { 0.0 };
        Proxy { tests, on: on as f32, off: off as f32, count: part.n as u32 }
    }
}

/// The best predicates for these rows: at most `most` single ones and `most / 2` pairs that beat both their parts,
/// the best first.
pub(crate) fn propose(lexicon: &Lexicon, rows: &[Row<'_>], promoted: &[String], most: usize) -> Vec<Proxy> {
    let whole = Whole::of(rows);
    if whole.deviation == 0.0 {
        return Vec::new();
    }
    let kinds = classes().len();
    let sums = singles(rows, kinds);
    let mut ranked: Vec<(f64, usize)> =
        sums.iter().enumerate().map(|(i, &s)| (whole.correlation(s), i)).filter(|(r, _)| *r > 0.0).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut found: Vec<(f64, Proxy)> = Vec::new();
    for &(r, i) in ranked.iter().take(most) {
        found.push((r, whole.proxy(vec![test(i, kinds)], sums[i])));
    }
    found.extend(pairs(rows, &whole, &ranked, kinds, most / 2));
    found.extend(next_words(lexicon, rows, &whole, promoted));
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut proxies: Vec<Proxy> = Vec::new();
    for (_, proxy) in found {
        let proxy = narrowed(lexicon, rows, &whole, proxy);
        if !proxies.iter().any(|p| p.tests == proxy.tests) {
            proxies.push(proxy);
        }
    }
    proxies
}

/// A class of which one word holds this share of the activation is replaced by the word: "cities" says too much of
/// a unit that has been seen to fire on York.
const ONE_WORD: f64 = 0.8;

/// The proxy with classes that stand for one word replaced by it.
fn narrowed(lexicon: &Lexicon, rows: &[Row<'_>], whole: &Whole, proxy: Proxy) -> Proxy {
    let ready: Vec<Ready> = proxy.tests.iter().map(|t| Ready::new(t, lexicon)).collect();
    let narrow = |test: &Test, ready: &Ready| match (test, ready) {
        (Test::This(_) | Test::After(_) | Test::Before(_), Ready::Class(shift, Some(n))) => {
            let class = class(*n);
            (!class.place && !class.mark).then_some(*shift)
        }
        _ => None,
    };
    let shifts: Vec<Option<isize>> = proxy.tests.iter().zip(&ready).map(|(t, r)| narrow(t, r)).collect();
    if shifts.iter().all(Option::is_none) {
        return proxy;
    }
    let mut mass: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); shifts.len()];
    for row in rows {
        for i in row.places().filter(|&i| ready.iter().all(|t| t.holds(lexicon, row.reading, i))) {
            for (shift, mass) in shifts.iter().zip(&mut mass) {
                if let Some(j) = shift.and_then(|s| i.checked_add_signed(s)) {
                    let word = lexicon.word(row.reading.words[j]);
                    *mass.entry(word.fold).or_default() += f64::from(row.activations[i]);
                }
            }
        }
    }
    let one_word = |mass: &BTreeMap<u32, f64>| {
        // The total is fixed in the order of size, which no numbering changes.
        let mut sizes: Vec<f64> = mass.values().copied().collect();
        sizes.sort_by(f64::total_cmp);
        let total: f64 = sizes.iter().sum();
        let (fold, _) = mass.iter().find(|(_, m)| **m >= ONE_WORD * total)?;
        Some(vec![lexicon.folded(*fold)?.to_owned()])
    };
    let mut tests = proxy.tests.clone();
    for ((test, shift), mass) in tests.iter_mut().zip(&shifts).zip(&mass) {
        if let (Some(shift), Some(word)) = (shift, one_word(mass)) {
            *test = match shift {
                0 => Test::ThisWords(word),
                -1 => Test::AfterWords(word),
                _ => Test::BeforeWords(word),
            };
        }
    }
    tests.sort();
    // Two classes of one place may have become the same word.
    tests.dedup();
    if tests == proxy.tests { proxy } else { fitted(lexicon, rows, whole, tests) }
}

/// The proxy of these tests, with its means.
fn fitted(lexicon: &Lexicon, rows: &[Row<'_>], whole: &Whole, tests: Vec<Test>) -> Proxy {
    let mut part = Sum::default();
    let ready: Vec<Ready> = tests.iter().map(|t| Ready::new(t, lexicon)).collect();
    for row in rows {
        row.places()
            .filter(|&i| ready.iter().all(|t| t.holds(lexicon, row.reading, i)))
            .for_each(|i| part.add(row.activations[i]));
    }
    whole.proxy(tests, part)
}

/// Count and sum of activations for each class at this token, the one before, the one after.
fn singles(rows: &[Row<'_>], kinds: usize) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); 3 * kinds];
    for row in rows {
        let bits = &row.reading.bits;
        for i in row.places() {
            let mut add = |set: Bits, shift: usize| {
                set.iter().for_each(|n| sums[shift * kinds + n].add(row.activations[i]));
            };
            add(bits[i], 0);
            if i > 0 {
                add(bits[i - 1], 1);
            }
            if let Some(&next) = bits.get(i + 1) {
                add(next, 2);
            }
        }
    }
    sums
}

fn test(index: usize, kinds: usize) -> Test {
    let name = class(index % kinds).many.to_owned();
    match index / kinds {
        0 => Test::This(name),
        1 => Test::After(name),
        _ => Test::Before(name),
    }
}

/// How many of the best single predicates are tried in pairs.
const PAIRED: usize = 14;
/// A pair must correlate better than both its parts by this much, since a simpler description is a better one.
const PAIR_GAIN: f64 = 0.03;

fn pairs(
    rows: &[Row<'_>],
    whole: &Whole,
    ranked: &[(f64, usize)],
    kinds: usize,
    most: usize,
) -> Vec<(f64, Proxy)> {
    let parts: Vec<(f64, usize)> =
        ranked.iter().copied().filter(|(_, i)| i / kinds < 2).take(PAIRED).collect();
    let mut sums = vec![Sum::default(); parts.len() * parts.len()];
    let mut hold: Vec<usize> = Vec::with_capacity(parts.len());
    for row in rows {
        let bits = &row.reading.bits;
        for i in row.places() {
            let before = if i > 0 { bits[i - 1] } else { Bits::default() };
            hold.clear();
            hold.extend((0..parts.len()).filter(|&k| {
                let index = parts[k].1;
                if index < kinds { bits[i].has(index) } else { before.has(index % kinds) }
            }));
            for (x, &a) in hold.iter().enumerate() {
                hold[x + 1..].iter().for_each(|&b| sums[a * parts.len() + b].add(row.activations[i]));
            }
        }
    }
    let mut found = Vec::new();
    for a in 0..parts.len() {
        for b in a + 1..parts.len() {
            let r = whole.correlation(sums[a * parts.len() + b]);
            if r > parts[a].0.max(parts[b].0) + PAIR_GAIN {
                found.push((r, a, b));
            }
        }
    }
    found.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    found.truncate(most);
    found
        .into_iter()
        .map(|(r, a, b)| {
            let mut tests = vec![test(parts[a].1, kinds), test(parts[b].1, kinds)];
            tests.sort();
            (r, whole.proxy(tests, sums[a * parts.len() + b]))
        })
        .collect()
}

/// Most words in one "tokens before …".
const NEXT_WORDS: usize = 4;
/// A word is taken when the mean activation before it is this many deviations above the mean.
const NEXT_ABOVE: f64 = 1.5;

/// "Tokens before York": the words that the strongest tokens are followed by, and the promoted tokens of the unit's
/// output where the text goes on with them.
fn next_words(lexicon: &Lexicon, rows: &[Row<'_>], whole: &Whole, promoted: &[String]) -> Vec<(f64, Proxy)> {
    let mut by_fold: BTreeMap<u32, (u32, Sum)> = BTreeMap::new();
    for row in rows {
        for i in row.places() {
            if let Some(&next) = row.reading.words.get(i + 1) {
                let entry = by_fold.entry(lexicon.word(next).fold).or_insert((next, Sum::default()));
                entry.1.add(row.activations[i]);
            }
        }
    }
    let text = |number: u32| lexicon.word(number).folded.to_string();
    let high = whole.mean + NEXT_ABOVE * whole.deviation;
    let mut strong: Vec<(u32, Sum)> =
        by_fold.values().copied().filter(|(_, s)| s.n >= 2.0 && s.sum / s.n > high).collect();
    strong.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum).then_with(|| text(a.0).cmp(&text(b.0))));
    strong.truncate(NEXT_WORDS);
    let spoken: Vec<(u32, Sum)> =
        by_fold.values().copied().filter(|(w, _)| promoted.iter().any(|p| **p == *text(*w))).collect();
    let proxy = |words: &[(u32, Sum)]| {
        let mut by_mass = words.to_vec();
        by_mass.sort_by(|a, b| b.1.sum.total_cmp(&a.1.sum).then_with(|| text(a.0).cmp(&text(b.0))));
        let total = by_mass.iter().fold(Sum::default(), |a, (_, s)| Sum { n: a.n + s.n, sum: a.sum + s.sum });
        let r = whole.correlation(total);
        let texts = by_mass.iter().map(|(w, _)| text(*w)).collect();
        (r, whole.proxy(vec![Test::BeforeWords(texts)], total))
    };
    [strong, spoken].iter().filter(|w| !w.is_empty()).map(|w| proxy(w)).filter(|(r, _)| *r > 0.0).collect()
}
