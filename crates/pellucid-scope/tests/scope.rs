//! Each answer held against what the runtime gives when it is asked directly, on a tiny model.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are tests too

use pellucid_core::{Edit, Latents, Point, Positions, Site};
use pellucid_model::{Apply, Attached, Batch, Model, Plan, Record, Storage};
use pellucid_scope::{
    Ablating, Aim, Change, Comparing, Explaining, Loaded, Looking, Meaning, Steering, Sum, Text, TextSpec,
    What, ablate, activations, compare, explain, place, read, steer, steered_dictionary, test,
};
use std::path::Path;
use std::sync::Arc;

fn loaded() -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny/llama");
    Loaded::new("tiny", Model::open(&path, Storage::F32, &mut |_| ()).unwrap())
}

fn text(loaded: &Loaded) -> Text {
    Text::plain(loaded, "The cat sat on the mat and looked at the moon").unwrap()
}

fn edits(list: &[&str]) -> Vec<Edit> {
    list.iter().map(|e| e.parse().unwrap()).collect()
}

/// A dictionary whose latents are the coordinates where they are above zero; what lies below is its error.
#[derive(Debug)]
struct Positive {
    identity: Vec<f32>,
    width: usize,
}

impl Latents for Positive {
    fn count(&self) -> usize {
        self.width
    }
    fn width(&self) -> usize {
        self.width
    }
    fn active(&self, rows: &[f32]) -> Vec<Vec<(u32, f32)>> {
        let above = |row: &[f32]| (0u32..).zip(row.iter().copied()).filter(|(_, x)| *x > 0.0).collect();
        rows.chunks(self.width).map(above).collect()
    }
    fn direction(&self, latent: u32) -> &[f32] {
        &self.identity[latent as usize * self.width..][..self.width]
    }
    fn write(&self, latent: u32, by: f32, _: &[f32], to: &mut [f32]) {
        to[latent as usize] += by;
    }
    fn worth(&self, latent: u32, g: &[f32], _: &[f32]) -> f32 {
        g[latent as usize]
    }
    fn pull(&self, latent: u32, by: f32, _: &[f32], to: &mut [f32]) {
        to[latent as usize] += by;
    }
    fn explained(&self, active: &[(u32, f32)], _: &[f32]) -> Vec<f32> {
        let mut row = vec![0.0; self.width];
        active.iter().for_each(|(i, x)| row[*i as usize] = *x);
        row
    }
}

fn with_dictionary() -> Loaded {
    let mut loaded = loaded();
    let width = loaded.model.spec().width_at(Point::ResidPost).unwrap();
    let identity = (0..width * width).map(|i| f32::from(u8::from(i % (width + 1) == 0))).collect();
    let (name, site, hash) = ("d".to_owned(), Site::new(Point::ResidPost, 0), String::new());
    let latents = Arc::new(Positive { identity, width });
    loaded.model.attach(Attached { name, site, hash, latents }).unwrap();
    loaded
}

