//! Text to token ids and back, and conversations to prompts.
//!
//! A [`Tokenizer`] comes from a `tokenizer.json` ([`Tokenizer::from_json`]) or from the metadata of a GGUF file
//! ([`Tokenizer::from_gguf`]). It never changes, may be shared between threads, and gives for every token its exact
//! bytes and its place in the text, so that a picture of a run can be laid over the text it was run on.

mod chat;
mod date;
mod error;
mod gguf;
mod guard;
mod hf;
mod matcher;
mod pieces;
mod pre;
mod roles;
mod spm;
mod stream;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub use chat::{ChatEncoding, ChatTemplate, Message};
pub use date::Date;
pub use error::TokenError;
pub use gguf::GgufVocab;
pub use roles::{Rendered, RoleSpan};
pub use stream::StreamDecoder;

use gguf::Built;
use pieces::{Pieces, Role, Spelling, display};
use spm::{Raw, Spm};

/// A text as tokens: `ids[i]` and `tokens[i].id` are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids, in order.
    pub ids: Vec<u32>,
    /// One token for every id.
    pub tokens: Vec<Token>,
}

/// One token of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id in the vocabulary.
    pub id: u32,
    /// Its bytes for a reader's eye: text where they are UTF-8, `⟨E2 82⟩` where they are part of a character.
    pub text: String,
    /// Exactly the bytes that it stands for. In byte-level BPE the bytes of all tokens of a text are the text.
    pub bytes: Vec<u8>,
    /// Byte range in the source text; it may begin or end inside a character. Empty for a token that the tokenizer
    /// added by itself.
    pub span: Range<usize>,
    /// The range of the characters (Unicode scalar values) that `span` touches.
    pub char_span: Range<usize>,
    /// Whether it is a control token, such as a turn marker.
    pub special: bool,
}

/// The machine behind a tokenizer.
enum Engine {
    Hf(Box<hf::Engine>),
    Spm(Box<Spm>),
}

/// A tokenizer: immutable, `Send` and `Sync`.
pub struct Tokenizer {
    engine: Engine,
    pieces: Pieces,
    bos: Option<u32>,
    eos: Vec<u32>,
    /// What `add_special` puts before and after a text.
    before: Vec<u32>,
    after: Vec<u32>,
    /// A template that does not compile is an error when it is used, not when the model is loaded.
    template: Option<Result<ChatTemplate, TokenError>>,
    hash: OnceLock<String>,
    /// Settings beside the vocabulary that decide the ids; part of the hash.
    settings: String,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.engine {
            Engine::Hf(_) => "tokenizers",
            Engine::Spm(_) => "sentencepiece",
        };
        f.debug_struct("Tokenizer")
            .field("engine", &kind)
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Builds a tokenizer from the files of a Hugging Face model.
    ///
    /// `tokenizer_config` gives the names of the special tokens and the chat template (a string, or a list of
    /// `{name, template}` of which `default` is taken); `generation_config` and `config` give further ids that end
    /// generation, and the beginning-of-sequence id where there is no `tokenizer_config`.
    ///
    /// Errors: [`TokenError::Json`] for a file that is not a tokenizer, [`TokenError::Vocabulary`] for absurd ids.
    pub fn from_json(
        tokenizer_json: &[u8],
        tokenizer_config: Option<&Value>,
        generation_config: Option<&Value>,
        config: Option<&Value>,
    ) -> Result<Self, TokenError> {
        let engine = hf::Engine::from_json(tokenizer_json)?;
        let pieces = engine.pieces()?;
        let named = |key: &str| token_name(tokenizer_config?.get(key)?);
        let numbered =
            |document: Option<&Value>, key: &str| id_list(document.and_then(|d| d.get(key)), &pieces);
        let bos = match tokenizer_config {
            Some(_) => named("bos_token").and_then(|name| pieces.id(name)),
            None => [generation_config, config].iter().flat_map(|d| numbered(*d, "bos_token_id")).next(),
        };
        let mut eos: Vec<u32> = named("eos_token").and_then(|name| pieces.id(name)).into_iter().collect();
        eos.extend(numbered(generation_config, "eos_token_id"));
        eos.extend(numbered(config, "eos_token_id"));
        let (mut before, after) = (engine.before.clone(), engine.after.clone());
        let add_bos = tokenizer_config.and_then(|c| c.get("add_bos_token")).and_then(Value::as_bool);
        if let (Some(true), Some(bos)) = (add_bos, bos)
            && !before.contains(&bos)
        {
            before.insert(0, bos);
        }
        let source = tokenizer_config.and_then(|c| c.get("chat_template")).and_then(template_source);
        let name_of = |id: Option<u32>| id.and_then(|id| pieces.name(id)).unwrap_or_default().to_owned();
        let template = source.map(|s| ChatTemplate::new(&s, &name_of(bos), &name_of(eos.first().copied())));
        let settings = format!("{before:?}{after:?}");
        let engine = Engine::Hf(Box::new(engine));
        let mut made =
            Self { engine, pieces, bos, eos, before, after, template, hash: OnceLock::new(), settings };
        made.complete_eos();
        Ok(made)
    }

