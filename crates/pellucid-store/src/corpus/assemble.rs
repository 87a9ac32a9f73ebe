//! From sources to a corpus: an ordered, reproducible set of tokenised documents.
//!
//! 1. Every document is named by the hash of its content; one that was there before is a duplicate.
//! 2. Documents are ordered by SHA-256(seed, document): random, spread over all sources, and the same whatever the
//!    order of the files.
//! 3. With a limit of N tokens the first documents in that order are taken until N tokens are counted, and the last
//!    one is ended there. A larger limit takes the same documents and more.
//! 4. Slice k/n takes the documents whose name, as a number, is k − 1 modulo n. It is taken after the limit, so the
//!    n slices of a corpus are disjoint and together are the corpus.
//!
//! Memory: the tokens that are kept (4 bytes each; with a limit those of N tokens), 16 bytes for every document
//! seen, and a batch of texts. With a limit, documents that come too late in the order are never tokenised.

use super::cut::{Cut, Tokens};
use super::source::{Counts, Source};
use super::text::{Content, Text};
use super::{CorpusError, TokenCache, Tokenize};
use crate::window::{Document, Window};
use pellucid_core::{Seed, Split};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Texts that are tokenised together.
const BATCH: usize = 256;

/// What decides which windows a corpus has, beside its sources and the tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How documents become windows.
    pub cut: Cut,
    /// Orders the documents.
    pub seed: Seed,
    /// Counted tokens to stop at, over all slices; all of them if none.
    pub tokens: Option<u64>,
    /// Which part of the corpus.
    pub slice: Slice,
}

/// A part `k/n` of a corpus, for sweeping on several machines or one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    part: u64,
    of: u64,
}

impl Slice {
    /// The whole corpus.
    pub const ALL: Slice = Slice { part: 1, of: 1 };

    /// Part `part` of `of`, from 1.
    ///
    /// # Errors
    /// If there is no such part.
    pub fn new(part: u64, of: u64) -> Result<Slice, CorpusError> {
        if (1..=of).contains(&part) {
            return Ok(Slice { part, of });
        }
        Err(CorpusError::Slice { found: format!("{part}/{of}") })
    }

    /// Whether a document is in it.
    pub fn holds(self, document: &Document) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = document.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) % self.of == self.part - 1
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl FromStr for Slice {
    type Err = CorpusError;

    fn from_str(text: &str) -> Result<Self, CorpusError> {
        let wrong = || CorpusError::Slice { found: format!("`{text}`") };
        let (part, of) = text.split_once('/').ok_or_else(wrong)?;
        Slice::new(part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?)
    }
}

/// SHA-256 over all that decides a corpus but the slice: the names of all documents seen (sorted), the cut, the
/// tokenizer's hash, the seed and the limit. Parts that may be merged have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorpusId(pub [u8; 32]);

impl fmt::Display for CorpusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How much of a corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Part {
    /// Documents.
    pub documents: u64,
    /// Counted tokens.
    pub tokens: u64,
}

impl Part {
    fn add(&mut self, tokens: u64) {
        self.documents += 1;
        self.tokens += tokens;
    }
}

/// What was read and what was taken of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Different documents in the sources.
    pub seen: u64,
    /// Documents that were there before, left out.
    pub duplicates: u64,
    /// Documents without text, or in which the tokenizer finds nothing to count.
    pub empty: u64,
    /// Lines and rows that hold no document, skipped.
    pub bad: u64,
    /// Documents cut for their length.
    pub cut: u64,
    /// Documents with bytes that are not UTF-8, replaced.
    pub replaced: u64,
    /// Files of a directory that are not text, left out.
    pub binary: u64,
    /// What the corpus has (this slice of it).
    pub taken: Part,
    /// Its windows.
    pub windows: u64,
    /// `taken` by split: train, validation, test.
    pub splits: [Part; 3],
    /// `taken` by source, sorted by name. A document in several sources is counted under the first.
    pub sources: BTreeMap<String, Part>,
}

impl Report {
    fn count(&mut self, met: Counts) {
        self.bad += met.bad;
        self.empty += met.empty;
        self.cut += met.cut;
        self.replaced += met.replaced;
        self.binary += met.binary;
    }
}

/// How far reading has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The source being read.
    pub source: &'a str,
    /// Documents read, over all sources.
    pub documents: u64,
    /// Counted tokens that are kept so far.
    pub tokens: u64,
}

/// Tokenised documents in their order, and what they are cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    id: CorpusId,
    slice: Slice,
    cut: Cut,
    documents: Vec<(Document, Tokens)>,
    report: Report,
}

