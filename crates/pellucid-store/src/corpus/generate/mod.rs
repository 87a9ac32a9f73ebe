//! Special text from a seed: what a plain corpus holds too little of, and what neurons love to respond to.
//!
//! Everything here is composed from word lists and templates written for this project, so it has no other licence.
//! Sentences of other scripts are grammatical but say simple things. A document is one variant of its kind (a
//! programming language, a bookkeeping table, a phone list), of 300 to 4000 bytes, sizes log-uniform.

mod code;
mod dice;
mod encoded;
mod lists;
mod marks;
mod numbers;
mod scripts;
mod structured;
mod web;
mod words;

use dice::Dice;
use pellucid_core::Seed;
use std::fmt;
use std::str::FromStr;

/// Sizes of a document in bytes, roughly: the piece that passes the drawn size is finished.
const SIZES: (f64, f64) = (300.0, 4000.0);

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Random bytes and text in base 64: bare, wrapped, in PEM armour, in data URLs.
    Base64,
    /// Hexadecimal: dumps, hashes, colours, addresses.
    Hex,
    /// Universally unique identifiers in lists, logs and tables.
    Uuid,
    /// Nucleotides: FASTA, bare, codons, FASTQ.
    Dna,
    /// HTTP requests and responses.
    Http,
    /// JSON of several shapes.
    Json,
    /// Comma-separated tables.
    Csv,
    /// Small programs in several languages.
    Code,
    /// Dates and times in many notations.
    Dates,
    /// Numbers and arithmetic.
    Numbers,
    /// Heads of e-mails.
    Mail,
    /// LaTeX: formulas, theorems, tables.
    Latex,
    /// Web addresses.
    Urls,
    /// Tables in Markdown.
    Markdown,
    /// Hebrew sentences.
    Hebrew,
    /// Korean sentences.
    Korean,
    /// Arabic sentences.
    Arabic,
    /// Russian sentences.
    Russian,
    /// Greek sentences.
    Greek,
    /// Lists and games with months, colours, cities, function words.
    Lists,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 20] = [
        Kind::Base64,
        Kind::Hex,
        Kind::Uuid,
        Kind::Dna,
        Kind::Http,
        Kind::Json,
        Kind::Csv,
        Kind::Code,
        Kind::Dates,
        Kind::Numbers,
        Kind::Mail,
        Kind::Latex,
        Kind::Urls,
        Kind::Markdown,
        Kind::Hebrew,
        Kind::Korean,
        Kind::Arabic,
        Kind::Russian,
        Kind::Greek,
        Kind::Lists,
    ];

    /// Its name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Base64 => "base64",
            Kind::Hex => "hex",
            Kind::Uuid => "uuid",
            Kind::Dna => "dna",
            Kind::Http => "http",
            Kind::Json => "json",
            Kind::Csv => "csv",
            Kind::Code => "code",
            Kind::Dates => "dates",
            Kind::Numbers => "numbers",
            Kind::Mail => "mail",
            Kind::Latex => "latex",
            Kind::Urls => "urls",
            Kind::Markdown => "markdown",
            Kind::Hebrew => "hebrew",
            Kind::Korean => "korean",
            Kind::Arabic => "arabic",
            Kind::Russian => "russian",
            Kind::Greek => "greek",
            Kind::Lists => "lists",
        }
    }

    fn document(self, dice: &mut Dice, size: usize) -> String {
        match self {
            Kind::Base64 => encoded::base64(dice, size),
            Kind::Hex => encoded::hex(dice, size),
            Kind::Uuid => encoded::uuid(dice, size),
            Kind::Dna => encoded::dna(dice, size),
            Kind::Http => web::http(dice, size),
            Kind::Mail => web::mail(dice, size),
            Kind::Urls => web::urls(dice, size),
            Kind::Json => structured::json(dice, size),
            Kind::Csv => structured::csv(dice, size),
            Kind::Markdown => structured::markdown(dice, size),
            Kind::Code => code::program(dice, size),
            Kind::Dates => numbers::dates(dice, size),
            Kind::Numbers => numbers::numbers(dice, size),
            Kind::Latex => marks::latex(dice, size),
            Kind::Hebrew => scripts::HEBREW.document(dice, size),
            Kind::Korean => scripts::KOREAN.document(dice, size),
            Kind::Arabic => scripts::ARABIC.document(dice, size),
            Kind::Russian => scripts::RUSSIAN.document(dice, size),
            Kind::Greek => scripts::GREEK.document(dice, size),
            Kind::Lists => lists::list(dice, size),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            format!("expected a kind of text ({}), found `{text}`", names.join(", "))
        })
    }
}

