//! Patching on tiny random models: what must change nothing changes no bit, and a path is what one gets by hand.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::patch::{Cut, Edge, Put};
use pellucid_interp::trace::{
    Corruption, Cutting, Direction, Grid, Input, Pairs, Patch, Receiver, Side, grid, knockout, path,
};
use pellucid_model::{Apply, Batch, Model, Plan, Record, Row, Storage, Tap};
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

const PROMPT: [&str; 2] = ["the a cat", "the b cat"];

/// Items with as long a counterfactual, right and wrong chosen so that the clean run prefers the right one more.
fn letters(model: &Model) -> Ready {
    let tokenizer = model.tokenizer();
    let logits = |prompt: &str| {
        let row = Row::new(tokenizer.encode_plain(prompt, true).unwrap().ids);
        model.next_logits(&row, &mut ()).unwrap()
    };
    let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
    let mut lines = Vec::new();
    for i in 0..6 {
        let (clean, other) = (format!("the {} cat", letter(i)), format!("the {} cat", letter(i + 7)));
        let gain: Vec<f32> = logits(&clean).iter().zip(logits(&other)).map(|(a, b)| a - b).collect();
        let of = |j: &usize| gain[tokenizer.single_token(&letter(*j)).unwrap() as usize];
        let right = (0..20).max_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
        let wrong = (0..20).min_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
        lines.push(
            serde_json::json!({"prompt": clean, "counterfactual": other, "right": [letter(right)], "wrong": [letter(wrong)]})
                .to_string(),
        );
    }
    Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(model, 6).unwrap()
}

const POINTS: [Point; 5] =
    [Point::ResidPre, Point::ResidMid, Point::AttnOutPost, Point::MlpOutPost, Point::Z];

fn all(site: Site) -> Vec<Patch> {
    vec![Patch { site, head: None, position: None }]
}

fn known(odds: &[Option<f64>]) -> Vec<f64> {
    odds.iter().map(|o| o.unwrap()).collect()
}

#[test]
fn restoring_everything_gives_the_other_run_to_the_bit() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let ready = letters(&model);
        for direction in [Direction::Denoise, Direction::Noise] {
            let pairs = Pairs::new(&model, &ready, Corruption::Counterfactual, direction, &POINTS).unwrap();
            let (base, goal) = match direction {
                Direction::Denoise => (pairs.corrupted(), pairs.clean()),
                Direction::Noise => (pairs.clean(), pairs.corrupted()),
            };
            assert_eq!(pairs.base(), base);
            for layer in 0..model.spec().n_layers {
                let cells = [all(Site::new(Point::ResidPre, layer))];
                let odds = pairs.odds(&cells, Side::Other).unwrap();
                assert_eq!(known(&odds[0]), goal, "{name} {direction:?} layer {layer}");
            }
            // before the first difference, both runs are the same
            let first = Patch { site: Site::new(Point::ResidPre, 1), head: None, position: Some(0) };
            let odds = pairs.odds(&[vec![first]], Side::Other).unwrap();
            assert_eq!(known(&odds[0]), base);
        }
    }
}

#[test]
fn a_cell_is_what_an_edit_does() {
    let model = tiny("llama");
    let ready = letters(&model);
    let pairs = Pairs::new(&model, &ready, Corruption::Counterfactual, Direction::Denoise, &POINTS).unwrap();
    let site = Site::new(Point::Z, 1);
    let patch = Patch { site, head: Some(2), position: Some(3) };
    let odds = known(&pairs.odds(&[vec![patch]], Side::Other).unwrap()[0]);
    for (item, odds) in pairs.items().iter().zip(odds) {
        let edit = Edit {
            site,
            target: Target::Heads(vec![2]),
            positions: Positions::At(vec![3]),
            op: Op::PatchFrom { tokens: item.row.tokens.clone(), from: Positions::At(vec![3]) },
        };
        let mut tap = Apply::new(&model, &[edit]).unwrap();
        let logits = model.next_logits(item.counterfactual.as_ref().unwrap(), &mut tap).unwrap();
        let by_edit = f64::from(logits[item.right[0] as usize]) - f64::from(logits[item.wrong[0] as usize]);
        assert!((odds - by_edit).abs() < 1e-5, "{odds} {by_edit}");
    }
}

