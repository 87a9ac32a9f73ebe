//! The pre-tokenizers that `tokenizer.ggml.pre` names: the regular expressions that cut a text into words before
//! byte-level BPE. They are those of the original `tokenizer.json` files; which name means which is llama.cpp's
//! convention (`llama-vocab.cpp`).

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::TokenError;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// One family of pre-tokenizers.
struct Family {
    names: &'static [&'static str],
    /// Applied one after another; every match and every rest is a word of its own.
    stages: &'static [&'static str],
    /// A word that is a piece is taken whole, whatever the merges say.
    ignore_merges: bool,
    /// Whether a beginning-of-sequence token is added where the file does not say.
    add_bos: bool,
}

const fn family(names: &'static [&'static str], stages: &'static [&'static str]) -> Family {
    Family { names, stages, ignore_merges: false, add_bos: false }
}

const FAMILIES: &[Family] = &[
    family(&["default"], &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]),
    family(
        &["gpt-2", "phi-2", "gigachat", "mellum", "modern-bert", "mpt", "olmo", "exaone4", "jais"],
        &[GPT2],
    ),
    family(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        &[r"\p{N}", GPT2],
    ),
    Family {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
        stages: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
    },
    family(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3]),
    family(&["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez"], &[QWEN2]),
    Family { names: &["tekken"], stages: &[TEKKEN], ignore_merges: true, add_bos: true },
    family(&["gpt-4o", "llama4"], &[GPT4O]),
    family(&["falcon"], &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"]),
    family(
        &["deepseek-llm"],
        &[
            r"[\r\n]",
            // Cased letters, as the original lists them; escapes where an editor's normalisation would change a bound.
            r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}ℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-\x{212D}ℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            r"[一-龥ࠀ-一가-퟿]+",
            r"\p{N}+",
        ],
    ),
    family(&["deepseek-coder"], &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"]),
    family(
        &["deepseek-v3", "hunyuan-dense"],
        &[
            r"\p{N}{1,3}",
            r"[一-龥぀-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ],
    ),
];

/// What a name stands for.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    pub(super) splitter: PreTokenizerWrapper,
    pub(super) ignore_merges: bool,
    pub(super) add_bos: bool,
}

/// Looks a name up. Errors: [`TokenError::UnknownPre`] for an absent or unknown one.
pub(super) fn pre_tokenizer(name: Option<&str>) -> Result<PreTokenizer, TokenError> {
    let family = FAMILIES.iter().find(|f| name.is_some_and(|n| f.names.contains(&n)));
    let Some(family) = family else {
        let mut known: Vec<&str> = FAMILIES.iter().flat_map(|f| f.names).copied().collect();
        known.sort_unstable();
        let found = name.map_or_else(|| "absent".to_owned(), |n| format!("{n:?}"));
        return Err(TokenError::UnknownPre { found, known: known.join(", ") });
    };
    let mut stages = Vec::new();
    for stage in family.stages {
        let pattern = SplitPattern::Regex((*stage).to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|e| TokenError::Vocabulary(format!("pre-tokenizer pattern: {e}")))?;
        stages.push(PreTokenizerWrapper::Split(split));
    }
    stages.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
    Ok(PreTokenizer {
        splitter: PreTokenizerWrapper::Sequence(Sequence::new(stages)),
        ignore_merges: family.ignore_merges,
        add_bos: family.add_bos,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_no_name_means_two_things() {
        let mut seen = Vec::new();
        for name in FAMILIES.iter().flat_map(|f| f.names) {
            assert!(pre_tokenizer(Some(name)).is_ok(), "{name}");
            assert!(!seen.contains(name), "{name} twice");
            seen.push(*name);
        }
    }

    #[test]
    fn a_name_is_never_guessed() {
        let e = pre_tokenizer(Some("smollm9")).unwrap_err().to_string();
        assert!(e.contains("\"smollm9\"") && e.contains("smollm,"), "{e}");
        assert!(pre_tokenizer(None).unwrap_err().to_string().contains("absent"));
    }
}
