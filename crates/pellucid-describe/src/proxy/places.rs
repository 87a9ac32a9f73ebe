//! Classes of places: where a token stands among its neighbours. A place is decided by what comes before the token
//! and by the token itself, never by what follows, as a model that reads from left to right would have to.

use super::Bits;
use super::classes::PLACE;
/// Many, and one for "the token after …".
pub(super) const PLACES: &[(&str, &str)] = &[
    ("the first token of a text", "the first token of a text"),
    ("the first word of a sentence", "the first word of a sentence"),
    ("the first token of a line", "the first token of a line"),
    ("inside quotation marks", "a token inside quotation marks"),
    ("inside brackets", "a token inside brackets"),
    ("decimal points", "a decimal point"),
    ("the second half of a split word", "the second half of a split word"),
    ("repeated tokens", "a repeated token"),
];

/// What of a token's text decides the places of the tokens after it, found once for each text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Holds a letter or digit.
    word: bool,
    /// White space alone.
    blank: bool,
    point: bool,
    starts_letter: bool,
    ends_letter: bool,
    ends_digit: bool,
    ends_sentence: bool,
    breaks_line: bool,
    breaks_paragraph: bool,
    quotes: Quotes,
    opens: u8,
    closes: u8,
}

/// What a text does to "inside quotation marks".
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quotes {
    None,
    /// An odd number of marks that look the same on both sides, and nothing else in the text.
    Toggles,
    TogglesOnTheWay,
    Opens,
    Closes,
}

impl Form {
    pub(crate) fn of(text: &str) -> Self {
        let trimmed = text.trim();
        let count = |signs: &[char]| text.chars().filter(|c| signs.contains(c)).count();
        let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        let end = text.trim_end_matches([' ', '"', '”', ')']);
        let breaks_line = text.contains('\n');
        Self {
            word: trimmed.chars().any(char::is_alphanumeric),
            blank: trimmed.is_empty(),
            point: text == ".",
            starts_letter: text.chars().next().is_some_and(char::is_alphabetic),
            ends_letter: text.ends_with(char::is_alphabetic),
            ends_digit: text.ends_with(|c: char| c.is_ascii_digit()),
            ends_sentence: end.ends_with(['.', '!', '?']) || breaks_line,
            breaks_line,
            breaks_paragraph: text.contains("\n\n"),
            quotes: quotes(text, trimmed),
            opens: small(count(&['(', '[', '{'])),
            closes: small(count(&[')', ']', '}'])),
        }
    }
}

/// The last mark decides; a straight one turns what was.
fn quotes(text: &str, trimmed: &str) -> Quotes {
    let straight = text.matches('"').count() % 2 == 1;
    match text.chars().rev().find(|c| matches!(c, '“' | '«' | '”' | '»')) {
        Some('“' | '«') => Quotes::Opens,
        Some(_) => Quotes::Closes,
        None if straight && trimmed == "\"" => Quotes::Toggles,
        None if straight => Quotes::TogglesOnTheWay,
        None => Quotes::None,
    }
}

/// How far back a token counts as repeated.
const REPEATED: usize = 48;

/// Adds to each token's set the places that it stands in. A token comes as the number of its text.
pub(crate) fn places_of(words: &[u32], form_of: impl Fn(u32) -> Form, begins: bool, bits: &mut [Bits]) {
    let mut quoted = false;
    let mut depth = 0u32;
    // What has been since the last sentence ended or the line broke: nothing but spaces yet?
    let (mut sentence_open, mut line_open) = (begins, begins);
    let mut before: Option<Form> = None;
    for (i, (&number, set)) in words.iter().zip(bits.iter_mut()).enumerate() {
        let form = form_of(number);
        let holds = [
            begins && i == 0,
            form.word && sentence_open,
            !form.blank && line_open,
            quoted && form.quotes != Quotes::Toggles,
            depth > 0,
            form.point && before.is_some_and(|b| b.ends_digit),
            form.starts_letter && before.is_some_and(|b| b.ends_letter),
            form.word && words[i.saturating_sub(REPEATED)..i].contains(&number),
        ];
        holds.iter().enumerate().filter(|(_, h)| **h).for_each(|(n, _)| set.insert(PLACE.start + n));
        sentence_open = form.ends_sentence || (sentence_open && !form.word);
        line_open = form.breaks_line || (line_open && form.blank);
        quoted = match form.quotes {
            // A paragraph's end closes a quotation that its author forgot to close.
            _ if form.breaks_paragraph => false,
            Quotes::None => quoted,
            Quotes::Toggles | Quotes::TogglesOnTheWay => !quoted,
            Quotes::Opens => true,
            Quotes::Closes => false,
        };
        let open = (depth + u32::from(form.opens)).saturating_sub(u32::from(form.closes));
        depth = if form.breaks_paragraph { 0 } else { open };
        before = Some(form);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(texts: &[&str], begins: bool, place: &str) -> Vec<usize> {
        let number = |t: &&str| texts.iter().position(|x| x == t).unwrap_or(0) as u32;
        let words: Vec<u32> = texts.iter().map(number).collect();
        let mut bits = vec![Bits::default(); texts.len()];
        places_of(&words, |w| Form::of(texts[w as usize]), begins, &mut bits);
        let number = super::super::classes::number_of(place).unwrap();
        bits.iter().enumerate().filter(|(_, b)| b.has(number)).map(|(i, _)| i).collect()
    }

    #[test]
    fn places_are_where_one_would_point() {
        assert_eq!(at(&["He", " ran", ".", " She", " sat"], true, "the first word of a sentence"), [0, 3]);
        assert_eq!(at(&["He", " ran", ".", " She"], false, "the first word of a sentence"), [3]);
        assert_eq!(at(&["a", "\n", "  ", "b", " c"], false, "the first token of a line"), [3]);
        assert_eq!(at(&["3", ".", "14", " ends", "."], false, "decimal points"), [1]);
        assert_eq!(at(&["f", "(", "x", ")", " y"], false, "inside brackets"), [2, 3]);
        assert_eq!(at(&["\"", "x", "\"", "y"], false, "inside quotation marks"), [1]);
        assert_eq!(at(&["a", "b"], true, "the first token of a text"), [0]);
    }
}
