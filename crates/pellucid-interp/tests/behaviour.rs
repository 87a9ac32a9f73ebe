//! Behaviours: generators, files and the gate.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use pellucid_core::Seed;
use pellucid_interp::behaviour::{BUILT_IN, Behaviour, Gate};
use pellucid_model::{Model, Storage};
use std::path::Path;

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

#[test]
fn generators_give_the_same_items_for_the_same_seed() {
    for (name, _) in BUILT_IN {
        let make = |seed| Behaviour::built_in(name, Seed(seed), 40).unwrap();
        assert_eq!(make(1), make(1), "{name}");
        assert_ne!(make(1), make(2), "{name}");
        let made = make(1);
        // requests to be declined are written out, not made from parts
        assert_eq!(made.items.len(), if name == "refusal" { 32 } else { 40 }, "{name}");
        let text = made.write().unwrap();
        assert_eq!(Behaviour::read(name, &text).unwrap().items, made.items);
        let first = made.items.iter().filter(|i| i.class == made.items[0].class).count();
        assert!(made.items[0].class.is_none() || (15..=25).contains(&first), "{name}: {first} of one class");
    }
    assert!(Behaviour::built_in("agrement", Seed(0), 1).unwrap_err().to_string().contains("agreement"));
}

#[test]
fn a_malformed_line_is_named() {
    let good = r#"{"prompt": "a", "right": ["b"], "wrong": ["c"]}"#;
    for (bad, why) in [
        ("{", "line 3"),
        (r#"{"prompt": "a", "right": ["b"]}"#, "wrong"),
        (r#"{"prompt": "a", "right": [], "wrong": ["c"]}"#, "answer each"),
        (r#"{"prompt": "", "right": ["b"], "wrong": ["c"]}"#, "empty"),
        (r#"{"prompt": "a", "right": ["b"], "wrong": ["b"]}"#, "both right and wrong"),
        (r#"{"prompt": "a", "right": ["b"], "wrong": ["c"], "klass": "x"}"#, "klass"),
    ] {
        let error = Behaviour::read("f", &format!("{good}\n\n{bad}\n{good}")).unwrap_err().to_string();
        assert!(error.contains("line 3: ") && error.contains(why), "{bad}: {error}");
    }
    assert!(Behaviour::read("f", "\n").is_err());
    // an answer of two tokens is named by its line too
    let text = format!("{good}\n{}", r#"{"prompt": "a", "right": ["qzx"], "wrong": ["c"]}"#);
    let error = Behaviour::read("f", &text).unwrap().prepare(&tiny("llama"), 9).unwrap_err().to_string();
    assert!(error.starts_with("line 2: ") && error.contains("qzx"), "{error}");
}

#[test]
fn a_random_model_does_not_pass_the_gate() {
    // each letter is right once and wrong once, so that a liking for some letters does not help
    let letters: Vec<char> = ('a'..='t').collect();
    let line = |(i, c): (usize, &char)| {
        let other = letters[(i + 1) % letters.len()];
        format!(r#"{{"prompt": "The {c} of the", "right": ["{c}"], "wrong": ["{other}"]}}"#)
    };
    let lines: Vec<String> = letters.iter().enumerate().map(line).collect();
    let model = tiny("llama");
    let ready = Behaviour::read("letters", &lines.join("\n")).unwrap().prepare(&model, 100).unwrap();
    let gate = Gate::measure(&model, &ready).unwrap();
    assert!(!gate.shown, "{gate:?}");
    let error = gate.pass(false).unwrap_err().to_string();
    assert!(error.contains("does not show letters") && error.contains("of 20 items"), "{error}");
    gate.pass(true).unwrap();
}

#[test]
fn a_half_has_items_of_both_classes_even_where_they_alternate() {
    let line = |i: usize| {
        let class = if i.is_multiple_of(2) { "one" } else { "other" };
        format!("{{\"prompt\": \"{i}\", \"right\": [\"a\"], \"wrong\": [\"b\"], \"class\": \"{class}\"}}\n")
    };
    let text: String = (0..12).map(line).collect();
    let ready = Behaviour::read("letters", &text).unwrap().prepare(&tiny("llama"), 12).unwrap();
    for half in ready.halves().unwrap() {
        assert_eq!(half.items.len(), 6);
        assert_eq!(half.items.iter().filter(|i| i.item.class.as_deref() == Some("one")).count(), 3);
    }
}