impl Corpus {
    /// Reads the sources and tokenises what is taken of them; with a `cache`, only what is not there yet.
    ///
    /// # Errors
    /// If a source cannot be read, the tokenizer refuses a document, the cut is impossible, or nothing is left to
    /// run a model on. (An empty slice of a corpus that is not empty is no error: it has no windows.)
    pub fn assemble(
        sources: Vec<Source>,
        recipe: &Recipe,
        tokenizer: &dyn Tokenize,
        cache: Option<&mut TokenCache>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Corpus, CorpusError> {
        recipe.cut.check()?;
        let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
        let mut reading = Reading::new(recipe, tokenizer, cache);
        for source in sources {
            reading.read(source, progress)?;
        }
        if reading.kept.is_empty() && reading.other_slices == 0 {
            let (seen, empty) = (reading.report.seen, reading.report.empty);
            let found = format!("{seen} documents with text, {empty} documents without, nothing to count");
            return Err(CorpusError::Empty { found, sources: names.join(", ") });
        }
        Ok(reading.end())
    }

    /// What it is made of.
    pub fn id(&self) -> CorpusId {
        self.id
    }

    /// Which part of it this is.
    pub fn slice(&self) -> Slice {
        self.slice
    }

    /// What was read and taken.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The rule of its windows.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Its documents, in order.
    pub fn documents(&self) -> &[(Document, Tokens)] {
        &self.documents
    }

    /// Its windows, in order: document after document, and within each from its beginning.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        self.documents.iter().flat_map(|(document, tokens)| self.cut.windows(*document, tokens))
    }
}

/// A document's place in the order, and its name in case two places were the same.
type Key = ([u8; 32], Document);

fn key(seed: Seed, document: Document) -> Key {
    let place = Sha256::new().chain_update(seed.0.to_le_bytes()).chain_update(document.0).finalize();
    (place.into(), document)
}

struct Kept {
    tokens: Tokens,
    count: u64,
    from: usize,
}

/// The state of [`Corpus::assemble`].
struct Reading<'a> {
    recipe: &'a Recipe,
    tokenizer: &'a dyn Tokenize,
    cache: Option<&'a mut TokenCache>,
    seen: BTreeSet<Document>,
    kept: BTreeMap<Key, Kept>,
    tokens: u64,
    from: Vec<String>,
    /// Documents left to other slices before they were tokenised.
    other_slices: u64,
    report: Report,
}

impl<'a> Reading<'a> {
    fn new(recipe: &'a Recipe, tokenizer: &'a dyn Tokenize, cache: Option<&'a mut TokenCache>) -> Self {
        let (seen, kept, from, report) = Default::default();
        Reading { recipe, tokenizer, cache, seen, kept, tokens: 0, from, other_slices: 0, report }
    }

    fn read(&mut self, source: Source, progress: &mut dyn FnMut(Progress)) -> Result<(), CorpusError> {
        let name = source.name().to_owned();
        let mut texts = source.texts();
        loop {
            let batch = texts.by_ref().take(BATCH).collect::<Result<Vec<_>, _>>()?;
            if batch.is_empty() {
                break;
            }
            self.take(batch)?;
            let documents = self.report.seen + self.report.duplicates;
            progress(Progress { source: &name, documents, tokens: self.tokens });
        }
        self.report.count(texts.counts());
        Ok(())
    }

    fn take(&mut self, batch: Vec<Text>) -> Result<(), CorpusError> {
        let named: Vec<(Document, Text)> =
            batch.into_par_iter().map(|text| (text.content.document(), text)).collect();
        let mut wanted = Vec::new();
        for (document, text) in named {
            if !self.seen.insert(document) {
                self.report.duplicates += 1;
                continue;
            }
            self.report.seen += 1;
            let key = key(self.recipe.seed, document);
            if self.may_be_taken(&key) {
                wanted.push((key, text));
            }
        }
        for (key, text, tokens) in self.tokenise(wanted)? {
            self.keep(key, text.from, tokens);
        }
        Ok(())
    }

    /// Whether a document may still be among those taken.
    fn may_be_taken(&mut self, key: &Key) -> bool {
        match self.recipe.tokens {
            Some(limit) => {
                self.tokens < limit || self.kept.last_key_value().is_some_and(|(last, _)| key < last)
            }
            None => {
                // Without a limit nobody else's documents matter, so a slice need not tokenise them.
                let ours = self.recipe.slice.holds(&key.1);
                self.other_slices += u64::from(!ours);
                ours
            }
        }
    }

