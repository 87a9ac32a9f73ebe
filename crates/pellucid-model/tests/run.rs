//! Running, editing, generating and differentiating, on tiny models of every family.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use pellucid_core::{Edit, Op, Point, Positions, Role, Site, Target};
use pellucid_model::check::check;
use pellucid_model::{
    Apply, Batch, CPU, Ended, Error, Generating, Logits, Model, Plan, Record, Row, Rules, Sampling, Storage,
    Tensor,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn tiny(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    let path: PathBuf = if name.ends_with("-gguf") { folder.join("model.gguf") } else { folder };
    Model::open(&path, Storage::F32, &mut |_| ()).expect("fixture")
}

/// One of each way a family can differ.
const FAMILIES: [&str; 9] =
    ["llama", "mistral", "qwen3", "gemma2", "gemma3", "gpt2", "gpt-neox", "phi3-longrope", "olmo2"];

const TEXT: [u32; 12] = [5, 17, 300, 42, 8, 99, 120, 7, 63, 211, 30, 4];

fn row() -> Row {
    Row::new(TEXT)
}

fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(a: &[f32], b: &[f32], tolerance: f32) {
    let scale = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    let worst = a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(a.len() == b.len() && worst <= tolerance * scale, "differs by {worst} of {scale}");
}

fn edit(text: &str) -> Edit {
    text.parse().expect("an edit")
}

#[test]
fn every_claim_of_the_self_check_holds_for_every_family() {
    for name in FAMILIES {
        let findings = check(&tiny(name), &TEXT, &mut |_| ()).expect(name);
        assert!(findings.len() >= 13, "{name}: {} claims", findings.len());
        for f in findings {
            assert!(f.holds(), "{name}: {} at {}: {:.1e} > {:.1e}", f.claim, f.at, f.error, f.tolerance);
        }
    }
}

#[test]
fn a_ragged_batch_equals_its_rows_alone_at_every_point() {
    for name in FAMILIES {
        let model = tiny(name);
        let texts = [&TEXT[..3], &TEXT[..], &TEXT[2..9], &TEXT[4..5]];
        let sites = model.spec().sites();
        let whole_points: Vec<Site> =
            sites.into_iter().filter(|s| !matches!(s.point, Point::AttnScores | Point::AttnProbs)).collect();
        let mut together = Record::new(whole_points.iter().copied());
        model.forward(&Batch::new(texts), &mut together).unwrap();
        let mut from = 0;
        for text in texts {
            let mut alone = Record::new(whole_points.iter().copied());
            model.forward(&Batch::new([text]), &mut alone).unwrap();
            for &site in &whole_points {
                let part = together.value(site).unwrap().narrow(0, from, text.len()).unwrap();
                close(&numbers(&part), &numbers(&alone.value(site).unwrap()), 1e-4);
            }
            from += text.len();
        }
    }
}

#[test]
fn a_cached_generation_with_edits_and_taps_equals_the_uncached() {
    for name in FAMILIES {
        let model = tiny(name);
        let edits = [
            edit("mlp_act.1/3=2.5"),
            edit("z.0/h1=x0.5@generated"),
            edit("resid_post.0=+0.3@2..5"),
            edit("mlp_act.0/7=zero@-1"),
        ];
        let how = Generating { stop_at_end: false, alternatives: 3, ..Generating::greedy(10) };
        let watched = Site::new(Point::MlpAct, 1);
        let generate = |cached| {
            let mut apply = Apply::new(&model, &edits).unwrap();
            let mut record = Record::new([watched]);
            let how = Generating { cached, ..how.clone() };
            let g = model
                .generate(&row(), &how, &mut (&mut apply, &mut record), &mut |_| ControlFlow::Continue(()));
            (g.unwrap(), record)
        };
        let ((cached, seen), (plain, uncached_seen)) = (generate(true), generate(false));
        assert_eq!(cached.ids(), plain.ids(), "{name}");
        for (a, b) in cached.steps.iter().zip(&plain.steps) {
            assert!((a.log_prob - b.log_prob).abs() < 1e-3, "{name}");
        }
        // the tap saw the prompt and every fed token once; the last uncached pass saw all of them
        let seen = seen.value(watched).unwrap();
        let last = uncached_seen.parts(watched).last().unwrap().clone();
        assert_eq!(seen.dims(), last.dims(), "{name}");
        close(&numbers(&seen), &numbers(&last), 1e-4);
        let unedited = model.generate(&row(), &how, &mut (), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_ne!(unedited.steps, cached.steps, "{name}: the edits did nothing");
    }
}

#[test]
fn each_edit_does_what_it_says_and_nothing_else() {
    let model = tiny("llama");
    let site = Site::new(Point::MlpAct, 1);
    let see = |edits: &[Edit]| -> Vec<Vec<f32>> {
        let mut record = Record::new([site]);
        let mut apply = Apply::new(&model, edits).unwrap();
        model.forward(&Batch::one(row()), &mut (&mut apply, &mut record)).unwrap();
        record.value(site).unwrap().to_vec2().unwrap()
    };
    let plain = see(&[]);
    let expect = |edit: Edit, change: &dyn Fn(usize, usize, f32) -> f32| {
        let edited = see(std::slice::from_ref(&edit));
        for (t, (a, b)) in edited.iter().zip(&plain).enumerate() {
            for (u, (a, b)) in a.iter().zip(b).enumerate() {
                assert_eq!(*a, change(t, u, *b), "{edit:?} at token {t}, unit {u}");
            }
        }
    };
    let last = TEXT.len() - 1;
    expect(edit("mlp_act.1/4,9=zero"), &|_, u, v| if u == 4 || u == 9 { 0.0 } else { v });
    expect(edit("mlp_act.1/4=1.5@-1"), &|t, u, v| if u == 4 && t == last { 1.5 } else { v });
    expect(edit("mlp_act.1/4=x3@1..3"), &|t, u, v| if u == 4 && (1..3).contains(&t) { v * 3.0 } else { v });
    expect(edit("mlp_act.1/4=clamp(-0.1,0.1)"), &|_, u, v| if u == 4 { v.clamp(-0.1, 0.1) } else { v });
    expect(edit("mlp_act.1=-2@0,5"), &|t, _, v| if t == 0 || t == 5 { v - 2.0 } else { v });
    let mean = Op::Mean { values: vec![0.25], of: "a test".to_owned() };
    let mean = Edit { op: mean, ..edit("mlp_act.1/2=zero") };
    expect(mean, &|_, u, v| if u == 2 { 0.25 } else { v });
}

#[test]
fn projections_leave_nothing_along_the_direction() {
    let model = tiny("gemma3");
    let site = Site::new(Point::ResidPost, 1);
    let d = model.spec().d_model;
    let direction: Vec<f32> = (0..d).map(|i| (i as f32 * 0.7).sin()).collect();
    let centre: Vec<f32> = (0..d).map(|i| (i as f32 * 0.3).cos()).collect();
    let length = direction.iter().map(|v| v * v).sum::<f32>().sqrt();
    let along = |x: &[f32]| x.iter().zip(&direction).map(|(a, b)| a * b).sum::<f32>() / length;
    for c in [None, Some(centre)] {
        let wanted = c.as_deref().map_or(0.0, &along);
        let op = Op::ProjectOut { direction: direction.clone(), centre: c };
        let edit = Edit { site, target: Target::Whole, positions: Positions::All, op };
        let mut record = Record::new([site]);
        let mut apply = Apply::new(&model, &[edit]).unwrap();
        model.forward(&Batch::one(row()), &mut (&mut apply, &mut record)).unwrap();
        for x in record.value(site).unwrap().to_vec2::<f32>().unwrap() {
            assert!((along(&x) - wanted).abs() < 1e-4 * length.max(1.0) * 10.0, "{} {wanted}", along(&x));
        }
    }
}

#[test]
fn a_patch_carries_another_run_over() {
    let model = tiny("qwen2");
    let other = [9u32, 8, 7, 6];
    let site = Site::new(Point::ResidPost, 0);
    let edit = Edit {
        site,
        target: Target::Whole,
        positions: Positions::At(vec![3, 5]),
        op: Op::PatchFrom { tokens: other.to_vec(), from: Positions::Range(1, Some(3)) },
    };
    let mut record = Record::new([site]);
    model.forward(&Batch::new([other]), &mut record).unwrap();
    let source = record.value(site).unwrap().to_vec2::<f32>().unwrap();
    let mut record = Record::new([site]);
    let mut apply = Apply::new(&model, std::slice::from_ref(&edit)).unwrap();
    apply.check_prompt(&row()).unwrap();
    // a listed place that is still to be generated takes a row as well, and one row too few is said
    apply.check_prompt(&Row { prompt: 4, ..row() }).unwrap();
    let short = Edit { positions: Positions::At(vec![3, 5, 90]), ..edit.clone() };
    let short = Apply::new(&model, &[short]).unwrap().check_prompt(&row()).unwrap_err();
    assert!(short.to_string().contains("2 rows and covers 3"), "{short}");
    model.forward(&Batch::one(row()), &mut (&mut apply, &mut record)).unwrap();
    let patched = record.value(site).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!((&patched[3], &patched[5]), (&source[1], &source[2]));
    assert_ne!(patched[4], source[1]);
}

#[test]
fn gradients_through_edits_are_those_of_the_edited_model() {
    let model = tiny("gemma2");
    let edits = [
        edit("mlp_act.0=x0.5@3..9"),
        edit("mlp_act.1=clamp(-0.4,0.4)"),
        edit("z.1/h0=zero@2"),
        edit("attn_probs.1/h2=x0.3"),
        Edit {
            op: Op::ProjectOut { direction: (0..32).map(|i| (i as f32).cos()).collect(), centre: None },
            ..edit("resid_mid.1=zero")
        },
    ];
    let at = Site::new(Point::ResidPost, 0);
    let vocabulary = model.spec().vocabulary;
    let mut seed = vec![0f32; vocabulary];
    (seed[11], seed[12]) = (1.0, -1.0);
    let mut record = Record::with_gradients([at]);
    let mut apply = Apply::new(&model, &edits).unwrap();
    let mut taps = (&mut apply, &mut record);
    let (_, trace) = model.trace(&Batch::one(row()), &Plan::LAST, &mut taps).unwrap();
    let seed = Tensor::from_vec(seed, (1, vocabulary), &CPU).unwrap();
    model.backward(trace, &seed, Rules::EXACT, &mut taps).unwrap();
    let gradient = record.gradient(at).unwrap().to_vec2::<f32>().unwrap();
    let metric = |token: usize, unit: usize, step: f32| {
        let mut all = edits.to_vec();
        let positions = Positions::At(vec![token as i64]);
        all.push(Edit {
            site: at,
            target: Target::Units(vec![unit as u32]),
            positions,
            op: Op::Add(vec![step]),
        });
        let logits = model.next_logits(&row(), &mut Apply::new(&model, &all).unwrap()).unwrap();
        f64::from(logits[11]) - f64::from(logits[12])
    };
    let largest = gradient.iter().flatten().fold(0f32, |m, g| m.max(g.abs()));
    for (token, unit) in [(2, 3), (5, 17), (8, 30), (11, 0), (11, 9), (3, 22)] {
        let numeric = (metric(token, unit, 2e-2) - metric(token, unit, -2e-2)) / 4e-2;
        let analytic = f64::from(gradient[token][unit]);
        assert!(
            (numeric - analytic).abs() < 0.03 * f64::from(largest),
            "{token}/{unit}: {numeric} {analytic}"
        );
    }
}

#[test]
fn a_run_can_start_and_stop_at_any_layer() {
    for name in ["gemma3", "gpt2", "smollm3"] {
        let model = tiny(name);
        let batch = Batch::one(row());
        let (pre, last) = (Site::new(Point::ResidPre, 1), model.spec().n_layers - 1);
        let mut record = Record::new([pre]);
        let whole = model.forward(&batch, &mut record).unwrap();
        let start = Some((1, record.value(pre).unwrap()));
        let from = Plan { logits: Logits::All, start, stop_after: None };
        let again = model.run(&batch, &from, None, &mut ()).unwrap().logits.unwrap();
        assert_eq!(numbers(&again), numbers(&whole), "{name}");
        let stop = Plan { logits: Logits::None, start: None, stop_after: Some(0) };
        let first = model.run(&batch, &stop, None, &mut ()).unwrap();
        assert_eq!(numbers(&first.resid), numbers(&record.value(pre).unwrap()), "{name}");
        let too_far = Plan { logits: Logits::None, start: None, stop_after: Some(last + 1) };
        assert!(model.run(&batch, &too_far, None, &mut ()).is_err());
    }
}

#[test]
fn roles_decide_where_an_edit_applies() {
    let model = tiny("llama");
    let roles = [None, Some(Role::System), Some(Role::User), Some(Role::User), Some(Role::Assistant)];
    let row = Row::new(&TEXT[..5]).with_roles(roles);
    let site = Site::new(Point::MlpAct, 0);
    for (role, covered) in
        [("system", vec![1]), ("user", vec![2, 3]), ("assistant", vec![4]), ("generated", vec![])]
    {
        let mut record = Record::new([site]);
        let mut apply = Apply::new(&model, &[edit(&format!("mlp_act.0/5=77@{role}"))]).unwrap();
        apply.check_prompt(&row).unwrap();
        model.forward(&Batch::one(row.clone()), &mut (&mut apply, &mut record)).unwrap();
        let values = record.value(site).unwrap().to_vec2::<f32>().unwrap();
        let set: Vec<usize> = (0..5).filter(|&t| values[t][5] == 77.0).collect();
        assert_eq!(set, covered, "{role}");
    }
    let apply = Apply::new(&model, &[edit("mlp_act.0/5=77@user")]).unwrap();
    let error = apply.check_prompt(&Row::new(TEXT)).unwrap_err().to_string();
    assert!(error.contains("no chat"), "{error}");
}

#[test]
fn a_model_is_shared_by_runs_that_leave_no_trace() {
    let model = tiny("gemma3");
    let plain = numbers(&model.forward(&Batch::one(row()), &mut ()).unwrap());
    std::thread::scope(|scope| {
        for i in 0..4 {
            let model = &model;
            scope.spawn(move || {
                let edits = [edit(&format!("mlp_act.{i}=zero"))];
                model.forward(&Batch::one(row()), &mut Apply::new(model, &edits).unwrap()).unwrap();
            });
        }
    });
    assert_eq!(numbers(&model.forward(&Batch::one(row()), &mut ()).unwrap()), plain);
}

#[test]
fn what_does_not_exist_is_refused_by_name() {
    let model = tiny("llama");
    let error = |edits: &[Edit]| Apply::new(&model, edits).unwrap_err().to_string();
    assert!(error(&[edit("mlp_act.9/3=zero")]).contains("layers are 0 to 1"));
    assert!(error(&[edit("mlp_act.1/48=zero")]).contains("there are 48"));
    assert!(error(&[edit("z.1/h4=zero")]).contains("there are 4"));
    assert!(error(&[edit("q_norm_in.0=zero")]).contains("no query and key norms"));
    assert!(error(&[edit("attn_probs.0=+1")]).contains("attention point"));
    let wrong = Edit { op: Op::Add(vec![1.0, 2.0]), ..edit("resid_post.0=zero") };
    assert!(error(&[wrong]).contains("expected 1 or 32"));

    let run =
        |batch: &Batch, plan: &Plan, record: &mut Record| model.run(batch, plan, None, record).map(|_| ());
    let none = || Record::new([]);
    let refused = |r: Result<(), Error>| r.unwrap_err().to_string();
    let one = Batch::one(row());
    assert!(
        refused(run(&Batch::new([[400u32]]), &Plan::LAST, &mut none())).contains("outside the vocabulary")
    );
    assert!(
        refused(run(&Batch::new([vec![1u32; 129]]), &Plan::LAST, &mut none())).contains("context is 128")
    );
    assert!(refused(run(&Batch::new([Vec::<u32>::new()]), &Plan::LAST, &mut none())).contains("no tokens"));
    let stop = Plan { logits: Logits::None, start: None, stop_after: Some(0) };
    let mut record = Record::new([Site::new(Point::MlpAct, 1)]);
    assert!(refused(run(&one, &stop, &mut record)).contains("does not reach"));
    let beyond = Plan { logits: Logits::At(vec![99]), ..Plan::LAST };
    assert!(refused(run(&one, &beyond, &mut none())).contains("has 12 tokens"));
}

#[test]
fn sampling_is_repeatable_and_endings_are_told() {
    let model = tiny("llama");
    let go = &mut |_: &pellucid_model::Step| ControlFlow::Continue(());
    let sampling = Sampling { temperature: 1.5, top_p: Some(0.9), seed: 3, ..Sampling::GREEDY };
    let how = Generating { sampling, stop_at_end: false, ..Generating::greedy(12) };
    let first = model.generate(&row(), &how, &mut (), go).unwrap();
    assert_eq!(first, model.generate(&row(), &how, &mut (), go).unwrap());
    let other = Generating { sampling: Sampling { seed: 4, ..how.sampling.clone() }, ..how.clone() };
    assert_ne!(first.ids(), model.generate(&row(), &other, &mut (), go).unwrap().ids());
    assert_eq!(first.ended, Ended::Length);
    // a text that surely appears ends it, and is cut off
    let piece = first.steps.iter().map(|s| s.text.trim()).find(|t| t.len() > 1).unwrap().to_owned();
    let stopping = Generating { stop: vec![piece.clone()], ..how.clone() };
    let stopped = model.generate(&row(), &stopping, &mut (), go).unwrap();
    assert_eq!(stopped.ended, Ended::StopText(piece.clone()));
    assert!(!stopped.text.contains(&piece) && first.text.starts_with(&stopped.text));
    let mut seen = 0;
    let cancelled = model.generate(&row(), &how, &mut (), &mut |_| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(cancelled.unwrap().ended, Ended::Cancelled);
    let full = Generating { max_tokens: 500, ..how };
    assert_eq!(model.generate(&row(), &full, &mut (), go).unwrap().ended, Ended::ContextFull);
}

#[test]
fn log_probs_of_a_text_are_those_of_its_logits() {
    let model = tiny("qwen3");
    let given = model.log_probs(&row(), &mut ()).unwrap();
    assert_eq!((given.len(), given[0]), (TEXT.len(), None));
    for n in [1, 5, 11] {
        let logits = model.next_logits(&Row::new(&TEXT[..n]), &mut ()).unwrap();
        let expected = pellucid_model::sample::log_softmax(&logits)[TEXT[n] as usize];
        assert!((given[n].unwrap() - expected).abs() < 1e-4);
    }
}

#[test]
fn narrower_storage_rounds_weights_and_nothing_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama-bf16");
    let open = |storage| Model::open(&folder, storage, &mut |_| ()).unwrap();
    let logits = |storage| numbers(&open(storage).forward(&Batch::one(row()), &mut ()).unwrap());
    // this checkpoint was published in bf16, so keeping it as bf16 loses nothing
    close(&logits(Storage::Bf16), &logits(Storage::F32), 1e-5);
    close(&logits(Storage::F16), &logits(Storage::F32), 1e-2);
}
