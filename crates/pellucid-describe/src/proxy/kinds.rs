//! Kinds of characters, scripts and endings. A kind is a test of one token's text.

/// A kind of text.
pub(super) struct Kind {
    pub(super) many: &'static str,
    pub(super) one: &'static str,
    pub(super) mark: bool,
    /// Of the text as it stands, and without spaces around it.
    pub(super) test: fn(&str, &str) -> bool,
}

const fn kind(many: &'static str, one: &'static str, test: fn(&str, &str) -> bool) -> Kind {
    Kind { many, one, mark: false, test }
}

const fn mark(many: &'static str, one: &'static str, test: fn(&str, &str) -> bool) -> Kind {
    Kind { many, one, mark: true, test }
}

/// Many, one, letters.
pub(super) const ENDINGS: &[(&str, &str, &str)] = &[
    ("words ending in -ing", "a word ending in -ing", "ing"),
    ("words ending in -ed", "a word ending in -ed", "ed"),
    ("words ending in -ly", "a word ending in -ly", "ly"),
    ("words ending in -tion", "a word ending in -tion", "tion"),
    ("words ending in -s", "a word ending in -s", "s"),
    ("words ending in -er", "a word ending in -er", "er"),
    ("words ending in -est", "a word ending in -est", "est"),
    ("words ending in -ment", "a word ending in -ment", "ment"),
    ("words ending in -ness", "a word ending in -ness", "ness"),
    ("words ending in -able", "a word ending in -able", "able"),
    ("words ending in -ity", "a word ending in -ity", "ity"),
    ("words ending in -al", "a word ending in -al", "al"),
    ("words ending in -ous", "a word ending in -ous", "ous"),
    ("words ending in -ive", "a word ending in -ive", "ive"),
    ("words ending in -ism", "a word ending in -ism", "ism"),
    ("words ending in -ist", "a word ending in -ist", "ist"),
    ("words ending in -ful", "a word ending in -ful", "ful"),
    ("words ending in -y", "a word ending in -y", "y"),
];

fn all(text: &str, test: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(test)
}

/// Letters of a script: Unicode blocks, in the ranges that texts use.
fn script(text: &str, ranges: &[(u32, u32)]) -> bool {
    text.chars().any(|c| ranges.iter().any(|&(from, to)| (from..=to).contains(&u32::from(c))))
}

fn capitalised(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_uppercase) && {
        let rest = chars.as_str();
        !rest.is_empty() && rest.chars().any(char::is_lowercase)
    }
}