#[test]
fn a_grid_covers_layers_and_places_and_has_its_control() {
    let model = tiny("llama");
    let ready = letters(&model);
    let noise = Corruption::Gaussian { factor: 3.0, samples: 3, seed: Seed(1) };
    for corruption in [Corruption::Counterfactual, noise] {
        // noise need not hurt a random model
        let Ok(pairs) = Pairs::new(&model, &ready, corruption, Direction::Denoise, &POINTS) else { continue };
        let layers = model.spec().n_layers;
        let places = pairs.length() - pairs.differing()[0];
        let what = Grid { point: Point::ResidPre, heads: false, position: None, window: 1 };
        let cells = grid(&pairs, what, &mut |_, _| Ok(())).unwrap();
        assert_eq!(cells.len(), layers * places);
        assert!(cells.iter().all(|c| c.control.is_some()));
        let what = Grid { point: Point::Z, heads: true, position: None, window: 2 };
        assert_eq!(grid(&pairs, what, &mut |_, _| Ok(())).unwrap().len(), layers * model.spec().n_heads);
        let wrong = Grid { window: 0, ..what };
        assert!(grid(&pairs, wrong, &mut |_, _| Ok(())).is_err());
    }
}

#[test]
fn a_path_to_the_logits_is_the_frozen_run_by_hand() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let ready = letters(&model);
        let points = Receiver::points(Point::Z);
        let pairs =
            Pairs::new(&model, &ready, Corruption::Counterfactual, Direction::Denoise, &points).unwrap();
        let (layers, sender) = (model.spec().n_layers, Site::new(Point::Z, 0));
        let patch = Patch { site: sender, head: Some(1), position: None };
        let found = path(&pairs, patch, &[Receiver::Logits], false).unwrap();
        let spread = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let scale = spread(pairs.clean()) - spread(pairs.corrupted());
        let mut change = 0.0;
        for (item, base) in pairs.items().iter().zip(pairs.corrupted()) {
            let other = item.counterfactual.as_ref().unwrap();
            let hold = |site: Site| Edit {
                site,
                target: Target::Whole,
                positions: Positions::All,
                op: Op::PatchFrom { tokens: other.tokens.clone(), from: Positions::All },
            };
            let mut edits = vec![Edit {
                site: sender,
                target: Target::Heads(vec![1]),
                positions: Positions::All,
                op: Op::PatchFrom { tokens: item.row.tokens.clone(), from: Positions::All },
            }];
            edits.push(hold(Site::new(Point::MlpOutPost, 0)));
            for layer in 1..layers {
                edits.extend([Point::AttnOutPost, Point::MlpOutPost].map(|p| hold(Site::new(p, layer))));
            }
            let logits = model.next_logits(other, &mut Apply::new(&model, &edits).unwrap()).unwrap();
            let odds = f64::from(logits[item.right[0] as usize]) - f64::from(logits[item.wrong[0] as usize]);
            change += (odds - base) / scale / pairs.items().len() as f64;
        }
        assert!((found.recovered.value - change).abs() < 1e-4, "{name}: {found:?} by hand {change}");
        // by way of heads: with one key and value head for each query head, a patched value input is a patched `value`
        let to = |input| Receiver::Head { layer: 1, head: 0, input };
        for input in [Input::Query, Input::Key, Input::Value] {
            path(&pairs, patch, &[to(input)], true).unwrap();
        }
        assert!(
            path(&pairs, patch, &[Receiver::Head { layer: 0, head: 0, input: Input::Key }], false).is_err()
        );
        assert!(path(&pairs, patch, &[], false).is_err());
    }
}

/// A value input of every head at once is what putting the values themselves does; three equal inputs are the run's own.
#[test]
fn a_path_to_all_value_inputs_is_a_patched_value() {
    let model = tiny("llama");
    let ready = letters(&model);
    let points = Receiver::points(Point::Z);
    let pairs = Pairs::new(&model, &ready, Corruption::Counterfactual, Direction::Noise, &points).unwrap();
    let patch = Patch { site: Site::new(Point::Z, 0), head: Some(3), position: None };
    let heads = model.spec().n_heads;
    let receivers: Vec<Receiver> =
        (0..heads).map(|head| Receiver::Head { layer: 1, head, input: Input::Value }).collect();
    let found = path(&pairs, patch, &receivers, false).unwrap().recovered.value;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let scale = mean(pairs.clean()) - mean(pairs.corrupted());
    let mut by_hand = 1.0;
    for (item, base) in pairs.items().iter().zip(pairs.clean()) {
        let edit = |site, target, op| Edit { site, target, positions: Positions::All, op };
        let from = |tokens: &[u32]| Op::PatchFrom { tokens: tokens.to_vec(), from: Positions::All };
        let other = &item.counterfactual.as_ref().unwrap().tokens;
        let frozen = [
            edit(patch.site, Target::Heads(vec![3]), from(other)),
            edit(Site::new(Point::MlpOutPost, 0), Target::Whole, from(&item.row.tokens)),
        ];
        let value = Site::new(Point::Value, 1);
        let mut record = Record::new([value]);
        let mut taps = (Apply::new(&model, &frozen).unwrap(), &mut record);
        model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut taps).unwrap();
        let rows = record.value(value).unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        let put = edit(value, Target::Whole, Op::Patch { rows });
        let logits = model.next_logits(&item.row, &mut Apply::new(&model, &[put]).unwrap()).unwrap();
        let odds = f64::from(logits[item.right[0] as usize]) - f64::from(logits[item.wrong[0] as usize]);
        by_hand += (odds - base) / scale / pairs.items().len() as f64;
    }
    assert!((found - by_hand).abs() < 1e-4, "{found} {by_hand}");

    for name in ["llama", "gemma3", "qwen2", "olmo2", "gpt2"] {
        let model = tiny(name);
        let rows = PROMPT.map(|p| Row::new(model.tokenizer().encode_plain(p, true).unwrap().ids));
        let (x, z) = (Site::new(Point::AttnIn, 1), Site::new(Point::Z, 1));
        let mut record = Record::new([x, z]);
        model.run(&Batch { rows: rows.to_vec() }, &Plan::LAST, None, &mut record).unwrap();
        let input = record.value(x).unwrap();
        let own = model.heads_reading(1, &rows, [&input, &input, &input]).unwrap();
        let bits = |t: &pellucid_model::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bits(&own), bits(&record.value(z).unwrap()), "{name}");
        assert!(model.heads_reading(99, &rows, [&input, &input, &input]).is_err());
    }
}