    /// Builds the tokenizer of a GGUF file.
    ///
    /// Errors: [`TokenError::UnknownModel`], [`TokenError::UnknownPre`], and [`TokenError::Vocabulary`] for counts that
    /// do not match, ids out of range, two tokens with one name, or merges that are not two pieces.
    pub fn from_gguf(vocab: GgufVocab) -> Result<Self, TokenError> {
        let (engine, pieces, add_bos) = match gguf::build(&vocab)? {
            Built::Bpe { engine, pieces, add_bos } => (Engine::Hf(engine), pieces, add_bos),
            Built::Spm { spm, pieces, add_bos } => (Engine::Spm(spm), pieces, add_bos),
        };
        let name_of = |id: Option<u32>| id.and_then(|id| pieces.name(id)).unwrap_or_default().to_owned();
        let template = vocab
            .chat_template
            .as_ref()
            .map(|s| ChatTemplate::new(s, &name_of(vocab.bos), &name_of(vocab.eos)));
        let framed = |add: bool, id: Option<u32>| id.filter(|_| add).into_iter().collect::<Vec<u32>>();
        let mut made = Self {
            bos: vocab.bos,
            eos: vocab.eos.into_iter().chain(vocab.eot).collect(),
            before: framed(add_bos, vocab.bos),
            after: framed(vocab.add_eos == Some(true), vocab.eos),
            template,
            hash: OnceLock::new(),
            settings: gguf_settings(&vocab),
            engine,
            pieces,
        };
        made.complete_eos();
        Ok(made)
    }

    /// Replaces the chat template, for a model without one or with a faulty one.
    #[must_use]
    pub fn with_chat_template(mut self, template: ChatTemplate) -> Self {
        self.template = Some(Ok(template));
        self
    }

    /// Adds the end markers known by name; sorts nothing, so the file's own come first.
    fn complete_eos(&mut self) {
        let mut all = Vec::new();
        for id in self.eos.iter().copied().chain(gguf::end_ids(&self.pieces)) {
            if !all.contains(&id) {
                all.push(id);
            }
        }
        self.eos = all;
    }

