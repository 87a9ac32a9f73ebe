//! The edges of a circuit: from everything that writes to the stream to everything that reads it.
//!
//! Writers are the input, each head and each MLP; readers are the query, key and value of each head, each MLP, and the
//! logits (Conmy et al. 2023, arXiv 2304.14997; Hanna et al. 2024, arXiv 2403.17806). With L layers and H heads there are
//! `1 + L (H + 1)` writers and `L (3 H + 1) + 1` readers; query heads that share a key and value head read through it each
//! for itself.

use crate::{Error, Result};
use pellucid_model::{Model, QkNorm};
use std::fmt;
use std::ops::Range;

/// What writes to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Writer {
    /// The embeddings.
    Input,
    /// A head.
    Head {
        /// Its layer.
        layer: usize,
        /// Which of the layer's.
        head: usize,
    },
    /// An MLP.
    Mlp {
        /// Its layer.
        layer: usize,
    },
}

/// What reads the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// A head, by its query, key or value.
    Head {
        /// Its layer.
        layer: usize,
        /// Which of the layer's.
        head: usize,
        /// Which of its three inputs.
        input: Input,
    },
    /// An MLP.
    Mlp {
        /// Its layer.
        layer: usize,
    },
    /// The final norm and the unembedding.
    Logits,
}

/// An input of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// What it looks for.
    Query,
    /// What it is found by.
    Key,
    /// What it moves.
    Value,
}

const INPUTS: [(Input, char); 3] = [(Input::Query, 'q'), (Input::Key, 'k'), (Input::Value, 'v')];

/// The shape of a model as far as edges go; edges are numbered reader by reader, and by writer within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    layers: usize,
    heads: usize,
    parallel: bool,
    /// The first edge of each reader, and the number of all.
    first: Vec<usize>,
}

impl Edges {
    /// Of a model with this many layers and heads; in a parallel block the MLP does not read the layer's heads.
    pub fn new(layers: usize, heads: usize, parallel: bool) -> Self {
        let mut edges = Edges { layers, heads, parallel, first: vec![0] };
        let mut sum = 0;
        for reader in 0..edges.readers() {
            sum += edges.seen_by(reader);
            edges.first.push(sum);
        }
        edges
    }

    /// Of a model.
    ///
    /// # Errors
    /// If its heads are no readers apart, because their queries are normalised together.
    pub fn of(model: &Model) -> Result<Self> {
        let spec = model.spec();
        if spec.qk_norm == Some(QkNorm::Whole) {
            let why = "circuits need heads that read apart, and this model normalises the queries of all heads together";
            return Err(Error::Request(why.to_owned()));
        }
        Ok(Edges::new(spec.n_layers, spec.n_heads, spec.parallel))
    }

    /// How many edges there are.
    pub fn len(&self) -> usize {
        self.first[self.readers()]
    }

    /// Whether there is none, which no model has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many writers there are.
    pub fn writers(&self) -> usize {
        1 + self.layers * (self.heads + 1)
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.layers * (3 * self.heads + 1) + 1
    }

    /// Layers of the model.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Heads of a layer.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Whether attention and MLP of a layer read the same stream.
    pub fn parallel(&self) -> bool {
        self.parallel
    }

    /// Writers before a layer.
    pub(super) fn before(&self, layer: usize) -> usize {
        1 + layer * (self.heads + 1)
    }

    /// The number of writers that a reader sees, which are the first so many.
    pub(super) fn seen_by(&self, reader: usize) -> usize {
        match self.reader(reader) {
            Reader::Head { layer, .. } => self.before(layer),
            Reader::Mlp { layer } => self.before(layer) + if self.parallel { 0 } else { self.heads },
            Reader::Logits => self.writers(),
        }
    }

    /// The edges into a reader; the writers are 0, 1, … in order.
    pub(super) fn reads(&self, reader: usize) -> Range<usize> {
        self.first[reader]..self.first[reader + 1]
    }

    /// The numbers of a layer's attention readers: queries, keys, values.
    pub(super) fn attention(&self, layer: usize) -> Range<usize> {
        let from = layer * (3 * self.heads + 1);
        from..from + 3 * self.heads
    }

    /// The number of a layer's MLP as a reader.
    pub(super) fn mlp(&self, layer: usize) -> usize {
        self.attention(layer).end
    }

    /// The number of the logits.
    pub(super) fn logits(&self) -> usize {
        self.readers() - 1
    }

    /// The layer a reader stands in; one past the last for the logits.
    pub(super) fn layer_of(&self, reader: usize) -> usize {
        reader / (3 * self.heads + 1)
    }

    /// A writer by its number.
    pub fn writer(&self, number: usize) -> Writer {
        match number.checked_sub(1) {
            None => Writer::Input,
            Some(i) => {
                let (layer, part) = (i / (self.heads + 1), i % (self.heads + 1));
                if part < self.heads { Writer::Head { layer, head: part } } else { Writer::Mlp { layer } }
            }
        }
    }

    /// A reader by its number.
    pub fn reader(&self, number: usize) -> Reader {
        let (layer, part) = (number / (3 * self.heads + 1), number % (3 * self.heads + 1));
        if layer == self.layers {
            return Reader::Logits;
        }
        match INPUTS.get(part / self.heads) {
            Some(&(input, _)) => Reader::Head { layer, head: part % self.heads, input },
            None => Reader::Mlp { layer },
        }
    }

