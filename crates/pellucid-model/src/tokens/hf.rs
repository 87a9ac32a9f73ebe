//! Byte-level BPE and every tokenizer of a `tokenizer.json`, run by the `tokenizers` crate.

use std::ops::Range;

use serde_json::Value;
use tokenizers::tokenizer::{
    AddedToken, AddedVocabulary, Encoding as HfEncoding, Model, ModelWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer as _, Token as HfToken, Tokenizer as Core,
};

use super::TokenError;
use super::error::contained;
use super::gguf::is_marker;
use super::pieces::{Pieces, Role, Spelling};
use super::spm::Raw;

/// A tokenizer of the `tokenizers` crate with two views of its added tokens.
pub(super) struct Engine {
    core: Core,
    /// The same added tokens, with control tokens left in pieces: for text that must not control anything.
    plain: AddedVocabulary,
    /// Ids that the post-processor puts before and after a text.
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

fn failed(e: impl std::fmt::Display) -> TokenError {
    TokenError::Encode(e.to_string())
}

impl Engine {
    /// Takes over a tokenizer. Truncation, padding and dropout are switched off: a tool that shows every token must
    /// not lose some, and the same text must give the same ids.
    pub(super) fn new(mut core: Core) -> Result<Self, TokenError> {
        core.with_padding(None);
        core.with_truncation(None).map_err(failed)?;
        if let ModelWrapper::BPE(bpe) = core.get_model()
            && bpe.dropout.is_some()
        {
            let mut fixed = bpe.clone();
            fixed.dropout = None;
            core.with_model(fixed);
        }
        let mut plain = core.get_added_vocabulary().clone();
        // A turn marker that the file forgot to call special must not be let through either.
        let mut forgotten: Vec<AddedToken> = plain
            .get_added_tokens_decoder()
            .values()
            .filter(|t| !t.special && is_marker(&t.content))
            .map(|t| t.clone().special(true))
            .collect();
        forgotten.sort_unstable_by(|a, b| a.content.cmp(&b.content));
        plain.add_special_tokens(forgotten, core.get_model(), core.get_normalizer()).map_err(failed)?;
        plain.set_encode_special_tokens(true);
        let probe = HfEncoding::from_tokens(vec![HfToken::new(0, "x".into(), (0, 1))], 0);
        let framed = core.post_process(probe, None, true).map_err(failed)?;
        let mask = framed.get_special_tokens_mask();
        let text_at = mask.iter().position(|&m| m == 0).unwrap_or(mask.len());
        let ids = framed.get_ids();
        Ok(Self {
            before: ids.iter().take(text_at).copied().collect(),
            after: ids.iter().skip(text_at + 1).copied().collect(),
            core,
            plain,
        })
    }

    /// Reads a `tokenizer.json`.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, TokenError> {
        let bad = |message: String| TokenError::Json { document: "tokenizer.json", message };
        contained(
            || Self::new(Core::from_bytes(json).map_err(|e| bad(e.to_string()))?),
            |message| bad(format!("malformed: {message}")),
        )
    }

    /// Tokenises a text without what the post-processor adds. Spans are byte offsets into `text`; a token that is
    /// part of a character has the span of the whole character.
    pub(super) fn encode(&self, text: &str, plain: bool) -> Result<Vec<Raw>, TokenError> {
        contained(
            || {
                let mut words = self.extract(text, plain);
                if let Some(splitter) = self.core.get_pre_tokenizer() {
                    splitter.pre_tokenize(&mut words).map_err(failed)?;
                }
                let model = self.core.get_model();
                words.tokenize(|word| model.tokenize(word.get())).map_err(failed)?;
                let encoding = words.into_encoding(None, 0, OffsetType::Byte).map_err(failed)?;
                let spans = encoding.get_ids().iter().zip(encoding.get_offsets());
                Ok(spans.map(|(&id, &(start, end))| Raw { id, start, end: end.max(start) }).collect())
            },
            failed,
        )
    }

    /// Where added tokens lie in a text.
    pub(super) fn added(&self, text: &str) -> Result<Vec<(Range<usize>, u32)>, TokenError> {
        contained(
            || {
                let words = self.extract(text, false);
                let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
                let found = splits.into_iter().filter_map(|(_, (start, end), tokens)| {
                    let token = tokens.as_ref()?.first()?;
                    Some((start..end, token.id))
                });
                Ok(found.collect())
            },
            failed,
        )
    }

    fn extract(&self, text: &str, plain: bool) -> PreTokenizedString {
        let added = if plain { &self.plain } else { self.core.get_added_vocabulary() };
        added.extract_and_normalize(self.core.get_normalizer(), text)
    }

    /// The vocabulary with the bytes of every piece.
    pub(super) fn pieces(&self) -> Result<Pieces, TokenError> {
        let added = self.core.get_added_vocabulary().get_added_tokens_decoder();
        // The crate hands out a hash map: its order must not decide which of two names of one id is kept.
        let mut vocab: Vec<(u32, String)> =
            self.core.get_vocab(true).into_iter().map(|(name, id)| (id, name)).collect();
        vocab.sort_unstable();
        let entries = vocab.into_iter().map(|(id, name)| {
            let role = match added.get(&id) {
                Some(token) if token.special => Role::Control,
                Some(_) => Role::Added,
                None => Role::Text,
            };
            (id, name, role)
        });
        Pieces::new(entries, self.spelling())
    }

    /// How pieces spell bytes, judged by the parts of the pipeline.
    fn spelling(&self) -> Spelling {
        let decoder = serde_json::to_value(self.core.get_decoder()).unwrap_or(Value::Null);
        let splitter = serde_json::to_value(self.core.get_pre_tokenizer()).unwrap_or(Value::Null);
        let normalizer = serde_json::to_value(self.core.get_normalizer()).unwrap_or(Value::Null);
        let all = [&decoder, &splitter, &normalizer];
        let any = |kind: &str| all.iter().any(|v| !parts(v, kind).is_empty());
        if any("ByteLevel") {
            return Spelling::ByteLevel;
        }
        if !parts(&decoder, "WordPiece").is_empty() {
            return Spelling::WordPiece;
        }
        if !parts(&decoder, "BPEDecoder").is_empty() {
            return Spelling::EndOfWord;
        }
        let marked = |v: &Value| v.to_string().contains('▁');
        if any("ByteFallback") || all.iter().any(|v| marked(v)) {
            let strips = parts(&decoder, "Strip").iter().any(|s| s.get("start") != Some(&Value::from(0)));
            let prepends = parts(&decoder, "Metaspace")
                .iter()
                .any(|m| m.get("prepend_scheme").and_then(Value::as_str) != Some("never"));
            return Spelling::SentencePiece { leading_space: strips || prepends };
        }
        Spelling::Plain
    }

    /// The whole pipeline in one canonical text: vocabulary by id, merges by rank, added tokens by id.
    pub(super) fn canonical(&self) -> Result<String, TokenError> {
        self.core.to_string(false).map_err(failed)
    }
}

/// All objects of the tree whose `type` is `kind`.
fn parts<'v>(tree: &'v Value, kind: &str) -> Vec<&'v Value> {
    let children: Vec<&Value> = match tree {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let this = (tree.get("type").and_then(Value::as_str) == Some(kind)).then_some(tree);
    this.into_iter().chain(children.into_iter().flat_map(|c| parts(c, kind))).collect()
}
