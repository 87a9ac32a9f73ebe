//! The table of classes: word lists, endings, kinds of characters, places. A class is known by its name, which is
//! what is stored; its number may change from version to version.

use super::bits::{Bits, MOST};
use super::kinds::{ENDINGS, KINDS};
use super::lists::{LISTS, lists_of};
use super::places::PLACES;
use std::ops::Range;

/// How a class is spoken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its members: `months`. The name under which it is stored.
    pub many: &'static str,
    /// One member, for "the token after …": `a month`.
    pub one: &'static str,
    /// Whether examples of its members help a reader (lists and endings: yes; digits: no).
    pub examples: bool,
    /// Whether being in it says where a token stands rather than what it is.
    pub place: bool,
    /// Whether its members are punctuation or white space.
    pub mark: bool,
}

/// Numbers of the word lists, the endings, the kinds of characters and the places.
const LIST: Range<usize> = 0..LISTS.len();
const ENDING: Range<usize> = LIST.end..LIST.end + ENDINGS.len();
const KIND: Range<usize> = ENDING.end..ENDING.end + KINDS.len();
pub(super) const PLACE: Range<usize> = KIND.end..KIND.end + PLACES.len();
const _: () = assert!(PLACE.end <= MOST, "a Bits cannot hold so many classes");

/// All classes by number.
pub fn classes() -> impl ExactSizeIterator<Item = Class> {
    (0..PLACE.end).map(class)
}

/// The class of a number below `classes().len()`; higher numbers give the last.
pub(crate) fn class(number: usize) -> Class {
    let plain = Class { many: "", one: "", examples: false, place: false, mark: false };
    if LIST.contains(&number) {
        let (many, one, _) = LISTS[number];
        Class { many, one, examples: true, ..plain }
    } else if ENDING.contains(&number) {
        let (many, one, _) = ENDINGS[number - ENDING.start];
        Class { many, one, examples: true, ..plain }
    } else if KIND.contains(&number) {
        let kind = &KINDS[number - KIND.start];
        Class { many: kind.many, one: kind.one, mark: kind.mark, ..plain }
    } else {
        let (many, one) = PLACES[(number - PLACE.start).min(PLACES.len() - 1)];
        Class { many, one, place: true, ..plain }
    }
}

/// The number of a class by its name.
pub(crate) fn number_of(many: &str) -> Option<usize> {
    classes().position(|c| c.many == many)
}

/// Kinds that so many tokens belong to that sharing one says little.
const GENERIC: &[&str] = &[
    "tokens of letters",
    "beginnings of words",
    "insides of words",
    "short words",
    "long words",
    "capitalised words",
    "single small letters",
    "words ending in -s",
    "words ending in -y",
    "identifiers",
    "punctuation",
];

/// Whether tokens that share the class share something worth saying.
pub(crate) fn is_telling(number: usize) -> bool {
    let class = class(number);
    !class.place && !GENERIC.contains(&class.many)
}

/// Whether the class is a word list: its members share a meaning.
pub(crate) fn is_list(number: usize) -> bool {
    LIST.contains(&number)
}

/// The classes that a token's text belongs to by itself (places need the texts around it).
pub fn classes_of(text: &str) -> Bits {
    let trimmed = text.trim_matches(' ');
    let lower = trimmed.trim().to_lowercase();
    let mut bits = lists_of(&lower);
    // An ending says something of a word, so at least two letters must come before it.
    if lower.len() >= 4 && lower.bytes().all(|b| b.is_ascii_lowercase()) {
        for (i, (_, _, ending)) in ENDINGS.iter().enumerate() {
            if lower.len() >= ending.len() + 2 && lower.ends_with(ending) {
                bits.insert(ENDING.start + i);
            }
        }
    }
    for (i, kind) in KINDS.iter().enumerate() {
        if (kind.test)(text, trimmed) {
            bits.insert(KIND.start + i);
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn names(text: &str) -> Vec<&'static str> {
        classes_of(text).iter().map(|n| class(n).many).collect()
    }

    #[test]
    fn texts_are_in_the_classes_one_would_say() {
        for (text, many) in [
            (" October", "months"),
            ("monday", "weekdays"),
            (" running", "words ending in -ing"),
            ("42", "digits"),
            (" NASA", "words in capitals"),
            (" Paris", "capitalised words"),
            ("שלום", "Hebrew letters"),
            (" мир", "Cyrillic letters"),
            ("한국", "Hangul letters"),
            ("\n\n", "line breaks"),
            (" because", "conjunctions"),
            ("ACGTTGCA", "DNA letters"),
            ("://", "parts of web addresses"),
        ] {
            assert!(names(text).contains(&many), "{text:?} is in {:?}, not in {many}", names(text));
        }
        assert!(!names("sing").contains(&"words ending in -ing") || "sing".len() >= 5);
        assert!(!names(" cat").contains(&"capitalised words"));
    }

    #[test]
    fn names_are_unique_and_lead_back() {
        let all: Vec<&str> = classes().map(|c| c.many).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().enumerate().all(|(i, name)| number_of(name) == Some(i)));
    }

    proptest! {
        #[test]
        fn any_text_has_classes_and_no_panic(text in ".*") {
            classes_of(&text);
        }
    }
}
