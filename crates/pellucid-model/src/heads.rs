//! A layer's heads with queries, keys and values read from different inputs.
//!
//! In a run all three read one `attn_in`. To ask what a head would do if only its queries (or keys, or values) saw another
//! value is a step of path patching (Wang et al. 2022), and of grouped heads it can be asked head by head.

use crate::batch::Row;
use crate::block::{Pass, qk_norm, rows_attention};
use crate::model::Model;
use crate::ops::linear::linear;
use crate::ops::rotary::rotate;
use crate::{Error, Result, Tensor};
use pellucid_core::Point;

impl Model {
    /// What each head mixes, `(tokens, heads, head_dim)`, where queries, keys and values each read their own `attn_in`,
    /// `(tokens, d_model)` over all rows. With three times the same input this is the run's `z`, to the bit.
    ///
    /// # Errors
    /// If the layer does not exist, or an input does not fit the rows.
    pub fn heads_reading(&self, layer: usize, rows: &[Row], inputs: [&Tensor; 3]) -> Result<Tensor> {
        let spec = &self.spec;
        let Some(w) = self.weights.blocks.get(layer) else {
            let last = spec.n_layers - 1;
            return Err(Error::Request(format!("there is no layer {layer}; layers are 0 to {last}")));
        };
        let tokens: usize = rows.iter().map(|r| r.tokens.len()).sum();
        for x in inputs {
            if x.dims2().ok() != Some((tokens, spec.d_model)) {
                let (found, d) = (x.dims(), spec.d_model);
                return Err(Error::Request(format!(
                    "an attention input has shape {found:?}, expected [{tokens}, {d}]"
                )));
            }
        }
        let angles = self.angles(rows);
        let mut nobody = ();
        let precision = self.precision();
        let mut pass = Pass { spec, layer, rows, angles: &angles, precision, tap: &mut nobody };
        let [q, k, v] = inputs;
        // (tokens, heads · head_dim) to (tokens, heads, head_dim)
        let q = linear(q, &w.q)?.reshape((tokens, spec.n_heads, spec.head_dim))?;
        let k = linear(k, &w.k)?.reshape((tokens, spec.n_kv_heads, spec.head_dim))?;
        let v = linear(v, &w.v)?.reshape((tokens, spec.n_kv_heads, spec.head_dim))?;
        let (q, _) = qk_norm(q, w.q_norm.as_ref(), [Point::QNormIn, Point::QNormOut], &mut pass)?;
        let (k, _) = qk_norm(k, w.k_norm.as_ref(), [Point::KNormIn, Point::KNormOut], &mut pass)?;
        let (q, k) = match spec.attention[layer].rope {
            Some(table) => (rotate(&q, &angles[table], 0, false)?, rotate(&k, &angles[table], 0, false)?),
            None => (q, k),
        };
        Ok(rows_attention(&q, &k, &v, &mut pass, None, false)?.0)
    }
}