    /// Tokenises a text. The text of a control token is recognised, as Hugging Face's tokenizers do; for text that
    /// must not control anything there is [`Tokenizer::encode_plain`]. `add_special` adds what the model expects
    /// around a text (usually the beginning-of-sequence token).
    ///
    /// Errors: [`TokenError::Encode`] for a character that the vocabulary cannot express.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Encoding, TokenError> {
        self.encode_raw(text, add_special, false)
    }

    /// Like [`Tokenizer::encode`], but control tokens in the text stay text.
    pub fn encode_plain(&self, text: &str, add_special: bool) -> Result<Encoding, TokenError> {
        self.encode_raw(text, add_special, true)
    }

    fn encode_raw(&self, text: &str, add_special: bool, plain: bool) -> Result<Encoding, TokenError> {
        let raw = self.raw(text, plain)?;
        if add_special {
            self.finish(text, raw, &self.before, &self.after)
        } else {
            self.finish(text, raw, &[], &[])
        }
    }

    fn raw(&self, text: &str, plain: bool) -> Result<Vec<Raw>, TokenError> {
        match &self.engine {
            Engine::Hf(engine) => engine.encode(text, plain),
            Engine::Spm(spm) => spm.encode(text, plain),
        }
    }

    /// Tokenises a text of which some ranges must not control anything: control tokens that touch `protected` stay
    /// text. Everything else is tokenised as one text, so harmless content gives the ids that it always gives.
    fn raw_guarded(&self, text: &str, protected: &[Range<usize>]) -> Result<Vec<Raw>, TokenError> {
        let controls = self.controls(text)?;
        let touches = |r: &Range<usize>| protected.iter().any(|p| p.start < r.end && r.start < p.end);
        if !controls.iter().any(touches) {
            return self.raw(text, false);
        }
        let mut out = Vec::new();
        let mut piece = |range: Range<usize>, plain: bool| -> Result<(), TokenError> {
            let part = text.get(range.clone()).unwrap_or_default();
            let shifted = self.raw(part, plain)?.into_iter().map(|t| Raw {
                id: t.id,
                start: t.start + range.start,
                end: t.end + range.start,
            });
            out.extend(shifted);
            Ok(())
        };
        let mut at = 0;
        for control in controls.iter().filter(|r| !touches(r)) {
            piece(at..control.start, true)?;
            piece(control.clone(), false)?;
            at = control.end;
        }
        piece(at..text.len(), true)?;
        Ok(out)
    }

    /// Where control tokens, and tokens that look like turn markers, are recognised in a text.
    fn controls(&self, text: &str) -> Result<Vec<Range<usize>>, TokenError> {
        Ok(match &self.engine {
            Engine::Hf(engine) => {
                let control = |id: u32| {
                    self.pieces.role(id) == Role::Control || self.pieces.name(id).is_some_and(gguf::is_marker)
                };
                let added = engine.added(text)?.into_iter();
                added.filter(|(_, id)| control(*id)).map(|(range, _)| range).collect()
            }
            Engine::Spm(spm) => {
                spm.control.find(text).into_iter().map(|(start, end, _)| start..end).collect()
            }
        })
    }

    fn holds_control(&self, text: &str) -> Result<bool, TokenError> {
        Ok(!self.controls(text)?.is_empty())
    }

    /// Adds the frame, the bytes and exact spans.
    fn finish(
        &self,
        text: &str,
        raw: Vec<Raw>,
        before: &[u32],
        after: &[u32],
    ) -> Result<Encoding, TokenError> {
        let mut spans: Vec<Range<usize>> = raw.iter().map(|t| t.start..t.end).collect();
        let mut bytes = Vec::with_capacity(raw.len());
        for token in &raw {
            bytes.push(self.pieces.bytes(token.id)?);
        }
        // Where the bytes are the text, they say exactly where each token lies, even inside a character.
        if bytes.iter().map(|b| b.len()).sum::<usize>() == text.len() && bytes.concat() == text.as_bytes() {
            let mut at = 0;
            for (span, b) in spans.iter_mut().zip(&bytes) {
                *span = at..at + b.len();
                at += b.len();
            }
        }
        let chars = CharCount::new(text.as_bytes());
        let framed = |ids: &[u32], at: usize| -> Result<Vec<Token>, TokenError> {
            ids.iter().map(|&id| self.token(id, at..at, &chars)).collect()
        };
        let mut tokens = framed(before, 0)?;
        for (token, span) in raw.iter().zip(spans) {
            tokens.push(self.token(token.id, span, &chars)?);
        }
        tokens.extend(framed(after, text.len())?);
        Ok(Encoding { ids: tokens.iter().map(|t| t.id).collect(), tokens })
    }

    fn token(&self, id: u32, span: Range<usize>, chars: &CharCount) -> Result<Token, TokenError> {
        let bytes = self.pieces.bytes(id)?.to_vec();
        let special = self.pieces.role(id) == Role::Control;
        Ok(Token { id, text: display(&bytes), char_span: chars.touched(&span), bytes, span, special })
    }

    /// The tokens of given ids. Spans are ranges in the concatenation of all their bytes, control tokens included.
    ///
    /// Errors: [`TokenError::IdOutOfRange`].
    pub fn tokens(&self, ids: &[u32]) -> Result<Vec<Token>, TokenError> {
        let mut all = Vec::new();
        let mut spans = Vec::with_capacity(ids.len());
        for &id in ids {
            let start = all.len();
            all.extend_from_slice(self.pieces.bytes(id)?);
            spans.push(start..all.len());
        }
        let chars = CharCount::new(&all);
        ids.iter().zip(spans).map(|(&id, span)| self.token(id, span, &chars)).collect()
    }

    /// The text of given ids, without control tokens. Bytes that are not UTF-8 come out as U+FFFD; a leading space
    /// that the encoder would have added is dropped. No other clean-up is done.
    ///
    /// Errors: [`TokenError::IdOutOfRange`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenError> {
        self.decode_ids(ids, false)
    }

    /// Like [`Tokenizer::decode`], with the names of control tokens written out.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, TokenError> {
        self.decode_ids(ids, true)
    }

    fn decode_ids(&self, ids: &[u32], special: bool) -> Result<String, TokenError> {
        let mut out = Vec::new();
        let mut drop_space = self.pieces.drops_leading_space();
        for &id in ids {
            let mut bytes = self.pieces.bytes(id)?;
            let control = self.pieces.role(id) == Role::Control;
            if control && !special {
                continue;
            }
            if drop_space && !control && !bytes.is_empty() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
                drop_space = false;
            }
            // The SentencePiece encoder here adds the space anew after every control token.
            if control && matches!(self.engine, Engine::Spm(_)) {
                drop_space = self.pieces.drops_leading_space();
            }
            out.extend_from_slice(bytes);
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// A decoder for ids that arrive one at a time.
    pub fn stream(&self) -> StreamDecoder<'_> {
        StreamDecoder::new(self)
    }

    /// The id of a piece, spelled as the vocabulary spells it (`Ġthe`, `▁the`, `<|im_end|>`).
    pub fn token_id(&self, piece: &str) -> Option<u32> {
        self.pieces.id(piece)
    }

    /// The piece of an id as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> Option<&str> {
        self.pieces.name(id).filter(|_| self.pieces.role(id) != Role::Hole)
    }

    /// One more than the largest id. A model's output may be wider: embeddings are often padded.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The one token that a text is, for options that name a token, such as `" Warsaw"`.
    ///
    /// Errors: [`TokenError::NotOneToken`] with the pieces and, where a leading space decides it, a suggestion.
    pub fn single_token(&self, text: &str) -> Result<u32, TokenError> {
        let ids = self.encode(text, false)?.ids;
        if let [id] = ids.as_slice() {
            return Ok(*id);
        }
        // SentencePiece puts a space in front of a text, so that " Warsaw" is `▁` and `▁Warsaw`; what is meant is `▁Warsaw`.
        if matches!(self.pieces.spelling, Spelling::SentencePiece { .. })
            && let Some(id) = self.pieces.id(&text.replace(' ', "▁"))
            && self.pieces.role(id) == Role::Text
        {
            return Ok(id);
        }
        let shown: Vec<String> =
            self.tokens(&ids)?.iter().map(|t| format!("{:?} ({})", t.text, t.id)).collect();
        let other = match text.strip_prefix(' ') {
            Some(rest) => rest.to_owned(),
            None => format!(" {text}"),
        };
        let one = !other.trim().is_empty() && self.encode(&other, false).is_ok_and(|e| e.ids.len() == 1);
        let how = if text.starts_with(' ') { "without the leading space" } else { "with a leading space" };
        let hint = if one { format!("; {how}, {other:?} is one token") } else { String::new() };
        Err(TokenError::NotOneToken {
            text: text.to_owned(),
            count: ids.len(),
            pieces: shown.join(" "),
            hint,
        })
    }

    /// The beginning-of-sequence id, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// All ids that end generation: the file's end-of-sequence and end-of-turn ids first, then those that are known by
    /// name (`<end_of_turn>`, `<|im_end|>`, …). Empty if there are none.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// SHA-256, in hexadecimal, of everything that decides the ids: vocabulary, merges or scores, added tokens, the
    /// pipeline's settings. Not of the file, so white space in a JSON file does not matter. Two formats of one
    /// tokenizer have different hashes.
    pub fn hash(&self) -> String {
        self.hash.get_or_init(|| self.compute_hash()).clone()
    }

    fn compute_hash(&self) -> String {
        let mut sha = Sha256::new();
        let mut field = |bytes: &[u8]| {
            sha.update((bytes.len() as u64).to_le_bytes());
            sha.update(bytes);
        };
        field(b"pellucid tokenizer 1");
        field(self.settings.as_bytes());
        for (id, name, role) in self.pieces.iter() {
            field(&id.to_le_bytes());
            field(name.as_bytes());
            field(&[role as u8]);
        }
        match &self.engine {
            Engine::Hf(engine) => field(engine.canonical().unwrap_or_default().as_bytes()),
            Engine::Spm(spm) => {
                for (_, name, _) in self.pieces.iter() {
                    let score = spm.pieces.get(name).map_or(f32::NAN, |p| p.score);
                    field(&score.to_le_bytes());
                }
            }
        }
        sha.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The model's chat template; `None` if it has none or it does not compile
    /// ([`Tokenizer::encode_chat`] then says why).
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref().and_then(|t| t.as_ref().ok())
    }

    /// The chat template, or why there is none.
    fn usable_template(&self) -> Result<&ChatTemplate, TokenError> {
        match &self.template {
            None => Err(TokenError::NoTemplate),
            Some(Err(e)) => Err(e.clone()),
            Some(Ok(template)) => Ok(template),
        }
    }
}