/// Documents of a kind that have `bytes` bytes in all: the last one is cut there, or just before if that is inside a
/// character. More bytes give the same documents and more.
pub fn generate(kind: Kind, seed: u64, bytes: usize) -> Vec<String> {
    let mut dice = Dice::new(Seed(seed).for_purpose(kind.name()));
    let (mut documents, mut left) = (Vec::new(), bytes);
    while left > 0 {
        let size = dice.log_uniform(SIZES.0, SIZES.1) as usize;
        let mut text = kind.document(&mut dice, size);
        let end = (0..=left.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        left = if end < text.len() { 0 } else { left - end };
        text.truncate(end);
        if end > 0 {
            documents.push(text);
        }
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::io::Write;

    #[test]
    fn every_kind_is_diverse() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>(), Ok(kind));
            let documents = generate(kind, 1, 120_000);
            assert!(documents.len() > 40, "{kind}: {} documents", documents.len());
            let distinct: BTreeSet<_> = documents.iter().collect();
            assert_eq!(distinct.len(), documents.len(), "{kind}: the same document twice");
            let starts: BTreeSet<String> =
                documents.iter().map(|text| text.chars().take(12).collect()).collect();
            assert!(starts.len() >= 12, "{kind}: {} beginnings", starts.len());
            // One template over and over would leave a few hundredths.
            let share = compressed(&documents.concat());
            assert!(share > 0.08, "{kind}: compresses to {share:.3}");
        }
        assert!("latin".parse::<Kind>().unwrap_err().contains("base64, hex"));
    }

    #[test]
    fn no_place_of_a_program_template_is_left_empty() {
        let all = generate(Kind::Code, 1, 400_000).concat();
        for hole in ["{verb}", "{Verb}", "{thing}", "{Thing}", "{quality}", "{other}", "{n}"] {
            assert!(!all.contains(hole), "{hole}");
        }
    }

    fn compressed(text: &str) -> f64 {
        let mut out = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::best());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap().len() as f64 / text.len() as f64
    }

    #[test]
    fn scripts_are_what_they_are_called() {
        for (kind, range) in [
            (Kind::Hebrew, '\u{590}'..='\u{5ff}'),
            (Kind::Arabic, '\u{600}'..='\u{6ff}'),
            (Kind::Russian, '\u{400}'..='\u{4ff}'),
            (Kind::Greek, '\u{370}'..='\u{3ff}'),
            (Kind::Korean, '\u{ac00}'..='\u{d7a3}'),
        ] {
            let text = generate(kind, 1, 20_000).concat();
            let letters: Vec<char> = text.chars().filter(|letter| letter.is_alphabetic()).collect();
            let wrong: String = letters.iter().filter(|letter| !range.contains(letter)).collect();
            assert_eq!(wrong, "", "{kind}");
        }
    }

    #[test]
    fn base_64_is_that_of_the_standard() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encoded::encode_base64(plain.as_bytes()), coded);
        }
    }

    proptest! {
        #[test]
        fn a_seed_gives_the_same_text_of_the_length_asked_for(
            kind in prop::sample::select(Kind::ALL.to_vec()), seed: u64, bytes in 0usize..20_000, more in 0usize..5_000,
        ) {
            let documents = generate(kind, seed, bytes);
            prop_assert_eq!(&documents, &generate(kind, seed, bytes));
            let total: usize = documents.iter().map(String::len).sum();
            prop_assert!(total <= bytes && total + 4 > bytes, "{} of {}", total, bytes);
            let longer = generate(kind, seed, bytes + more);
            let whole = documents.len().saturating_sub(1);
            prop_assert_eq!(&documents[..whole], &longer[..whole]);
            if let Some(last) = documents.last() {
                prop_assert!(longer[whole].starts_with(last.as_str()));
            }
            if bytes > 1000 {
                prop_assert_ne!(documents, generate(kind, seed ^ 1, bytes));
            }
        }
    }
}
