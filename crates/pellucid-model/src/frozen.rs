//! A run held still: what one part of it does to another along the straight paths between them.
//!
//! With attention probabilities and norm scales held at what they were in a run, all that lies between two MLPs is linear:
//! the stream itself and what heads move along it. An attribution graph's edge is the product of what a source wrote and
//! what a target reads of it (Ameisen et al. 2025, "Circuit Tracing"). No path leads through an MLP: its neurons are sources
//! and targets themselves. Within an MLP, a neuron's activation is read as linear in what it reads, by RelP's ratio and half
//! rules (Jafari et al. 2025, arXiv 2508.21258): `f(x)` as `x · (f(x)/x)` with the ratio held, a product shared between
//! its factors. So what reaches a neuron sums to its activation, shifts aside.

use crate::backward::{BackPass, attention_back};
use crate::batch::{Batch, Row};
use crate::block::{Saved, SavedRow};
use crate::model::Model;
use crate::ops::linear::{linear, linear_back};
use crate::ops::mlp::Kept;
use crate::ops::norm::{norm, norm_back, part_of};
use crate::ops::rotary::Angles;
use crate::ops::{Rooms, Rules, mlp, soft_cap_back, tensor, with_slice};
use crate::run::{Logits, Plan, Trace};
use crate::{Error, Result, Tensor};
use pellucid_core::{Point, Site};

/// A run of one text, held still.
#[derive(Debug)]
pub struct Frozen<'a> {
    model: &'a Model,
    trace: Trace,
    logits: Vec<f32>,
}

/// Who reads: something in a layer's MLP, or the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The layer whose MLP it is in; none reads the stream after the last block.
    pub layer: Option<usize>,
    /// The token at which it reads.
    pub position: usize,
}

impl Model {
    /// Runs a text and holds the run still, with the logits at one token.
    ///
    /// # Errors
    /// If the text does not fit the model, or the position the text.
    pub fn frozen(&self, row: &Row, position: usize) -> Result<Frozen<'_>> {
        let plan = Plan { logits: Logits::At(vec![position]), start: None, stop_after: None };
        let (output, trace) = self.trace(&Batch::one(row.clone()), &plan, &mut ())?;
        let logits = output.logits.ok_or_else(|| Error::Request("a frozen run gave no logits".to_owned()))?;
        Ok(Frozen { model: self, logits: with_slice(&logits, <[f32]>::to_vec)?, trace })
    }
}