/// The settings of a GGUF vocabulary that decide ids beside the pieces.
fn gguf_settings(vocab: &GgufVocab) -> String {
    format!(
        "{:?}",
        (
            &vocab.model,
            &vocab.pre,
            vocab.bos,
            vocab.eos,
            vocab.unk,
            vocab.add_bos,
            vocab.add_eos,
            vocab.add_space_prefix
        )
    )
}

/// A special token in `tokenizer_config.json`: a string, or an object with `content`.
fn token_name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// A token id or a list of them; those outside the vocabulary are left out.
fn id_list(value: Option<&Value>, pieces: &Pieces) -> Vec<u32> {
    let items = match value {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let ids = items.iter().filter_map(|v| u32::try_from(v.as_u64()?).ok());
    ids.filter(|&id| pieces.role(id) != Role::Hole).collect()
}

/// The chat template of a `tokenizer_config.json`: a string, or the `default` (else the first) of a list.
fn template_source(value: &Value) -> Option<String> {
    if let Some(source) = value.as_str() {
        return Some(source.to_owned());
    }
    let items = value.as_array()?;
    let named = items.iter().find(|t| t.get("name").and_then(Value::as_str) == Some("default"));
    named.or(items.first())?.get("template")?.as_str().map(str::to_owned)
}

/// Counts characters up to a byte.
struct CharCount {
    /// `before[i]`: how many characters begin before byte `i`; one longer than the text.
    before: Vec<usize>,
}

impl CharCount {
    fn new(text: &[u8]) -> Self {
        let mut before = Vec::with_capacity(text.len() + 1);
        let mut n = 0;
        before.push(n);
        for byte in text {
            n += usize::from(!is_continuation(*byte));
            before.push(n);
        }
        Self { before }
    }

    /// The range of the characters that a byte range touches; empty for an empty one.
    fn touched(&self, span: &Range<usize>) -> Range<usize> {
        let last = self.before.len().saturating_sub(1);
        let count = |i: usize| self.before.get(i.min(last)).copied().unwrap_or(0);
        let end = count(span.end);
        if span.is_empty() {
            return end..end;
        }
        // If no character begins at `start`, the one that began earlier is touched.
        let inside = count(span.start + 1) == count(span.start);
        let start = count(span.start).saturating_sub(usize::from(inside));
        start..end.max(start)
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}
