//! A byte-pair vocabulary learned from text (Sennrich et al. 2016; GPT-2's over bytes), as `tokenizer.json`.

use crate::checkpoint::put;
use crate::error::{Error, Result};
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerBuilder,
};

/// The one special token: it begins every text, and ends it. Its number is 0.
pub const END: &str = "<|endoftext|>";

/// A learned vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    pub(crate) json: String,
    size: usize,
}

/// Learns `size` pieces, the 256 bytes and [`END`] among them; fewer where the texts do not have as many pairs. Same texts, same vocabulary.
///
/// # Errors
/// If fewer than 257 are asked for, or there is no text.
pub fn learn<'t>(texts: impl Iterator<Item = &'t str> + Send, size: usize) -> Result<Vocabulary> {
    let fault = |why: String| Error::Vocabulary { wanted: size, why };
    if size < 257 {
        return Err(fault("256 bytes and the end of a text are pieces already; ask for more".to_owned()));
    }
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(size)
        .min_frequency(2)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let bytes = ByteLevel::new(false, true, true);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<NormalizerWrapper>)
        .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(bytes)))
        .with_post_processor(None::<PostProcessorWrapper>)
        .with_decoder(Some(DecoderWrapper::ByteLevel(bytes)))
        .build()
        .map_err(|e| fault(e.to_string()))?;
    tokenizer.train(&mut trainer, texts).map_err(|e| fault(e.to_string()))?;
    let size = tokenizer.get_vocab_size(true);
    let json = tokenizer.to_string(true).map_err(|e| fault(e.to_string()))?;
    Ok(Vocabulary { json, size })
}

impl Vocabulary {
    /// Pieces.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Reads what [`Vocabulary::write`] left.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let json = std::fs::read_to_string(&path).map_err(|source| Error::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let tokenizer: tokenizers::Tokenizer =
            json.parse().map_err(|e: tokenizers::Error| Error::Malformed { why: e.to_string(), path })?;
        Ok(Vocabulary { size: tokenizer.get_vocab_size(true), json })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, which says that a text begins with [`END`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        put(&folder.join("tokenizer.json"), self.json.as_bytes())?;
        let settings = serde_json::json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END,
            "eos_token": END,
            "add_bos_token": true,
            "clean_up_tokenization_spaces": false,
        });
        put(&folder.join("tokenizer_config.json"), format!("{settings:#}\n").as_bytes())
    }
}
