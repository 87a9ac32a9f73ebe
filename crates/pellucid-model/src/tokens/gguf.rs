//! A GGUF file's vocabulary → a tokenizer.
//!
//! `tokenizer.ggml.model` = `gpt2`: byte-level BPE with the merges of the file and the pre-tokenizer that
//! `tokenizer.ggml.pre` names. `llama`: SentencePiece BPE by scores. The meaning of the keys, and of the token types, is
//! that of the GGUF specification and of llama.cpp.

use std::collections::{HashMap, HashSet};

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::tokenizer::{AddedToken, Tokenizer as Core};

use super::TokenError;
use super::error::contained;
use super::hf::Engine;
use super::matcher::Matcher;
use super::pieces::{Pieces, Role, Spelling, byte_piece};
use super::pre::pre_tokenizer;
use super::spm::{Piece, Spm};

/// The vocabulary of a GGUF file as its metadata (`tokenizer.*`) gives it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocab {
    /// `tokenizer.ggml.model`: `gpt2` or `llama`.
    pub model: String,
    /// `tokenizer.ggml.pre`: needed for `gpt2`, without meaning for `llama`.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`: the piece of every id.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`, one for every token: needed for `llama`.
    pub scores: Option<Vec<f32>>,
    /// `tokenizer.ggml.token_type`, one for every token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
    /// 6 byte. Absent: all normal.
    pub token_types: Option<Vec<i32>>,
    /// `tokenizer.ggml.merges`, best first, each two pieces with a space between: needed for `gpt2`.
    pub merges: Option<Vec<String>>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`. Not used: nothing here pads.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`. Absent: true for `llama`, and for `gpt2` what the pre-tokenizer's family does.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`. Absent: false.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`. Absent: true for `llama`; without meaning for `gpt2`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

/// Token types of the GGUF specification.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Tokens that end a turn or a text in the published model families.
const END_MARKERS: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<eos>",
    "<|eos|>",
    "<|EOT|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|return|>",
    "<|call|>",
    "<EOT>",
    "_<EOT>",
    "<｜end▁of▁sentence｜>",
];

/// Whether the name of an added token is that of a turn marker. Some files mark these as ordinary added tokens; text
/// from a user must not be able to write them all the same.
pub(super) fn is_marker(name: &str) -> bool {
    (name.len() > 4 && name.starts_with("<|") && name.ends_with("|>"))
        || (name.starts_with("<｜") && name.ends_with("｜>"))
        || matches!(
            name,
            "<start_of_turn>" | "<s>" | "</s>" | "<bos>" | "[INST]" | "[/INST]" | "<<SYS>>" | "<</SYS>>"
        )
        || END_MARKERS.contains(&name)
}

/// The ids among the control tokens that end generation, by name.
pub(super) fn end_ids(pieces: &Pieces) -> Vec<u32> {
    END_MARKERS
        .iter()
        .filter_map(|name| pieces.id(name))
        .filter(|&id| pieces.role(id) == Role::Control)
        .collect()
}

/// What a GGUF vocabulary turns into.
pub(super) enum Built {
    Bpe { engine: Box<Engine>, pieces: Pieces, add_bos: bool },
    Spm { spm: Box<Spm>, pieces: Pieces, add_bos: bool },
}

/// Builds the tokenizer that a vocabulary describes.
pub(super) fn build(vocab: &GgufVocab) -> Result<Built, TokenError> {
    check(vocab)?;
    match vocab.model.as_str() {
        "gpt2" => byte_level(vocab),
        "llama" => sentence_piece(vocab),
        _ => Err(TokenError::UnknownModel { found: vocab.model.clone() }),
    }
}

/// Counts, ids and names agree.
fn check(vocab: &GgufVocab) -> Result<(), TokenError> {
    let n = vocab.tokens.len();
    let wrong = |what: &str, count: usize| {
        Err(TokenError::Vocabulary(format!(
            "{n} tokens but {count} {what}; there must be one for every token"
        )))
    };
    if n == 0 {
        return Err(TokenError::Vocabulary("it has no tokens".into()));
    }
    if let Some(scores) = &vocab.scores
        && scores.len() != n
    {
        return wrong("scores", scores.len());
    }
    if let Some(types) = &vocab.token_types
        && types.len() != n
    {
        return wrong("token types", types.len());
    }
    let ids = [("bos", vocab.bos), ("eos", vocab.eos), ("eot", vocab.eot), ("unknown", vocab.unk)];
    for (what, id) in ids {
        if let Some(id) = id.filter(|&id| id as usize >= n) {
            return Err(TokenError::Vocabulary(format!(
                "the {what} token is {id}, but there are {n} tokens"
            )));
        }
    }
    let mut seen = HashMap::with_capacity(n);
    for (id, token) in vocab.tokens.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
        if let Some(first) = seen.insert(token.as_str(), id) {
            return Err(TokenError::Vocabulary(format!("{token:?} is both token {first} and token {id}")));
        }
    }
    Ok(())
}

fn kind(vocab: &GgufVocab, id: usize) -> i32 {
    vocab.token_types.as_ref().and_then(|t| t.get(id)).copied().unwrap_or(1)
}