/// Looks like base64: long enough, of its alphabet, with capitals and small letters or digits mixed inside.
fn base64(text: &str) -> bool {
    let ok = all(text, |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
    let inner_capital = text.chars().skip(1).any(|c| c.is_ascii_uppercase());
    let other = text.chars().any(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    ok && text.len() >= 2 && inner_capital && other
}

pub(super) const KINDS: &[Kind] = &[
    kind("digits", "a digit", |_, t| all(t, |c| c.is_ascii_digit())),
    kind("single digits", "a single digit", |_, t| t.len() == 1 && all(t, |c| c.is_ascii_digit())),
    kind("years", "a year", |_, t| {
        t.len() == 4 && all(t, |c| c.is_ascii_digit()) && (t.starts_with('1') || t.starts_with("20"))
    }),
    kind("tokens with a digit", "a token with a digit", |_, t| t.chars().any(|c| c.is_ascii_digit())),
    kind("capitalised words", "a capitalised word", |_, t| capitalised(t)),
    kind("words in capitals", "a word in capitals", |_, t| {
        t.chars().count() >= 2
            && t.chars().any(char::is_uppercase)
            && all(t, |c| c.is_uppercase() || !c.is_alphabetic())
    }),
    kind("single capital letters", "a single capital letter", |_, t| {
        t.len() == 1 && all(t, char::is_uppercase)
    }),
    kind("single small letters", "a single small letter", |_, t| t.len() == 1 && all(t, char::is_lowercase)),
    kind("beginnings of words", "the beginning of a word", |w, t| {
        w.starts_with(' ') && t.chars().next().is_some_and(char::is_alphabetic)
    }),
    kind("insides of words", "the inside of a word", |w, t| {
        w == t && !t.is_empty() && all(t, char::is_lowercase)
    }),
    kind("tokens of letters", "a token of letters", |_, t| all(t, char::is_alphabetic)),
    kind("short words", "a short word", |_, t| {
        (1..=3).contains(&t.chars().count()) && all(t, char::is_alphabetic)
    }),
    kind("long words", "a long word", |_, t| t.chars().count() >= 9 && all(t, char::is_alphabetic)),
    mark("punctuation", "punctuation", |_, t| all(t, |c| c.is_ascii_punctuation())),
    mark("full stops", "a full stop", |_, t| t == "."),
    mark("commas", "a comma", |_, t| t == ","),
    mark("question marks", "a question mark", |_, t| t.contains('?')),
    mark("exclamation marks", "an exclamation mark", |_, t| t.contains('!')),
    mark("colons and semicolons", "a colon or semicolon", |_, t| t == ":" || t == ";"),
    mark("quotation marks", "a quotation mark", |_, t| {
        !t.is_empty() && t.chars().all(|c| matches!(c, '"' | '\'' | '“' | '”' | '‘' | '’' | '`' | '«' | '»'))
    }),
    mark("apostrophes", "an apostrophe", |_, t| t.starts_with('\'') || t.starts_with('’')),
    mark("opening brackets", "an opening bracket", |_, t| t.ends_with(['(', '[', '{', '<'])),
    mark("closing brackets", "a closing bracket", |_, t| t.starts_with([')', ']', '}', '>'])),
    mark("hyphens and dashes", "a hyphen or dash", |_, t| all(t, |c| matches!(c, '-' | '–' | '—'))),
    mark("slashes", "a slash", |_, t| all(t, |c| matches!(c, '/' | '\\'))),
    mark("underscores", "an underscore", |_, t| t.contains('_')),
    mark("ellipses", "an ellipsis", |_, t| t.contains("...") || t.contains('…')),
    mark("operators", "an operator", |_, t| {
        all(t, |c| matches!(c, '=' | '+' | '*' | '&' | '|' | '<' | '>' | '%' | '^' | '~' | '!' | '-'))
    }),
    mark("code punctuation", "code punctuation", |_, t| {
        t.len() >= 2
            && all(t, |c| c.is_ascii_punctuation())
            && t.contains(['{', '}', '(', ')', ';', '=', '<', '>', '['])
    }),
    mark("line breaks", "a line break", |w, _| w.contains('\n')),
    mark("indentation", "indentation", |w, _| w.len() >= 2 && all(w, |c| c == ' ' || c == '\t')),
    mark("white space", "white space", |w, _| all(w, char::is_whitespace)),
    kind("currency and percent signs", "a currency or percent sign", |_, t| {
        all(t, |c| matches!(c, '$' | '€' | '£' | '¥' | '₹' | '%' | '¢'))
    }),
    kind("parts of web addresses", "part of a web address", |_, t| {
        matches!(
            t,
            "http" | "https" | "://" | "www" | "com" | "org" | ".com" | ".org" | "net" | "html" | "href"
        ) || t.contains("://")
            || t.starts_with("www.")
    }),
    kind("base64", "base64", |_, t| base64(t)),
    kind("hexadecimal", "a hexadecimal number", |_, t| {
        (t.starts_with("0x") && t.len() > 2)
            || (t.len() >= 2
                && all(t, |c| c.is_ascii_hexdigit())
                && t.chars().any(|c| c.is_ascii_digit())
                && t.chars().any(|c| c.is_ascii_alphabetic()))
    }),
    kind("DNA letters", "DNA letters", |_, t| {
        (t.len() >= 3 && all(t, |c| matches!(c, 'A' | 'C' | 'G' | 'T')))
            || (t.len() >= 3 && all(t, |c| matches!(c, 'a' | 'c' | 'g' | 't')))
    }),
    kind("accented letters", "a token with accented letters", |_, t| {
        script(t, &[(0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F)])
    }),
    kind("Hebrew letters", "Hebrew letters", |_, t| script(t, &[(0x590, 0x5FF)])),
    kind("Arabic letters", "Arabic letters", |_, t| script(t, &[(0x600, 0x6FF), (0x750, 0x77F)])),
    kind("Cyrillic letters", "Cyrillic letters", |_, t| script(t, &[(0x400, 0x52F)])),
    kind("Greek letters", "Greek letters", |_, t| script(t, &[(0x370, 0x3FF)])),
    kind("Hangul letters", "Hangul letters", |_, t| script(t, &[(0x1100, 0x11FF), (0xAC00, 0xD7AF)])),
    kind("Chinese characters", "a Chinese character", |_, t| {
        script(t, &[(0x3400, 0x4DBF), (0x4E00, 0x9FFF)])
    }),
    kind("Japanese kana", "Japanese kana", |_, t| script(t, &[(0x3040, 0x30FF)])),
    kind("Indic letters", "Indic letters", |_, t| script(t, &[(0x900, 0xDFF)])),
    kind("Thai letters", "Thai letters", |_, t| script(t, &[(0xE00, 0xE7F)])),
    kind("mathematical signs and arrows", "a mathematical sign or arrow", |_, t| {
        script(t, &[(0x2190, 0x22FF), (0xD7, 0xD7), (0xB1, 0xB1)])
    }),
    kind("emoji and pictures", "an emoji or picture", |_, t| {
        script(t, &[(0x2600, 0x27BF), (0x1F300, 0x1FAFF)])
    }),
    kind("broken characters", "a broken character", |_, t| t.contains('\u{FFFD}')),
    kind("identifiers", "an identifier", |_, t| {
        t.len() >= 3
            && all(t, |c| c.is_ascii_alphanumeric() || c == '_')
            && (t.contains('_') && t.chars().any(char::is_alphabetic)
                || t.chars().zip(t.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase()))
    }),
];
