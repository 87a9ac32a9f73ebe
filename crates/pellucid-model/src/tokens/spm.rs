//! SentencePiece BPE (Kudo & Richardson 2018; `bpe_model.cc`), run from pieces and scores.
//!
//! Neighbouring symbols are joined as long as the joined text is a piece, best score first, leftmost on ties. No merge
//! table is needed, so a vocabulary of 262,144 pieces is ready in the time it takes to hash it. Deriving a merge list
//! instead would give other ids where two splits of one piece compete.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::TokenError;
use super::matcher::Matcher;

/// One token of a fragment: its id, and the bytes of the source text that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) id: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A piece that may come out of a merge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) score: f32,
}

/// The tables of the algorithm. Immutable.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    pub(super) pieces: HashMap<Box<str>, Piece>,
    /// Pieces that merges may pass through but that are never emitted.
    pub(super) unused: HashSet<u32>,
    pub(super) bytes: Vec<Option<u32>>,
    pub(super) unk: Option<u32>,
    /// Control tokens, matched in the text as it is.
    pub(super) control: Matcher,
    /// User-defined pieces, matched after spaces became `▁`.
    pub(super) user: Matcher,
    pub(super) add_space_prefix: bool,
    /// Length in bytes of the longest piece.
    pub(super) longest: usize,
}

/// A run of text between two merges; `usize::MAX` ends the linked list.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    prev: usize,
    next: usize,
    /// A user-defined piece takes no part in merges.
    user: Option<u32>,
}

const NONE: usize = usize::MAX;

#[derive(Debug, PartialEq)]
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both symbols when the candidate was made: if they differ now, it is stale.
    size: usize,
}

