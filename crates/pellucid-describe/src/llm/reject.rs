//! Which answers are no description. The rule, in this order, on the phrase after `[DESCRIPTION]:`:
//!
//! 1. *unmarked*: the prompt asks for the mark, the answer has none, and it is more than one line;
//! 2. *empty*: fewer than two letters or digits;
//! 3. *too long*: more characters than allowed;
//! 4. *refusal*: it begins, apology aside, like one (`i cannot`, `as an ai`, `i'm unable`, …);
//! 5. *echo*: it holds our marks (`{{`, `}}`, `[DESCRIPTION]`, `=== `), or eight words in a row of the question;
//! 6. *rubbish*: the same word four times in a row, or at least ten words of which fewer than a third differ.

use thiserror::Error;

/// Why an answer is no description.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// No phrase could be found in it.
    #[error("no `[DESCRIPTION]:` in the answer")]
    Unmarked,
    /// Nothing in it.
    #[error("the description is empty")]
    Empty,
    /// Too many characters.
    #[error("the description has {found} characters, at most {limit} are allowed")]
    TooLong {
        /// How many it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// It declines.
    #[error("the model declined (`{phrase}`)")]
    Refusal {
        /// The words it was known by.
        phrase: &'static str,
    },
    /// It says the question again.
    #[error("the answer repeats the question")]
    Echo,
    /// It says one thing over and over.
    #[error("the answer is rubbish: words repeat")]
    Rubbish,
    /// The service worked and gave no text.
    #[error("{0}")]
    NoAnswer(String),
}

const REFUSALS: [&str; 22] = [
    "i cannot",
    "i can't",
    "i can not",
    "i could not",
    "i couldn't",
    "i am unable",
    "i'm unable",
    "i am not able",
    "i'm not able",
    "i won't",
    "i will not",
    "i don't",
    "i do not",
    "as an ai",
    "as a language model",
    "as a large language model",
    "i'm an ai",
    "i am an ai",
    "it is not possible to",
    "there is no clear",
    "there is not enough",
    "unable to",
];

/// The phrase in an answer, or why there is none. `marked`: whether the prompt asked for `[DESCRIPTION]:`.
pub(super) fn phrase(answer: &str, question: &str, marked: bool, limit: usize) -> Result<String, Reject> {
    let found = find(without_thinking(answer), marked)?;
    let phrase = tidy(found);
    if phrase.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        return Err(Reject::Empty);
    }
    let length = phrase.chars().count();
    if length > limit {
        return Err(Reject::TooLong { found: length, limit });
    }
    if let Some(phrase) = refusal(&phrase) {
        return Err(Reject::Refusal { phrase });
    }
    if is_echo(&phrase, question) {
        return Err(Reject::Echo);
    }
    if is_rubbish(&phrase) { Err(Reject::Rubbish) } else { Ok(phrase) }
}

/// The text after a block of `<think>`; some servers leave it in.
pub(super) fn without_thinking(answer: &str) -> &str {
    answer.rsplit_once("</think>").map_or(answer, |(_, rest)| rest).trim()
}

/// After the last mark, whatever its case, stars or spaces. Without a mark a single line counts as the phrase.
fn find(answer: &str, marked: bool) -> Result<&str, Reject> {
    // ASCII case folding keeps byte positions.
    let lower = answer.to_ascii_lowercase();
    if let Some(at) = lower.rfind("[description]") {
        let after =
            answer[at + "[description]".len()..].trim_start_matches([':', '*', ' ', '\t', '\n', '\r']);
        return Ok(after.lines().next().unwrap_or_default());
    }
    let bare = |line: &'_ str| {
        line.trim_start_matches(['*', '#', ' ']).to_ascii_lowercase().starts_with("description:")
    };
    if let Some(line) = answer.lines().rev().find(|line| marked && bare(line)) {
        return Ok(line.split_once(':').map_or("", |(_, phrase)| phrase.trim_start_matches(['*', ' '])));
    }
    let mut lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    // A small model goes on after its line; a large one that forgot the mark may have been thinking.
    if marked && lines.next().is_some() { Err(Reject::Unmarked) } else { Ok(first) }
}

/// Without quotation marks, stars and a full stop around it, and with single spaces.
fn tidy(phrase: &str) -> String {
    let words: Vec<&str> = phrase.split_whitespace().collect();
    let joined = words.join(" ");
    let inner = joined.trim_matches(['"', '“', '”', '*', '`', ' ']);
    inner.strip_suffix('.').unwrap_or(inner).trim().to_owned()
}

fn refusal(phrase: &str) -> Option<&'static str> {
    let lower = phrase.to_lowercase().replace('’', "'");
    let mut start = lower.as_str();
    for apology in ["i'm sorry", "i am sorry", "sorry", "i apologize", "apologies", "unfortunately"] {
        if let Some(rest) = start.strip_prefix(apology) {
            start = rest.trim_start_matches([',', '.', ' ', ':']);
            start = start.strip_prefix("but ").unwrap_or(start);
            if start.is_empty() {
                return Some("sorry");
            }
        }
    }
    REFUSALS.into_iter().find(|phrase| start.starts_with(phrase))
}

fn is_echo(phrase: &str, question: &str) -> bool {
    const IN_A_ROW: usize = 8;
    if ["{{", "}}", "[DESCRIPTION]", "=== "].iter().any(|mark| phrase.contains(mark)) {
        return true;
    }
    let (words, question) = (words(phrase), words(question));
    words.windows(IN_A_ROW).any(|row| question.windows(IN_A_ROW).any(|other| row == other))
}

fn is_rubbish(phrase: &str) -> bool {
    let words = words(phrase);
    let mut different = words.clone();
    different.sort_unstable();
    different.dedup();
    words.windows(4).any(|row| row.iter().all(|word| *word == row[0]))
        || (words.len() >= 10 && 3 * different.len() < words.len())
}

fn words(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    parts.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
