//! What a run works on: rows of tokens, packed one after the other without padding.
//!
//! A batch of rows of unequal length is one matrix with the rows' tokens below each other; attention alone
//! looks at one row at a time. So there is no padding that could leak into a result.

use crate::{Error, Result};
use pellucid_core::{Positions, Role};
use std::ops::Range;
use std::sync::Arc;

/// One text of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The tokens of this pass: a whole text, or what follows a cached beginning.
    pub tokens: Vec<u32>,
    /// Position of the first of them in the whole text.
    pub start: usize,
    /// Length of the prompt; positions from here on were generated.
    pub prompt: usize,
    /// Who wrote each token of the prompt; empty where nobody asked.
    pub roles: Arc<[Option<Role>]>,
    /// Tokens that the whole text will have at most. Long rope chooses its frequencies by it.
    pub horizon: usize,
}

impl Row {
    /// A whole text.
    pub fn new(tokens: impl Into<Vec<u32>>) -> Self {
        let tokens = tokens.into();
        let n = tokens.len();
        Row { tokens, start: 0, prompt: n, roles: Arc::from([]), horizon: n }
    }

    /// The same text with its tokens' roles, so that edits can speak of them.
    pub fn with_roles(mut self, roles: impl Into<Arc<[Option<Role>]>>) -> Self {
        self.roles = roles.into();
        self
    }

    /// Positions of this pass's tokens in the whole text.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.tokens.len()
    }

    /// Whether `positions` covers the token at `at`, a position in the whole text.
    pub fn covers(&self, positions: &Positions, at: usize) -> bool {
        let absolute = |p: i64| if p < 0 { p + self.prompt as i64 } else { p };
        let at_i = at as i64;
        match positions {
            Positions::All => true,
            Positions::At(list) => list.iter().any(|&p| absolute(p) == at_i),
            Positions::Range(from, to) => absolute(*from) <= at_i && to.is_none_or(|to| at_i < absolute(to)),
            Positions::Role(Role::Generated) => at >= self.prompt,
            Positions::Role(role) => self.roles.get(at) == Some(&Some(*role)),
        }
    }
}

/// Several texts that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The texts.
    pub rows: Vec<Row>,
}

impl Batch {
    /// A batch of whole texts.
    pub fn new<T: Into<Vec<u32>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Batch { rows: texts.into_iter().map(Row::new).collect() }
    }

    /// A batch of one row.
    pub fn one(row: Row) -> Self {
        Batch { rows: vec![row] }
    }

    /// Tokens in all rows.
    pub fn tokens(&self) -> usize {
        self.rows.iter().map(|r| r.tokens.len()).sum()
    }

    /// Where each row's tokens stand in the packed matrix.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        ranges(&self.rows)
    }

    /// Refuses what no model can run: no rows, empty rows, ids outside the vocabulary, texts beyond the context.
    pub fn check(&self, vocabulary: usize, context: usize) -> Result<()> {
        if self.rows.is_empty() {
            return Err(Error::Empty);
        }
        for row in &self.rows {
            if row.tokens.is_empty() {
                return Err(Error::Empty);
            }
            let found = row.horizon.max(row.start + row.tokens.len());
            if found > context {
                return Err(Error::TooLong { found, context });
            }
            if let Some(&id) = row.tokens.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(Error::TokenId { id, vocabulary });
            }
        }
        Ok(())
    }
}

/// Where each row's tokens stand in the packed matrix.
pub(crate) fn ranges(rows: &[Row]) -> Vec<Range<usize>> {
    let mut end = 0;
    rows.iter()
        .map(|row| {
            let start = end;
            end += row.tokens.len();
            start..end
        })
        .collect()
}