#[test]
fn a_tokens_latents_add_up_and_removing_them_is_the_edit_that_zeroes_them() {
    let loaded = with_dictionary();
    let text = text(&loaded);
    let metric = Aim { position: text.tokens.len() - 1, target: Some(40), foil: Some(41) };
    let mut asked = Explaining::new(metric);
    (asked.by, asked.units) = (Sum::Latent, 1000);
    let meaning = Meaning::default();
    let reply = explain(&loaded, None, &meaning, text.clone(), &[], &asked).unwrap();
    let row = reply.row.unwrap();
    assert!(
        (row.latents + row.error + row.constant - row.whole).abs() < 1e-4 * row.whole.abs().max(1.0),
        "{row:?}"
    );
    let sum: f64 = reply.units.iter().map(|u| u.effect).sum();
    assert!((sum - row.latents).abs() < 1e-6 && reply.units.len() > 10);
    for unit in &reply.units {
        assert!((unit.by_position.iter().sum::<f64>() - unit.effect).abs() < 1e-9);
        assert_eq!(unit.by_position[0], 0.0, "a text's first token is not read");
    }

    let names: Vec<String> = reply.units.iter().take(2).filter_map(|u| u.unit.clone()).collect();
    let units = names.iter().map(|name| name.parse().unwrap()).collect();
    let removed = ablate(&loaded, text.clone(), &[], &Ablating { metric, units, draws: 3, seed: 1 }).unwrap();
    let predicted: f64 = reply.units.iter().take(2).map(|u| -u.effect).sum();
    assert!((removed.predicted - predicted).abs() < 1e-5, "{} {predicted}", removed.predicted);
    assert_eq!(removed.random.len(), 3);
    let steering = Steering {
        name: "off".to_owned(),
        what: What::Units(names),
        change: Change::Strength(0.0),
        positions: Positions::All,
    };
    assert_eq!(steered_dictionary(&steering).unwrap().as_deref(), Some("d"));
    let steered = steer(&loaded, None, &meaning, &steering).unwrap();
    assert_eq!(steered.edits.len(), 1);
    let logits =
        loaded.model.next_logits(&text.row, &mut Apply::new(&loaded.model, &steered.edits).unwrap()).unwrap();
    assert!((removed.without.value - (f64::from(logits[40]) - f64::from(logits[41]))).abs() < 1e-4);

    let mixed = What::Units(vec!["mlp_act.0/3".to_owned(), "sae:d/3".to_owned()]);
    let refused = steered_dictionary(&Steering { what: mixed, ..steering }).unwrap_err().to_string();
    assert!(refused.contains("not both"), "{refused}");
    let tested = test(&loaded, None, &"sae:d/7".parse().unwrap(), text, &[]).unwrap();
    assert_eq!((tested.values.len(), tested.values[0]), (reply.prompt.len(), 0.0));
    let beyond = format!("sae:d/{}", loaded.model.spec().d_model).parse().unwrap();
    assert!(place(&loaded, &beyond).unwrap_err().to_string().contains("latents, counted from 0"));
}

/// A unit that is edited, so that both runs differ from layer 0 on.
const EDITS: [&str; 2] = ["mlp_act.0/3=2.5", "mlp_act.1/5=x3"];

#[test]
fn what_was_likely_is_what_the_model_says_alone() {
    let (loaded, list) = (loaded(), edits(&EDITS));
    let text = text(&loaded);
    for list in [Vec::new(), list] {
        let apply = text.edits(&loaded, &list).unwrap();
        let read = read(&loaded, &text, apply.as_ref(), 3).unwrap();
        let mut tap = Apply::new(&loaded.model, &list).unwrap();
        let direct = loaded.model.log_probs(&text.row, &mut tap).unwrap();
        assert_eq!(read.len(), direct.len());
        for (mine, theirs) in read.iter().zip(&direct) {
            assert_eq!(mine.log_prob.is_some(), theirs.is_some());
            if let (Some(a), Some(b)) = (mine.log_prob, theirs) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            assert!(mine.next.len() == 3 && mine.next[0].log_prob >= mine.next[1].log_prob);
        }
    }
}

#[test]
fn an_edit_of_the_last_points_is_not_passed_over() {
    let loaded = loaded();
    let text = text(&loaded);
    for spec in ["lm_head/7=+50", "final_norm=x0.5"] {
        let list = edits(&[spec]);
        let apply = text.edits(&loaded, &list).unwrap();
        let read = read(&loaded, &text, apply.as_ref(), 1).unwrap();
        let direct =
            loaded.model.log_probs(&text.row, &mut Apply::new(&loaded.model, &list).unwrap()).unwrap();
        let compared =
            compare(&loaded, None, text.clone(), &list, &Comparing { positions: None, top: 5 }).unwrap();
        for ((a, b), c) in read.iter().zip(&direct).zip(&compared.edited).skip(1) {
            assert!((a.log_prob.unwrap() - b.unwrap()).abs() < 1e-5);
            assert!((c.unwrap() - b.unwrap()).abs() < 1e-5);
        }
        assert!(compared.kl.iter().any(|kl| *kl > 1e-3));
    }
}

