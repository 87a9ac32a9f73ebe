//! Learning the trie from training rows, with no run of the model.
//!
//! A node predicts the mean of the positions that reach it, shrunk towards its parent's prediction by counts,
//! `(Σa + κ·parent)/(n + κ)`. It stands only where it changes the prediction: its squared error, each position
//! predicted without itself, must be clearly below its parent's on the same positions; otherwise a position backs
//! off to the shorter context. With `c = Σa + κp` and `d = n − 1 + κ` the left-out prediction is `(c − aᵢ)/d`, so
//! that the error is `((d+1)²Σa² − 2c(d+1)Σa + n·c²)/d²` and costs no second pass.

use super::trie::{ClassStep, Node, Trie};
use crate::proxy::{Bits, Row, class, classes, is_telling};
use crate::reading::Lexicon;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A token is active when it reaches this share of its example's peak.
pub(crate) const ACTIVE: f32 = 0.5;
/// κ: how many observations of its parent a node starts with.
const SHRINK: f64 = 0.5;
/// A context must lower the left-out squared error to this share of its parent's …
const LOWERS: f64 = 0.8;
/// … and by this many times the parent's mean squared error (the gain of a context that changes nothing is about
/// once that; many contexts are tried) …
const GAIN: f64 = 4.0;
/// … and move the prediction by this share of the typical strength.
const MOVES: f64 = 0.1;
/// Longest pattern, the token itself included.
const DEPTH: usize = 4;
/// A context before any token must have been seen before this many different active tokens.
const DIFFERENT: usize = 2;

/// All counted positions of the training rows in one line. A position near a row's beginning has no tokens before.
struct Line<'a> {
    lexicon: &'a Lexicon,
    words: Vec<u32>,
    /// How many tokens of the same row stand before.
    room: Vec<u32>,
    values: Vec<f64>,
    counted: Vec<bool>,
    active: Vec<bool>,
    /// The left-out squared error of the deepest node that predicts a position so far.
    error: Vec<f64>,
}

/// Sums over a group of positions, and the prediction they are shrunk to.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    square: f64,
}

/// A prediction for positions: shrunk mean, and the two numbers of the left-out form.
#[derive(Clone, Copy)]
struct Guess {
    mean: f64,
    c: f64,
    d: f64,
    /// Mean left-out squared error over its own positions.
    spread: f64,
}

impl Guess {
    fn of(group: Moments, parent: f64) -> Self {
        let c = group.sum + SHRINK * parent;
        let guess = Self { mean: c / (group.n + SHRINK), c, d: group.n - 1.0 + SHRINK, spread: 0.0 };
        Self { spread: guess.error(group) / group.n.max(1.0), ..guess }
    }

    /// Squared error over a subgroup of the positions that the guess was made from, each left out in turn.
    fn error(self, part: Moments) -> f64 {
        let e = self.d + 1.0;
        (e * e * part.square - 2.0 * self.c * e * part.sum + part.n * self.c * self.c) / (self.d * self.d)
    }
}

/// Learns a trie; empty if nothing is active.
pub(crate) fn learn(lexicon: &Lexicon, rows: &[Row<'_>], exemplary: &[bool]) -> Trie {
    let mut line = Line::new(lexicon, rows, exemplary);
    let all: Vec<u32> = (0..line.words.len() as u32).filter(|&p| line.counted[p as usize]).collect();
    if all.is_empty() {
        return Trie::default();
    }
    let whole = Guess::of(line.moments(&all), 0.0);
    all.iter().for_each(|&p| line.error[p as usize] = whole.error(line.moments(&[p])));
    let active: BTreeSet<u32> =
        all.iter().filter(|&&p| line.active[p as usize]).map(|&p| line.fold(p, 0)).collect();
    let mut root = Node { mean: Some(whole.mean as f32), count: all.len() as u32, ..Node::default() };
    let mut matched = vec![false; line.words.len()];
    let own: Vec<u32> = all.iter().copied().filter(|&p| active.contains(&line.fold(p, 0))).collect();
    for (_, group) in line.groups(&own, 0, |l, p| l.fold(p, 0)) {
        line.token(&group, whole, &mut root, &mut matched);
    }
    root.any = line.contexts(&all, whole, &mut matched);
    let (n, sum) = all
        .iter()
        .filter(|&&p| !matched[p as usize])
        .fold((0.0, 0.0), |(n, s), &p| (n + 1.0, s + line.values[p as usize]));
    root.mean = Some(if n > 0.0 { (sum / n) as f32 } else { 0.0 });
    let class = line.class(&root, &all);
    Trie { root, class }
}

/// The words of a class must hold this share of what the context-free patterns predict …
const SHARED: f64 = 0.7;
/// … be at least so many …
const MEMBERS: usize = 3;
/// … and be at least this share of the class's words that the training examples hold.
const PRECISE: f64 = 0.5;
/// Words weaker than this share of the strongest do not speak for a class.
const STRONG: f32 = 0.3;

/// A folded text seen in training: its classes, its activations, whether the trie knows it as active.
type Seen<'a> = (&'a str, Bits, Moments, bool);

