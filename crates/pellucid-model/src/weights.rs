//! From tensors in a file to the parameters of blocks: every quirk of a file's layout is undone here, so
//! that the block knows one layout only.

use crate::arch::{Design, Layout, Names};
use crate::heap::give_back_freed_memory;
use crate::load::{Checkpoint, TensorInfo};
use crate::model::Storage;
use crate::ops::blocks::BlockType;
use crate::ops::linear::Linear;
use crate::ops::norm::Norm;
use crate::ops::packed::Packed;
use crate::spec::{QkNorm, Spec};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::sync::Arc;

/// The parameters of one block.
#[derive(Debug)]
pub(crate) struct BlockWeights {
    pub(crate) attn_norm: Option<Norm>,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) q_norm: Option<Norm>,
    pub(crate) k_norm: Option<Norm>,
    pub(crate) o: Linear,
    pub(crate) attn_post_norm: Option<Norm>,
    pub(crate) mlp_norm: Option<Norm>,
    /// The gate, or an ungated MLP's only projection.
    pub(crate) pre: Linear,
    /// A gated MLP's second projection.
    pub(crate) linear: Option<Linear>,
    pub(crate) down: Linear,
    pub(crate) mlp_post_norm: Option<Norm>,
}

impl BlockWeights {
    /// Every linear layer.
    pub(crate) fn linears(&mut self) -> impl Iterator<Item = &mut Linear> {
        let always = [&mut self.q, &mut self.k, &mut self.v, &mut self.o, &mut self.pre, &mut self.down];
        always.into_iter().chain(&mut self.linear)
    }
}

/// All parameters of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// `(vocabulary, d_model)`.
    pub(crate) embed: Arc<Packed>,
    /// `(context, d_model)`.
    pub(crate) positions: Option<Packed>,
    pub(crate) blocks: Vec<BlockWeights>,
    pub(crate) final_norm: Norm,
    /// Shares the embedding's storage where the two are tied.
    pub(crate) head: Linear,
}

/// A matrix as a file has it.
enum Source<'a> {
    Plain(Tensor),
    /// Block-quantised, to be kept so.
    Blocks {
        kind: BlockType,
        bytes: &'a [u8],
        shape: [usize; 2],
    },
}

impl Source<'_> {
    fn outer(&self) -> Result<usize> {
        match self {
            Source::Plain(tensor) => Ok(tensor.dim(0)?),
            Source::Blocks { shape, .. } => Ok(shape[0]),
        }
    }

    /// Some rows, in this order.
    fn packed(&self, rows: &[u32]) -> Result<Packed> {
        match self {
            Source::Plain(tensor) if rows.len() == tensor.dim(0)? && rows.is_sorted() => Packed::new(tensor),
            Source::Plain(tensor) => {
                Packed::new(&tensor.index_select(&Tensor::new(rows, tensor.device())?, 0)?)
            }
            Source::Blocks { kind, bytes, shape } => {
                Packed::from_blocks(*kind, bytes, shape[1], rows, &|| ())
                    .ok_or_else(|| unfilled(*kind, *shape))
            }
        }
    }
}

fn unfilled(kind: BlockType, shape: [usize; 2]) -> Error {
    Error::Config { what: format!("{kind:?} blocks do not fill {shape:?}") }
}

/// A linear layer as a file has it.
struct Dense<'a> {
    weight: Source<'a>,
    bias: Option<Vec<f32>>,
}

impl Dense<'_> {
    fn packed(&self) -> Result<Linear> {
        self.part(0, self.weight.outer()?)
    }

    /// Neighbouring rows.
    fn part(&self, from: usize, count: usize) -> Result<Linear> {
        self.reordered(&(from as u32..(from + count) as u32).collect::<Vec<_>>())
    }

    fn reordered(&self, order: &[u32]) -> Result<Linear> {
        let bias = self.bias.as_ref().map(|b| order.iter().map(|&i| b[i as usize]).collect());
        Ok(Linear::packed(Arc::new(self.weight.packed(order)?), bias))
    }
}

/// Rows of a table that are read at a time: whole panels.
const STRIPE: usize = 4096;

/// Reads tensors of one file by the names and layout of its family.
struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    names: Names,
    layout: Layout,
    prefix: &'static str,
    storage: Storage,
}

