//! The built-in tasks: pairs of words written for this purpose.

use crate::behaviour::{capitals, nouns};
use crate::{Error, Result};

/// A named list of pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// A built-in name, or a file's.
    pub name: String,
    /// What stands after `Q:`, and after `A:`.
    pub pairs: Vec<(String, String)>,
}

/// The built-in tasks, with what each asks.
pub const TASKS: [(&str, &str); 4] = [
    ("past", "a verb's past: walk > walked"),
    ("plural", "a noun's plural: key > keys"),
    ("capital", "a country's capital: France > Paris"),
    ("antonym", "a word's opposite: hot > cold"),
];

const PAST: [(&str, &str); 56] = [
    ("walk", "walked"),
    ("go", "went"),
    ("see", "saw"),
    ("take", "took"),
    ("make", "made"),
    ("give", "gave"),
    ("find", "found"),
    ("think", "thought"),
    ("tell", "told"),
    ("become", "became"),
    ("leave", "left"),
    ("feel", "felt"),
    ("bring", "brought"),
    ("begin", "began"),
    ("keep", "kept"),
    ("hold", "held"),
    ("write", "wrote"),
    ("stand", "stood"),
    ("hear", "heard"),
    ("mean", "meant"),
    ("meet", "met"),
    ("run", "ran"),
    ("pay", "paid"),
    ("sit", "sat"),
    ("speak", "spoke"),
    ("lie", "lied"),
    ("lead", "led"),
    ("grow", "grew"),
    ("lose", "lost"),
    ("fall", "fell"),
    ("send", "sent"),
    ("build", "built"),
    ("understand", "understood"),
    ("draw", "drew"),
    ("break", "broke"),
    ("spend", "spent"),
    ("rise", "rose"),
    ("drive", "drove"),
    ("buy", "bought"),
    ("wear", "wore"),
    ("choose", "chose"),
    ("play", "played"),
    ("move", "moved"),
    ("live", "lived"),
    ("believe", "believed"),
    ("happen", "happened"),
    ("open", "opened"),
    ("work", "worked"),
    ("call", "called"),
    ("ask", "asked"),
    ("need", "needed"),
    ("look", "looked"),
    ("use", "used"),
    ("want", "wanted"),
    ("turn", "turned"),
    ("start", "started"),
];

const ANTONYMS: [(&str, &str); 40] = [
    ("hot", "cold"),
    ("big", "small"),
    ("old", "new"),
    ("long", "short"),
    ("high", "low"),
    ("good", "bad"),
    ("fast", "slow"),
    ("hard", "soft"),
    ("light", "dark"),
    ("rich", "poor"),
    ("strong", "weak"),
    ("happy", "sad"),
    ("early", "late"),
    ("open", "closed"),
    ("full", "empty"),
    ("wet", "dry"),
    ("clean", "dirty"),
    ("young", "old"),
    ("loud", "quiet"),
    ("deep", "shallow"),
    ("wide", "narrow"),
    ("thick", "thin"),
    ("heavy", "light"),
    ("near", "far"),
    ("first", "last"),
    ("day", "night"),
    ("up", "down"),
    ("left", "right"),
    ("inside", "outside"),
    ("above", "below"),
    ("before", "after"),
    ("love", "hate"),
    ("win", "lose"),
    ("buy", "sell"),
    ("push", "pull"),
    ("start", "stop"),
    ("true", "false"),
    ("summer", "winter"),
    ("north", "south"),
    ("war", "peace"),
];

impl Task {
    /// A built-in task.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn built_in(name: &str) -> Result<Self> {
        let pairs = match name {
            "past" => PAST.to_vec(),
            "plural" => nouns().to_vec(),
            "capital" => capitals().to_vec(),
            "antonym" => ANTONYMS.to_vec(),
            _ => {
                let names = TASKS.map(|t| t.0).join(", ");
                return Err(Error::Request(format!(
                    "there is no built-in task {name:?}; there are {names}, or name a .jsonl file of lines like \
                     {{\"x\": \"walk\", \"y\": \"walked\"}}"
                )));
            }
        };
        let own = |(x, y): &(&str, &str)| ((*x).to_owned(), (*y).to_owned());
        Ok(Task { name: name.to_owned(), pairs: pairs.iter().map(own).collect() })
    }

    /// Reads lines of JSON with `x` and `y`.
    ///
    /// # Errors
    /// Names the line that is no pair.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Pair {
            x: String,
            y: String,
        }
        let mut pairs = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |why: String| Error::Line { line: i + 1, why };
            let pair: Pair = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            if pair.x.trim().is_empty() || pair.y.trim().is_empty() {
                return Err(bad("\"x\" and \"y\" need a word each".to_owned()));
            }
            pairs.push((pair.x, pair.y));
        }
        Ok(Task { name: name.to_owned(), pairs })
    }
}
