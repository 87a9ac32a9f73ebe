//! Tokenizers that a stranger wrote, and any text through two that we know.

use pellucid_model::tokens::{Encoding, GgufVocab, Tokenizer};
use std::sync::OnceLock;

/// Texts for a tokenizer that came out of the bytes.
const TEXTS: [&str; 4] =
    ["", "Hello world, it's 2024!", " a\u{301}é漢字🙂\n\t▁x", "<s>[INST] a</s><|im_end|>"];

/// The first byte chooses: a `tokenizer.json`; a GGUF vocabulary in lines; a text for byte-level BPE; a text for
/// SentencePiece.
pub fn tokenizer(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Ok(tokenizer) = Tokenizer::from_json(rest, None, None, None) {
                TEXTS.iter().for_each(|text| strange(&tokenizer, text));
            }
        }
        1 => {
            if let Ok(tokenizer) = Tokenizer::from_gguf(vocabulary(&String::from_utf8_lossy(rest))) {
                TEXTS.iter().for_each(|text| strange(&tokenizer, text));
            }
        }
        2 => known(byte_level(), &String::from_utf8_lossy(rest)),
        _ => known(sentence_piece(), &String::from_utf8_lossy(rest)),
    }
}

/// A tokenizer of the tiny models.
pub(crate) fn byte_level() -> &'static Tokenizer {
    static MADE: OnceLock<Tokenizer> = OnceLock::new();
    MADE.get_or_init(fresh)
}

/// The same anew, to be given a template.
pub(crate) fn fresh() -> Tokenizer {
    let json = include_bytes!("../../fixtures/tiny/llama/tokenizer.json");
    let config = include_str!("../../fixtures/tiny/llama/tokenizer_config.json");
    let config = serde_json::from_str(config).expect("a fixture");
    Tokenizer::from_json(json, Some(&config), None, None).expect("a fixture")
}

/// A vocabulary with bytes, a few words and turn markers.
fn sentence_piece() -> &'static Tokenizer {
    static MADE: OnceLock<Tokenizer> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut lines = String::from("llama - 1 2 0\n2 0 <unk>\n3 0 <s>\n3 0 </s>\n");
        (0..256).for_each(|byte| lines.push_str(&format!("6 0 <0x{byte:02X}>\n")));
        lines.push_str("3 0 <start_of_turn>\n4 0 <tool>\n");
        for (rank, piece) in ["▁", "▁t", "he", "▁the", "e", "h", "t", "é", "▁▁", "漢"].iter().enumerate()
        {
            lines.push_str(&format!("1 -{rank} {piece}\n"));
        }
        Tokenizer::from_gguf(vocabulary(&lines)).expect("a vocabulary")
    })
}

/// A first line `model pre bos eos unk flags`, then `type score piece` for every token and `merge a b` for every merge; a
/// part that is no number is absent.
fn vocabulary(text: &str) -> GgufVocab {
    let mut lines = text.split('\n');
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let id = |at: usize| first.get(at).and_then(|part| part.parse().ok());
    let flag = |bit: u32| {
        id(5).and_then(|flags: u32| (flags >> bit & 1 == 1).then_some(flags >> (bit + 1) & 1 == 1))
    };
    let (mut tokens, mut scores, mut types, mut merges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for line in lines.take(5000).filter(|line| !line.is_empty()) {
        match line.strip_prefix("merge ") {
            Some(merge) => merges.push(merge.to_owned()),
            None => {
                let mut parts = line.splitn(3, ' ');
                types.push(parts.next().and_then(|part| part.parse().ok()).unwrap_or(1));
                scores.push(parts.next().and_then(|part| part.parse().ok()).unwrap_or(0.0));
                tokens.push(parts.next().unwrap_or_default().to_owned());
            }
        }
    }
    GgufVocab {
        model: first.first().copied().unwrap_or_default().to_owned(),
        pre: first.get(1).map(|pre| (*pre).to_owned()),
        tokens,
        scores: Some(scores),
        token_types: Some(types),
        merges: Some(merges),
        bos: id(2),
        eos: id(3),
        unk: id(4),
        add_bos: flag(0),
        add_eos: flag(2),
        add_space_prefix: flag(4),
        ..GgufVocab::default()
    }
}

/// What holds of any tokenizer: a text has tokens that lie within it, or it is refused.
fn strange(tokenizer: &Tokenizer, text: &str) {
    let _ = (tokenizer.vocab_size(), tokenizer.bos(), tokenizer.eos(), tokenizer.hash());
    let _ = tokenizer.single_token(text);
    for encoding in [tokenizer.encode(text, true), tokenizer.encode_plain(text, false)].into_iter().flatten()
    {
        consistent(tokenizer, text, &encoding);
    }
}

fn consistent(tokenizer: &Tokenizer, text: &str, encoding: &Encoding) {
    let characters = text.chars().count();
    assert_eq!(encoding.ids.len(), encoding.tokens.len());
    for (id, token) in encoding.ids.iter().zip(&encoding.tokens) {
        assert_eq!(*id, token.id);
        assert!(token.span.start <= token.span.end && token.span.end <= text.len(), "{token:?} of {text:?}");
        assert!(
            token.char_span.start <= token.char_span.end && token.char_span.end <= characters,
            "{token:?}"
        );
    }
    let whole = tokenizer.decode(&encoding.ids).expect("ids that were given");
    tokenizer.decode_with_special(&encoding.ids).expect("ids that were given");
    let mut stream = tokenizer.stream();
    let mut parts = String::new();
    for id in &encoding.ids {
        parts.push_str(&stream.push(*id).expect("ids that were given").unwrap_or_default());
    }
    parts.push_str(&stream.finish().unwrap_or_default());
    assert_eq!(parts, whole, "a stream of {:?} differs from its whole", encoding.ids);
}

/// What holds of a tokenizer whose vocabulary has every byte: the ids are the text.
fn known(tokenizer: &Tokenizer, text: &str) {
    let encoding = tokenizer.encode(text, true).expect("a vocabulary with every byte");
    consistent(tokenizer, text, &encoding);
    let plain = tokenizer.encode_plain(text, false).expect("a vocabulary with every byte");
    consistent(tokenizer, text, &plain);
    assert!(plain.tokens.iter().all(|token| !token.special), "plain text controls something: {text:?}");
    // SentencePiece writes a space as ▁, so that a ▁ of the text comes back as a space
    let expected = text.replace('▁', " ");
    let back = tokenizer.decode(&plain.ids).expect("ids that were given");
    assert_eq!(back.replace('▁', " "), expected);
}
