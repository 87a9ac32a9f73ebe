//! Information flow on tiny random models: shares are those of parts that sum to what attention adds, and every way that is strong
//! enough is followed, and no other.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Site, Target};
use pellucid_interp::flow::{Carrier, flow, proximity};
use pellucid_model::{Apply, Batch, Logits, Model, Plan, Record, Row, Storage, Tap};
use std::collections::BTreeSet;
use std::path::Path;

const TEXT: [u32; 6] = [5, 17, 40, 8, 33, 12];

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

fn values(model: &Model, site: Site, tap: &mut dyn Tap) -> Vec<Vec<f32>> {
    let mut record = Record::new([site]);
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    model.run(&Batch::one(Row::new(TEXT.to_vec())), &plan, None, &mut (tap, &mut record)).unwrap();
    record.value(site).unwrap().flatten_from(1).unwrap().to_vec2().unwrap()
}

/// What a head brings a token from another, by an edit that takes it away: the head's value there zeroed for that token alone is what
/// its attention times value is less in `z`. Without norms after attention, `attn_out` is linear in it.
#[test]
fn a_heads_share_is_that_of_what_it_brings() {
    for name in ["llama", "qwen3", "gpt2"] {
        let model = tiny(name);
        let (last, heads) = (TEXT.len() - 1, model.spec().n_heads);
        let found = flow(&model, &Row::new(TEXT.to_vec()), last, 1e-9, &mut || Ok(())).unwrap();
        let layer = model.spec().n_layers - 1;
        let of_layer: Vec<_> = found.routes.iter().filter(|r| r.layer == layer && r.to == last).collect();
        let site = |p| Site::new(p, layer);
        let (mid, pre) =
            (values(&model, site(Point::ResidMid), &mut ()), values(&model, site(Point::ResidPre), &mut ()));
        // each (head, source) by zeroing that one probability
        let mut near = Vec::new();
        for head in 0..heads {
            for source in 0..=last {
                let mut cut = OneProbability { site: site(Point::AttnProbs), head, query: last, key: source };
                let without = values(&model, site(Point::ResidMid), &mut cut);
                let part: Vec<f32> = mid[last].iter().zip(&without[last]).map(|(a, b)| a - b).collect();
                near.push((Carrier::Head(head), source, proximity(&part, &mid[last])));
            }
        }
        let sum = near.iter().map(|n| n.2).sum::<f64>() + proximity(&pre[last], &mid[last]);
        for (by, from, near) in near {
            let share = near / sum;
            let ours = of_layer.iter().find(|r| r.by == by && r.from == from).map_or(0.0, |r| r.share);
            assert!((share - ours).abs() < 1e-4, "{name} {by:?} from {from}: {ours} {share}");
        }
        let mlp = of_layer.iter().find(|r| r.by == Carrier::Mlp).map_or(0.0, |r| r.share);
        let zero = Edit {
            site: site(Point::MlpOutPost),
            target: Target::Whole,
            positions: Positions::All,
            op: Op::Zero,
        };
        let post = values(&model, site(Point::ResidPost), &mut ());
        let without = values(&model, site(Point::ResidPost), &mut Apply::new(&model, &[zero]).unwrap());
        let part: Vec<f32> = post[last].iter().zip(&without[last]).map(|(a, b)| a - b).collect();
        let (a, b) = (proximity(&part, &post[last]), proximity(&without[last], &post[last]));
        assert!((mlp - a / (a + b)).abs() < 1e-4, "{name}: {mlp}");
    }
}

struct OneProbability {
    site: Site,
    head: usize,
    query: usize,
    key: usize,
}

impl Tap for OneProbability {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn visit(
        &mut self,
        _: pellucid_model::Place<'_>,
        x: pellucid_model::Tensor,
    ) -> pellucid_model::Result<pellucid_model::Tensor> {
        let (_, queries, keys) = x.dims3()?;
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        values[(self.head * queries + self.query) * keys + self.key] = 0.0;
        Ok(pellucid_model::Tensor::from_vec(values, x.shape(), x.device())?)
    }
}

#[test]
fn every_way_that_is_strong_enough_is_followed() {
    for name in ["gemma3", "gemma2", "olmo2", "gpt-neox-sequential"] {
        let model = tiny(name);
        let row = Row::new(TEXT.to_vec());
        let all = flow(&model, &row, 5, 1e-12, &mut || Ok(())).unwrap();
        let some = flow(&model, &row, 5, 0.05, &mut || Ok(())).unwrap();
        // shares of one sum are at most all of it
        for layer in 0..model.spec().n_layers {
            let heads = all.routes.iter().filter(|r| r.layer == layer && r.to == 5 && r.by != Carrier::Mlp);
            let sum: f64 = heads.map(|r| r.share).sum();
            assert!(sum <= 1.0 + 1e-9 && sum > 0.0, "{name}: {sum}");
        }
        // by hand: from the top, over every share
        let mut on = BTreeSet::from([5usize]);
        let mut want = Vec::new();
        for layer in (0..model.spec().n_layers).rev() {
            let here: Vec<_> = all
                .routes
                .iter()
                .filter(|r| r.layer == layer && on.contains(&r.to) && r.share >= 0.05)
                .collect();
            on.extend(here.iter().map(|r| r.from).collect::<Vec<_>>());
            want.extend(here);
        }
        let key = |r: &pellucid_interp::flow::Route| (r.layer, r.to, r.from, r.by);
        let (mut want, mut found): (Vec<_>, Vec<_>) =
            (want.into_iter().map(key).collect(), some.routes.iter().map(key).collect());
        want.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, want, "{name}");
        assert!(found.len() < all.routes.len(), "{name}");
        assert!(some.tokens.iter().all(|t| t.contains(&5)), "{name}");
    }
    let model = tiny("llama");
    let row = Row::new(TEXT.to_vec());
    for (position, threshold) in [(6, 0.1), (0, 0.0), (0, 1.5), (0, f64::NAN)] {
        assert!(flow(&model, &row, position, threshold, &mut || Ok(())).is_err());
    }
    assert!(
        flow(&tiny("gpt-neox"), &row, 0, 0.1, &mut || Ok(())).unwrap_err().to_string().contains("parallel")
    );
    let stop = &mut || Err(pellucid_interp::Error::Stopped);
    assert!(matches!(flow(&model, &row, 0, 0.1, stop), Err(pellucid_interp::Error::Stopped)));
}
