//! Literal tokens in a text: leftmost, then longest.

use std::collections::HashMap;

/// A set of strings with ids. Lookup tries only the lengths that occur for the byte at hand, so thousands of
/// `<unusedN>` cost as little as three.
#[derive(Debug, Clone, Default)]
pub(super) struct Matcher {
    ids: HashMap<Box<str>, u32>,
    /// For each first byte the lengths that occur, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

impl Matcher {
    /// Empty strings are left out; the first of two equal ones wins.
    pub(super) fn new(entries: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut matcher = Self::default();
        for (text, id) in entries {
            let Some(&first) = text.as_bytes().first() else { continue };
            let lengths = matcher.lengths.entry(first).or_default();
            if let Err(at) = lengths.binary_search_by(|l| text.len().cmp(l)) {
                lengths.insert(at, text.len());
            }
            matcher.ids.entry(text.into()).or_insert(id);
        }
        matcher
    }

    /// The longest entry that begins at byte `at`: its end and id.
    pub(super) fn longest_at(&self, text: &str, at: usize) -> Option<(usize, u32)> {
        let lengths = self.lengths.get(text.as_bytes().get(at)?)?;
        lengths.iter().find_map(|len| {
            let found = self.ids.get(text.get(at..at + len)?)?;
            Some((at + len, *found))
        })
    }

    /// All matches in order, not overlapping: `(start, end, id)`.
    pub(super) fn find(&self, text: &str) -> Vec<(usize, usize, u32)> {
        let mut found = Vec::new();
        let mut at = 0;
        while !self.lengths.is_empty() && at < text.len() {
            match self.longest_at(text, at) {
                Some((end, id)) => {
                    found.push((at, end, id));
                    at = end;
                }
                None => at += 1,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_wins_at_the_leftmost_place() {
        let m = Matcher::new([
            ("<a>".to_owned(), 1),
            ("<a><b>".to_owned(), 2),
            ("é".to_owned(), 3),
            (String::new(), 4),
        ]);
        assert_eq!(m.find("x<a><b>é<a>"), [(1, 7, 2), (7, 9, 3), (9, 12, 1)]);
        assert!(Matcher::default().find("<a>").is_empty());
    }
}
