//! The key–value cache of a run: what attention needs of the tokens before this pass.

use crate::Result;
use candle_core::{DType, Device, Tensor};

/// Keys and values of every layer and row. It belongs to one run and is dropped with it.
#[derive(Debug)]
pub struct Cache {
    pub(crate) layers: Vec<LayerCache>,
    rows: usize,
}

#[derive(Debug)]
pub(crate) struct LayerCache {
    rows: Vec<RowCache>,
}

#[derive(Debug)]
struct RowCache {
    /// `(capacity, kv_heads, head_dim)`, of which the first `used` hold something.
    keys: Tensor,
    values: Tensor,
    used: usize,
}

impl Cache {
    pub(crate) fn new(layers: usize, rows: usize, capacity: usize, heads: usize, dim: usize) -> Result<Self> {
        let empty = || Tensor::zeros((capacity, heads, dim), DType::F32, &Device::Cpu);
        let row = || -> Result<RowCache> { Ok(RowCache { keys: empty()?, values: empty()?, used: 0 }) };
        let layer = || -> Result<LayerCache> {
            Ok(LayerCache { rows: (0..rows).map(|_| row()).collect::<Result<_>>()? })
        };
        Ok(Cache { layers: (0..layers).map(|_| layer()).collect::<Result<_>>()?, rows })
    }

    /// Rows of the batch that this cache was made for.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens of a row that are cached.
    pub fn used(&self, row: usize) -> usize {
        self.layers.first().and_then(|l| l.rows.get(row)).map_or(0, |r| r.used)
    }

    /// Tokens of a row that there is room for.
    pub fn capacity(&self, row: usize) -> usize {
        let row = self.layers.first().and_then(|l| l.rows.get(row));
        row.and_then(|r| r.keys.dim(0).ok()).unwrap_or(0)
    }

    /// Bytes of all rows' keys and values, whether there are tokens in them or not.
    pub fn bytes(&self) -> u64 {
        let numbers = |row: &RowCache| row.keys.elem_count() + row.values.elem_count();
        let all = self.layers.iter().flat_map(|layer| &layer.rows).map(numbers).sum::<usize>();
        (all * size_of::<f32>()) as u64
    }

    /// Copies the first `used` tokens of another cache of the same model and of one row, which this one has room for.
    pub(crate) fn take_over(&mut self, other: &Cache, used: usize) -> Result<()> {
        for (to, from) in self.layers.iter_mut().zip(&other.layers) {
            for (to, from) in to.rows.iter_mut().zip(&from.rows) {
                to.keys.slice_set(&from.keys.narrow(0, 0, used)?, 0, 0)?;
                to.values.slice_set(&from.values.narrow(0, 0, used)?, 0, 0)?;
                to.used = used;
            }
        }
        Ok(())
    }

    /// Forgets a row's tokens from the `used`-th on, so that another text with the same beginning can go on from there.
    pub fn truncate(&mut self, row: usize, used: usize) {
        for layer in &mut self.layers {
            if let Some(row) = layer.rows.get_mut(row) {
                row.used = row.used.min(used);
            }
        }
    }
}

impl LayerCache {
    /// Appends this pass's keys and values `(tokens, kv_heads, head_dim)` of a row and returns all of them.
    pub(crate) fn extend(&mut self, row: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let cached = &mut self.rows[row];
        let tokens = keys.dim(0)?;
        cached.keys.slice_set(&keys.contiguous()?, 0, cached.used)?;
        cached.values.slice_set(&values.contiguous()?, 0, cached.used)?;
        cached.used += tokens;
        Ok((cached.keys.narrow(0, 0, cached.used)?, cached.values.narrow(0, 0, cached.used)?))
    }
}
