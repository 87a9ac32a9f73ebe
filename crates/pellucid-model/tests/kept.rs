//! Weights kept as they are in a file, on the real models: the same numbers to the bit, in a fraction of the memory.

#![allow(clippy::unwrap_used)]

mod fetched;

use fetched::fetched;
use pellucid_core::{Point, Site};
use pellucid_kernels::tiles::PLAIN;
use pellucid_model::fidelity::Reading;
use pellucid_model::load::Checkpoint;
use pellucid_model::{
    Batch, Logits, Model, Place, Plan, Precision, Record, Row, Rules, Storage, Tap, Tensor, fast_is_quicker,
    times,
};
use std::collections::BTreeMap;

/// Logits, one layer's neurons, and a gradient at the embeddings, as bits.
fn bits(model: &Model) -> Vec<Vec<u32>> {
    let site = Site::new(Point::MlpAct, 3);
    let tokens: Vec<u32> = (0..40).map(|i| 300 + i * 37).collect();
    let batch = Batch::one(Row::new(tokens.as_slice()));
    let mut record = Record::new([site]);
    let plan = Plan { logits: Logits::Last, start: None, stop_after: None };
    let (output, trace) = model.trace(&batch, &plan, &mut record).unwrap();
    let logits = output.logits.unwrap();
    let g = (&logits * 1e-3).unwrap();
    let back = model.backward(trace, &g, Rules::EXACT, &mut record).unwrap();
    // one token as generation sees it: a product of one row
    let mut cache = model.cache(1, 2).unwrap();
    let first = Batch::one(Row::new(&tokens[..1]));
    let one = model.run(&first, &plan, Some(&mut cache), &mut ()).unwrap().logits.unwrap();
    let numbers = |t: &pellucid_model::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    [&logits, &record.value(site).unwrap(), &back, &one]
        .map(|t| numbers(t).into_iter().map(f32::to_bits).collect())
        .to_vec()
}

#[test]
fn kept_blocks_compute_what_weights_written_out_compute() {
    for name in ["smollm2", "gemma3-270m"] {
        let Some(path) = fetched(name) else { continue };
        let open = |storage| Model::open(&path, storage, &mut |_| ()).unwrap();
        let whole = open(Storage::F32);
        let expected = (bits(&whole), whole.weight_bytes());
        drop(whole);
        let kept = open(Storage::File);
        assert!(bits(&kept) == expected.0, "{name}: other numbers");
        let file: u64 = Checkpoint::open(&path).unwrap().tensors().iter().map(|t| t.bytes).sum();
        let (kept, file) = (kept.weight_bytes() as f64, file as f64);
        assert!(kept <= 1.5 * file && kept * 2.5 < expected.1 as f64, "{name}: {kept} bytes of {file}");
    }
}

/// Whatever weights are kept as, the fast precision is near the exact one and a batch's row is the row alone.
#[test]
fn the_fast_precision_is_near_the_exact_one() {
    for name in ["smollm2", "gemma3-270m"] {
        let Some(path) = fetched(name) else { continue };
        let mut model = Model::open(&path, Storage::F32, &mut |_| ()).unwrap();
        let text = "The lighthouse keeper wrote down the weather every evening, and in the morning he read it aloud.";
        let tokens = model.tokenizer().encode(text, true).unwrap().ids;
        let exact = Reading::of(&model, &tokens).unwrap();
        let same = exact.distance(&exact);
        assert!(same.kl == 0.0 && same.same_neurons == 1.0 && same.neuron_error == 0.0, "{name}: {same:?}");
        model.set_precision(Precision::Fast);
        let far = exact.distance(&Reading::of(&model, &tokens).unwrap());
        assert!(far.kl < 0.02 && far.same_neurons > 0.9 && far.neuron_error < 0.05, "{name}: {far:?}");
        assert_eq!(far.kl > 0.0, fast_is_quicker(), "{name}: {far:?}");
        let batch = Batch::new(vec![tokens.clone(), tokens[..9].to_vec()]);
        let both =
            model.run(&batch, &Plan::LAST, None, &mut ()).unwrap().logits.unwrap().to_vec2::<f32>().unwrap();
        let alone = Batch::one(Row::new(tokens.as_slice()));
        let alone =
            model.run(&alone, &Plan::LAST, None, &mut ()).unwrap().logits.unwrap().to_vec2::<f32>().unwrap();
        assert!(both[0] == alone[0], "{name}: a row depends on what else is in the batch");
    }
}

/// Steps that are taken together where nobody looks between them have the bits of the steps one by one, and what a tap that only
/// looks is given is what the run goes on with.
#[test]
fn joined_steps_have_the_bits_of_single_ones() {
    for name in ["smollm2", "gemma3-270m"] {
        let Some(path) = fetched(name) else { continue };
        let model = Model::open(&path, Storage::Bf16, &mut |_| ()).unwrap().with_precision(Precision::Fast);
        let text = "The lighthouse keeper wrote down the weather every evening. ".repeat(40);
        let tokens = model.tokenizer().encode(&text, true).unwrap().ids;
        steps_on(&model, &tokens, name);
    }
}