impl Eq for Candidate {}
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}
impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Spm {
    /// Tokenises a text. With `plain`, the text of a control token is ordinary text.
    pub(super) fn encode(&self, text: &str, plain: bool) -> Result<Vec<Raw>, TokenError> {
        let mut out = Vec::new();
        if plain {
            self.fragment(text, 0, &mut out)?;
            return Ok(out);
        }
        let mut at = 0;
        for (start, end, id) in self.control.find(text) {
            self.fragment(text.get(at..start).unwrap_or_default(), at, &mut out)?;
            out.push(Raw { id, start, end });
            at = end;
        }
        self.fragment(text.get(at..).unwrap_or_default(), at, &mut out)?;
        Ok(out)
    }

    /// Tokenises text without control tokens; `offset` is where it begins in the source.
    fn fragment(&self, text: &str, offset: usize, out: &mut Vec<Raw>) -> Result<(), TokenError> {
        if text.is_empty() {
            return Ok(());
        }
        let mut norm = String::with_capacity(text.len() + 8);
        if self.add_space_prefix {
            norm.push('▁');
        }
        norm.extend(text.chars().map(|c| if c == ' ' { '▁' } else { c }));
        let mut symbols = self.symbols(&norm);
        let halves = self.merge(&norm, &mut symbols);
        let mut source = SourceWalk::new(text, &norm, self.add_space_prefix, offset);
        let mut at = if symbols.is_empty() { NONE } else { 0 };
        while let Some(symbol) = symbols.get(at) {
            self.emit(&norm, symbol, &halves, &mut source, out)?;
            at = symbol.next;
        }
        Ok(())
    }

    /// The first symbols: user-defined pieces (longest match) and single characters.
    fn symbols(&self, norm: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(norm.len());
        let mut at = 0;
        while at < norm.len() {
            let found = self.user.longest_at(norm, at);
            let end = match found {
                Some((end, _)) => end,
                None => at + norm.get(at..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8),
            };
            let i = symbols.len();
            symbols.push(Symbol {
                start: at,
                end,
                prev: i.checked_sub(1).unwrap_or(NONE),
                next: if end < norm.len() { i + 1 } else { NONE },
                user: found.map(|(_, id)| id),
            });
            at = end;
        }
        symbols
    }

    /// Joins symbols in place. Returns, for unused pieces, where their halves met.
    fn merge<'n>(&self, norm: &'n str, symbols: &mut [Symbol]) -> HashMap<&'n str, usize> {
        let mut halves = HashMap::new();
        let mut queue = BinaryHeap::new();
        for left in 0..symbols.len().saturating_sub(1) {
            self.propose(norm, symbols, left, left + 1, &mut queue, &mut halves);
        }
        while let Some(best) = queue.pop() {
            let (Some(&l), Some(&r)) = (symbols.get(best.left), symbols.get(best.right)) else { continue };
            let stale =
                l.start == l.end || r.start == r.end || r.end - l.start != best.size || l.end != r.start;
            if stale {
                continue;
            }
            if let Some(left) = symbols.get_mut(best.left) {
                left.end = r.end;
                left.next = r.next;
            }
            if let Some(right) = symbols.get_mut(best.right) {
                right.start = right.end;
            }
            if let Some(after) = symbols.get_mut(r.next) {
                after.prev = best.left;
            }
            self.propose(norm, symbols, l.prev, best.left, &mut queue, &mut halves);
            self.propose(norm, symbols, best.left, r.next, &mut queue, &mut halves);
        }
        halves
    }

    fn propose<'n>(
        &self,
        norm: &'n str,
        symbols: &[Symbol],
        left: usize,
        right: usize,
        queue: &mut BinaryHeap<Candidate>,
        halves: &mut HashMap<&'n str, usize>,
    ) {
        let (Some(l), Some(r)) = (symbols.get(left), symbols.get(right)) else { return };
        let size = r.end - l.start;
        if l.user.is_some() || r.user.is_some() || size > self.longest {
            return;
        }
        let Some(joined) = norm.get(l.start..r.end) else { return };
        if let Some(piece) = self.pieces.get(joined) {
            queue.push(Candidate { score: piece.score, left, right, size });
            if self.unused.contains(&piece.id) {
                halves.insert(joined, l.end - l.start);
            }
        }
    }

    /// Writes one symbol as tokens: its piece, the halves of an unused piece, its bytes, or the unknown token.
    fn emit(
        &self,
        norm: &str,
        symbol: &Symbol,
        halves: &HashMap<&str, usize>,
        source: &mut SourceWalk<'_>,
        out: &mut Vec<Raw>,
    ) -> Result<(), TokenError> {
        if let Some(id) = symbol.user {
            let (start, end) = source.take(symbol.end);
            out.push(Raw { id, start, end });
            return Ok(());
        }
        let mut todo = vec![(symbol.start, symbol.end)];
        while let Some((a, b)) = todo.pop() {
            let Some(text) = norm.get(a..b) else { continue };
            match self.pieces.get(text) {
                Some(piece) if self.unused.contains(&piece.id) && halves.contains_key(text) => {
                    let mid = a + halves.get(text).copied().unwrap_or(0);
                    todo.push((mid, b));
                    todo.push((a, mid));
                }
                Some(piece) => {
                    let (start, end) = source.take(b);
                    out.push(Raw { id: piece.id, start, end });
                }
                None => self.unknown(text, b, source, out)?,
            }
        }
        Ok(())
    }

    fn unknown(
        &self,
        text: &str,
        norm_end: usize,
        source: &mut SourceWalk<'_>,
        out: &mut Vec<Raw>,
    ) -> Result<(), TokenError> {
        let ids: Option<Vec<u32>> =
            text.bytes().map(|b| self.bytes.get(usize::from(b)).copied().flatten()).collect();
        let (start, end) = source.take(norm_end);
        if let Some(ids) = ids {
            // A space that stands for `▁` is one source byte under three tokens: the first takes it.
            out.extend(ids.into_iter().enumerate().map(|(i, id)| Raw {
                id,
                start: (start + i).min(end),
                end: (start + i + 1).min(end),
            }));
            return Ok(());
        }
        let Some(id) = self.unk else {
            return Err(TokenError::Encode(format!(
                "{text:?} is not in the vocabulary, which has no unknown token and no byte tokens"
            )));
        };
        // A run of unknown characters is one token, as SentencePiece writes it.
        match out.last_mut() {
            Some(last) if last.id == id && last.end == start => last.end = end,
            _ => out.push(Raw { id, start, end }),
        }
        Ok(())
    }
}

/// Walks the source beside its normalised form, in which only spaces (and an added first `▁`) differ.
struct SourceWalk<'a> {
    norm: &'a str,
    at: usize,
    source: &'a [u8],
    from: usize,
    offset: usize,
    added: usize,
}

impl<'a> SourceWalk<'a> {
    fn new(source: &'a str, norm: &'a str, prefixed: bool, offset: usize) -> Self {
        let added = if prefixed { '▁'.len_utf8() } else { 0 };
        Self { norm, at: 0, source: source.as_bytes(), from: 0, offset, added }
    }

    /// The source range of the normalised bytes from the last call's end to `end`.
    fn take(&mut self, end: usize) -> (usize, usize) {
        let start = self.from;
        let walked = self.norm.get(self.at..end).unwrap_or_default();
        for c in walked.chars() {
            if self.at >= self.added {
                let space = c == '▁' && self.source.get(self.from) == Some(&b' ');
                self.from += if space { 1 } else { c.len_utf8() };
            }
            self.at += c.len_utf8();
        }
        (self.offset + start, self.offset + self.from)
    }
}
