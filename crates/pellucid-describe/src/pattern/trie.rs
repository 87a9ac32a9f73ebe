//! A trie of token patterns read backwards: the token itself, then the token before it, and so on. A step is a
//! text, a folded text (" Month" as "month"), or any token.

use crate::proxy::number_of;
use crate::reading::{Lexicon, Reading, Word};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// This text, with its case and spaces.
    Exact(String),
    /// This text whatever its case and the spaces around it.
    Folded(String),
    /// Any token.
    Any,
}

/// What is known of the positions whose last tokens spell the way to this node.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// Mean activation of the training positions that reach it, shrunk towards its parent's, in units of the
    /// typical strength; none for a wildcard on the way to something.
    pub mean: Option<f32>,
    /// How many training positions reach it.
    pub count: u32,
    /// Nodes one token further back, by text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exact: BTreeMap<String, Node>,
    /// Nodes one token further back, by folded text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folded: BTreeMap<String, Node>,
    /// One token further back whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Box<Node>>,
}

/// A whole way through the trie.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// The token itself first, then backwards.
    pub steps: Vec<Step>,
    /// Predicted activation, in units of the typical strength.
    pub mean: f32,
    /// Training positions that it rests on.
    pub count: u32,
}

/// The trie: its root's children are the tokens themselves.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Trie {
    /// The root; its mean is that of all positions no pattern matches.
    pub root: Node,
    /// What words that the trie does not know do if they are of the class that those it knows are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassStep>,
}

/// A class as a step between a word and any token.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClassStep {
    /// The class's name.
    pub many: String,
    /// Predicted activation.
    pub mean: f32,
    /// Words of the class that were seen not to fire, folded.
    pub except: BTreeSet<String>,
}

impl Trie {
    /// One prediction for each token of a row, in units of the typical strength.
    pub fn predict(&self, _tokens: &[u32], texts: &[Arc<str>]) -> Vec<f32> {
        let mut lexicon = Lexicon::new();
        let reading = lexicon.read(texts, false);
        self.predict_reading(&lexicon, &reading)
    }

    /// The same for a row that has been read.
    pub fn predict_reading(&self, lexicon: &Lexicon, reading: &Reading) -> Vec<f32> {
        self.predict_readings(lexicon, std::slice::from_ref(reading)).pop().unwrap_or_default()
    }

    /// The same for many rows. Among the patterns that match, the one of the token itself and the one of any token
    /// after a context are candidates: the first holds if it knows as much of the context, otherwise the larger.
    /// A token that neither knows is predicted by its class.
    pub(crate) fn predict_readings(&self, lexicon: &Lexicon, readings: &[Reading]) -> Vec<Vec<f32>> {
        let rest = self.root.mean.unwrap_or(0.0);
        let tokens = Index::of(&self.root, lexicon);
        let contexts = self.root.any.as_ref().map(|n| Index::of(n, lexicon));
        let class = self.class.as_ref().and_then(|c| Some((c, number_of(&c.many)?)));
        let row = |reading: &Reading| {
            let word = |i: usize| lexicon.word(reading.words[i]);
            let by_class = |i: usize| {
                let (class, number) = class?;
                let fits = reading.bits[i].has(number) && !class.except.contains(word(i).folded.as_ref());
                fits.then_some(class.mean)
            };
            let value = |i: usize| {
                let keys = |j: usize| (reading.words[j], word(j).fold);
                let own = tokens.find(keys(i)).and_then(|n| n.deepest(&word, i, 1));
                let before = i.checked_sub(1).and_then(|j| contexts.as_ref()?.find(keys(j)));
                // A wildcard below "any token" is not in the index.
                let further = || self.root.any.as_ref()?.any.as_ref()?.deepest(&word, i, 2);
                let any = before.and_then(|n| n.deepest(&word, i, 2)).or_else(further);
                match (own, any) {
                    (None, None) => by_class(i).unwrap_or(rest),
                    (Some((_, m)), None) => m,
                    (None, Some((_, m))) => by_class(i).map_or(m, |c| c.max(m)),
                    (Some((d, own)), Some((e, any))) => {
                        if d >= e {
                            own
                        } else {
                            own.max(any)
                        }
                    }
                }
            };
            (0..reading.words.len()).map(value).collect()
        };
        readings.iter().map(row).collect()
    }

