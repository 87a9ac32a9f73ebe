//! Patchscopes on tiny random models: a value put where it came from changes no bit, and the last depth is the logit lens.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::patchscope::{Ask, At, IDENTITY, Placed, Target, back_grid, grid, ladder};
use pellucid_interp::stream::site_at;
use pellucid_model::{Batch, Generating, Model, Plan, Record, Row, Storage, Tensor};
use std::ops::ControlFlow;
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

fn letters(model: &Model) -> Ready {
    let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
    let line = |i: usize| {
        serde_json::json!({
            "prompt": format!("the {} cat", letter(i)), "counterfactual": format!("the {} cat", letter(i + 7)),
            "right": [letter(i)], "wrong": [letter(i + 1)],
        })
        .to_string()
    };
    let lines: Vec<String> = (0..5).map(line).collect();
    Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(model, 5).unwrap()
}

#[test]
fn a_value_put_back_where_it_stood_changes_no_bit() {
    for name in ["llama", "gemma3", "gpt2"] {
        let model = tiny(name);
        let row = Row::new(vec![3, 9, 4, 11]);
        let end = |position: i64| {
            let target = Target::new(&model, Placed::at(row.clone(), position).unwrap()).unwrap();
            let layers = model.spec().n_layers;
            let own = |depth| numbers(&target.run(depth, &[target.own(depth).unwrap()]).unwrap());
            let plain = own(layers);
            for depth in 0..layers {
                assert_eq!(own(depth), plain, "{name} depth {depth}");
            }
            plain
        };
        let plain = end(1);
        assert_eq!(plain, end(-1));
        let mut record = Record::new([site_at(model.spec().n_layers)]);
        model.run(&Batch::one(row.clone()), &Plan::LAST, None, &mut record).unwrap();
        let stream = record.value(site_at(model.spec().n_layers)).unwrap();
        assert_eq!(numbers(&stream.narrow(0, 3, 1).unwrap()), plain);
    }
}

#[test]
fn the_source_itself_at_the_last_depth_is_the_logit_lens() {
    let model = tiny("llama");
    let row = Row::new(vec![3, 9, 4]);
    let layers = model.spec().n_layers;
    let lens = pellucid_interp::lens::lens(&model, &row, 2, 3, &[5], false, &mut ()).unwrap();
    let target = Target::new(&model, Placed::at(row, -1).unwrap()).unwrap();
    for (depth, seen) in lens.iter().enumerate() {
        let resid = target.run(layers, &[target.own(depth).unwrap()]).unwrap();
        let logits = numbers(&model.unembed(&resid).unwrap());
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        assert_eq!(seen.top[0].id as usize, best, "depth {depth}");
    }
}

#[test]
fn what_is_written_with_the_own_value_is_what_is_written() {
    let model = tiny("llama");
    let row = Row::new(vec![3, 9, 4, 11]);
    let how = Generating::greedy(5);
    let plain = model.generate(&row, &how, &mut (), &mut |_| ControlFlow::Continue(())).unwrap();
    let target = Target::new(&model, Placed::at(row, 1).unwrap()).unwrap();
    for depth in 0..=model.spec().n_layers {
        assert_eq!(target.write(depth, target.own(depth).unwrap(), &how).unwrap(), plain);
    }
    let foreign = target.own(2).unwrap().iter().map(|v| -3.0 * v).collect();
    assert_ne!(target.write(0, foreign, &how).unwrap().steps, plain.steps);
    assert!(target.write(99, vec![], &how).is_err());
    assert!(target.run(0, &[vec![0.0; 3]]).unwrap_err().to_string().contains("3 numbers"));
}

#[test]
fn places_are_found_or_refused() {
    let model = tiny("llama");
    let end = Placed::new(&model, IDENTITY).unwrap();
    assert_eq!(end.position, end.row.tokens.len() - 1);
    let inside = Placed::new(&model, "the {} cat").unwrap();
    assert!(inside.position + 1 < inside.row.tokens.len());
    assert!(Placed::new(&model, "{} and {}").is_err());
    assert!(Placed::at(Row::new(vec![1, 2]), -3).unwrap_err().to_string().contains("beyond"));
}

#[test]
fn ladder_and_grids_have_every_rung_and_their_controls() {
    let model = tiny("llama");
    let layers = model.spec().n_layers;
    let source = Placed::at(Row::new(vec![3, 9, 4, 11]), 2).unwrap();
    let found = ladder(&model, &source, None, None, 0, &mut |_, _| Ok(())).unwrap();
    assert_eq!(found.rungs.len(), layers + 1);
    let end = found.rungs.last().unwrap().logit.clone();
    assert_eq!(end.rank, 1);
    // back-patching from a layer to itself changes nothing, so every rung says what the model says
    for rung in &found.rungs {
        let back = rung.back.as_ref().unwrap();
        assert_eq!((back.top, back.rank), (end.top, 1), "{rung:?}");
    }
    assert!(ladder(&model, &source, None, None, 1, &mut |_, _| Ok(())).unwrap().rungs[0].back.is_none());
    assert!(ladder(&model, &source, Some(1 << 30), None, 1, &mut |_, _| Ok(())).is_err());

    let ready = letters(&model);
    let ask = Ask { target: "the {} cat".to_owned(), at: At::Subject, every: 1 };
    let asked = grid(&model, &ready, &ask, None, &mut |_, _| Ok(())).unwrap();
    assert_eq!(asked.cells.len(), (layers + 1) * (layers + 1));
    // the target is the items' own text with the letter in the place: put there from the first depth, it is that text
    let first = &asked.cells[0];
    assert_eq!((first.source, first.target), (site_at(0), site_at(0)));
    assert_eq!(first.right, asked.plain);
    assert_eq!(asked.direct, Some(asked.plain));
    let back = back_grid(&model, &ready, At::Subject, 1, &mut |_, _| Ok(())).unwrap();
    assert_eq!(back.cells.len(), layers * (layers + 1) / 2);
    assert_eq!(back.plain, asked.plain);
}
