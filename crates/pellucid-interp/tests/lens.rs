//! Lenses on tiny random models: derivatives against differences, fits against what they minimise, files against themselves.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Point, Seed, Site, Split};
use pellucid_interp::Error;
use pellucid_interp::behaviour::Behaviour;
use pellucid_interp::lens::{
    Card, Fitted, Kind, Texts, compare, exact_jacobian, fit_jacobian, fit_tuned, judge, lens_grid,
    lens_through, wins, wins_at,
};
use pellucid_interp::stream::site_at;
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Storage, Tensor};
use pellucid_store::{Document, Window};
use std::path::{Path, PathBuf};

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

fn window(tokens: Vec<u32>) -> Window {
    let counted = vec![true; tokens.len()];
    Window { document: Document([0; 16]), split: Split::Train, index: 0, tokens, counted }
}

fn random_windows(model: &Model, count: usize, length: usize) -> Vec<Window> {
    let mut seed = Seed(7);
    let mut token = || seed.below(model.tokenizer().vocab_size()) as u32;
    (0..count).map(|_| window((0..length).map(|_| token()).collect())).collect()
}

fn card(model: &Model, kind: Kind, to: Site) -> Card {
    Card {
        kind,
        model: model.sha256().to_owned(),
        to,
        corpus: "random".to_owned(),
        tokens: 1,
        window: 2,
        ridge: None,
        seed: 0,
        code: "test".to_owned(),
    }
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("pellucid-lens-{}-{name}", std::process::id()))
}

#[test]
fn a_jacobian_is_the_limit_of_differences() {
    for name in ["llama", "gemma3", "gpt2"] {
        let model = tiny(name);
        let row = Row::new(vec![3, 9, 4, 11, 5]);
        let (position, from, to) = (2, 1, model.spec().n_layers);
        let d = model.spec().d_model;
        let jacobian = exact_jacobian(&model, &row, position, from, to).unwrap();
        let site = Site::new(Point::ResidPre, from);
        let mut record = Record::new([site]);
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        model.run(&Batch::one(row.clone()), &plan, None, &mut record).unwrap();
        let x = numbers(&record.value(site).unwrap());
        let mut seed = Seed(1);
        let direction: Vec<f32> = (0..d).map(|_| seed.normal() as f32).collect();
        let size = x[position * d..][..d].iter().map(|v| v * v).sum::<f32>().sqrt();
        let end = |step: f32| {
            let mut moved = x.clone();
            moved[position * d..][..d].iter_mut().zip(&direction).for_each(|(v, u)| *v += step * u);
            let start = Tensor::from_vec(moved, (row.tokens.len(), d), &pellucid_model::CPU).unwrap();
            let plan = Plan { logits: Logits::None, start: Some((from, start)), stop_after: None };
            let resid = model.run(&Batch::one(row.clone()), &plan, None, &mut ()).unwrap().resid;
            numbers(&resid)[position * d..][..d].to_vec()
        };
        let step = 2e-3 * size;
        let (up, down) = (end(step), end(-step));
        let (mut apart, mut length) = (0f64, 0f64);
        for i in 0..d {
            let predicted: f64 =
                jacobian[i].iter().zip(&direction).map(|(j, u)| f64::from(*j) * f64::from(*u)).sum();
            let found = f64::from(up[i] - down[i]) / f64::from(2.0 * step);
            apart += (predicted - found).powi(2);
            length += found.powi(2);
        }
        assert!((apart / length).sqrt() < 1e-2, "{name}: {}", (apart / length).sqrt());
    }
}

/// One text of two tokens, once for each coordinate: every row of the estimate is then met exactly once, without company.
#[test]
fn the_estimate_is_the_exact_mean_where_it_can_be() {
    let model = tiny("llama");
    let d = model.spec().d_model;
    let to = site_at(model.spec().n_layers);
    let windows: Vec<Window> = (0..d).map(|_| window(vec![5, 8])).collect();
    let texts = Texts { windows: &windows, to };
    let maps = fit_jacobian(&model, texts, Seed(3), &mut |_| ()).unwrap();
    for (depth, map) in maps.iter().enumerate() {
        let exact = exact_jacobian(&model, &Row::new(vec![5, 8]), 1, depth, model.spec().n_layers).unwrap();
        for (a, b) in numbers(&map.weight).iter().zip(exact.concat()) {
            assert!((a - b).abs() < 1e-4, "depth {depth}: {a} {b}");
        }
    }
    // at the mean the map is the mean: here every token is the same
    let mut record = Record::new([site_at(0), to]);
    model.run(&Batch::one(Row::new(vec![5, 8])), &Plan::LAST, None, &mut record).unwrap();
    let fitted = Fitted::new(card(&model, Kind::Jacobian, to), maps);
    let at = |site| record.value(site).unwrap().narrow(0, 1, 1).unwrap();
    let mapped = numbers(&fitted.through(site_at(0), &at(site_at(0))).unwrap());
    for (a, b) in mapped.iter().zip(numbers(&at(to))) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    let few = Texts { windows: &windows[..d - 1], to };
    assert!(fit_jacobian(&model, few, Seed(3), &mut |_| ()).unwrap_err().to_string().contains("at least"));
}

