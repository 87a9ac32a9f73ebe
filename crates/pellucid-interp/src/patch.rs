//! Taps of the causal methods: other values at chosen tokens, and attention edges that are cut.
//!
//! [`Put`] and [`Cut`] speak of the rows of a batch, so that the cells of a grid run together. What they put where it stands
//! already changes no bit.

use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Place, Tap, Tensor, with_numbers};
use std::collections::BTreeMap;
use std::ops::Range;

/// Values for some coordinates of one token.
#[derive(Clone, Debug)]
struct Fill {
    row: usize,
    position: usize,
    from: usize,
    values: Vec<f32>,
}

/// Puts given values at given tokens of a batch's rows.
#[derive(Clone, Debug, Default)]
pub struct Put {
    fills: BTreeMap<Site, Vec<Fill>>,
}

impl Put {
    /// Adds values for the coordinates from `from` on, at a position of a row.
    pub fn add(&mut self, site: Site, (row, position): (usize, usize), from: usize, values: Vec<f32>) {
        self.fills.entry(site).or_default().push(Fill { row, position, from, values });
    }
}

impl Tap for Put {
    fn wants(&self, site: Site) -> bool {
        self.fills.contains_key(&site)
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let Some(fills) = self.fills.get(&at.site) else { return Ok(x) };
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        let ranges = ranges(at);
        let tokens = ranges.last().map_or(0, |r| r.end);
        let width = values.len() / tokens.max(1);
        for fill in fills {
            let Some(nth) = fill.row.checked_sub(at.first_row).filter(|r| *r < at.rows.len()) else {
                continue;
            };
            // in a generation, only the pass that holds the position is changed
            let Some(offset) = fill.position.checked_sub(at.rows[nth].start) else { continue };
            let token = ranges[nth].start + offset;
            if token >= ranges[nth].end {
                continue;
            }
            let into =
                values.get_mut(token * width + fill.from..).and_then(|v| v.get_mut(..fill.values.len()));
            let Some(into) = into.filter(|_| fill.from + fill.values.len() <= width) else {
                let why = format!(
                    "{} values from coordinate {} do not fit its {width}",
                    fill.values.len(),
                    fill.from
                );
                return Err(pellucid_model::Error::Edit { site: at.site, why });
            };
            into.copy_from_slice(&fill.values);
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        // what was put there does not depend on what stood there
        let Some(fills) = self.fills.get(&at.site) else { return Ok(g) };
        let mut zero = Put::default();
        for fill in fills {
            zero.add(at.site, (fill.row, fill.position), fill.from, vec![0.0; fill.values.len()]);
        }
        zero.visit(at, g)
    }

    fn expects(&self) -> Vec<Site> {
        self.fills.keys().copied().collect()
    }
}

/// Where each row's tokens stand in a tensor.
fn ranges(at: Place<'_>) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |row: &pellucid_model::Row| {
        let from = end;
        end += row.tokens.len();
        from..end
    };
    at.rows.iter().map(range).collect()
}

/// An attention edge: the query's position and the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The position that looks.
    pub query: usize,
    /// The position that is not seen.
    pub key: usize,
}

/// Cuts attention edges (Geva et al. 2023, arXiv 2304.14767): their scores become −∞ before the softmax, in every head, so
/// that what they carried is spread over what the query still sees.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// For each layer: the row, and the edge.
    edges: BTreeMap<usize, Vec<(usize, Edge)>>,
}

impl Cut {
    /// Cuts an edge of a row in some layers.
    ///
    /// # Errors
    /// If the key does not stand before the query: a token always sees itself, or nothing would be left to see.
    pub fn add(&mut self, layers: Range<usize>, row: usize, edge: Edge) -> Result<()> {
        let Edge { query, key } = edge;
        if key >= query {
            return Err(Error::Request(format!(
                "the edge from position {query} to {key} cannot be cut; the second must stand before the first"
            )));
        }
        for layer in layers {
            self.edges.entry(layer).or_default().push((row, edge));
        }
        Ok(())
    }
}

impl Tap for Cut {
    fn wants(&self, site: Site) -> bool {
        site.point == Point::AttnScores && self.edges.contains_key(&(site.layer as usize))
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let Some(edges) = self.edges.get(&(at.site.layer as usize)) else { return Ok(x) };
        let (heads, queries, keys) = x.dims3()?;
        let start = at.rows.first().map_or(0, |r| r.start);
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        for (_, edge) in edges.iter().filter(|(row, _)| *row == at.first_row) {
            let Some(query) = edge.query.checked_sub(start).filter(|q| *q < queries && edge.key < keys)
            else {
                continue;
            };
            for head in 0..heads {
                values[(head * queries + query) * keys + edge.key] = f32::NEG_INFINITY;
            }
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn expects(&self) -> Vec<Site> {
        self.edges.keys().map(|&l| Site::new(Point::AttnScores, l)).collect()
    }
}