    /// The number of the writer that is the same node as a reader; none for the logits.
    pub(super) fn node_of(&self, reader: usize) -> Option<usize> {
        match self.reader(reader) {
            Reader::Head { layer, head, .. } => Some(self.before(layer) + head),
            Reader::Mlp { layer } => Some(self.before(layer) + self.heads),
            Reader::Logits => None,
        }
    }

    /// The numbers of the readers that are the same node as a writer.
    pub(super) fn inputs_of(&self, writer: usize) -> Vec<usize> {
        match self.writer(writer) {
            Writer::Input => Vec::new(),
            Writer::Head { layer, head } => {
                (0..3).map(|part| self.attention(layer).start + part * self.heads + head).collect()
            }
            Writer::Mlp { layer } => vec![self.mlp(layer)],
        }
    }

    /// An edge's writer and reader, by number.
    pub(super) fn ends(&self, edge: usize) -> (usize, usize) {
        let reader = self.first.partition_point(|first| *first <= edge) - 1;
        (edge - self.first[reader], reader)
    }

    /// An edge's name, as in `a3.h1->a5.h0<q>` and `m2->logits`: what EAP-IG's files call it.
    pub fn name(&self, edge: usize) -> String {
        let (writer, reader) = self.ends(edge);
        format!("{}->{}", self.writer(writer), self.reader(reader))
    }

    /// The edge of a name.
    ///
    /// # Errors
    /// Says what is wrong with the name, or that this model has no such edge.
    pub fn parse(&self, name: &str) -> Result<usize> {
        let bad = |why: &str| Error::Request(format!("{name:?} is no edge of this model: {why}"));
        let (from, to) =
            name.split_once("->").ok_or_else(|| bad("write WRITER->READER, e.g. a3.h1->a5.h0<q>"))?;
        let writer =
            self.parse_node(from).ok_or_else(|| bad("its writer is input, aLAYER.hHEAD or mLAYER"))?;
        let reader = if to == "logits" {
            self.logits()
        } else {
            let (node, input) = match to.strip_suffix('>').and_then(|t| t.split_once('<')) {
                Some((node, input)) => (node, INPUTS.iter().position(|(_, c)| input == c.to_string())),
                None => (to, None),
            };
            let node = self.parse_node(node).ok_or_else(|| bad("there is no such reader"))?;
            match (self.inputs_of(node).as_slice(), input) {
                ([one], None) => *one,
                ([q, k, v], Some(input)) => [*q, *k, *v][input],
                _ => return Err(bad("a head is read by <q>, <k> or <v>, an MLP by itself")),
            }
        };
        if writer >= self.seen_by(reader) {
            return Err(bad("the reader comes before the writer"));
        }
        Ok(self.first[reader] + writer)
    }

    /// The number of a node as a writer.
    pub(super) fn parse_node(&self, name: &str) -> Option<usize> {
        if name == "input" {
            return Some(0);
        }
        let (layer, head) = match name.strip_prefix('m') {
            Some(layer) => (layer.parse::<usize>().ok()?, self.heads),
            None => {
                let (layer, head) = name.strip_prefix('a')?.split_once(".h")?;
                let head = head.parse::<usize>().ok().filter(|h| *h < self.heads)?;
                (layer.parse().ok()?, head)
            }
        };
        (layer < self.layers).then(|| self.before(layer) + head)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Writer::Input => f.write_str("input"),
            Writer::Head { layer, head } => write!(f, "a{layer}.h{head}"),
            Writer::Mlp { layer } => write!(f, "m{layer}"),
        }
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reader::Head { layer, head, input } => {
                let letter = INPUTS.iter().find(|(i, _)| i == input).map_or('?', |(_, c)| *c);
                write!(f, "a{layer}.h{head}<{letter}>")
            }
            Reader::Mlp { layer } => write!(f, "m{layer}"),
            Reader::Logits => f.write_str("logits"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test fails by panicking

    use super::*;

    /// The published numbers: GPT-2 small, Gemma 3 270M, SmolLM2-135M.
    #[test]
    fn edges_are_as_many_as_others_count() {
        for (layers, heads, writers, readers, edges) in
            [(12, 12, 157, 445, 32_491), (18, 4, 91, 235, 10_342), (30, 9, 301, 841, 123_211)]
        {
            let all = Edges::new(layers, heads, false);
            assert_eq!((all.writers(), all.readers(), all.len()), (writers, readers, edges));
        }
    }

    #[test]
    fn every_edge_has_a_name_that_finds_it() {
        for parallel in [false, true] {
            let all = Edges::new(3, 2, parallel);
            for edge in 0..all.len() {
                assert_eq!(all.parse(&all.name(edge)).unwrap(), edge);
                let (writer, reader) = all.ends(edge);
                assert!(all.reads(reader).contains(&edge) && writer < all.seen_by(reader));
            }
            assert_eq!(all.parse("a0.h0->m0").is_ok(), !parallel);
        }
        let all = Edges::new(3, 2, false);
        for wrong in ["", "a0.h0", "a9.h0->logits", "m1->a0.h0<q>", "m0->a1.h0", "m0->m1<q>", "input->input"]
        {
            assert!(all.parse(wrong).is_err(), "{wrong}");
        }
    }
}