impl<'a> Line<'a> {
    fn new(lexicon: &'a Lexicon, rows: &[Row<'_>], exemplary: &[bool]) -> Self {
        let mut line = Line {
            lexicon,
            words: Vec::new(),
            room: Vec::new(),
            values: Vec::new(),
            counted: Vec::new(),
            active: Vec::new(),
            error: Vec::new(),
        };
        for (row, &exemplary) in rows.iter().zip(exemplary) {
            let counted = |i: usize| row.counted.get(i).copied().unwrap_or(false);
            let value = |i: usize| row.activations.get(i).copied().unwrap_or(0.0);
            let length = row.reading.words.len();
            let peak = (0..length).filter(|&i| counted(i)).map(value).fold(0.0f32, f32::max);
            for i in 0..length {
                line.words.push(row.reading.words[i]);
                line.room.push(i as u32);
                line.values.push(f64::from(value(i)));
                line.counted.push(counted(i));
                // In a random example the peak may be nothing much, so there the typical strength is the measure.
                let bar = if exemplary { ACTIVE * peak } else { ACTIVE };
                line.active.push(counted(i) && peak > 0.0 && value(i) >= bar);
                line.error.push(0.0);
            }
        }
        line
    }

    fn fold(&self, p: u32, back: u32) -> u32 {
        self.lexicon.word(self.words[(p - back) as usize]).fold
    }

    fn moments(&self, positions: &[u32]) -> Moments {
        positions.iter().fold(Moments { n: 0.0, sum: 0.0, square: 0.0 }, |m, &p| {
            let a = self.values[p as usize];
            Moments { n: m.n + 1.0, sum: m.sum + a, square: m.square + a * a }
        })
    }

    /// Positions that have `back` tokens before them, by key; within a group in their order.
    fn groups(
        &self,
        positions: &[u32],
        back: u32,
        key: impl Fn(&Self, u32) -> u32,
    ) -> BTreeMap<u32, Vec<u32>> {
        let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &p in positions.iter().filter(|&&p| self.room[p as usize] >= back) {
            groups.entry(key(self, p)).or_default().push(p);
        }
        groups
    }

    /// Notes that a guess now predicts these positions.
    fn settle(&mut self, positions: &[u32], guess: Guess, matched: &mut [bool]) {
        for &p in positions {
            let one = self.moments(&[p]);
            self.error[p as usize] = guess.error(one);
            matched[p as usize] = true;
        }
    }

    /// A node for a token that has been active somewhere. Those seen once are kept: they are what the unit fired
    /// on, and shrinkage keeps them modest.
    fn token(&mut self, group: &[u32], parent: Guess, root: &mut Node, matched: &mut [bool]) {
        let moments = self.moments(group);
        let guess = Guess::of(moments, parent.mean);
        if group.len() > 1 && guess.error(moments) > parent.error(moments) {
            // The token alone says nothing; with a context it may.
            let mut node = Node { count: group.len() as u32, ..Node::default() };
            self.grow(group, parent, 1, &mut node, matched);
            if node.is_empty() {
                return;
            }
            root.folded.insert(self.folded_text(group[0], 0), node);
            return;
        }
        let node = self.node(group, guess, parent.mean, 1, matched);
        self.insert(root, group, node, parent.mean, 0, matched);
    }

    /// Puts a node for a folded text under its parent; texts of that form which behave unlike it get their own, and
    /// the folded one then speaks for the others.
    fn insert(
        &mut self,
        to: &mut Node,
        part: &[u32],
        mut child: Node,
        prior: f64,
        back: u32,
        matched: &mut [bool],
    ) {
        let variants = self.variants(part, Guess::of(self.moments(part), prior), back, matched);
        let apart: Vec<u32> =
            part.iter().copied().filter(|p| !variants.iter().any(|v| v.1.contains(p))).collect();
        if !variants.is_empty() && !apart.is_empty() {
            let guess = Guess::of(self.moments(&apart), prior);
            child = self.node(&apart, guess, prior, back as usize + 1, matched);
        }
        to.exact.extend(variants.into_iter().map(|(text, _, variant)| (text, variant)));
        to.folded.insert(self.folded_text(part[0], back), child);
    }

    /// Texts of one folded form that behave unlike the whole form.
    fn variants(
        &mut self,
        group: &[u32],
        parent: Guess,
        back: u32,
        matched: &mut [bool],
    ) -> Vec<(String, Vec<u32>, Node)> {
        let by_text = self.groups(group, back, |l, p| l.words[(p - back) as usize]);
        if by_text.len() < 2 {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (word, part) in by_text {
            if let Some(node) = self.child(&part, parent, back as usize + 1, matched) {
                found.push((self.lexicon.word(word).text.to_string(), part, node));
            }
        }
        found
    }

    /// A node for positions that share one more token of context, if that changes the prediction.
    fn child(&mut self, part: &[u32], parent: Guess, depth: usize, matched: &mut [bool]) -> Option<Node> {
        let moments = self.moments(part);
        let guess = Guess::of(moments, parent.mean);
        let before = parent.error(moments);
        let changes = guess.error(moments) < LOWERS * before && (guess.mean - parent.mean).abs() >= MOVES;
        let gain = before - guess.error(moments);
        if part.len() < 2 || !changes || gain < GAIN * parent.spread {
            return None;
        }
        Some(self.node(part, guess, parent.mean, depth, matched))
    }

    /// A node with what grows from it. Its own prediction is for the positions that no longer context took: once
    /// "York after New" is known, "York" means York after anything else.
    fn node(&mut self, group: &[u32], guess: Guess, prior: f64, depth: usize, matched: &mut [bool]) -> Node {
        self.settle(group, guess, matched);
        let mut node = Node { mean: Some(guess.mean as f32), count: group.len() as u32, ..Node::default() };
        let rest = self.grow(group, guess, depth, &mut node, matched);
        if rest.len() < group.len() && !rest.is_empty() {
            let own = Guess::of(self.moments(&rest), prior);
            self.settle(&rest, own, matched);
            node.mean = Some(own.mean as f32);
            node.count = rest.len() as u32;
        }
        node
    }

    /// Adds to a node the contexts one token further back that change its prediction, and behind a wildcard those
    /// two tokens back for the positions that none of these took. Gives back the positions that none took at all.
    fn grow(
        &mut self,
        group: &[u32],
        own: Guess,
        depth: usize,
        node: &mut Node,
        matched: &mut [bool],
    ) -> Vec<u32> {
        if depth >= DEPTH || group.len() < 4 {
            return group.to_vec();
        }
        let back = depth as u32;
        let mut rest: Vec<u32> = group.iter().copied().filter(|&p| self.room[p as usize] < back).collect();
        for (_, part) in self.groups(group, back, |l, p| l.fold(p, back)) {
            match self.child(&part, own, depth + 1, matched) {
                Some(child) => self.insert(node, &part, child, own.mean, back, matched),
                None => rest.extend(part),
            }
        }
        rest.sort_unstable();
        let mut any = Node { count: rest.len() as u32, ..Node::default() };
        let rest = self.grow(&rest, own, depth + 1, &mut any, matched);
        if !any.is_empty() {
            node.any = Some(Box::new(any));
        }
        rest
    }

    /// "Any token after …": contexts that predict better than the tokens themselves do.
    fn contexts(&mut self, all: &[u32], whole: Guess, matched: &mut [bool]) -> Option<Box<Node>> {
        let mut node = Node { count: all.len() as u32, ..Node::default() };
        let active: BTreeSet<u32> = all
            .iter()
            .filter(|&&p| self.active[p as usize] && self.room[p as usize] >= 1)
            .map(|&p| self.fold(p, 1))
            .collect();
        let near: Vec<u32> = all
            .iter()
            .copied()
            .filter(|&p| self.room[p as usize] >= 1 && active.contains(&self.fold(p, 1)))
            .collect();
        for (_, part) in self.groups(&near, 1, |l, p| l.fold(p, 1)) {
            let different: BTreeSet<u32> =
                part.iter().filter(|&&p| self.active[p as usize]).map(|&p| self.fold(p, 0)).collect();
            let moments = self.moments(&part);
            let guess = Guess::of(moments, whole.mean);
            let now: f64 = part.iter().map(|&p| self.error[p as usize]).sum();
            let better = guess.error(moments) < LOWERS * now && guess.mean - whole.mean >= MOVES;
            if different.len() < DIFFERENT || !better {
                continue;
            }
            let child = self.node(&part, guess, whole.mean, 2, matched);
            self.insert(&mut node, &part, child, whole.mean, 1, matched);
        }
        if node.is_empty() { None } else { Some(Box::new(node)) }
    }

    /// The class that the trie's words stand for, so that words never met in training are predicted too.
    fn class(&self, root: &Node, all: &[u32]) -> Option<ClassStep> {
        let strongest = root.folded.values().filter_map(|n| n.mean).fold(0.0f32, f32::max);
        let member =
            |w: &str| root.folded.get(w).and_then(|n| n.mean).is_some_and(|m| m >= STRONG * strongest);
        // By number first and by text afterwards: numbers hash faster, texts have an order of their own.
        let mut sums: HashMap<u32, (u32, Moments)> = HashMap::new();
        for &p in all {
            let number = self.words[p as usize];
            let entry = sums.entry(self.lexicon.word(number).fold).or_insert((number, Moments::default()));
            entry.1.n += 1.0;
            entry.1.sum += self.values[p as usize];
        }
        let read = |(number, moments): (u32, Moments)| {
            let word = self.lexicon.word(number);
            (word.folded.as_ref(), word.classes, moments, member(&word.folded))
        };
        let mut seen: Vec<Seen<'_>> = sums.into_values().map(read).collect();
        seen.sort_unstable_by_key(|s| s.0);
        let total: f64 = seen.iter().filter(|s| s.3).map(|s| s.2.sum).sum();
        // The class with the fewest words that do not fire; of equals the one with the most that do.
        let mut best: Option<((usize, usize), ClassStep)> = None;
        for number in (0..classes().len()).filter(|&n| is_telling(n)) {
            let of_class = seen.iter().filter(|s| s.1.has(number));
            let (inside, outside): (Vec<&Seen<'_>>, Vec<&Seen<'_>>) = of_class.partition(|s| s.3);
            let sum: f64 = inside.iter().map(|s| s.2.sum).sum();
            let n: f64 = inside.iter().map(|s| s.2.n).sum();
            let precise = inside.len() as f64 >= PRECISE * (inside.len() + outside.len()) as f64;
            if sum < SHARED * total || inside.len() < MEMBERS || !precise {
                continue;
            }
            let rank = (outside.len(), usize::MAX - inside.len());
            if best.as_ref().is_none_or(|(r, _)| rank < *r) {
                let except = outside.iter().map(|s| s.0.to_owned()).collect();
                let step = ClassStep { many: class(number).many.to_owned(), mean: (sum / n) as f32, except };
                best = Some((rank, step));
            }
        }
        best.map(|(_, step)| step)
    }

    fn folded_text(&self, p: u32, back: u32) -> String {
        self.lexicon.word(self.words[(p - back) as usize]).folded.to_string()
    }
}

impl Node {
    /// Whether it neither predicts nor leads anywhere.
    fn is_empty(&self) -> bool {
        self.mean.is_none() && self.exact.is_empty() && self.folded.is_empty() && self.any.is_none()
    }
}
