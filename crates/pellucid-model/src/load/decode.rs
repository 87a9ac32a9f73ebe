//! Stored bytes → floats of the wanted type, in parallel, straight into the tensor's own buffer.
//!
//! Peak memory is the result plus one chunk per thread: the stored bytes stay in the map, and no whole-tensor
//! `f32` copy is made on the way to a 16-bit type. Block formats are decoded by candle, which holds the
//! layouts of `ggml-common.h`.

use candle_core::quantized::{GgmlDType, ggml_file};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::error::LoadError;
use super::weight::{Kind, WeightType};

/// Elements per task: a multiple of every block length (256), and small enough for a core's second-level
/// cache.
const CHUNK: usize = 1 << 15;

/// Converts one tensor. `bytes` holds exactly the blocks of `shape`; the readers have checked that.
pub(super) fn tensor(
    name: &str,
    from: WeightType,
    bytes: &[u8],
    shape: &[usize],
    to: DType,
) -> Result<Tensor, LoadError> {
    let candle = |error| LoadError::Candle { name: name.into(), error: Box::new(error) };
    let result = match to {
        DType::F32 => fill::<f32>(from, bytes, shape),
        DType::F16 => fill::<f16>(from, bytes, shape),
        DType::BF16 => fill::<bf16>(from, bytes, shape),
        other => return Err(LoadError::Target { name: name.into(), asked: format!("{other:?}").into() }),
    };
    result.map_err(candle)
}

fn fill<T: Float>(from: WeightType, bytes: &[u8], shape: &[usize]) -> candle_core::Result<Tensor> {
    let mut out = vec![T::default(); shape.iter().product()];
    let chunk_bytes = CHUNK / from.block_len() * from.block_bytes();
    out.par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(chunk_bytes))
        .try_for_each(|(out, bytes)| T::decode(from.kind(), bytes, out))?;
    Tensor::from_vec(out, shape, &Device::Cpu)
}

/// The three types that weights are held in.
trait Float: candle_core::WithDType + Default {
    fn decode(kind: Kind, bytes: &[u8], out: &mut [Self]) -> candle_core::Result<()>;
}

impl Float for f32 {
    fn decode(kind: Kind, bytes: &[u8], out: &mut [Self]) -> candle_core::Result<()> {
        match kind {
            Kind::F32 => words(bytes, out, f32::from_le_bytes),
            Kind::F16 => halves(bytes, out, f16::from_le_bytes, |half, out| half.convert_to_f32_slice(out)),
            Kind::BF16 => halves(bytes, out, bf16::from_le_bytes, |half, out| half.convert_to_f32_slice(out)),
            Kind::Block(id) => return blocks(id, bytes, out),
            Kind::Opaque => candle_core::bail!("a type without a decoder"),
        }
        Ok(())
    }
}

impl Float for f16 {
    fn decode(kind: Kind, bytes: &[u8], out: &mut [Self]) -> candle_core::Result<()> {
        if kind == Kind::F16 {
            words(bytes, out, f16::from_le_bytes);
            return Ok(());
        }
        let mut wide = vec![0f32; out.len()];
        f32::decode(kind, bytes, &mut wide)?;
        out.convert_from_f32_slice(&wide);
        Ok(())
    }
}

impl Float for bf16 {
    fn decode(kind: Kind, bytes: &[u8], out: &mut [Self]) -> candle_core::Result<()> {
        if kind == Kind::BF16 {
            words(bytes, out, bf16::from_le_bytes);
            return Ok(());
        }
        let mut wide = vec![0f32; out.len()];
        f32::decode(kind, bytes, &mut wide)?;
        out.iter_mut().zip(&wide).for_each(|(out, wide)| *out = nearest_bf16(*wide));
        Ok(())
    }
}

/// Round to nearest, ties to even, as `bf16::from_f32` does, but without branches so that it becomes vector code.
fn nearest_bf16(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN's mantissa into infinity; the quiet bit keeps it a NaN.
    let quiet = (bits >> 16) | 0x40;
    let upper = if value.is_nan() { quiet } else { rounded };
    #[expect(clippy::cast_possible_truncation, reason = "both values are shifted into 16 bits")]
    bf16::from_bits(upper as u16)
}

fn words<T, const N: usize>(bytes: &[u8], out: &mut [T], read: impl Fn([u8; N]) -> T) {
    let (words, _) = bytes.as_chunks::<N>();
    for (out, word) in out.iter_mut().zip(words) {
        *out = read(*word);
    }
}

/// 16-bit floats, widened a stretch at a time by `half`'s vector code (one by one it is ten times slower).
fn halves<H: Copy + Default>(
    bytes: &[u8],
    out: &mut [f32],
    read: impl Fn([u8; 2]) -> H,
    widen: impl Fn(&[H], &mut [f32]),
) {
    let mut stretch = [H::default(); 256];
    for (out, bytes) in out.chunks_mut(256).zip(bytes.chunks(512)) {
        let (stretch, _) = stretch.split_at_mut(out.len());
        words(bytes, stretch, &read);
        widen(stretch, out);
    }
}

fn blocks(id: u32, bytes: &[u8], out: &mut [f32]) -> candle_core::Result<()> {
    if id == Q8_K {
        q8_k(bytes, out);
        return Ok(());
    }
    let kind = ggml_type(id)?;
    // candle reads blocks through a cast pointer; its widest block member is an f32. GGUF data are aligned to
    // at least 8 bytes (the reader refuses less) and a chunk is a multiple of 8 bytes, so this holds for
    // every file that opened.
    if bytes.as_ptr().align_offset(align_of::<f32>()) != 0 {
        candle_core::bail!("block data that are not aligned to 4 bytes");
    }
    let table = ggml_file::qtensor_from_ggml(kind, bytes, vec![out.len()], &Device::Cpu)?;
    let floats = table.dequantize(&Device::Cpu)?;
    let (storage, _) = floats.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) if values.len() == out.len() => out.copy_from_slice(values),
        _ => candle_core::bail!("the dequantiser returned another type or length"),
    }
    Ok(())
}

const Q8_K: u32 = 15;

/// The one block type that candle quantises to but does not read: a scale, 256 bytes, and 16 sums that
/// decoding ignores.
fn q8_k(bytes: &[u8], out: &mut [f32]) {
    let (blocks, _) = bytes.as_chunks::<292>();
    for (out, block) in out.chunks_mut(256).zip(blocks) {
        let [a, b, c, d, rest @ ..] = block;
        let scale = f32::from_le_bytes([*a, *b, *c, *d]);
        for (out, q) in out.iter_mut().zip(rest) {
            *out = scale * f32::from(q.cast_signed());
        }
    }
}

fn ggml_type(id: u32) -> candle_core::Result<GgmlDType> {
    Ok(match id {
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        other => candle_core::bail!("no decoder for ggml type {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounding_is_half_s_own() {
        // Every upper half, with the lower halves at which rounding changes.
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                assert_eq!(nearest_bf16(value).to_bits(), bf16::from_f32(value).to_bits(), "{value:e}");
            }
        }
    }
}
