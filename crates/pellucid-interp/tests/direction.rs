//! Directions and function vectors on tiny random models: what is added and ablated is what edits add and ablate.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_interp::behaviour::{Behaviour, Ready};
use pellucid_interp::direction::{
    ControlVector, Directions, Kind, Method, On, candidates, choose, orthogonalise, validate,
};
use pellucid_interp::function::{Pairs, Settings, Task, find, measure};
use pellucid_model::{Apply, Batch, Model, Plan, Record, Storage};
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

/// Two classes that differ in their last letter.
fn classes(model: &Model, count: usize) -> Ready {
    let line = |i: usize| {
        let letter = |j: usize| char::from(b'a' + (j % 20) as u8).to_string();
        let (class, end, other) = if i.is_multiple_of(2) { ("many", "x", "z") } else { ("one", "z", "x") };
        serde_json::json!({
            "prompt": format!("the {} cat {end}", letter(i / 2)), "counterfactual": format!("the {} cat {other}", letter(i / 2)),
            "right": [if i.is_multiple_of(2) { "a" } else { "b" }], "wrong": [if i.is_multiple_of(2) { "b" } else { "a" }],
            "class": class, "group": letter(i / 2),
        })
        .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    Behaviour::read("classes", &lines.join("\n")).unwrap().prepare(model, count).unwrap()
}

#[test]
fn a_direction_carries_one_class_to_the_other_and_is_kept_in_a_file() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let ready = classes(&model, 16);
        let [fit, test] = ready.halves().unwrap();
        assert!(fit.items.iter().all(|a| test.items.iter().all(|b| a.item.group != b.item.group)));
        let found = Directions::find(&model, &fit, Method::Mean, 2, 1.0).unwrap();
        let layers = model.spec().n_layers;
        assert_eq!(
            (found.vectors.len(), found.classes.clone()),
            (layers, ["many".to_owned(), "one".to_owned()])
        );
        // the mean of the one class and the direction make the mean of the other
        let mean = |class: &str| -> Vec<f64> {
            let mut sum = vec![0f64; model.spec().d_model];
            let of: Vec<_> = fit.items.iter().filter(|i| i.item.class.as_deref() == Some(class)).collect();
            for item in &of {
                let site = Site::new(Point::ResidPost, 1);
                let mut record = Record::new([site]);
                model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut record).unwrap();
                let rows = record.value(site).unwrap().to_vec2::<f32>().unwrap();
                let last = rows.last().unwrap();
                sum.iter_mut().zip(last).for_each(|(s, v)| *s += f64::from(*v) / of.len() as f64);
            }
            sum
        };
        let (many, one) = (mean("many"), mean("one"));
        for ((m, o), v) in many.iter().zip(&one).zip(&found.vectors[&(-1, 1)]) {
            assert!((m - o - f64::from(*v)).abs() < 1e-4 * m.abs().max(1.0), "{name}");
        }
        // pairs have the same mean where every item's counterfactual is an item
        let pairs = Directions::find(&model, &fit, Method::Pairs, 1, 1.0).unwrap();
        let cosine = |a: &[f32], b: &[f32]| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        assert!(cosine(&pairs.vectors[&(-1, 1)], &found.vectors[&(-1, 1)]) > 0.999, "{name}");
        for method in [Method::Pca, Method::Logistic] {
            let other = Directions::find(&model, &fit, method, 1, 0.9).unwrap();
            assert!(cosine(&other.vectors[&(-1, 1)], &found.vectors[&(-1, 1)]) > 0.5, "{name} {method:?}");
        }
        let file = found.control_vector(&model);
        let again = ControlVector::from_bytes(&file.to_bytes().unwrap(), Path::new("kept.gguf")).unwrap();
        assert_eq!(file, again);
        let mut replaced = found.clone();
        replaced.replace(&model, &again).unwrap();
        assert_eq!(replaced.vectors[&(-1, 1)], found.vectors[&(-1, 1)]);
        let short = ControlVector { model_hint: String::new(), directions: [(1, vec![1.0])].into() };
        assert!(replaced.replace(&model, &short).is_err());
        assert!(Directions::find(&model, &fit, Method::Mean, 99, 1.0).is_err());
    }
}