#[test]
fn a_comparison_is_two_runs_made_one_by_one() {
    let loaded = loaded();
    let (text, list) = (text(&loaded), edits(&EDITS));
    let sites: Vec<Site> = (0..loaded.model.spec().n_layers).map(|l| Site::new(Point::MlpAct, l)).collect();
    let values = |list: &[Edit]| {
        let mut record = Record::new(sites.iter().copied());
        let mut tap = Apply::new(&loaded.model, list).unwrap();
        let batch = Batch::one(text.row.clone());
        loaded.model.run(&batch, &Plan::LAST, None, &mut (&mut tap, &mut record)).unwrap();
        sites.iter().map(|s| record.value(*s).unwrap().to_vec2::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let (plain, edited) = (values(&[]), values(&list));
    let direct = |list: &[Edit]| {
        loaded.model.log_probs(&text.row, &mut Apply::new(&loaded.model, list).unwrap()).unwrap()
    };
    let all = Comparing { positions: None, top: usize::MAX };
    let found = compare(&loaded, None, text.clone(), &list, &all).unwrap();
    for (mine, theirs) in [(&found.plain, direct(&[])), (&found.edited, direct(&list))] {
        assert_eq!(mine.len(), theirs.len());
        for (a, b) in mine.iter().zip(&theirs).skip(1) {
            assert!((a.unwrap() - b.unwrap()).abs() < 1e-5);
        }
    }
    let changed: usize = (0..sites.len())
        .map(|l| {
            (0..plain[l][0].len())
                .filter(|&i| (0..plain[l].len()).any(|p| plain[l][p][i] != edited[l][p][i]))
                .count()
        })
        .sum();
    assert_eq!(found.units.len(), changed);
    assert!(changed > 10);
    for unit in &found.units {
        let layer = unit.layer as usize;
        let index: usize =
            unit.unit.rsplit_once('/').unwrap().1.trim_end_matches(['+', '-']).parse().unwrap();
        for p in 0..plain[layer].len() {
            assert!((unit.plain[p] - plain[layer][p][index]).abs() < 1e-5);
            assert!((unit.edited[p] - edited[layer][p][index]).abs() < 1e-5);
        }
        assert_eq!(unit.edited_directly, (layer, index) == (0, 3) || (layer, index) == (1, 5));
    }
    assert!(found.units.windows(2).all(|w| w[0].change.abs() >= w[1].change.abs()));
    let nothing = compare(&loaded, None, text, &[], &all).unwrap_err().to_string();
    assert!(nothing.contains("no edits"), "{nothing}");
}

#[test]
fn effects_are_those_of_the_attribution_and_obey_the_positions() {
    let loaded = loaded();
    let text = text(&loaded);
    let last = text.tokens.len() - 1;
    let aim = Aim { position: last, target: Some(7), foil: Some(11) };
    let ask = |positions| {
        let asked = Explaining { positions, units: usize::MAX, ..Explaining::new(aim) };
        explain(&loaded, None, &Meaning::default(), text.clone(), &edits(&EDITS), &asked).unwrap()
    };
    let all = ask(None);
    assert!(all.clusters.is_empty() && all.described == 0);
    let logits = {
        let mut tap = Apply::new(&loaded.model, &edits(&EDITS)).unwrap();
        loaded.model.next_logits(&text.row, &mut tap).unwrap()
    };
    assert!((all.metric.value - f64::from(logits[7] - logits[11])).abs() < 1e-4);
    for unit in &all.units {
        let sum: f64 = unit.by_position.iter().sum();
        assert!((sum - unit.effect).abs() < 1e-5 * (1.0 + unit.effect.abs()), "{sum} {}", unit.effect);
    }
    // the first half and the second half together are the whole
    let (first, second) = (ask(Some((0, 5))), ask(Some((5, last + 1))));
    let total = |r: &pellucid_scope::ExplainReply| r.units.iter().map(|u| u.effect).sum::<f64>();
    assert!((total(&first) + total(&second) - total(&all)).abs() < 1e-4);
    assert!(first.units.iter().all(|u| u.by_position[5..].iter().all(|e| *e == 0.0)));
    let inputs: f64 = all.tokens.iter().sum();
    let halves: f64 = first.tokens.iter().sum::<f64>() + second.tokens.iter().sum::<f64>();
    assert!((inputs - halves).abs() < 1e-4);
}

#[test]
fn a_removed_group_is_the_run_without_it() {
    let loaded = loaded();
    let text = text(&loaded);
    let aim = Aim { position: text.tokens.len() - 1, target: Some(7), foil: None };
    let units = ["mlp_act.0/3", "mlp_act.1/5", "z.1/h1"].map(|u| u.parse().unwrap()).to_vec();
    let asked = Ablating { metric: aim, units, draws: 3, seed: 4 };
    let reply = ablate(&loaded, text.clone(), &[], &asked).unwrap();
    let without = edits(&["mlp_act.0/3=0", "mlp_act.1/5=0", "z.1/h1=zero"]);
    let logits =
        loaded.model.next_logits(&text.row, &mut Apply::new(&loaded.model, &without).unwrap()).unwrap();
    let mean = logits.iter().map(|l| f64::from(*l)).sum::<f64>() / logits.len() as f64;
    assert!((reply.without.value - (f64::from(logits[7]) - mean)).abs() < 1e-4);
    assert_eq!(reply.random.len(), 3);
    assert!(reply.random.iter().any(|r| r.value != reply.plain.value && r.value != reply.without.value));
    assert!(reply.predicted.is_finite() && reply.predicted != 0.0);
    let again = ablate(&loaded, text.clone(), &[], &asked).unwrap();
    assert_eq!(again, reply, "one seed, one answer");
    let none = Ablating { units: Vec::new(), ..asked };
    assert!(ablate(&loaded, text, &[], &none).is_err());
}

#[test]
fn removing_a_group_after_edits_equals_one_list_of_edits_wherever_they_stand() {
    let loaded = loaded();
    let text = text(&loaded);
    let aim = Aim { position: text.tokens.len() - 2, target: Some(7), foil: Some(9) };
    let steered =
        ["embeddings/2=+0.5", "mlp_act.0/3=2.5", "resid_pre.1/4=x2", "mlp_act.1/5=x3", "lm_head/7=+1"];
    let groups: [(&[&str], &[&str]); 3] = [
        (&["mlp_act.1/9", "z.1/h0"], &["mlp_act.1/9=0", "z.1/h0=zero"]),
        (&["resid_pre.1/4"], &["resid_pre.1/4=0"]),
        (&["embeddings/2", "mlp_act.1/1"], &["embeddings/2=0", "mlp_act.1/1=0"]),
    ];
    for (units, removed) in groups {
        for before in [Vec::new(), edits(&steered)] {
            let list = units.iter().map(|u| u.parse().unwrap()).collect();
            let asked = Ablating { metric: aim, units: list, draws: 2, seed: 1 };
            let reply = ablate(&loaded, text.clone(), &before, &asked).unwrap();
            let direct = |list: &[Edit]| {
                let mut tap = Apply::new(&loaded.model, list).unwrap();
                let logits = loaded.model.forward(&Batch::one(text.row.clone()), &mut tap).unwrap();
                let row = logits.to_vec2::<f32>().unwrap().swap_remove(aim.position);
                f64::from(row[7]) - f64::from(row[9])
            };
            let all = [before.clone(), edits(removed)].concat();
            let (plain, without) = (direct(&before), direct(&all));
            assert!((reply.plain.value - plain).abs() < 1e-5, "{units:?}: {} {plain}", reply.plain.value);
            assert!(
                (reply.without.value - without).abs() < 1e-5,
                "{units:?}: {} {without}",
                reply.without.value
            );
            assert_ne!(plain, without);
        }
    }
}

#[test]
fn activations_without_an_atlas_are_the_raw_ones() {
    let loaded = loaded();
    let text = text(&loaded);
    let looking = Looking {
        positions: Some((2, 6)),
        layers: Some((1, 1)),
        polarity: Some("-".to_owned()),
        words: None,
        least: 1.0,
        top: 4,
    };
    let found = activations(&loaded, None, text.clone(), &[], &looking).unwrap();
    assert_eq!(found.units.len(), 4);
    for unit in &found.units {
        assert!(unit.unit.starts_with("mlp_act.1/") && unit.unit.ends_with('-'));
        assert!((2..6).contains(&unit.peak) && unit.activation < 0.0 && unit.relative.is_none());
        let direct = test(&loaded, None, &unit.unit.parse().unwrap(), text.clone(), &[]).unwrap();
        for (mine, theirs) in unit.by_position.iter().zip(&direct.values) {
            assert!((mine - (-theirs).max(0.0)).abs() < 1e-6);
        }
    }
    let beyond = Looking { positions: Some((50, 60)), ..looking };
    assert!(activations(&loaded, None, text, &[], &beyond).unwrap_err().is_request());
}

#[test]
fn steering_becomes_edits_or_says_why_not() {
    let loaded = loaded();
    let of = |what, change| {
        let asked = Steering { name: "x".to_owned(), what, change, positions: Default::default() };
        steer(&loaded, None, &Meaning::default(), &asked)
    };
    let units =
        || What::Units(vec!["mlp_act.1/5+".to_owned(), "mlp_act.1/2-".to_owned(), "z.0/h1".to_owned()]);
    let off = of(units(), Change::Strength(0.0)).unwrap();
    assert_eq!(off.edits, edits(&["z.0/h1=zero", "mlp_act.1/2,5=zero"]));
    let half = of(units(), Change::Scale(0.5)).unwrap();
    assert_eq!(half.edits, edits(&["z.0/h1=x0.5", "mlp_act.1/2,5=x0.5"]));
    let typical = of(What::Units(vec!["mlp_act.1/5+".to_owned()]), Change::Strength(1.0));
    assert!(typical.unwrap_err().to_string().contains("typical strength"));
    let concept = What::Concept { text: "months".to_owned(), k: 3, score: None, dictionary: None };
    assert!(of(concept, Change::Strength(0.0)).unwrap_err().to_string().contains("atlas"));
    for wrong in ["mlp_act.99/1", "mlp_act.0/100000", "nonsense", "sae:x/1"] {
        let error = of(What::Units(vec![wrong.to_owned()]), Change::Strength(0.0)).unwrap_err();
        assert!(error.is_request(), "{wrong}: {error}");
    }
}

#[test]
fn texts_of_the_wire_are_checked() {
    let loaded = loaded();
    let read = |json: &str| {
        let spec: TextSpec = serde_json::from_str(json).unwrap();
        Text::read(&loaded, &spec)
    };
    let exact =
        read(r#"{"tokens": [1, 2, 3, 4], "prompt_tokens": 3, "roles": ["user", null, "user"]}"#).unwrap();
    assert_eq!(exact.row.prompt, 3);
    let roles: Vec<String> = exact.tokens.iter().map(|t| format!("{:?}", t.role)).collect();
    assert_eq!(roles, ["Some(User)", "None", "Some(User)", "Some(Generated)"]);
    for wrong in [
        r#"{"tokens": [1, 2], "prompt_tokens": 3}"#,
        r#"{"tokens": [1, 2], "prompt_tokens": 2, "roles": ["user"]}"#,
        r#"{"tokens": [4000000], "prompt_tokens": 1}"#,
        r#"{"tokens": [], "prompt_tokens": 0}"#,
        r#"{"prompt": ""}"#,
        r#"{"messages": []}"#,
    ] {
        assert!(read(wrong).unwrap_err().is_request(), "{wrong}");
    }
}