impl Frozen<'_> {
    /// The model.
    pub fn model(&self) -> &Model {
        self.model
    }

    /// Tokens of the text.
    pub fn tokens(&self) -> usize {
        self.trace.rows.first().map_or(0, |r| r.tokens.len())
    }

    /// The text.
    pub fn ids(&self) -> &[u32] {
        self.trace.rows.first().map_or(&[], |r| &r.tokens)
    }

    /// The logits at the run's position, `(vocabulary)`.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The stream before the first block, `(tokens, d_model)`: embeddings, with learned positions where there are any.
    pub fn input(&self) -> Result<Tensor> {
        Ok(self.block(0)?.resid_pre.clone())
    }

    /// Every neuron's activation in a layer, `(tokens, d_mlp)`.
    pub fn activations(&self, layer: usize) -> Result<Tensor> {
        let saved = self.block(layer)?;
        let second = saved.linear.as_ref().map(Kept::all).transpose()?;
        mlp::activate(&saved.pre.all()?, second.as_ref(), self.model.spec.activation)
    }

    /// What a layer's MLP adds to the stream, `(tokens, d_model)`, shifts included.
    pub fn mlp_adds(&self, layer: usize) -> Result<Tensor> {
        let activations = self.activations(layer)?;
        let w = &self.model.weights.blocks[layer];
        let out = linear(&activations, &w.down)?;
        w.mlp_post_norm.as_ref().map_or_else(|| Ok(out.clone()), |by| norm(&out, by))
    }

    /// What parts of a layer's MLP output add to the stream: `(n, d_model)` at `mlp_out`, at a token each, to `(n, d_model)`.
    /// Where that output is normalised again, a part takes the scale of the whole.
    ///
    /// # Errors
    /// If the layer or a token does not exist, or the shapes differ.
    pub fn adds(&self, layer: usize, positions: &[usize], parts: &Tensor) -> Result<Tensor> {
        let saved = self.block(layer)?;
        self.check(positions, parts, self.model.spec.d_model)?;
        match (&self.model.weights.blocks[layer].mlp_post_norm, &saved.mlp_out) {
            (Some(by), Some(whole)) if !positions.is_empty() => {
                tensor(part_of(&parts.contiguous()?, &rows(whole, positions)?, by)?, parts.shape())
            }
            _ => Ok(parts.clone()),
        }
    }

    /// What neurons write for an activation of 1, at `mlp_out`: `(n, d_model)`.
    ///
    /// # Errors
    /// If a layer or neuron does not exist.
    pub fn neuron_outputs(&self, layer: usize, neurons: &[usize]) -> Result<Tensor> {
        self.block(layer)?;
        linear(&self.one_hot(neurons)?, &self.model.weights.blocks[layer].down.unbiased())
    }

    /// What values of a layer's MLP read from the stream: from ∂m/∂(the value at `mlp_in`, `mlp_act` or `mlp_out`), `(n, width)` at a token
    /// each, to ∂m/∂(the stream that the MLP reads), `(n, d_model)`.
    ///
    /// # Errors
    /// If the point is another, the layer or a token does not exist, or the shapes differ.
    pub fn reads(&self, site: Site, positions: &[usize], g: &Tensor) -> Result<Tensor> {
        let layer = site.layer as usize;
        let (saved, w, spec) = (self.block(layer)?, &self.model.weights.blocks[layer], &self.model.spec);
        let width = if site.point == Point::MlpAct { spec.d_mlp } else { spec.d_model };
        self.check(positions, g, width)?;
        let g = g.contiguous()?;
        let g_in = match site.point {
            Point::MlpIn => g,
            Point::MlpAct => self.act_back(layer, positions, &g)?,
            Point::MlpOut => self.act_back(layer, positions, &linear_back(&g, &w.down)?)?,
            _ => {
                let why = "what an MLP reads is asked at mlp_in, mlp_act or mlp_out".to_owned();
                return Err(Error::NoSuchSite { site, why });
            }
        };
        match &w.mlp_norm {
            Some(by) => norm_back(&rows(&saved.resid_mid, positions)?, by, &g_in, Rules::RELP),
            None => Ok(g_in),
        }
    }

    /// From ∂m/∂(activations), `(n, d_mlp)` at a token each, to ∂m/∂(what the MLP's first layers read), `(n, d_model)`.
    fn act_back(&self, layer: usize, positions: &[usize], g: &Tensor) -> Result<Tensor> {
        let (saved, w) = (self.block(layer)?, &self.model.weights.blocks[layer]);
        let tokens = index(positions)?;
        let pre = saved.pre.at(&tokens)?;
        let second = saved.linear.as_ref().map(|l| l.at(&tokens)).transpose()?;
        let f = self.model.spec.activation;
        let (g_pre, g_second) = mlp::activate_back(&pre, second.as_ref(), g, f, Rules::RELP)?;
        let g_in = linear_back(&g_pre, &w.pre)?;
        match (g_second, &w.linear) {
            (Some(g), Some(by)) => crate::ops::add(&g_in, &linear_back(&g, by)?),
            _ => Ok(g_in),
        }
    }

    /// What neurons at a token each, `(token, neuron)`, read from the stream: `(n, d_model)`, whose product with the stream is
    /// the activation, shifts aside.
    ///
    /// # Errors
    /// If a layer, token or neuron does not exist.
    pub fn neuron_reads(&self, layer: usize, neurons: &[(usize, usize)]) -> Result<Tensor> {
        let (positions, units): (Vec<usize>, Vec<usize>) = neurons.iter().copied().unzip();
        self.reads(Site::new(Point::MlpAct, layer), &positions, &self.one_hot(&units)?)
    }

    /// What combinations of logits at the run's position, `(n, vocabulary)`, read from the final stream: `(n, d_model)`.
    ///
    /// # Errors
    /// If the shape is another.
    pub fn logit_reads(&self, g: &Tensor) -> Result<Tensor> {
        let (n, vocabulary) = g.dims2()?;
        if vocabulary != self.model.spec.vocabulary {
            let expected = self.model.spec.vocabulary;
            return Err(Error::Request(format!(
                "{vocabulary} logits were weighed, and the model has {expected}"
            )));
        }
        let mut g = g.contiguous()?;
        if let (Some(cap), Some((raw, capped))) = (self.model.spec.final_softcap, &self.trace.capped) {
            let each = |x: &Tensor| Tensor::cat(&vec![x; n], 0);
            g = soft_cap_back(&each(raw)?, &each(capped)?, &g, cap, Rules::RELP)?;
        }
        let g = linear_back(&g, &self.model.weights.head)?;
        let last = rows(&self.trace.resid, &vec![self.trace.asked[0]; n])?;
        norm_back(&last, &self.model.weights.final_norm, &g, Rules::RELP)
    }

    /// Takes what readers read, `(n, d_model)`, back along the straight paths. After each layer `each` is told the layer and
    /// every reader's gradient at what that layer's MLP adds, `(n, tokens, d_model)`; at the end, with no layer, that at
    /// [`Frozen::input`]. A reader's own layer and those above it give zeros.
    ///
    /// # Errors
    /// If a reader does not exist, and whatever `each` returns.
    #[expect(clippy::type_complexity)]
    pub fn back<E: From<Error>>(
        &self,
        readers: &[Reader],
        reads: &Tensor,
        each: &mut dyn FnMut(Option<usize>, &Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        let (n, tokens, d, layers) =
            (readers.len(), self.tokens(), self.model.spec.d_model, self.model.spec.n_layers);
        let positions: Vec<usize> = readers.iter().map(|r| r.position).collect();
        self.check(&positions, reads, d)?;
        if let Some(layer) = readers.iter().filter_map(|r| r.layer).find(|l| *l >= layers) {
            self.block(layer)?;
        }
        let mut g = zeros(n * tokens, d)?;
        let top = readers.iter().map(|r| r.layer.unwrap_or(layers)).max().unwrap_or(0);
        g = self.joined(g, readers, reads, layers)?;
        for layer in (0..layers.min(top + 1)).rev() {
            each(Some(layer), &shaped(&g, (n, tokens, d))?)?;
            let parallel = self.model.spec.parallel;
            if !parallel {
                g = self.joined(g, readers, reads, layer)?;
            }
            let through = self.attention_back(layer, n, g.clone())?;
            g = crate::ops::add(&g, &through)?;
            if parallel {
                g = self.joined(g, readers, reads, layer)?;
            }
        }
        each(None, &shaped(&g, (n, tokens, d))?)
    }

    /// Adds what the readers of a layer read (of the logits, where it is one past the last).
    fn joined(&self, g: Tensor, readers: &[Reader], reads: &Tensor, layer: usize) -> Result<Tensor> {
        let (tokens, layers) = (self.tokens(), self.model.spec.n_layers);
        let ours = |r: &Reader| r.layer.unwrap_or(layers) == layer;
        let (mut at, mut which) = (Vec::new(), Vec::new());
        for (i, reader) in readers.iter().enumerate().filter(|(_, r)| ours(r)) {
            at.push((i * tokens + reader.position) as u32);
            which.push(i as u32);
        }
        if at.is_empty() {
            return Ok(g);
        }
        let index = |list: Vec<u32>| Tensor::new(list, g.device());
        let read = reads.index_select(&index(which)?, 0)?;
        Ok(g.index_add(&index(at)?, &read, 0)?)
    }

    /// `n` gradients at once through a layer's attention, its probabilities held: `(n · tokens, d_model)`.
    fn attention_back(&self, layer: usize, n: usize, g: Tensor) -> Result<Tensor> {
        let (saved, spec) = (self.block(layer)?, &self.model.spec);
        let each = |x: &Tensor| -> Result<Tensor> { Ok(Tensor::cat(&vec![x; n], 0)?) };
        let empty = || zeros(0, 0);
        let copies = Saved {
            resid_pre: each(&saved.resid_pre)?,
            q_norm_in: None,
            k_norm_in: None,
            rows: saved.rows.iter().cycle().take(n).map(copy).collect(),
            attn_out: saved.attn_out.as_ref().map(each).transpose()?,
            resid_mid: empty()?,
            pre: Kept::in_rows(empty()?)?,
            linear: None,
            mlp_out: None,
            reads: None,
        };
        let rows: Vec<Row> = self.trace.rows.iter().cycle().take(n).cloned().collect();
        // nothing is rotated where probabilities are held
        let angles: Vec<Angles> = Vec::new();
        let precision = self.model.precision();
        let mut nobody = ();
        let mut pass = BackPass {
            spec,
            layer,
            rows: &rows,
            angles: &angles,
            rules: Rules::RELP,
            precision,
            tap: &mut nobody,
            rooms: &mut Rooms::default(),
        };
        attention_back(&self.model.weights.blocks[layer], &copies, &g, None, &mut pass)
    }

    fn block(&self, layer: usize) -> Result<&Saved> {
        self.trace.blocks.get(layer).ok_or_else(|| {
            let last = self.model.spec.n_layers - 1;
            Error::Request(format!("there is no layer {layer}; layers are 0 to {last}"))
        })
    }

    /// Refuses tokens beyond the text, and a tensor that is not `(positions, width)`.
    fn check(&self, positions: &[usize], x: &Tensor, width: usize) -> Result<()> {
        if let Some(p) = positions.iter().find(|p| **p >= self.tokens()) {
            return Err(Error::Request(format!("there is no token {p}; the text has {}", self.tokens())));
        }
        let expected = (positions.len(), width);
        if x.dims2().ok() != Some(expected) {
            return Err(Error::Request(format!("a value has shape {:?}, expected {expected:?}", x.dims())));
        }
        Ok(())
    }

    fn one_hot(&self, neurons: &[usize]) -> Result<Tensor> {
        let width = self.model.spec.d_mlp;
        let mut hot = vec![0f32; neurons.len() * width];
        for (row, &neuron) in neurons.iter().enumerate() {
            if neuron >= width {
                return Err(Error::Request(format!("there is no neuron {neuron}; a layer has {width}")));
            }
            hot[row * width + neuron] = 1.0;
        }
        tensor(hot, (neurons.len(), width))
    }
}

fn copy(row: &SavedRow) -> SavedRow {
    SavedRow { q: row.q.clone(), k: row.k.clone(), v: row.v.clone(), tapped: None }
}

fn rows(x: &Tensor, positions: &[usize]) -> Result<Tensor> {
    Ok(x.index_select(&index(positions)?, 0)?)
}

fn index(positions: &[usize]) -> Result<Tensor> {
    let index: Vec<u32> = positions.iter().map(|&p| p as u32).collect();
    Ok(Tensor::new(index, &candle_core::Device::Cpu)?)
}

fn zeros(rows: usize, width: usize) -> Result<Tensor> {
    Ok(Tensor::zeros((rows, width), candle_core::DType::F32, &candle_core::Device::Cpu)?)
}

fn shaped(g: &Tensor, shape: (usize, usize, usize)) -> Result<Tensor> {
    Ok(g.reshape(shape)?)
}
