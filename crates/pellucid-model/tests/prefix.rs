//! Texts that begin like earlier ones: the same answer to the bit, and less that runs.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod fetched;

use fetched::fetched;
use pellucid_core::{Edit, Role, Site};
use pellucid_model::{
    Apply, Error, Generating, Generation, Model, Place, Precision, Prefixes, Result, Row, Step, Storage, Tap,
    Tensor,
};
use std::ops::ControlFlow;
use std::path::Path;

fn tiny(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&folder, Storage::F32, &mut |_| ()).expect("fixture")
}

/// Tokens of which those from `other` on are not those of the other texts.
fn tokens(length: u32, other: u32) -> Vec<u32> {
    (0..length).map(|i| (i * 37 + if i < other { 11 } else { 12 }) % 300).collect()
}

fn edits(all: &[&str]) -> Vec<Edit> {
    all.iter().map(|text| text.parse().expect("an edit")).collect()
}

fn how() -> Generating {
    Generating { stop_at_end: false, alternatives: 5, ..Generating::greedy(5) }
}

/// The answer with what is kept, and that it is the one that a model gives which keeps nothing.
#[track_caller]
fn answered(model: &Model, kept: &Prefixes, row: &Row, edits: &[Edit]) -> Generation {
    let apply = Apply::new(model, edits).unwrap();
    let resolved: Vec<Edit> = apply.edits().cloned().collect();
    let go = &mut |_: &Step| ControlFlow::Continue(());
    let made = model.generate_with(kept, &resolved, row, &how(), &mut apply.clone(), go).unwrap();
    let plain = model.generate(row, &how(), &mut apply.clone(), go).unwrap();
    assert_eq!((&made.steps, &made.ended, plain.reused), (&plain.steps, &plain.ended, 0));
    made
}

#[test]
fn what_an_earlier_text_began_with_is_reused_and_changes_no_bit() {
    let (off, late, last) = ("mlp_act.1/3=0", "resid_post.0/2=+3@70", "resid_post.0/2=+3@-1");
    let cases: [(u32, u32, &[&str], usize); 12] = [
        (100, 200, &[], 0),
        (100, 200, &[], 64),
        (90, 70, &[], 64),
        (90, 30, &[], 0),
        (100, 200, &[off], 0),
        (100, 200, &[off], 64),
        (100, 200, &[off, off], 0),
        // the edit does not reach what is reused
        (100, 200, &[late], 64),
        (100, 200, &[last], 64),
        // all but the last token at most
        (64, 200, &[], 0),
        (65, 200, &[], 64),
        // the last position is another in each
        (65, 200, &[last], 64),
    ];
    for name in ["llama", "gemma3", "gemma2", "gpt-neox", "qwen3", "phi3-longrope", "olmo2"] {
        let (model, kept) = (tiny(name), Prefixes::new(u64::MAX));
        for (case, (length, other, with, reused)) in cases.into_iter().enumerate() {
            let row = Row::new(tokens(length, other));
            let made = answered(&model, &kept, &row, &edits(with));
            assert_eq!(made.reused, reused, "{name}: case {case}");
        }
    }
}

/// A text goes on behind its answer, with each real model, however its weights are kept: what the first began with is reused.
#[test]
fn a_text_goes_on_from_what_was_read() {
    for name in ["smollm2", "gemma3-270m"] {
        let Some(path) = fetched(name) else { continue };
        for storage in [Storage::F32, Storage::File] {
            let model = Model::open(&path, storage, &mut |_| ()).unwrap();
            let kept = Prefixes::new(u64::MAX);
            let story = "The lighthouse keeper wrote down the weather every evening. ".repeat(30);
            let mut ids = model.tokenizer().encode(&story, true).unwrap().ids;
            let first = answered(&model, &kept, &Row::new(ids.clone()), &[]);
            assert_eq!(first.reused, 0);
            let read = ids.len();
            ids.extend(first.ids());
            ids.extend(model.tokenizer().encode(" And what did he read?", false).unwrap().ids);
            let second = answered(&model, &kept, &Row::new(ids), &[]);
            assert_eq!(second.reused, read / 64 * 64, "{name}");
        }
    }
}

#[test]
fn an_edit_of_a_role_sees_whose_tokens_they_are() {
    let (model, kept) = (tiny("llama"), Prefixes::new(u64::MAX));
    let row = |from: usize| {
        let roles: Vec<_> =
            (0..100).map(|i| Some(if i < from { Role::System } else { Role::User })).collect();
        Row::new(tokens(100, 200)).with_roles(roles)
    };
    let edit = edits(&["mlp_out_post.0/1=2@user"]);
    for (from, reused) in [(80, 0), (80, 64), (70, 64), (20, 0), (20, 64)] {
        assert_eq!(answered(&model, &kept, &row(from), &edit).reused, reused, "user from {from}");
    }
}

#[test]
fn what_does_not_fit_is_forgotten_and_the_latest_is_kept() {
    let model = tiny("llama");
    let text = |first: u32| Row::new(std::iter::once(first).chain(tokens(90, 200)).collect::<Vec<u32>>());
    // a text of 91 tokens and an answer of 5
    let one = model.cache(1, 96).unwrap().bytes();
    for (bytes, held) in [(0, 1), (one, 1), (2 * one, 2), (3 * one, 3)] {
        let kept = Prefixes::new(bytes);
        for first in 1..=4 {
            assert_eq!(answered(&model, &kept, &text(first), &[]).reused, 0);
        }
        // from the latest back: what is asked for is then the latest itself
        for back in 0..held {
            assert_eq!(
                answered(&model, &kept, &text(4 - back), &[]).reused,
                64,
                "{bytes} bytes, {back} back"
            );
        }
        assert_eq!(answered(&model, &kept, &text(4 - held), &[]).reused, 0, "{bytes} bytes");
    }
}

#[test]
fn in_fast_precision_after_a_failure_and_of_too_much_nothing_is_kept() {
    let model = tiny("llama").with_precision(Precision::Fast);
    let (kept, row) = (Prefixes::new(u64::MAX), Row::new(tokens(100, 200)));
    assert_eq!(answered(&model, &kept, &row, &[]).reused, 0);
    assert_eq!(answered(&model, &kept, &row, &[]).reused, 0);

    struct Fails;
    impl Tap for Fails {
        fn wants(&self, _: Site) -> bool {
            true
        }
        fn visit(&mut self, _: Place<'_>, _: Tensor) -> Result<Tensor> {
            Err(Error::Request("no".to_owned()))
        }
    }
    let model = model.with_precision(Precision::Exact);
    let go = &mut |_: &Step| ControlFlow::Continue(());
    assert!(model.generate_with(&kept, &[], &row, &how(), &mut Fails, go).is_err());
    assert_eq!(answered(&model, &kept, &row, &[]).reused, 0);
    assert_eq!(answered(&model, &kept, &row, &[]).reused, 64);
    // so many conditions that to compare them might take longer than to run
    let many = vec!["mlp_act.1/3=0".parse::<Edit>().unwrap(); 257];
    assert_eq!([(); 2].map(|()| answered(&model, &kept, &row, &many).reused), [0, 0]);
    // a text that has no room for an answer runs nothing
    let full = Row::new(tokens(128, 200));
    assert_eq!((answered(&model, &kept, &full, &[]).steps.len(), model.spec().context), (0, 128));
}