#[test]
fn what_is_done_with_a_direction_is_what_edits_do() {
    let model = tiny("llama");
    let ready = classes(&model, 16);
    let [fit, test] = ready.halves().unwrap();
    let found = Directions::find(&model, &fit, Method::Mean, 1, 1.0).unwrap();
    let on = On { items: &test.items, off_task: &fit.items };
    let tried = candidates(&model, &found, on, 1.0, &mut || Ok(())).unwrap();
    assert_eq!(tried.len(), model.spec().n_layers);
    let _ = choose(&tried, model.spec().n_layers);
    let tested = validate(&model, &found, (-1, 0), on, 2.0, Seed(0), &mut || Ok(())).unwrap();
    let item = &test.items[0];
    let (sign, vector) =
        (if item.item.class.as_deref() == Some("many") { -2.0 } else { 2.0 }, &found.vectors[&(-1, 0)]);
    let edit = Edit {
        site: Site::new(Point::ResidPost, 0),
        target: Target::Whole,
        positions: Positions::At(vec![-1]),
        op: Op::Add(vector.iter().map(|v| sign * v).collect()),
    };
    let odds = |edits: &[Edit]| {
        let mut tap = Apply::new(&model, edits).unwrap();
        let logits =
            model.run(&Batch::one(item.row.clone()), &Plan::LAST, None, &mut tap).unwrap().logits.unwrap();
        let logits = logits.to_vec2::<f32>().unwrap()[0].clone();
        f64::from(logits[item.right[0] as usize]) - f64::from(logits[item.wrong[0] as usize])
    };
    let want = odds(&[edit]) - odds(&[]);
    let added = tested.outcomes.iter().find(|o| o.kind == Kind::Add && !o.random).unwrap();
    assert!((added.changes[0] - want).abs() < 1e-5, "{} {want}", added.changes[0]);
    let random = tested.outcomes.iter().find(|o| o.kind == Kind::Add && o.random).unwrap();
    assert!((random.changes[0] - want).abs() > 1e-6);
    assert!(tested.outcomes.iter().all(|o| o.off_task_kl.value >= -1e-6));
    assert!(validate(&model, &found, (-1, 99), on, 1.0, Seed(0), &mut || Ok(())).is_err());
}

/// A head's effect, found behind kept keys and values, is what an edit of the whole prompt does.
#[test]
fn a_heads_effect_is_what_putting_its_mean_there_does() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let tokenizer = model.tokenizer();
        // words of this small vocabulary, each asking for the next
        let words: Vec<String> = (0..tokenizer.vocab_size() as u32)
            .filter_map(|id| Some(tokenizer.tokens(&[id]).ok()?[0].text.to_string()))
            .filter_map(|text| text.strip_prefix(' ').map(str::to_owned))
            .filter(|word| word.chars().all(char::is_alphabetic) && !word.is_empty())
            .filter(|word| tokenizer.single_token(&format!(" {word}")).is_ok())
            .take(19)
            .collect();
        let pairs: Vec<(String, String)> = words.windows(2).map(|w| (w[0].clone(), w[1].clone())).collect();
        let task = Task { name: "next".to_owned(), pairs };
        let pairs = Pairs::of(&model, &task, 2, Seed(3)).unwrap();
        let settings = Settings { shots: 2, means: 6, trials: 3, heads: 2 };
        let found = find(&model, &pairs, settings, Seed(3), &mut |_, _| Ok(())).unwrap();
        let (heads, dim) = (model.spec().n_heads, model.spec().head_dim);
        assert_eq!(found.heads.len(), heads * model.spec().n_layers);
        let shown = pairs.examples(&model, 2, 6, false, Seed(3)).unwrap();
        let wrong = pairs.examples(&model, 2, 3, true, Seed(3).for_purpose("shuffled")).unwrap();
        let best = found.heads[0];
        let site = Site::new(Point::Z, best.layer);
        let mut mean = vec![0f32; dim];
        for asked in &shown {
            let mut record = Record::new([site]);
            model.run(&Batch::one(asked.row.clone()), &Plan::LAST, None, &mut record).unwrap();
            let z = record.value(site).unwrap().to_vec3::<f32>().unwrap();
            mean.iter_mut().zip(&z[z.len() - 1][best.head]).for_each(|(m, v)| *m += v / shown.len() as f32);
        }
        let probability = |edits: &[Edit]| -> f64 {
            let one = |asked: &pellucid_interp::function::Asked| {
                let mut tap = Apply::new(&model, edits).unwrap();
                let logits = model
                    .run(&Batch::one(asked.row.clone()), &Plan::LAST, None, &mut tap)
                    .unwrap()
                    .logits
                    .unwrap();
                let logits = logits.to_vec2::<f32>().unwrap()[0].clone();
                f64::from(pellucid_model::sample::log_softmax(&logits)[asked.answer as usize]).exp()
            };
            wrong.iter().map(one).sum::<f64>() / wrong.len() as f64
        };
        let edit = Edit {
            site,
            target: Target::Heads(vec![best.head as u32]),
            positions: Positions::At(vec![-1]),
            op: Op::Set(mean),
        };
        let want = probability(&[edit]) - probability(&[]);
        assert!((best.effect - want).abs() < 1e-6, "{name}: {} {want}", best.effect);
        let asked = pairs.questions(&model, 0, false, Seed(3)).unwrap();
        let plain = measure(&model, &asked, None).unwrap();
        assert_eq!(plain, measure(&model, &asked, Some((0, &vec![0.0; model.spec().d_model], 1.0))).unwrap());
        assert!(Pairs::of(&model, &task, 40, Seed(3)).is_err());
    }
}