#[test]
fn a_tuned_lens_is_nearer_and_a_great_ridge_makes_it_the_logit_lens() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let windows = random_windows(&model, 60, 24);
        let to = site_at(model.spec().n_layers);
        let texts = Texts { windows: &windows, to };
        let fit = |ridge| {
            let maps = fit_tuned(&model, texts, ridge, &mut |_| ()).unwrap();
            Fitted::new(card(&model, Kind::Tuned, to), maps)
        };
        let held_out = random_windows(&model, 70, 24)[60..].to_vec();
        let judged = judge(&model, &fit(0.01), &held_out, &mut |_| ()).unwrap();
        assert_eq!(judged.len(), model.spec().n_layers);
        for j in &judged {
            assert!(j.fitted_kl.value < j.logit_kl.value, "{name}: {j:?}");
        }
        let weight = numbers(&fit(1e9).map(site_at(0)).unwrap().weight);
        let d = model.spec().d_model;
        for (at, w) in weight.iter().enumerate() {
            assert!((w - f32::from(u8::from(at / d == at % d))).abs() < 1e-4);
        }
        assert!(fit_tuned(&model, texts, 0.0, &mut |_| ()).is_err());
        assert!(fit_tuned(&model, Texts { windows: &[], to }, 0.1, &mut |_| ()).is_err());
        let nowhere = Texts { windows: &windows, to: Site::new(Point::ResidPre, 0) };
        assert!(fit_tuned(&model, nowhere, 0.1, &mut |_| ()).is_err());
    }
}

#[test]
fn a_lens_survives_its_file_and_other_files_are_refused() {
    let model = tiny("llama");
    let windows = random_windows(&model, 20, 16);
    let to = site_at(model.spec().n_layers);
    let maps = fit_tuned(&model, Texts { windows: &windows, to }, 0.1, &mut |_| ()).unwrap();
    let fitted = Fitted::new(card(&model, Kind::Tuned, to), maps);
    let path = scratch("whole");
    fitted.save(&path).unwrap();
    let again = Fitted::load(&path, &model).unwrap();
    assert_eq!(again.card, fitted.card);
    let row = Row::new(vec![4, 9, 2]);
    let read = |f: &Fitted| lens_through(&model, f, &row, 0..3, 2, &[7], &mut ()).unwrap();
    assert_eq!(read(&again), read(&fitted));
    // the last rung is the model's own answer in either lens
    let plain = lens_grid(&model, &row, 0..3, 2, &[7], false, &mut ()).unwrap();
    assert_eq!(read(&again).last(), plain.last());

    assert!(Fitted::load(&path, &tiny("gemma3")).unwrap_err().to_string().contains("was made for"));
    let bytes = std::fs::read(&path).unwrap();
    let cut = scratch("cut");
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        assert!(Fitted::load(&cut, &model).unwrap_err().to_string().contains("is no lens"));
    }
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama/model.safetensors");
    assert!(Fitted::load(&weights, &model).unwrap_err().to_string().contains("card"));
    let half = Fitted::new(card(&model, Kind::Tuned, site_at(1)), Vec::new());
    assert!(half.check_final(&model).unwrap_err().to_string().contains("resid_post.0"));
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(cut).unwrap();
}

#[test]
fn a_text_is_no_distance_from_itself() {
    let model = tiny("llama");
    let (a, b) = (Row::new(vec![4, 9, 2]), Row::new(vec![7, 4, 9, 2, 5]));
    for c in compare(&model, [&a, &a], 1, None).unwrap() {
        assert!(c.js.abs() < 1e-9 && c.kl_first.abs() < 1e-9 && c.top[0] == c.top[1], "{c:?}");
    }
    let apart = compare(&model, [&a, &b], 0, None).unwrap();
    assert_eq!(apart.len(), model.spec().n_layers + 1);
    assert!(
        apart.iter().skip(1).all(|c| c.js > 0.0 && c.js <= 0.6932 && c.kl_first > 0.0 && c.kl_second > 0.0)
    );
    assert!(compare(&model, [&a, &b], 3, None).is_err());
}

#[test]
fn wins_end_in_the_model_s_own_answers() {
    let model = tiny("llama");
    let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
    let line = |i: usize| {
        serde_json::json!({"prompt": format!("the {}", letter(i)), "right": [letter(i)], "wrong": [letter(i + 1)]})
            .to_string()
    };
    let lines: Vec<String> = (0..12).map(line).collect();
    let ready = Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(&model, 12).unwrap();
    let (depths, at) = wins(&model, &ready, None, &mut |_, _| Ok(())).unwrap();
    assert_eq!((depths.len(), at.len()), (model.spec().n_layers + 1, 12));
    let above = ready.items.iter().filter(|i| {
        let logits = model.next_logits(&i.row, &mut ()).unwrap();
        logits[i.right[0] as usize] > logits[i.wrong[0] as usize]
    });
    assert!((depths.last().unwrap().above_wrong.value - above.count() as f64 / 12.0).abs() < 1e-9);
    let won = at.iter().filter(|w| w.site.is_some()).count();
    assert!((depths.last().unwrap().top.value - won as f64 / 12.0).abs() < 1e-9);
    // neighbours have other answers: the control is the share of items at which another's answer is the likeliest
    let foreign = ready.items.iter().enumerate().filter(|(i, item)| {
        let said = model.next_logits(&item.row, &mut ()).unwrap();
        let best = said.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        said[ready.items[(i + 1) % 12].right[0] as usize] == best
    });
    let control = depths.last().unwrap().stranger_top.unwrap();
    assert_eq!((control.n, (control.value * 12.0).round() as usize), (12, foreign.count()));
    let most = (model.spec().vocabulary as f64).ln();
    assert!(depths.iter().all(|d| d.entropy.value > 0.0 && d.entropy.value <= most));
    let stopped =
        wins(&model, &ready, None, &mut |done, _| if done < 2 { Ok(()) } else { Err(Error::Stopped) });
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(wins_at([false, true, false, true, true].into_iter()), Some(site_at(3)));
    assert_eq!(wins_at([true, false].into_iter()), None);
}
