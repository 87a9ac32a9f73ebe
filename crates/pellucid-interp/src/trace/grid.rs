//! A grid of patches: every layer (or window of layers) by every position, or by every head.

use super::pairs::{Pairs, Patch, Side};
use crate::{Counted, Error, Interval, Result};
use pellucid_core::{Point, Site};
use serde::Serialize;
use std::ops::Range;

/// What a grid asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// What is patched.
    pub point: Point,
    /// Head by head, where the point has heads.
    pub heads: bool,
    /// This position alone; none is every position in turn, or for heads all of them together.
    pub position: Option<usize>,
    /// Layers that are patched together, centred on each layer; 10 for what a sub-block adds in Meng et al.
    pub window: usize,
}

/// One patch of a grid, and what it recovered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Where; the middle of a window of layers.
    pub site: Site,
    /// Which head; none is the whole vector.
    pub head: Option<usize>,
    /// Which position; none is all of them.
    pub position: Option<usize>,
    /// 0 is the corrupted run's log-odds, 1 the clean run's.
    pub recovered: Interval,
    /// The same with a stranger's value; none where the items have no strangers.
    pub control: Option<Interval>,
}

/// The layers of a window around one: as many before as after, or one more before.
fn window(centre: usize, width: usize, layers: usize) -> Range<usize> {
    let from = centre.saturating_sub(width / 2);
    from..(centre + width.div_ceil(2)).min(layers).max(from + 1)
}

/// Every cell of a grid, layer by layer. `progress` is told cells done and cells in all.
///
/// # Errors
/// If the grid asks for what the model or the pairs do not have, or a run fails or is stopped.
pub fn grid(pairs: &Pairs<'_>, what: Grid, progress: Counted<'_>) -> Result<Vec<Cell>> {
    let spec = pairs.model.spec();
    if what.window == 0 || what.window > spec.n_layers {
        let (n, w) = (spec.n_layers, what.window);
        return Err(Error::Request(format!("a window of {w} layers cannot be patched; take 1 to {n}")));
    }
    let heads: Vec<Option<usize>> = match (what.heads, spec.heads_at(what.point)) {
        (true, Some(heads)) => (0..heads).map(Some).collect(),
        (true, None) => return Err(Error::Request(format!("{} has no heads", what.point))),
        (false, _) => vec![None],
    };
    // before the first difference both runs are the same, and a patch changes nothing
    let first = pairs.differing().first().copied().unwrap_or(0);
    let positions: Vec<Option<usize>> = match what.position {
        Some(p) => vec![Some(p)],
        None if what.heads => vec![None],
        None => (first..pairs.length()).map(Some).collect(),
    };
    let places: Vec<(Option<usize>, Option<usize>)> =
        heads.iter().flat_map(|h| positions.iter().map(move |p| (*h, *p))).collect();
    let (mut out, all) = (Vec::new(), spec.n_layers * places.len());
    for layer in 0..spec.n_layers {
        let patches = |(head, position): &(Option<usize>, Option<usize>)| -> Vec<Patch> {
            let site = |l| Site::new(what.point, l);
            let one = |l| Patch { site: site(l), head: *head, position: *position };
            window(layer, what.window, spec.n_layers).map(one).collect()
        };
        let cells: Vec<Vec<Patch>> = places.iter().map(patches).collect();
        let odds = pairs.odds(&cells, Side::Other)?;
        let control = pairs.odds(&cells, Side::Stranger)?;
        for ((place, odds), control) in places.iter().zip(&odds).zip(&control) {
            let missing = || Error::Request("no item was left to patch".to_owned());
            out.push(Cell {
                site: Site::new(what.point, layer),
                head: place.0,
                position: place.1,
                recovered: pairs.recovered(odds).ok_or_else(missing)?,
                control: pairs.recovered(control),
            });
        }
        progress(out.len(), all)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn windows_stay_in_the_model() {
        assert_eq!(window(0, 1, 4), 0..1);
        assert_eq!(window(3, 1, 4), 3..4);
        assert_eq!(window(0, 10, 30), 0..5);
        assert_eq!(window(15, 10, 30), 10..20);
        assert_eq!(window(29, 10, 30), 24..30);
        assert_eq!(window(1, 2, 4), 0..2);
    }
}
