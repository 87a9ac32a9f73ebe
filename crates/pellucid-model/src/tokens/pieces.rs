//! The vocabulary as bytes: what every token id stands for, exactly.
//!
//! Byte-level BPE (GPT-2, Radford et al. 2019) writes each byte as one printable character; SentencePiece writes a
//! space as `▁` (U+2581) and an unknown byte as `<0xNN>`. Both are undone here once, so that everything above works
//! with plain bytes.

use std::collections::HashMap;

use super::TokenError;

/// A vocabulary may have holes, but an id beyond this is a damaged file, not a model.
const MAX_ID: u32 = 1 << 22;

/// How the pieces of a vocabulary spell bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's byte-to-character table.
    ByteLevel,
    /// `▁` for a space, `<0xNN>` for a byte. `leading_space`: the encoder put a space in front of the text.
    SentencePiece { leading_space: bool },
    /// BERT's word pieces: `##` continues a word.
    WordPiece,
    /// CLIP-like BPE: `</w>` ends a word.
    EndOfWord,
    /// The piece is its text.
    Plain,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Ordinary text.
    Text,
    /// A token matched literally before tokenisation, but part of the text (e.g. a run of newlines).
    Added,
    /// A control token: never part of the text.
    Control,
    /// A hole: no token has this id.
    Hole,
}

/// All pieces: names as the file spells them, and the bytes they stand for.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    names: Vec<Box<str>>,
    bytes: Vec<Box<[u8]>>,
    roles: Vec<Role>,
    by_name: HashMap<Box<str>, u32>,
    pub(super) spelling: Spelling,
}

impl Pieces {
    /// Builds the table from `(id, name, role)`, in any order. Errors: an absurd id.
    pub(super) fn new(
        entries: impl IntoIterator<Item = (u32, String, Role)>,
        spelling: Spelling,
    ) -> Result<Self, TokenError> {
        let decode = ByteLevelTable::new();
        let mut table = Self {
            names: Vec::new(),
            bytes: Vec::new(),
            roles: Vec::new(),
            by_name: HashMap::new(),
            spelling,
        };
        for (id, name, role) in entries {
            if id >= MAX_ID {
                return Err(TokenError::Vocabulary(format!("token {name:?} has id {id}, beyond {MAX_ID}")));
            }
            let at = id as usize;
            if at >= table.names.len() {
                table.names.resize_with(at + 1, Default::default);
                table.bytes.resize_with(at + 1, Default::default);
                table.roles.resize(at + 1, Role::Hole);
            }
            let bytes = match role {
                Role::Text => spelled_bytes(&name, spelling, &decode),
                _ => name.as_bytes().into(),
            };
            let name: Box<str> = name.into();
            if let (Some(n), Some(b), Some(r)) =
                (table.names.get_mut(at), table.bytes.get_mut(at), table.roles.get_mut(at))
            {
                (*n, *b, *r) = (name.clone(), bytes, role);
            }
            // The first of two equal names keeps it: `token_id` must not depend on what follows.
            table.by_name.entry(name).or_insert(id);
        }
        Ok(table)
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(AsRef::as_ref)
    }

    pub(super) fn role(&self, id: u32) -> Role {
        self.roles.get(id as usize).copied().unwrap_or(Role::Hole)
    }

    /// The bytes of a token; an error if no token has this id.
    pub(super) fn bytes(&self, id: u32) -> Result<&[u8], TokenError> {
        match self.bytes.get(id as usize) {
            Some(bytes) if self.role(id) != Role::Hole => Ok(bytes),
            _ => Err(TokenError::IdOutOfRange { id, size: self.len() }),
        }
    }

    /// Ids, names and roles in the order of ids, without the holes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str, Role)> {
        let pairs = self.names.iter().zip(&self.roles).enumerate();
        pairs.filter(|(_, (_, r))| **r != Role::Hole).map(|(i, (n, r))| (i as u32, n.as_ref(), *r))
    }

    /// Whether decoding drops one space in front of the text, because the encoder added it.
    pub(super) fn drops_leading_space(&self) -> bool {
        matches!(self.spelling, Spelling::SentencePiece { leading_space: true } | Spelling::WordPiece)
    }
}

/// The bytes of a text piece.
fn spelled_bytes(name: &str, spelling: Spelling, table: &ByteLevelTable) -> Box<[u8]> {
    match spelling {
        // A piece with a character outside the table was added as it is written, and decoders keep it so.
        Spelling::ByteLevel => match name.chars().map(|c| table.byte(c)).collect::<Option<Vec<u8>>>() {
            Some(bytes) => bytes.into(),
            None => name.as_bytes().into(),
        },
        Spelling::SentencePiece { .. } => match byte_piece(name) {
            Some(byte) => [byte].into(),
            None => name.replace('▁', " ").into_bytes().into(),
        },
        Spelling::WordPiece => match name.strip_prefix("##") {
            Some(rest) => rest.as_bytes().into(),
            None => format!(" {name}").into_bytes().into(),
        },
        Spelling::EndOfWord => name.replace("</w>", " ").into_bytes().into(),
        Spelling::Plain => name.as_bytes().into(),
    }
}

/// `<0x0A>` → 10. Two hexadecimal digits exactly, as SentencePiece writes them.
pub(super) fn byte_piece(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// GPT-2's `bytes_to_unicode`, inverted: printable Latin-1 bytes stand for themselves, the 68 others for U+0100 on.
struct ByteLevelTable {
    bytes: [Option<u8>; 0x144],
}

impl ByteLevelTable {
    fn new() -> Self {
        let mut bytes = [None; 0x144];
        let mut next = 0x100;
        for byte in 0..=255_u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
            let at = if printable {
                usize::from(byte)
            } else {
                next += 1;
                next - 1
            };
            if let Some(slot) = bytes.get_mut(at) {
                *slot = Some(byte);
            }
        }
        Self { bytes }
    }

    fn byte(&self, c: char) -> Option<u8> {
        self.bytes.get(c as usize).copied().flatten()
    }
}

/// Bytes as a reader may see them: text where they are UTF-8, `⟨E2 82⟩` where they are part of a character.
pub(super) fn display(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        shown.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let hex: Vec<String> = chunk.invalid().iter().map(|b| format!("{b:02X}")).collect();
            shown.push('⟨');
            shown.push_str(&hex.join(" "));
            shown.push('⟩');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_table_is_a_bijection() {
        let table = ByteLevelTable::new();
        let mut seen: Vec<u8> = table.bytes.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(table.byte('Ġ'), Some(b' '));
        assert_eq!(table.byte('Ċ'), Some(b'\n'));
        assert_eq!(table.byte('▁'), None);
    }

    #[test]
    fn partial_characters_are_shown_in_hexadecimal() {
        assert_eq!(display("é".as_bytes()), "é");
        assert_eq!(display(b"a\xE2\x82"), "a⟨E2 82⟩");
        assert_eq!(display(b"\x82\x82b"), "⟨82⟩⟨82⟩b");
    }

    #[test]
    fn byte_pieces_have_two_digits() {
        assert_eq!(byte_piece("<0x0A>"), Some(10));
        assert_eq!(byte_piece("<0xFFF>"), None);
        assert_eq!(byte_piece("<0x+1>"), None);
    }
}
