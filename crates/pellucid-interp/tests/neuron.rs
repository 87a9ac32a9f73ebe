//! Neurons on tiny random models: what is predicted is what happens.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Index, Op, Point, Positions, Seed, Site, Target, UnitId};
use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::neuron::{Bench, Swap, doses, groups, measure, predict};
use pellucid_model::{Apply, Batch, Model, Plan, Record, Storage};
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

/// Letters after letters: no behaviour, but enough to calculate with.
fn letters(model: &Model, count: usize) -> Ready {
    let line = |i: usize| {
        let letter = |j: usize| char::from(b'a' + (j % 20) as u8);
        let class = if i.is_multiple_of(2) { "x" } else { "y" };
        serde_json::json!({
            "prompt": format!("the {} cat {class}", letter(i)), "counterfactual": format!("the {} cat z", letter(i)),
            "right": [letter(i).to_string()], "wrong": [letter(i + 1).to_string()], "class": class,
            "group": letter(i / 2).to_string(),
        })
        .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(model, count).unwrap()
}

/// The direct effect of a neuron is what removing it changes when every later write, and every norm's scale, is held.
#[test]
fn a_direct_effect_is_the_change_with_the_rest_frozen() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let mut ready = letters(&model, 1);
        ready.items.truncate(1);
        let effects = predict(&Bench::new(&model, &ready).unwrap(), &mut || Ok(())).unwrap();
        let row = ready.items[0].row.clone();
        let last = row.tokens.len() - 1;
        let layers = model.spec().n_layers;
        let post = |l| Site::new(Point::MlpOutPost, l);
        let mut sites: Vec<Site> = (0..layers)
            .flat_map(|l| [Site::new(Point::AttnOutPost, l), post(l), Site::new(Point::MlpOut, l)])
            .collect();
        sites.extend([Site::new(Point::ResidPost, layers - 1), Site::new(Point::FinalNorm, 0)]);
        let run = |edits: &[Edit]| {
            let mut record = Record::new(sites.iter().copied());
            let mut taps = (Apply::new(&model, edits).unwrap(), &mut record);
            let logits = model.run(&Batch::one(row.clone()), &Plan::LAST, None, &mut taps).unwrap().logits;
            (record, logits.unwrap().to_vec2::<f32>().unwrap()[0].clone())
        };
        let at = |record: &Record, site| record.value(site).unwrap().to_vec2::<f32>().unwrap()[last].clone();
        let (right, wrong) = ready.items[0].contrast();
        let contrast = |logits: &[f32]| f64::from(logits[right as usize]) - f64::from(logits[wrong as usize]);
        let scale = |record: &Record| {
            let x = at(record, Site::new(Point::ResidPost, layers - 1));
            (x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / x.len() as f64 + model.spec().norm_eps)
                .sqrt()
        };
        let (plain, plain_logits) = run(&[]);
        for layer in 0..layers {
            let here = effects
                .iter()
                .filter(|e| matches!(&e.unit, UnitId::Site { site, .. } if site.layer as usize == layer));
            let effect = here.max_by(|a, b| a.direct.abs().total_cmp(&b.direct.abs())).unwrap();
            let UnitId::Site { site, index: Index::Coordinate(i), .. } = &effect.unit else { unreachable!() };
            let edit = |site, target, op| Edit { site, target, positions: Positions::At(vec![-1]), op };
            let removed = edit(*site, Target::Units(vec![*i]), Op::Zero);
            // the second norm of a sandwich keeps its scale: its output is the new input times the old ratio
            let (gone, _) = run(std::slice::from_ref(&removed));
            let (before, after) =
                (at(&plain, Site::new(Point::MlpOut, layer)), at(&gone, Site::new(Point::MlpOut, layer)));
            let held = at(&plain, post(layer))
                .iter()
                .zip(before.iter().zip(&after))
                .map(|(p, (b, a))| p * a / b)
                .collect();
            let mut edits = vec![removed, edit(post(layer), Target::Whole, Op::Set(held))];
            for later in layer + 1..layers {
                for site in [Site::new(Point::AttnOutPost, later), post(later)] {
                    edits.push(edit(site, Target::Whole, Op::Set(at(&plain, site))));
                }
            }
            let (frozen, logits) = run(&edits);
            let change = contrast(&logits) * scale(&frozen) / scale(&plain) - contrast(&plain_logits);
            let apart = (effect.direct + change).abs() / effect.direct.abs();
            assert!(
                apart < 1e-3,
                "{name} {}: predicted {}, measured {}",
                effect.unit,
                effect.direct,
                -change
            );
        }
    }
}

#[test]
fn what_is_put_in_a_neurons_place_is_what_edits_put_there() {
    let model = tiny("llama");
    let ready = letters(&model, 6);
    let bench = Bench::new(&model, &ready).unwrap();
    let unit = UnitId::coordinate(Site::new(Point::MlpAct, 1), 3);
    let one = std::slice::from_ref(&unit);
    let by_edit = |op: Op| {
        let edit = Edit {
            site: Site::new(Point::MlpAct, 1),
            target: Target::Units(vec![3]),
            positions: Positions::Range(1, None),
            op,
        };
        let odds = |item: &pellucid_interp::behaviour::Prepared| {
            let mut tap = Apply::new(&model, std::slice::from_ref(&edit)).unwrap();
            let logits =
                model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap).unwrap().logits;
            let logits = logits.unwrap().to_vec2::<f32>().unwrap()[0].clone();
            f64::from(logits[item.right[0] as usize]) - f64::from(logits[item.wrong[0] as usize])
        };
        ready.items.iter().map(odds).collect::<Vec<f64>>()
    };
    let mean = bench.mean(1, 3);
    for (swap, op) in [
        (Swap::Zero, Op::Zero),
        (Swap::Mean, Op::Set(vec![mean])),
        (Swap::Scale(-2.0), Op::Scale(-2.0)),
        (Swap::Scale(1.0), Op::Scale(1.0)),
    ] {
        let odds = bench.without(one, swap).unwrap().unwrap();
        for (a, b) in odds.iter().zip(by_edit(op)) {
            assert!((a - b).abs() < 1e-5, "{swap:?}: {a} {b}");
        }
    }
    assert!(bench.without(one, Swap::Resample).unwrap().is_some());
    assert_eq!(bench.without(&[], Swap::Zero).unwrap().unwrap(), bench.plain());
    assert!(bench.without(&[UnitId::coordinate(Site::new(Point::MlpAct, 1), 999_999)], Swap::Zero).is_err());
    assert_eq!(doses(&bench, &unit, &[0.0, 1.0], &mut || Ok(())).unwrap()[0].by_class.len(), 2);
    let units: Vec<UnitId> = (0..3).map(|i| UnitId::coordinate(Site::new(Point::MlpAct, 0), i)).collect();
    let measured = measure(&bench, &bench, &units, Seed(0), &mut || Ok(())).unwrap();
    assert!(measured.iter().all(|m| !units.contains(&m.random)));
    let sizes: Vec<usize> =
        groups(&bench, &bench, &units, Seed(0), &mut || Ok(())).unwrap().iter().map(|g| g.k).collect();
    assert_eq!(sizes, [1, 2, 3]);
}