    /// All patterns, the heaviest (mean times count) first; ties by steps.
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut found = Vec::new();
        self.root.walk(&mut Vec::new(), &mut found);
        let mass = |p: &Pattern| p.mean * p.count as f32;
        found.sort_by(|a, b| mass(b).total_cmp(&mass(a)).then_with(|| a.steps.cmp(&b.steps)));
        found
    }
}

/// A node's children by the lexicon's numbers, since nearly every token is looked up and nearly none is found.
struct Index<'a> {
    exact: Vec<(u32, &'a Node)>,
    folded: Vec<(u32, &'a Node)>,
}

impl<'a> Index<'a> {
    fn of(node: &'a Node, lexicon: &Lexicon) -> Self {
        let mut exact: Vec<(u32, &Node)> =
            node.exact.iter().filter_map(|(text, n)| Some((lexicon.known(text)?, n))).collect();
        let mut folded: Vec<(u32, &Node)> =
            node.folded.iter().filter_map(|(text, n)| Some((lexicon.known_fold(text)?, n))).collect();
        exact.sort_unstable_by_key(|e| e.0);
        folded.sort_unstable_by_key(|e| e.0);
        Self { exact, folded }
    }

    fn find(&self, (word, fold): (u32, u32)) -> Option<&'a Node> {
        let among = |list: &[(u32, &'a Node)], n: u32| {
            list.binary_search_by_key(&n, |e| e.0).ok().and_then(|at| list.get(at)).map(|e| e.1)
        };
        among(&self.exact, word).or_else(|| among(&self.folded, fold))
    }
}

impl Node {
    fn child(&self, word: &Word) -> Option<&Node> {
        self.exact.get(word.text.as_ref()).or_else(|| self.folded.get(word.folded.as_ref()))
    }

    /// The mean of the deepest matching node that has one, and its depth; `depth` tokens are matched so far.
    fn deepest<'w>(&self, word: &impl Fn(usize) -> &'w Word, i: usize, depth: usize) -> Option<(usize, f32)> {
        let here = self.mean.map(|m| (depth, m));
        let Some(back) = i.checked_sub(depth) else { return here };
        let named = self.child(word(back)).and_then(|n| n.deepest(word, i, depth + 1));
        let further = || self.any.as_ref().and_then(|n| n.deepest(word, i, depth + 1));
        named.or_else(further).or(here)
    }

    fn walk(&self, way: &mut Vec<Step>, found: &mut Vec<Pattern>) {
        if let (Some(mean), false) = (self.mean, way.is_empty()) {
            found.push(Pattern { steps: way.clone(), mean, count: self.count });
        }
        let exact = self.exact.iter().map(|(k, n)| (Step::Exact(k.clone()), n));
        let folded = self.folded.iter().map(|(k, n)| (Step::Folded(k.clone()), n));
        let any = self.any.iter().map(|n| (Step::Any, n.as_ref()));
        for (step, node) in exact.chain(folded).chain(any) {
            way.push(step);
            node.walk(way, found);
            way.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(mean: f32) -> Node {
        Node { mean: Some(mean), count: 3, ..Node::default() }
    }

    fn texts(all: &[&str]) -> Vec<Arc<str>> {
        all.iter().map(|&t| Arc::from(t)).collect()
    }

    #[test]
    fn the_deepest_known_context_decides_and_wildcards_are_crossed() {
        let mut of = node(0.3);
        of.folded.insert("because".into(), node(1.0));
        of.any = Some(Box::new(Node { folded: [("not".to_owned(), node(0.0))].into(), ..Node::default() }));
        let mut root = Node { mean: Some(0.05), ..Node::default() };
        root.folded.insert("of".into(), of);
        let trie = Trie { root, class: None };
        let got = trie.predict(&[], &texts(&["of", " because", " Of", " not", " x", " of", " y"]));
        assert_eq!(got, [0.3, 0.05, 1.0, 0.05, 0.05, 0.0, 0.05]);
    }

    #[test]
    fn any_token_after_a_context_and_the_exact_text_before_the_folded() {
        let mut root = Node { mean: Some(0.0), ..Node::default() };
        root.any = Some(Box::new(Node { folded: [("new".to_owned(), node(0.9))].into(), ..Node::default() }));
        root.exact.insert(" May".into(), node(1.0));
        root.folded.insert("may".into(), node(0.1));
        let trie = Trie { root, class: None };
        assert_eq!(trie.predict(&[], &texts(&[" New", " York", " May", "may"])), [0.0, 0.9, 1.0, 0.1]);
        let back: Trie = serde_json::from_str(&serde_json::to_string(&trie).unwrap()).unwrap();
        assert_eq!(back, trie);
    }
}