fn role(vocab: &GgufVocab, id: usize, name: &str) -> Role {
    match kind(vocab, id) {
        CONTROL | UNKNOWN => Role::Control,
        USER_DEFINED if is_marker(name) => Role::Control,
        USER_DEFINED => Role::Added,
        _ => Role::Text,
    }
}

fn pieces(vocab: &GgufVocab, spelling: Spelling) -> Result<Pieces, TokenError> {
    let entries = vocab.tokens.iter().enumerate();
    Pieces::new(entries.map(|(i, t)| (i as u32, t.clone(), role(vocab, i, t))), spelling)
}

fn byte_level(vocab: &GgufVocab) -> Result<Built, TokenError> {
    let pre = pre_tokenizer(vocab.pre.as_deref())?;
    let lines = vocab
        .merges
        .as_ref()
        .ok_or_else(|| TokenError::Vocabulary("a \"gpt2\" tokenizer needs tokenizer.ggml.merges".into()))?;
    let mut merges = Vec::with_capacity(lines.len());
    for (rank, line) in lines.iter().enumerate() {
        // The first half may not be empty, so the space is looked for after the first character.
        let first = line.chars().next().map_or(0, char::len_utf8);
        let at = line.get(first..).and_then(|rest| rest.find(' ')).map(|at| at + first);
        let halves = at.and_then(|at| Some((line.get(..at)?, line.get(at + 1..)?)));
        match halves {
            Some((a, b)) if !b.is_empty() => merges.push((a.to_owned(), b.to_owned())),
            _ => {
                return Err(TokenError::Vocabulary(format!(
                    "merge {rank} is {line:?}, expected two pieces with a space between"
                )));
            }
        }
    }
    let named = vocab.tokens.iter().enumerate().filter(|(_, t)| !t.is_empty());
    let ids: Vocab = named.map(|(i, t)| (t.clone(), i as u32)).collect();
    let pieces = pieces(vocab, Spelling::ByteLevel)?;
    let bad = |e: String| TokenError::Vocabulary(e);
    let engine = contained(
        || {
            let bpe = BPE::builder()
                .vocab_and_merges(ids, merges)
                .ignore_merges(pre.ignore_merges)
                .build()
                .map_err(|e| bad(e.to_string()))?;
            let mut core = Core::new(bpe);
            core.with_pre_tokenizer(Some(pre.splitter));
            core.with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::new(false, false, false))));
            let added = |role: Role| -> Vec<AddedToken> {
                let with = pieces.iter().filter(|(_, name, r)| *r == role && !name.is_empty());
                with.map(|(_, name, _)| AddedToken::from(name, role == Role::Control).normalized(false))
                    .collect()
            };
            core.add_special_tokens(added(Role::Control)).map_err(|e| bad(e.to_string()))?;
            core.add_tokens(added(Role::Added)).map_err(|e| bad(e.to_string()))?;
            Engine::new(core)
        },
        bad,
    )?;
    Ok(Built::Bpe { engine: Box::new(engine), pieces, add_bos: vocab.add_bos.unwrap_or(pre.add_bos) })
}

fn sentence_piece(vocab: &GgufVocab) -> Result<Built, TokenError> {
    let scores = vocab
        .scores
        .as_ref()
        .ok_or_else(|| TokenError::Vocabulary("a \"llama\" tokenizer needs tokenizer.ggml.scores".into()))?;
    let mut table = HashMap::with_capacity(vocab.tokens.len());
    let mut bytes = vec![None; 256];
    let (mut control, mut user, mut unused) = (Vec::new(), Vec::new(), HashSet::new());
    let mut unk = vocab.unk;
    let mut longest = 0;
    for (i, (name, &score)) in vocab.tokens.iter().zip(scores).enumerate() {
        let id = i as u32;
        if score.is_nan() {
            return Err(TokenError::Vocabulary(format!("token {id} ({name:?}) has no number as its score")));
        }
        match role(vocab, i, name) {
            Role::Control => control.push((name.clone(), id)),
            Role::Added => user.push((name.replace(' ', "▁"), id)),
            _ if kind(vocab, i) == BYTE => match byte_piece(name).and_then(|b| bytes.get_mut(usize::from(b)))
            {
                Some(slot) => *slot = Some(id),
                None => {
                    return Err(TokenError::Vocabulary(format!(
                        "byte token {id} is {name:?}, expected <0xNN>"
                    )));
                }
            },
            _ if name.is_empty() => {}
            _ => {
                if kind(vocab, i) == UNUSED {
                    unused.insert(id);
                }
                longest = longest.max(name.len());
                // Adding zero turns -0 into 0, so that the two tie.
                table.insert(name.clone().into_boxed_str(), Piece { id, score: score + 0.0 });
            }
        }
        if kind(vocab, i) == UNKNOWN {
            unk = unk.or(Some(id));
        }
    }
    let add_space_prefix = vocab.add_space_prefix.unwrap_or(true);
    let spm = Spm {
        pieces: table,
        unused,
        bytes,
        unk,
        control: Matcher::new(control),
        user: Matcher::new(user),
        add_space_prefix,
        longest,
    };
    let pieces = pieces(vocab, Spelling::SentencePiece { leading_space: add_space_prefix })?;
    Ok(Built::Spm { spm: Box::new(spm), pieces, add_bos: vocab.add_bos.unwrap_or(true) })
}
