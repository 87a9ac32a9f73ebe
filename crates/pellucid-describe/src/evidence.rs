//! From an atlas to [`Evidence`]: what is kept of a unit, as explainers and scorers read it.

use crate::{Evidence, Example};
use half::f16;
use pellucid_core::{Index, Polarity, Site, Split, UnitId};
use pellucid_store::{Document, Exemplar, UnitHarvest, Window};
use std::collections::HashMap;
use std::sync::Arc;

pub use pellucid_store::{ACTIVE, TAIL};

/// A unit's typical strength on one side of zero; 0 if it was never there.
pub fn scale(unit: &UnitHarvest, polarity: Polarity) -> f32 {
    unit.scale(polarity)
}

/// Output tokens with their weights, the strongest first.
pub type Outputs = Vec<(Arc<str>, f32)>;

/// All that is known of one side of a unit. `windows` must hold those of its exemplars, `texts` the display text of
/// every token; an exemplar whose window is missing is left out. `promoted` and `suppressed` are those of a
/// positive activation; on the negative side they change places.
pub fn evidence(
    site: Site,
    index: u32,
    polarity: Polarity,
    unit: &UnitHarvest,
    windows: &HashMap<(Document, u32), Window>,
    texts: &[Arc<str>],
    [promoted, suppressed]: [Outputs; 2],
) -> Evidence {
    let scale = scale(unit, polarity);
    let of_split = |split: Split| -> Vec<Example> {
        let here = unit.exemplars.iter().filter(|e| e.split == split);
        let ours = here.filter(|e| e.polarity.is_none_or(|p| p == polarity));
        ours.filter_map(|e| example(e, polarity, windows.get(&(e.document, e.window))?, texts)).collect()
    };
    let (promoted, suppressed) = match polarity {
        Polarity::Positive => (promoted, suppressed),
        Polarity::Negative => (turned(suppressed), turned(promoted)),
    };
    Evidence {
        unit: UnitId::Site { site, index: Index::Coordinate(index), polarity: Some(polarity) },
        scale,
        density: unit.firing_density(polarity),
        train: of_split(Split::Train),
        validation: of_split(Split::Validation),
        test: of_split(Split::Test),
        promoted,
        suppressed,
    }
}

fn turned(outputs: Outputs) -> Outputs {
    outputs.into_iter().map(|(text, weight)| (text, -weight)).collect()
}

/// An exemplar with its tokens, seen from one side of zero; none where it does not fit its window.
fn example(exemplar: &Exemplar, polarity: Polarity, window: &Window, texts: &[Arc<str>]) -> Option<Example> {
    let range = exemplar.start as usize..exemplar.start as usize + exemplar.activations.len();
    let tokens = window.tokens.get(range.clone())?.to_vec();
    let sign = if polarity == Polarity::Positive { 1.0 } else { -1.0 };
    let strength = |bits: &u16| (sign * f16::from_bits(*bits).to_f32()).max(0.0);
    let unknown = || Arc::from("\u{fffd}");
    Some(Example {
        texts: tokens.iter().map(|&id| texts.get(id as usize).cloned().unwrap_or_else(unknown)).collect(),
        tokens,
        activations: exemplar.activations.iter().map(strength).collect(),
        counted: window.counted.get(range)?.to_vec(),
        document: exemplar.document,
        window: exemplar.window,
        start: exemplar.start,
        kind: exemplar.kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::Point;
    use pellucid_store::collect::bins;
    use pellucid_store::{Kind, Sketch, Statistics};

    fn unit(document: Document) -> UnitHarvest {
        let exemplar = |polarity, value: f32| Exemplar {
            kind: Kind::Top,
            polarity: Some(polarity),
            split: Split::Train,
            document,
            window: 0,
            start: 1,
            peak: 2,
            value,
            activations: [0.5, value].map(|v| f16::from_f32(v).to_bits()).to_vec(),
        };
        UnitHarvest {
            statistics: Statistics { count: 100, mean: 0.0, variance: 1.0, max: 2.0, min: -4.0 },
            sketches: [
                Sketch { bins: vec![(bins::bin(2.0), 1)] },
                Sketch { bins: vec![(bins::bin(4.0), 10)] },
            ],
            exemplars: vec![exemplar(Polarity::Positive, 2.0), exemplar(Polarity::Negative, -4.0)],
        }
    }

    #[test]
    fn each_side_of_zero_has_its_own_examples_scale_and_outputs() {
        let document = Document([1; 16]);
        let window = Window {
            document,
            split: Split::Train,
            index: 0,
            tokens: vec![0, 1, 2],
            counted: vec![false, true, true],
        };
        let windows = HashMap::from([((document, 0), window)]);
        let texts: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
        let outputs = || [vec![(Arc::from("up"), 1.0)], vec![(Arc::from("down"), -2.0)]];
        let site = Site::new(Point::MlpAct, 3);
        let of = |p| evidence(site, 7, p, &unit(document), &windows, &texts, outputs());
        let (plus, minus) = (of(Polarity::Positive), of(Polarity::Negative));
        assert_eq!(minus.unit.to_string(), "mlp_act.3/7-");
        assert_eq!((plus.train.len(), minus.train.len()), (1, 1));
        assert_eq!(plus.train[0].activations, [0.5, 2.0]);
        assert_eq!(minus.train[0].activations, [0.0, 4.0], "a positive activation is none on the other side");
        assert_eq!(&*plus.train[0].texts[1], "c");
        assert!((plus.scale / 2.0 - 1.0).abs() < 0.13 && (minus.scale / 4.0 - 1.0).abs() < 0.13);
        assert!((minus.density - 0.1).abs() < 1e-9);
        assert_eq!((&*minus.promoted[0].0, minus.promoted[0].1), ("down", 2.0));
    }

    #[test]
    fn an_exemplar_without_its_window_is_left_out() {
        let found = evidence(
            Site::new(Point::MlpAct, 0),
            0,
            Polarity::Positive,
            &unit(Document([1; 16])),
            &HashMap::new(),
            &[],
            [Vec::new(), Vec::new()],
        );
        assert!(found.train.is_empty());
    }
}
