//! What a unit makes the model say, where its promoted tokens have something in common.

use super::tokens::{LONGEST, clean, fit, listed};
use crate::proxy::{Bits, classes, is_list, is_telling};
use crate::reading::{Lexicon, fold};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many of the strongest promoted tokens (different ones, case and spaces aside) are looked at.
const LOOKED_AT: usize = 10;
/// This many must share a word list, a telling kind or a stem; a word list says more, so fewer will do.
const SHARE_LIST: usize = 4;
/// As above, for kinds and endings.
const SHARE_KIND: usize = 6;
/// As above, for the first letters.
const SHARE_STEM: usize = 3;
/// Letters that make a stem.
const STEM: usize = 4;

/// `says: Monday, Tuesday, Friday`, or none where the promoted tokens have nothing in common.
pub fn says(lexicon: &Lexicon, promoted: &[(Arc<str>, f32)]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let top: Vec<(String, String, Bits)> = promoted
        .iter()
        .filter(|(text, _)| !text.trim().is_empty() && seen.insert(fold(text)))
        .map(|(text, _)| (clean(text), fold(text), lexicon.classes(text)))
        .take(LOOKED_AT)
        .collect();
    let shown = |members: Vec<&(String, String, Bits)>| {
        let words: Vec<String> = members.into_iter().map(|m| m.0.clone()).collect();
        Some(fit(listed("says: ", &words, 6, LONGEST)))
    };
    let having = |class: usize| top.iter().filter(|t| t.2.has(class)).collect::<Vec<_>>();
    let best = (0..classes().len())
        .filter(|&c| is_telling(c))
        .map(|c| (having(c).len(), is_list(c), c))
        .filter(|&(n, list, _)| n >= if list { SHARE_LIST } else { SHARE_KIND })
        .max_by_key(|&(n, list, c)| (list, n, usize::MAX - c));
    if let Some((_, _, class)) = best {
        return shown(having(class));
    }
    let stem = |word: &str| {
        let stem: String = word.chars().take(STEM).collect();
        (stem.chars().count() == STEM && stem.chars().all(char::is_alphabetic)).then_some(stem)
    };
    let family = |first: &(String, String, Bits)| {
        let own = stem(&first.1)?;
        let members: Vec<_> = top.iter().filter(|t| stem(&t.1).as_ref() == Some(&own)).collect();
        (members.len() >= SHARE_STEM).then_some(members)
    };
    top.iter().find_map(family).and_then(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promoted(words: &[&str]) -> Vec<(Arc<str>, f32)> {
        words.iter().map(|&w| (Arc::from(w), 1.0)).collect()
    }

    #[test]
    fn only_what_has_something_in_common_is_said() {
        let lexicon = Lexicon::new();
        let days = promoted(&[" Monday", " monday", "Friday", " Tuesday", "xx", " Sunday", "\n"]);
        assert_eq!(says(&lexicon, &days).unwrap(), "says: Monday, Friday, Tuesday, Sunday");
        let stem = promoted(&[" develop", " developer", "zz", " development"]);
        assert_eq!(says(&lexicon, &stem).unwrap(), "says: develop, developer, development");
        assert_eq!(says(&lexicon, &promoted(&[" lamp", "ing", " zx", "qq", " maybe", " tree"])), None);
        assert_eq!(says(&lexicon, &[]), None);
    }
}
