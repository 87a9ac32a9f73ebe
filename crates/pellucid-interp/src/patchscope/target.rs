//! A target text with a place in it, and what the model says when a value is put there.

use crate::error::tensor;
use crate::patch::Put;
use crate::stream::{Streams, matrix, site_at};
use crate::{Error, Result};
use pellucid_model::{Batch, Generating, Generation, Logits, Model, Plan, Row, Tensor, with_numbers};
use std::ops::ControlFlow;

/// Repeats what it is given: the value goes to the last token, and the next token is read there.
pub const IDENTITY: &str = "cat -> cat\n1135 -> 1135\nhello -> hello\n{}";

/// Describes what it is given: the value goes to the last token, and the model writes on.
pub const DESCRIPTION: &str =
    "France: country in Europe, Mozart: composer from Austria, Google: American technology company, {}";

/// A text with a place for a value: `{}` marks it, and a token that means nothing stands there.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The text.
    pub row: Row,
    /// The place.
    pub position: usize,
}

/// Tokens that run together.
const BATCH_TOKENS: usize = 2048;

impl Placed {
    /// Reads a text whose `{}` is the place; without one, the last token is the place.
    ///
    /// # Errors
    /// If there are several, or the text before the place does not end where a token ends.
    pub fn new(model: &Model, text: &str) -> Result<Self> {
        Self::with(model, text, "?").or_else(|_| Self::with(model, text, "x"))
    }

    /// As [`Placed::new`], with words of its own where `{}` stands; the place is their last token.
    ///
    /// # Errors
    /// As [`Placed::new`].
    pub fn with(model: &Model, text: &str, words: &str) -> Result<Self> {
        let encode = |text: &str| {
            let encoding = model.tokenizer().encode_plain(text, true);
            encoding.map(|e| e.ids).map_err(|e| Error::Model(e.into()))
        };
        let Some((before, after)) = text.split_once("{}") else {
            let row = Row::new(encode(text)?);
            let position = row.tokens.len().checked_sub(1);
            let position = position.ok_or_else(|| Error::Request("the target has no tokens".to_owned()))?;
            return Ok(Placed { row, position });
        };
        if after.contains("{}") {
            return Err(Error::Request(
                "the target has more than one {}; a value goes to one place".to_owned(),
            ));
        }
        let (begin, all) =
            (encode(&format!("{before}{words}"))?, encode(&format!("{before}{words}{after}"))?);
        if begin.is_empty() || !all.starts_with(&begin) {
            return Err(Error::Request(format!(
                "in {text:?} the place does not end where a token ends; put a space or a sign after {{}}"
            )));
        }
        Ok(Placed { row: Row::new(all), position: begin.len() - 1 })
    }

    /// At a position of a text; negative ones count from its end.
    ///
    /// # Errors
    /// If there is no such position.
    pub fn at(row: Row, position: i64) -> Result<Self> {
        let n = row.tokens.len() as i64;
        let found = if position < 0 { position + n } else { position };
        if !(0..n).contains(&found) {
            return Err(Error::Request(format!("position {position} is beyond the text's {n} tokens")));
        }
        Ok(Placed { row, position: found as usize })
    }
}

/// A target's own run, ready to take values.
pub struct Target<'a> {
    model: &'a Model,
    place: Placed,
    streams: Streams,
}

impl<'a> Target<'a> {
    /// Runs the target once.
    ///
    /// # Errors
    /// If it does not fit the model.
    pub fn new(model: &'a Model, place: Placed) -> Result<Self> {
        let streams = Streams::new(model, std::slice::from_ref(&place.row))?;
        Ok(Target { model, place, streams })
    }

    /// The text and its place.
    pub fn place(&self) -> &Placed {
        &self.place
    }

    /// The value that stands at the place itself.
    ///
    /// # Errors
    /// If there is no such depth.
    pub fn own(&self, depth: usize) -> Result<Vec<f32>> {
        self.streams.at(depth, 0, self.place.position)
    }

    /// The final stream at the target's last token, `(values, d_model)`, with each value in turn at the place, at one depth.
    ///
    /// # Errors
    /// If there is no such depth, or a value has another width.
    pub fn run(&self, depth: usize, values: &[Vec<f32>]) -> Result<Tensor> {
        let spec = self.model.spec();
        let (d, n) = (spec.d_model, self.place.row.tokens.len());
        if depth > spec.n_layers {
            let layers = spec.n_layers;
            return Err(Error::Request(format!("there is no depth {depth}; the model has {layers} layers")));
        }
        if let Some(value) = values.iter().find(|v| v.len() != d) {
            let found = value.len();
            return Err(Error::Request(format!("a value has {found} numbers, and the stream {d}")));
        }
        let own = with_numbers(&self.streams.all(depth)?, <[f32]>::to_vec)?;
        let mut out = Vec::with_capacity(values.len());
        for values in values.chunks((BATCH_TOKENS / n).max(1)) {
            let mut start = Vec::with_capacity(values.len() * own.len());
            for value in values {
                let first = start.len() + self.place.position * d;
                start.extend_from_slice(&own);
                start[first..first + d].copy_from_slice(value);
            }
            let x = tensor(Tensor::from_vec(start, (values.len() * n, d), &pellucid_model::CPU))?;
            let resid = if depth == spec.n_layers {
                x
            } else {
                let batch = Batch { rows: vec![self.place.row.clone(); values.len()] };
                let plan = Plan { logits: Logits::None, start: Some((depth, x)), stop_after: None };
                self.model.run(&batch, &plan, None, &mut ())?.resid
            };
            with_numbers(&resid, |x| out.extend(x.chunks_exact(n * d).map(|r| r[(n - 1) * d..].to_vec())))?;
        }
        matrix(out)
    }

    /// What the model writes after the target with a value at the place.
    ///
    /// # Errors
    /// As [`Target::run`].
    pub fn write(&self, depth: usize, value: Vec<f32>, how: &Generating) -> Result<Generation> {
        if depth > self.model.spec().n_layers {
            return Err(Error::Request(format!("there is no depth {depth}")));
        }
        let mut put = Put::default();
        put.add(site_at(depth), (0, self.place.position), 0, value);
        Ok(self.model.generate(&self.place.row, how, &mut put, &mut |_| ControlFlow::Continue(()))?)
    }
}