/// Reads all parameters, kept as `storage` says, and completes `spec` (vocabulary) from them. `progress` is told
/// blocks read and blocks in all.
pub(crate) fn read(
    checkpoint: &Checkpoint,
    design: Design,
    storage: Storage,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Spec, Weights)> {
    let Design { mut spec, names, layout } = design;
    let embed_of = |prefix: &str| format!("{prefix}{}.weight", names.embed);
    let prefix = names.prefixes.iter().copied().find(|p| checkpoint.info(&embed_of(p)).is_some());
    let prefix = prefix.ok_or_else(|| Error::Config {
        what: format!("there is no tensor {:?} (with any known prefix)", embed_of(names.prefixes[0])),
    })?;
    let reader = Reader { checkpoint, names, layout, prefix, storage };
    let embed_name = embed_of(prefix);
    let found = checkpoint.info(&embed_name).map(|i| i.shape.clone()).unwrap_or_default();
    spec.vocabulary = found.first().copied().unwrap_or(0);
    if spec.vocabulary == 0 {
        return Err(Error::Config { what: format!("the embedding {embed_name:?} has no rows") });
    }
    let table = |name: &str, rows: usize| reader.table(name, [rows, spec.d_model]);
    let embed = Arc::new(table(&embed_name, spec.vocabulary)?);
    let positions = match names.positions.filter(|_| spec.learned_positions) {
        Some(name) => Some(table(&format!("{prefix}{name}.weight"), spec.context)?),
        None => None,
    };
    // what the largest table was made of is no longer needed; the rest is read block by block
    checkpoint.forget();
    give_back_freed_memory();
    let mut blocks = Vec::new();
    for layer in 0..spec.n_layers {
        blocks.push(reader.block(&spec, layer)?);
        checkpoint.forget();
        progress(layer + 1, spec.n_layers);
    }
    let final_norm = reader.norm(&spec, &format!("{prefix}{}", names.final_norm), spec.d_model)?;
    let head_name = format!("{}.weight", names.head);
    let head = if checkpoint.info(&head_name).is_some() {
        let bias = reader.bias(names.head, spec.vocabulary)?;
        Linear::packed(Arc::new(table(&head_name, spec.vocabulary)?), bias)
    } else {
        Linear::packed(embed.clone(), None)
    };
    Ok((spec, Weights { embed, positions, blocks, final_norm, head }))
}