#[test]
fn own_values_change_no_bit_and_a_cut_head_sees_only_itself() {
    let model = tiny("llama");
    let rows = PROMPT.map(|p| Row::new(model.tokenizer().encode_plain(p, true).unwrap().ids));
    let batch = Batch { rows: rows.to_vec() };
    let site = Site::new(Point::MlpAct, 1);
    let run = |tap: &mut dyn Tap| model.forward(&batch, tap).unwrap().to_vec2::<f32>().unwrap();
    let mut record = Record::new([site]);
    let plain = run(&mut record);
    let values = record.value(site).unwrap().to_vec2::<f32>().unwrap();
    let mut put = Put::default();
    let n = rows[0].tokens.len();
    for (token, value) in values.iter().enumerate() {
        put.add(site, (token / n, token % n), 5, value[5..9].to_vec());
    }
    assert_eq!(run(&mut put), plain);
    let mut too_wide = Put::default();
    too_wide.add(site, (1, 0), values[0].len() - 1, vec![0.0; 3]);
    assert!(model.forward(&batch, &mut too_wide).is_err());

    let mut cut = Cut::default();
    for row in 0..2 {
        for query in 1..n {
            (0..query).for_each(|key| cut.add(0..1, row, Edge { query, key }).unwrap());
        }
    }
    let mut record = Record::new([Site::new(Point::AttnProbs, 0)]);
    run(&mut (&mut cut, &mut record));
    for probs in record.parts(Site::new(Point::AttnProbs, 0)) {
        for head in probs.to_vec3::<f32>().unwrap() {
            for (query, row) in head.iter().enumerate() {
                let only = |(key, p): (usize, &f32)| (p - f32::from(u8::from(key == query))).abs() < 1e-30;
                assert!(row.iter().enumerate().all(only), "{row:?}");
            }
        }
    }
    assert!(Cut::default().add(0..1, 0, Edge { query: 1, key: 1 }).is_err());
}

#[test]
fn knockout_asks_every_edge_and_refuses_what_is_not_there() {
    let model = tiny("llama");
    let ready = letters(&model);
    let what = |query, window| Cutting { query, window, seed: Seed(0) };
    let (items, cut) = knockout(&model, &ready, what(-1, 1), &mut |_, _| Ok(())).unwrap();
    let n = items[0].row.tokens.len();
    assert_eq!(cut.len(), model.spec().n_layers * (n - 1));
    // the last layer's values at other tokens do not reach the last one any more
    assert!(cut.iter().all(|c| c.change.value.is_finite()));
    for (query, window) in [(0, 1), (99, 1), (-1, 0), (-1, 99)] {
        assert!(knockout(&model, &ready, what(query, window), &mut |_, _| Ok(())).is_err());
    }
}

#[test]
fn what_cannot_be_traced_is_named() {
    let model = tiny("llama");
    let line = |other: &str| {
        serde_json::json!({"prompt": "the a cat", "counterfactual": other, "right": ["a"], "wrong": ["b"]})
            .to_string()
    };
    let ready = |text: String| Behaviour::read("x", &text).unwrap().prepare(&model, 9).unwrap();
    let new = |ready: &Ready, points: &[Point]| {
        Pairs::new(&model, ready, Corruption::Counterfactual, Direction::Denoise, points)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    assert!(new(&ready(line("the a cat")), &[]).contains("counterfactual"));
    assert!(new(&letters(&model), &[Point::LmHead]).contains("lm_head"));
    assert!(new(&letters(&model), &[Point::QNormIn]).contains("q_norm_in"));
}
