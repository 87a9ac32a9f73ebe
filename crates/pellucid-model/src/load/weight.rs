//! The element types that weight files use, and what is known of a tensor before its data is read.
//!
//! Block sizes follow ggml's `ggml_type` table (`ggml.h`, `ggml-common.h`); the numbers are the type ids of a
//! GGUF file.

use std::fmt;

/// How a tensor's elements are stored in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightType {
    name: &'static str,
    /// Elements per block; 1 for plain types.
    block: usize,
    /// Bytes per block.
    bytes: usize,
    kind: Kind,
}

/// How the bytes of a type become floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    F32,
    F16,
    BF16,
    /// Block-quantised, with the id that candle's dequantiser knows.
    Block(u32),
    /// Known by name and size only.
    Opaque,
}

const fn plain(name: &'static str, bytes: usize, kind: Kind) -> WeightType {
    WeightType { name, block: 1, bytes, kind }
}

const fn block(name: &'static str, block: usize, bytes: usize, id: u32) -> WeightType {
    WeightType { name, block, bytes, kind: Kind::Block(id) }
}

const fn opaque(name: &'static str, block: usize, bytes: usize) -> WeightType {
    WeightType { name, block, bytes, kind: Kind::Opaque }
}

/// GGUF type id → type. Ids that ggml has withdrawn (4, 5, 31–33, 36–38) are absent.
const GGML: &[(u32, WeightType)] = &[
    (0, WeightType::F32),
    (1, WeightType::F16),
    (2, block("Q4_0", 32, 18, 2)),
    (3, block("Q4_1", 32, 20, 3)),
    (6, block("Q5_0", 32, 22, 6)),
    (7, block("Q5_1", 32, 24, 7)),
    (8, block("Q8_0", 32, 34, 8)),
    (9, opaque("Q8_1", 32, 36)),
    (10, block("Q2_K", 256, 84, 10)),
    (11, block("Q3_K", 256, 110, 11)),
    (12, block("Q4_K", 256, 144, 12)),
    (13, block("Q5_K", 256, 176, 13)),
    (14, block("Q6_K", 256, 210, 14)),
    (15, block("Q8_K", 256, 292, 15)),
    (16, opaque("IQ2_XXS", 256, 66)),
    (17, opaque("IQ2_XS", 256, 74)),
    (18, opaque("IQ3_XXS", 256, 98)),
    (19, opaque("IQ1_S", 256, 50)),
    (20, opaque("IQ4_NL", 32, 18)),
    (21, opaque("IQ3_S", 256, 110)),
    (22, opaque("IQ2_S", 256, 82)),
    (23, opaque("IQ4_XS", 256, 136)),
    (24, opaque("I8", 1, 1)),
    (25, opaque("I16", 1, 2)),
    (26, opaque("I32", 1, 4)),
    (27, opaque("I64", 1, 8)),
    (28, opaque("F64", 1, 8)),
    (29, opaque("IQ1_M", 256, 56)),
    (30, WeightType::BF16),
    (34, opaque("TQ1_0", 256, 54)),
    (35, opaque("TQ2_0", 256, 66)),
    (39, opaque("MXFP4", 32, 17)),
    (40, opaque("NVFP4", 64, 36)),
];

impl WeightType {
    /// IEEE single precision.
    pub const F32: Self = plain("F32", 4, Kind::F32);
    /// IEEE half precision.
    pub const F16: Self = plain("F16", 2, Kind::F16);
    /// The upper half of a single.
    pub const BF16: Self = plain("BF16", 2, Kind::BF16);

    /// The format's own name of the type, such as `Q4_K` or `BF16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether `Checkpoint::tensor` can turn it into floats.
    #[must_use]
    pub fn is_supported(self) -> bool {
        self.kind != Kind::Opaque
    }

    /// Elements that are stored together; 1 for plain types.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.block
    }

    /// Bytes of one block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.bytes
    }

    pub(super) fn kind(self) -> Kind {
        self.kind
    }

    /// The type's id in a GGUF file; none for types that only other files have.
    pub(super) fn ggml(self) -> Option<u32> {
        GGML.iter().find(|(_, known)| *known == self).map(|(id, _)| *id)
    }

    pub(super) fn from_ggml(id: u32) -> Option<Self> {
        GGML.iter().find(|(known, _)| *known == id).map(|(_, kind)| *kind)
    }

    pub(super) fn from_safetensors(dtype: safetensors::Dtype) -> Self {
        use safetensors::Dtype;
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::F64 => opaque("F64", 1, 8),
            Dtype::BOOL => opaque("BOOL", 1, 1),
            Dtype::U8 => opaque("U8", 1, 1),
            Dtype::I8 => opaque("I8", 1, 1),
            Dtype::U16 => opaque("U16", 1, 2),
            Dtype::I16 => opaque("I16", 1, 2),
            Dtype::U32 => opaque("U32", 1, 4),
            Dtype::I32 => opaque("I32", 1, 4),
            Dtype::U64 => opaque("U64", 1, 8),
            Dtype::I64 => opaque("I64", 1, 8),
            Dtype::C64 => opaque("C64", 1, 8),
            Dtype::F8_E5M2 => opaque("F8_E5M2", 1, 1),
            Dtype::F8_E4M3 => opaque("F8_E4M3", 1, 1),
            Dtype::F8_E8M0 => opaque("F8_E8M0", 1, 1),
            Dtype::F4 => opaque("F4", 2, 1),
            Dtype::F6_E2M3 => opaque("F6_E2M3", 4, 3),
            Dtype::F6_E3M2 => opaque("F6_E3M2", 4, 3),
            // The format's enumeration may grow; sizes then come from the file's offsets.
            other if other.bitsize().is_multiple_of(8) => opaque("another type", 1, other.bitsize() / 8),
            _ => opaque("another type", 8, dtype.bitsize()),
        }
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the file.
    pub name: String,
    /// How its elements are stored.
    pub dtype: WeightType,
    /// Row-major, in the order of Hugging Face checkpoints: `(out, in)` for a linear map. (GGUF stores it
    /// reversed.)
    pub shape: Vec<usize>,
    /// Size of its data in the file.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements. Cannot overflow: the readers have checked the product.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}