    fn tokenise(&mut self, wanted: Vec<(Key, Text)>) -> Result<Vec<(Key, Text, Tokens)>, CorpusError> {
        let mut known = Vec::with_capacity(wanted.len());
        for ((_, document), _) in &wanted {
            known.push(match &mut self.cache {
                Some(cache) => cache.get(document)?,
                None => None,
            });
        }
        let tokenizer = self.tokenizer;
        let done = |((key, text), known): ((Key, Text), Option<Tokens>)| {
            let new = known.is_none();
            let tokens = known.map_or_else(|| tokens(tokenizer, &text), Ok)?;
            Ok((key, text, tokens, new))
        };
        let done: Result<Vec<_>, CorpusError> = wanted.into_par_iter().zip(known).map(done).collect();
        let mut result = Vec::new();
        for (key, text, tokens, new) in done? {
            if let Some(cache) = self.cache.as_mut().filter(|_| new) {
                cache.put(&key.1, &tokens)?;
            }
            result.push((key, text, tokens));
        }
        Ok(result)
    }

    fn keep(&mut self, key: Key, from: String, tokens: Tokens) {
        let count = tokens.count();
        if count == 0 {
            self.report.empty += 1;
            return;
        }
        let from = self.from.iter().position(|name| *name == from).unwrap_or_else(|| {
            self.from.push(from);
            self.from.len() - 1
        });
        self.tokens += count;
        self.kept.insert(key, Kept { tokens, count, from });
        // What is beyond the limit without the last document will never be taken.
        while let (Some(limit), Some(last)) = (self.recipe.tokens, self.kept.last_entry()) {
            if self.tokens - last.get().count < limit {
                break;
            }
            self.tokens -= last.remove().count;
        }
    }

    fn end(mut self) -> Corpus {
        let recipe = self.recipe;
        let over = recipe.tokens.map_or(0, |limit| self.tokens.saturating_sub(limit));
        if let Some(mut last) = self.kept.last_entry().filter(|_| over > 0) {
            let kept = last.get_mut();
            kept.count -= over;
            kept.tokens.shorten(kept.count);
        }
        let (mut documents, mut report) = (Vec::new(), self.report);
        for ((_, document), kept) in self.kept {
            if !recipe.slice.holds(&document) {
                continue;
            }
            report.taken.add(kept.count);
            report.windows += recipe.cut.count(&kept.tokens) as u64;
            let split = Split::of(&document.0);
            for (part, one) in report.splits.iter_mut().zip(Split::ALL) {
                if one == split {
                    part.add(kept.count);
                }
            }
            let name = self.from.get(kept.from).cloned().unwrap_or_default();
            report.sources.entry(name).or_default().add(kept.count);
            documents.push((document, kept.tokens));
        }
        let id = identify(&self.seen, recipe, self.tokenizer.hash());
        Corpus { id, slice: recipe.slice, cut: recipe.cut.clone(), documents, report }
    }
}

fn tokens(tokenizer: &dyn Tokenize, text: &Text) -> Result<Tokens, CorpusError> {
    let fault = |said| CorpusError::Tokenize { said, place: text.place.clone() };
    match &text.content {
        Content::Plain(plain) => Ok(Tokens { ids: tokenizer.plain(plain).map_err(fault)?, counted: None }),
        Content::Chat(messages) => {
            let (ids, counted) = tokenizer.chat(messages).map_err(fault)?;
            if ids.len() != counted.len() {
                return Err(fault(format!("{} tokens with {} marks", ids.len(), counted.len())));
            }
            Ok(Tokens { ids, counted: Some(counted) })
        }
    }
}

fn identify(seen: &BTreeSet<Document>, recipe: &Recipe, tokenizer: [u8; 32]) -> CorpusId {
    let mut hash = Sha256::new();
    hash.update(b"pellucid corpus 1\n");
    hash.update((seen.len() as u64).to_le_bytes());
    seen.iter().for_each(|document| hash.update(document.0));
    let Cut { length, overlap, prefix } = &recipe.cut;
    for number in [*length as u64, *overlap as u64, prefix.len() as u64] {
        hash.update(number.to_le_bytes());
    }
    prefix.iter().for_each(|token| hash.update(token.to_le_bytes()));
    hash.update(tokenizer);
    hash.update(recipe.seed.0.to_le_bytes());
    hash.update([u8::from(recipe.tokens.is_some())]);
    hash.update(recipe.tokens.unwrap_or(0).to_le_bytes());
    CorpusId(hash.finalize().into())
}
