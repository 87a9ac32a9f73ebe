//! What can go wrong when activations are collected, joined, kept in a file or read back.

use crate::window::Document;

/// A block that cannot be collected, collectors that cannot be joined, or a file that is no collector.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A configuration that cannot be worked with.
    #[error("{what} is {found}, expected {expected}")]
    Keep {
        /// Which number.
        what: &'static str,
        /// What it was.
        found: usize,
        /// What it may be.
        expected: &'static str,
    },
    /// A block of another width.
    #[error("expected activations of {expected} units a token, found {found}")]
    Width {
        /// The collector's.
        expected: usize,
        /// The block's.
        found: usize,
    },
    /// The windows' tokens do not fill the block.
    #[error("expected {expected} activations for {tokens} tokens of {width} units, found {found}")]
    Length {
        /// Tokens times units.
        expected: usize,
        /// Tokens of all windows.
        tokens: usize,
        /// Units.
        width: usize,
        /// Activations in the block.
        found: usize,
    },
    /// A window that does not say of each token whether it counts.
    #[error("window {window} of document {} has {tokens} tokens and says of {counted} whether they count", hex(.document))]
    Counted {
        /// Its document.
        document: Document,
        /// Which window of it.
        window: u32,
        /// How many tokens it has.
        tokens: usize,
        /// How many flags.
        counted: usize,
    },
    /// An activation that is infinite or no number.
    #[error(
        "the activation of unit {unit} is {value} at token {token} of window {window} of document {}; the model's \
         numbers overflow there, and no statistic can hold them",
        hex(.document)
    )]
    NotFinite {
        /// Which unit of the site.
        unit: usize,
        /// The document.
        document: Document,
        /// Which window of it.
        window: u32,
        /// Which token of the window.
        token: usize,
        /// The activation.
        value: f32,
    },
    /// More tokens than a bin can count.
    #[error(
        "a sweep counts at most {} tokens, these would be {found}; sweep slices and keep them apart",
        u32::MAX
    )]
    Full {
        /// Tokens with these.
        found: u64,
    },
    /// Two collectors that were set up differently, or a file of such a collector.
    #[error(
        "expected a collector of {expected}, found one of {found}; give the same site, width and options"
    )]
    Differs {
        /// Site, width and configuration here.
        expected: String,
        /// There.
        found: String,
    },
    /// A file of something else.
    #[error("this is no collector's file: expected it to begin with {:?}, found {found:?}", crate::collect::file::MAGIC.escape_ascii().to_string())]
    Foreign {
        /// How it begins.
        found: String,
    },
    /// A file of another version of this program.
    #[error("expected a collector's file of version {expected}, found version {found}; start the sweep anew")]
    Version {
        /// What this program writes.
        expected: u32,
        /// What stands there.
        found: u32,
    },
    /// A file that ends too early.
    #[error("the collector's file ends in the middle of {part}; it was not written to its end")]
    Torn {
        /// What should have followed.
        part: &'static str,
    },
    /// A file whose content has changed since it was written.
    #[error("the collector's file is damaged: {what}; go back to an earlier one or start the sweep anew")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write a collector's file")]
    Io(#[from] std::io::Error),
}

/// A document's name as it is shown.
fn hex(document: &Document) -> String {
    document.0.iter().map(|byte| format!("{byte:02x}")).collect()
}
