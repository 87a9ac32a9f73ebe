//! Tokens as they are shown: no spaces around them, line breaks and other invisible things as signs.

use std::collections::HashMap;

/// Longest phrase, in characters.
pub const LONGEST: usize = 90;

/// A token's text as a person should see it. Never empty.
pub fn clean(text: &str) -> String {
    let inner = text.trim_matches(' ');
    let shown: String = inner
        .chars()
        .map(|c| match c {
            '\n' => '⏎',
            '\t' => '⇥',
            '\r' => '␍',
            c if c.is_control() => '·',
            c => c,
        })
        .collect();
    if shown.is_empty() { "␣".to_owned() } else { shown }
}

/// Cuts a phrase to [`LONGEST`] characters.
pub(crate) fn fit(phrase: String) -> String {
    if phrase.chars().count() <= LONGEST {
        return phrase;
    }
    let cut: String = phrase.chars().take(LONGEST - 1).collect();
    format!("{}…", cut.trim_end_matches([' ', ',', ';', ':']))
}

/// `head` and as many words as fit: `months: May, June…`. The sign at the end says that there are more.
pub(crate) fn listed(head: &str, words: &[String], most: usize, room: usize) -> String {
    let mut phrase = head.to_owned();
    let mut shown = 0;
    for word in words {
        let next = if shown == 0 { word.clone() } else { format!(", {word}") };
        if shown >= most || (shown > 0 && phrase.chars().count() + next.chars().count() + 1 > room) {
            break;
        }
        phrase.push_str(&next);
        shown += 1;
    }
    if shown < words.len() {
        phrase.push('…');
    }
    phrase
}

/// For a folded text the form in which the unit met it with the most activation.
#[derive(Default)]
pub(crate) struct Surface<'a> {
    mass: HashMap<&'a str, HashMap<&'a str, f64>>,
}

impl<'a> Surface<'a> {
    pub(crate) fn add(&mut self, folded: &'a str, text: &'a str, mass: f64) {
        *self.mass.entry(folded).or_default().entry(text.trim_matches(' ')).or_default() += mass;
    }

    pub(crate) fn show(&self, folded: &str) -> String {
        let best = self.mass.get(folded).and_then(|forms| {
            let mut forms: Vec<_> = forms.iter().collect();
            forms.sort_by(|a, b| b.1.total_cmp(a.1).then(a.0.cmp(b.0)));
            forms.first().map(|(text, _)| **text)
        });
        clean(best.unwrap_or(folded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn invisible_things_are_shown_and_spaces_are_not() {
        assert_eq!(clean(" York"), "York");
        assert_eq!(clean("\n\n"), "⏎⏎");
        assert_eq!(clean("  "), "␣");
        assert_eq!(clean("a\tb"), "a⇥b");
        assert_eq!(listed("x: ", &["a".into(), "b".into(), "c".into()], 2, 90), "x: a, b…");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_short_and_on_one_line(text in ".*", words in proptest::collection::vec(".{0,40}", 0..9)) {
            prop_assert!(!clean(&text).is_empty());
            let words: Vec<String> = words.iter().map(|w| clean(w)).collect();
            let phrase = fit(listed("says: ", &words, 6, LONGEST));
            prop_assert!(phrase.chars().count() <= LONGEST);
            prop_assert!(!phrase.contains('\n'));
        }
    }
}