fn steps_on(model: &Model, tokens: &[u32], name: &str) {
    // enough rows for groups, and enough texts for texts by themselves, on any usual number of threads
    let some = |text: usize| tokens[..tokens.len() - tokens.len() / 12 * text].to_vec();
    let batch = Batch::new((0..(2 * rayon::current_num_threads()).max(8)).map(|text| some(text % 8)));
    let layers = model.spec().n_layers;
    let sites = |points: &[Point]| -> Vec<Site> {
        (0..layers).flat_map(|l| points.iter().map(move |p| Site::new(*p, l))).collect()
    };
    let run = |mut record: Record| {
        let output = model.run(&batch, &Plan::LAST, None, &mut record).unwrap();
        (output.logits.unwrap().to_vec2::<f32>().unwrap(), record)
    };
    let (joined, _) = run(Record::new([]));
    let (looked, acts) = run(Record::new(sites(&[Point::MlpAct])));
    let (single, all) = run(Record::new(sites(&[Point::AttnIn, Point::MlpIn, Point::MlpAct])));
    let (streams, between) = run(Record::new(sites(&[Point::ResidMid, Point::ResidPost])));
    let (apart, _) = run(Record::new(sites(&[Point::Z, Point::MlpOut])));
    let all_same = [joined, looked, streams, apart].iter().all(|logits| *logits == single);
    assert!(all_same, "{name}: joined steps give other logits");
    assert!(between.sites().all(|site| between.value(site).is_ok()), "{name}: a point was not reached");
    for site in sites(&[Point::MlpAct]) {
        let numbers = |r: &Record| r.value(site).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(numbers(&acts) == numbers(&all), "{name}: other values at {site}");
    }
}

/// Both ways on tiny models of all families. Run by the test below in a process that takes the ways of matrix tiles, whatever the
/// processor has.
#[test]
fn child_that_joins_steps() {
    let tiny = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny");
    for name in ["llama-bf16", "gemma2", "gemma3", "gpt2", "gpt-neox-sequential", "olmo2", "phi3", "qwen3"] {
        for storage in [Storage::Bf16, Storage::F32] {
            let model = Model::open(&tiny.join(name), storage, &mut |_| ()).unwrap();
            let model = model.with_precision(Precision::Fast);
            let length = model.spec().context.min(160) as u32;
            let tokens: Vec<u32> = (0..length).map(|i| 7 + i * 37 % 200).collect();
            steps_on(&model, &tokens, name);
            for rules in [Rules::EXACT, Rules::RELP] {
                steps_back(&model, &tokens, rules);
            }
        }
    }
}

#[test]
fn steps_are_joined_on_tiles_too() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_joins_steps", "--nocapture"])
        .env(PLAIN, "1")
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

/// The same on the way back, with few rows and with many, and so have products with the gradient that are made on it.
#[test]
fn joined_steps_back_have_the_bits_of_single_ones() {
    for name in ["smollm2", "gemma3-270m"] {
        let Some(path) = fetched(name) else { continue };
        let model = Model::open(&path, Storage::Bf16, &mut |_| ()).unwrap().with_precision(Precision::Fast);
        let text = "The lighthouse keeper wrote down the weather every evening. ".repeat(25);
        let tokens = model.tokenizer().encode(&text, true).unwrap().ids;
        for (tokens, rules) in
            [(&tokens[..], Rules::EXACT), (&tokens[..], Rules::RELP), (&tokens[..45], Rules::EXACT)]
        {
            steps_back(&model, tokens, rules);
        }
    }
}

fn steps_back(model: &Model, tokens: &[u32], rules: Rules) {
    let layers = model.spec().n_layers;
    let acts: Vec<Site> = (0..layers).map(|l| Site::new(Point::MlpAct, l)).collect();
    let pres = (0..layers).map(|l| Site::new(Point::MlpPre, l));
    let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let back = |tap: &mut dyn Tap| {
        let (output, trace) = model.trace(&Batch::one(Row::new(tokens)), &Plan::LAST, tap).unwrap();
        let g = output.logits.unwrap().ones_like().unwrap();
        numbers(&model.backward(trace, &g, rules, tap).unwrap())
    };
    let mut all = Record::with_gradients(acts.iter().copied().chain(pres));
    let single = back(&mut all);
    let mut looked = Record::with_gradients(acts.iter().copied());
    let mut products = Products::default();
    for joined in [back(&mut looked), back(&mut ()), back(&mut products)] {
        assert!(joined == single, "joined steps give another gradient");
    }
    for site in acts {
        let gradient = numbers(&all.gradient(site).unwrap());
        assert!(numbers(&looked.gradient(site).unwrap()) == gradient, "another gradient at {site}");
        let values = numbers(&all.value(site).unwrap());
        let product: Vec<f32> = values.iter().zip(&gradient).map(|(x, g)| x * g).collect();
        assert!(products.made.get(&site) == Some(&product), "another product at {site}");
    }
}

/// Products of activations with their gradients: as the pass makes them, or, where it gives gradients, of the values seen before.
#[derive(Default)]
struct Products {
    seen: BTreeMap<Site, Tensor>,
    made: BTreeMap<Site, Vec<f32>>,
}

impl Tap for Products {
    fn wants(&self, site: Site) -> bool {
        site.point == Point::MlpAct
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        self.seen.insert(at.site, x.clone());
        Ok(x)
    }
    fn only_looks(&self, _: Site) -> bool {
        true
    }
    fn wants_gradient(&self, site: Site) -> bool {
        self.wants(site)
    }
    fn wants_product(&self, site: Site) -> bool {
        self.wants(site)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        if let Some(seen) = self.seen.remove(&at.site) {
            self.made.insert(at.site, times(&seen, &g)?);
        }
        Ok(g)
    }
    fn product(&mut self, at: Place<'_>, product: Vec<f32>) -> pellucid_model::Result<()> {
        self.made.insert(at.site, product);
        Ok(())
    }
}