#[test]
fn orthogonalised_weights_compute_what_ablating_at_every_write_computes() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny");
    // tied and not, with biases and without, attention and MLP in parallel, learned positions
    for name in ["llama-gguf", "gpt2-gguf", "gpt-neox-gguf", "phi3-gguf", "qwen2-gguf", "smollm3-gguf"] {
        let model = tiny(name);
        let mut seed = Seed(3);
        let r: Vec<f32> = (0..model.spec().d_model).map(|_| seed.normal() as f32).collect();
        let to = dir.path().join(format!("{name}.gguf"));
        let changed = orthogonalise(model.path(), &r, &to).unwrap();
        assert!(changed > 2 * model.spec().n_layers, "{name}: {changed}");
        let without = Model::open(&to, Storage::F32, &mut |_| ()).unwrap();
        let layers = 0..model.spec().n_layers;
        let both = layers.flat_map(|l| [Site::new(Point::AttnOutPost, l), Site::new(Point::MlpOutPost, l)]);
        let edits: Vec<Edit> = std::iter::once(Site::new(Point::ResidPre, 0))
            .chain(both)
            .map(|site| {
                let op = Op::ProjectOut { direction: r.clone(), centre: None };
                Edit { site, target: Target::Whole, positions: Positions::All, op }
            })
            .collect();
        let batch = Batch::one(pellucid_model::Row::new([5u32, 17, 42, 8, 99]));
        let run = |model: &Model, edits: &[Edit]| -> Vec<Vec<f32>> {
            let mut tap = Apply::new(model, edits).unwrap();
            model.forward(&batch, &mut tap).unwrap().to_vec2::<f32>().unwrap()
        };
        let (plain, ablated, made) = (run(&model, &[]), run(&model, &edits), run(&without, &[]));
        let apart = |a: &[Vec<f32>], b: &[Vec<f32>]| {
            a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(apart(&ablated, &made) < 1e-4, "{name}: {}", apart(&ablated, &made));
        assert!(apart(&plain, &made) > 1e-2, "{name}");
    }
    let refused = |name: &str, width: usize, why: &str| {
        let to = dir.path().join("refused.gguf");
        let path = fixtures.join(name);
        let error = orthogonalise(&path, &vec![1.0; width], &to).unwrap_err().to_string();
        assert!(error.contains(why) && !to.exists(), "{name}: {error}");
    };
    refused("gemma3-gguf", tiny("gemma3-gguf").spec().d_model, "normed before it is added");
    refused("olmo2-gguf", tiny("olmo2-gguf").spec().d_model, "normed before it is added");
    refused("llama-gguf", 3, "the direction has 3 numbers");
    refused("llama", tiny("llama").spec().d_model, "convert it first");
}
