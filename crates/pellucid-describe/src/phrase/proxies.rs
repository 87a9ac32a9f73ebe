//! Proxies in words.

use super::tokens::{LONGEST, fit, listed};
use crate::proxy::{Class, Proxy, Test, class, number_of};

/// A proxy as a phrase. `words` are the unit's strongest tokens (folded), and as they are to be shown.
pub(crate) fn of_proxy(
    proxy: &Proxy,
    words: &[(String, String)],
    holds: impl Fn(&str, usize) -> bool,
) -> String {
    let named = |name: &str| number_of(name).map(|n| (n, class(n)));
    let phrase = match proxy.tests.as_slice() {
        [Test::This(name)] => match named(name) {
            Some((n, class)) if class.examples => {
                let members: Vec<String> = words
                    .iter()
                    .filter(|(folded, _)| holds(folded, n))
                    .map(|(_, shown)| shown.clone())
                    .collect();
                if members.is_empty() {
                    class.many.to_owned()
                } else {
                    listed(&format!("{}: ", class.many), &members, 4, LONGEST)
                }
            }
            _ => name.clone(),
        },
        [Test::This(a), Test::This(b)] => format!("{a} ({b})"),
        [Test::This(a), Test::After(b)] | [Test::After(b), Test::This(a)] => format!("{a} after {}", one(b)),
        [Test::After(a), Test::After(b)] => format!("the token after {} ({b})", one(a)),
        [Test::BeforeWords(next)] => listed("tokens before ", &quoted(words, next), 4, LONGEST),
        [Test::ThisWords(this)] => listed("", &quoted(words, this), 4, LONGEST),
        [Test::AfterWords(last)] => listed("tokens after ", &quoted(words, last), 4, LONGEST),
        [Test::ThisWords(this), Test::AfterWords(last)] => {
            format!("{} after {}", quoted(words, this).join(", "), quoted(words, last).join(", "))
        }
        [Test::This(a), Test::AfterWords(last)] => format!("{a} after {}", quoted(words, last).join(", ")),
        [Test::After(b), Test::ThisWords(this)] => {
            format!("{} after {}", quoted(words, this).join(", "), one(b))
        }
        [Test::This(a), Test::ThisWords(this)] => format!("{} ({a})", quoted(words, this).join(", ")),
        [Test::After(b), Test::AfterWords(last)] => {
            format!("tokens after {} ({b})", quoted(words, last).join(", "))
        }
        tests => tests.iter().map(plain).collect::<Vec<_>>().join(", "),
    };
    fit(phrase)
}

fn quoted(words: &[(String, String)], folded: &[String]) -> Vec<String> {
    folded.iter().map(|f| format!("\"{}\"", words_shown(words, f))).collect()
}

fn words_shown(words: &[(String, String)], folded: &str) -> String {
    let known = words.iter().find(|(f, _)| f == folded);
    known.map_or_else(|| super::clean(folded), |(_, shown)| shown.clone())
}

fn one(name: &str) -> String {
    number_of(name).map_or_else(|| name.to_owned(), |n| class(n).one.to_owned())
}

fn plain(test: &Test) -> String {
    match test {
        Test::This(name) => name.clone(),
        Test::After(name) => format!("the token after {}", one(name)),
        Test::Before(name) => format!("the token before {}", one(name)),
        Test::ThisWords(words) => quoted(&[], words).join(", "),
        Test::AfterWords(words) => format!("tokens after {}", quoted(&[], words).join(", ")),
        Test::BeforeWords(words) => format!("tokens before {}", quoted(&[], words).join(", ")),
    }
}

/// Whether a proxy speaks of marks, white space or places and of nothing else.
pub(crate) fn only_form(proxy: &Proxy) -> bool {
    let form = |c: Class| c.mark || c.place;
    proxy.tests.iter().all(|test| match test {
        Test::This(name) | Test::After(name) | Test::Before(name) => {
            number_of(name).is_some_and(|n| form(class(n)))
        }
        Test::ThisWords(words) | Test::AfterWords(words) | Test::BeforeWords(words) => {
            words.iter().all(|w| !w.chars().any(char::is_alphanumeric))
        }
    })
}