impl Reader<'_> {
    fn has(&self, stem: &str) -> bool {
        self.checkpoint.info(&format!("{stem}.weight")).is_some()
    }

    /// A tensor that must be there with exactly this shape.
    fn shaped(&self, name: &str, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let tensor = self.checkpoint.tensor(name, dtype)?;
        if tensor.dims() != shape {
            let (expected, found) = (shape.to_vec(), tensor.dims().to_vec());
            return Err(Error::Shape { name: name.to_owned(), expected, found });
        }
        Ok(tensor)
    }

    fn vector(&self, name: &str, width: usize) -> Result<Vec<f32>> {
        Ok(self.shaped(name, &[width], DType::F32)?.to_vec1()?)
    }

    fn bias(&self, stem: &str, width: usize) -> Result<Option<Vec<f32>>> {
        let name = format!("{stem}.bias");
        self.checkpoint.info(&name).map(|_| self.vector(&name, width)).transpose()
    }

    fn norm(&self, spec: &Spec, stem: &str, width: usize) -> Result<Norm> {
        let mut weight = self.vector(&format!("{stem}.weight"), width)?;
        weight.iter_mut().for_each(|w| *w += self.layout.norm_offset);
        Ok(Norm { kind: spec.norm, weight, bias: self.bias(stem, width)?, eps: spec.norm_eps as f32 })
    }

    /// A linear layer's parameters.
    fn linear(&self, stem: &str, out: usize, inner: usize) -> Result<Linear> {
        self.dense(stem, out, inner)?.packed()
    }

    /// The same, `(out, in)` whichever way round the file has it.
    fn dense(&self, stem: &str, out: usize, inner: usize) -> Result<Dense<'_>> {
        let name = format!("{stem}.weight");
        let weight = if self.layout.transposed {
            Source::Plain(self.shaped(&name, &[inner, out], self.storage.dtype())?.t()?.contiguous()?)
        } else {
            self.source(&name, [out, inner])?
        };
        Ok(Dense { weight, bias: self.bias(stem, out)? })
    }

    /// The block type that a matrix of this shape is kept in, if it is.
    fn kept_as(&self, name: &str, shape: [usize; 2]) -> Option<BlockType> {
        let kept = |info: &&TensorInfo| self.storage == Storage::File && info.shape == shape;
        self.checkpoint.info(name).filter(kept).and_then(|info| BlockType::named(info.dtype.name()))
    }

    /// A matrix that must be there with exactly this shape.
    fn source(&self, name: &str, shape: [usize; 2]) -> Result<Source<'_>> {
        Ok(match self.kept_as(name, shape) {
            Some(kind) => Source::Blocks { kind, bytes: self.checkpoint.raw(name)?, shape },
            None => Source::Plain(self.shaped(name, &shape, self.storage.dtype())?),
        })
    }

    /// A table of a row for each token or position, which may be the largest matrix by far: stripe by stripe, so that it is in
    /// memory once.
    fn table(&self, name: &str, shape: [usize; 2]) -> Result<Packed> {
        let (rows, width) = (shape[0], shape[1]);
        let done = || self.checkpoint.forget();
        match self.kept_as(name, shape) {
            Some(kind) => {
                let order: Vec<u32> = (0..rows as u32).collect();
                let bytes = self.checkpoint.raw(name)?;
                Packed::from_blocks(kind, bytes, width, &order, &done).ok_or_else(|| unfilled(kind, shape))
            }
            None if self.checkpoint.info(name).is_some_and(|info| info.shape == shape) => {
                let mut packed = Packed::empty(rows, width, self.storage.dtype())?;
                for from in (0..rows).step_by(STRIPE) {
                    let here = from..(from + STRIPE).min(rows);
                    match self.checkpoint.rows(name, here, self.storage.dtype())? {
                        Some(part) => packed.fill(from, &part)?,
                        None => return Packed::new(&self.shaped(name, &shape, self.storage.dtype())?),
                    }
                    done();
                }
                Ok(packed)
            }
            None => Packed::new(&self.shaped(name, &shape, self.storage.dtype())?),
        }
    }

    fn block(&self, spec: &Spec, layer: usize) -> Result<BlockWeights> {
        let n = self.names;
        let at = |name: &str| format!("{}{}{name}", self.prefix, n.layer.replace("{}", &layer.to_string()));
        let d = spec.d_model;
        let (q_width, kv_width) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        let [q, k, v] = self.qkv(spec, &at)?;
        let (pre, linear) = self.mlp_in(spec, &at)?;
        let qk_norm = |name: &str, whole: usize| -> Result<Option<Norm>> {
            let width = match spec.qk_norm {
                None => return Ok(None),
                Some(QkNorm::PerHead) => spec.head_dim,
                Some(QkNorm::Whole) => whole,
            };
            self.norm(spec, &at(name), width).map(Some)
        };
        let stream_norm = |wanted: bool, name: &str| -> Result<Option<Norm>> {
            if wanted { self.norm(spec, &at(name), d).map(Some) } else { Ok(None) }
        };
        let (before, after) = (spec.placement.before(), spec.placement.after());
        Ok(BlockWeights {
            attn_norm: stream_norm(before, n.attn_norm)?,
            q,
            k,
            v,
            q_norm: qk_norm(n.q_norm, q_width)?,
            k_norm: qk_norm(n.k_norm, kv_width)?,
            o: self.linear(&at(n.o), d, q_width)?,
            attn_post_norm: stream_norm(after, n.attn_post_norm)?,
            mlp_norm: stream_norm(before, n.mlp_norm)?,
            pre,
            linear,
            down: self.linear(&at(n.down), d, spec.d_mlp)?,
            mlp_post_norm: stream_norm(after, n.mlp_post_norm)?,
        })
    }

    fn qkv(&self, spec: &Spec, at: &dyn Fn(&str) -> String) -> Result<[Linear; 3]> {
        let n = self.names;
        let d = spec.d_model;
        let (heads, kv_heads, dim) = (spec.n_heads, spec.n_kv_heads, spec.head_dim);
        let (q_width, kv_width) = (heads * dim, kv_heads * dim);
        if self.has(&at(n.q)) {
            let q = self.dense(&at(n.q), q_width, d)?;
            let k = self.dense(&at(n.k), kv_width, d)?;
            let v = self.linear(&at(n.v), kv_width, d)?;
            if self.layout.permuted_qk {
                return Ok([
                    q.reordered(&unpermuted(heads, dim))?,
                    k.reordered(&unpermuted(kv_heads, dim))?,
                    v,
                ]);
            }
            return Ok([q.packed()?, k.packed()?, v]);
        }
        let fused = self.dense(&at(n.qkv), q_width + 2 * kv_width, d)?;
        if !self.layout.qkv_by_head {
            let (k_from, v_from) = (q_width, q_width + kv_width);
            return Ok([
                fused.part(0, q_width)?,
                fused.part(k_from, kv_width)?,
                fused.part(v_from, kv_width)?,
            ]);
        }
        // (heads, 3, dim): query, key and value of one head lie together
        let part = |i: usize| -> Result<Linear> {
            let picked: Vec<u32> =
                (0..heads).flat_map(|h| (0..dim).map(move |j| ((h * 3 + i) * dim + j) as u32)).collect();
            fused.reordered(&picked)
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }

    fn mlp_in(&self, spec: &Spec, at: &dyn Fn(&str) -> String) -> Result<(Linear, Option<Linear>)> {
        let (n, d, m) = (self.names, spec.d_model, spec.d_mlp);
        if !spec.gated {
            return Ok((self.linear(&at(n.up), m, d)?, None));
        }
        if self.has(&at(n.gate)) {
            return Ok((self.linear(&at(n.gate), m, d)?, Some(self.linear(&at(n.up), m, d)?)));
        }
        let fused = self.dense(&at(n.gate_up), 2 * m, d)?;
        Ok((fused.part(0, m)?, Some(fused.part(m, m)?)))
    }
}

/// Rows of each head from `(dim/2, 2)` order, which pairs neighbours, back to `(2, dim/2)`, which pairs halves.
fn unpermuted(heads: usize, dim: usize) -> Vec<u32> {
    let half = dim / 2;
    (0..heads)
        .flat_map(|h| (0..2).flat_map(move |side| (0..half).map(move |i| (h * dim + i * 2 + side) as u32)))
        .collect()
}
