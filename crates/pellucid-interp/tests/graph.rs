//! Attribution graphs on tiny random models: edges sum to what they reach, and are what happens when a source is taken away from
//! a run that is held still by other means than the graph's own: taps that put back probabilities, activations and norm scales.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use pellucid_core::{Point, Seed, Site, UnitId};
use pellucid_interp::graph::check::zeroed;
use pellucid_interp::graph::file::{GraphFile, Metadata, View, nodes_and_links};
use pellucid_interp::graph::{
    Kinds, LayerUnits, Neurons, Outputs, Placed, Traced, Units, What, foremost, trace,
};
use pellucid_model::{Batch, Frozen, Model, NormKind, Place, Plan, Record, Row, Storage, Tap, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const FAMILIES: [&str; 9] =
    ["llama", "gemma2", "gemma3", "gpt2", "gpt-neox", "gpt-neox-sequential", "qwen3", "phi3", "olmo2"];

fn tiny(name: &str) -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny").join(name);
    Model::open(&path, Storage::F32, &mut |_| ()).unwrap()
}

const TEXT: [u32; 7] = [5, 17, 40, 8, 33, 12, 21];

fn traced(model: &Model, most: usize) -> (Traced, Neurons) {
    let row = Row::new(TEXT.to_vec());
    let run = model.frozen(&row, TEXT.len() - 1).unwrap();
    let outputs = Outputs::Likely { share: 0.9, most: 3 }.metrics(run.logits(), TEXT.len() - 1).unwrap();
    let neurons = foremost(model, &row, &outputs, most).unwrap();
    (trace(&run, &neurons, &outputs, &mut || Ok(())).unwrap(), neurons)
}

type Pairs = Vec<[f64; 2]>;
type Values = BTreeMap<Site, Vec<Vec<f32>>>;

fn rows(x: &Tensor) -> Vec<Vec<f32>> {
    x.flatten_from(1).unwrap().to_vec2().unwrap()
}

/// Every norm on the stream, by the value before it and after it.
fn norms(model: &Model) -> Vec<(Site, Site)> {
    let spec = model.spec();
    let mut pairs = Vec::new();
    for l in 0..spec.n_layers {
        let site = |p| Site::new(p, l);
        if spec.placement.before() {
            let mid = if spec.parallel { Point::ResidPre } else { Point::ResidMid };
            pairs.extend([(site(Point::ResidPre), site(Point::AttnIn)), (site(mid), site(Point::MlpIn))]);
        }
        if spec.placement.after() {
            pairs.extend([
                (site(Point::AttnOut), site(Point::AttnOutPost)),
                (site(Point::MlpOut), site(Point::MlpOutPost)),
            ]);
        }
    }
    let last = Site::new(Point::ResidPost, spec.n_layers - 1);
    pairs.push((last, Site::new(Point::FinalNorm, 0)));
    pairs
}

/// A run as it was, and what is needed to hold it there.
struct Held<'a> {
    model: &'a Model,
    plain: Values,
    probs: BTreeMap<Site, Tensor>,
    /// By the value after a norm: the value before it, each token's mean and scale, each coordinate's weight and shift.
    norms: BTreeMap<Site, (Site, Pairs, Pairs)>,
}

impl<'a> Held<'a> {
    fn new(model: &'a Model) -> Self {
        let sites = model.spec().sites();
        let mut record = Record::new(sites.iter().copied());
        model.run(&Batch::one(Row::new(TEXT.to_vec())), &Plan::ALL, None, &mut record).unwrap();
        let probs = |s: &&Site| s.point == Point::AttnProbs;
        let plain: Values = sites
            .iter()
            .filter(|s| !matches!(s.point, Point::AttnProbs | Point::AttnScores))
            .map(|&s| (s, rows(&record.value(s).unwrap())))
            .collect();
        let probs = sites.iter().filter(probs).map(|&s| (s, record.parts(s)[0].clone())).collect();
        let mut held = Held { model, plain, probs, norms: BTreeMap::new() };
        for (before, after) in norms(model) {
            let moments: Vec<[f64; 2]> = held.plain[&before].iter().map(|x| held.moments(x)).collect();
            let weights = held.weights(before, after, &moments);
            held.norms.insert(after, (before, moments, weights));
        }
        held
    }

    fn moments(&self, x: &[f32]) -> [f64; 2] {
        let spec = self.model.spec();
        let n = x.len() as f64;
        let layer = spec.norm == NormKind::Layer;
        let mean = if layer { x.iter().map(|v| f64::from(*v)).sum::<f64>() / n } else { 0.0 };
        let spread = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        [mean, 1.0 / (spread + spec.norm_eps).sqrt()]
    }

    /// A norm's weights and shifts, from what it did to each token: a line through the points of each coordinate.
    fn weights(&self, before: Site, after: Site, moments: &[[f64; 2]]) -> Vec<[f64; 2]> {
        let (x, y) = (&self.plain[&before], &self.plain[&after]);
        let shifted = self.model.spec().norm == NormKind::Layer;
        let n = x.len() as f64;
        (0..x[0].len())
            .map(|i| {
                let z: Vec<f64> =
                    x.iter().zip(moments).map(|(x, [m, s])| (f64::from(x[i]) - m) * s).collect();
                let y: Vec<f64> = y.iter().map(|y| f64::from(y[i])).collect();
                let mean = |v: &[f64]| if shifted { v.iter().sum::<f64>() / n } else { 0.0 };
                let (mz, my) = (mean(&z), mean(&y));
                let product: f64 = z.iter().zip(&y).map(|(z, y)| (z - mz) * (y - my)).sum();
                let weight = product / z.iter().map(|z| (z - mz).powi(2)).sum::<f64>();
                [weight, my - weight * mz]
            })
            .collect()
    }

    /// The run held still but for what `change` does to a value, and what was at every site then.
    fn run(&self, change: &dyn Fn(Site, &mut Vec<Vec<f32>>)) -> Values {
        let mut tap = Holding { held: self, change, seen: BTreeMap::new() };
        self.model.run(&Batch::one(Row::new(TEXT.to_vec())), &Plan::ALL, None, &mut tap).unwrap();
        tap.seen
    }

    /// A neuron's activation, or a logit above the mean, in a run held still: linear in what it reads, by RelP's rules.
    fn linear(&self, node: &pellucid_interp::graph::Node, seen: &Values) -> f64 {
        let at = |of: &Values, site: Site, i: usize| f64::from(of[&site][node.position][i]);
        match &node.what {
            What::Unit(UnitId::Site { site, index: pellucid_core::Index::Coordinate(i), .. }) => {
                let (layer, i) = (site.layer as usize, *i as usize);
                let act = at(&self.plain, *site, i);
                let ratio = |point| {
                    let site = Site::new(point, layer);
                    at(seen, site, i) / at(&self.plain, site, i)
                };
                match self.model.spec().gated {
                    true => act * (ratio(Point::MlpPre) + ratio(Point::MlpPreLinear)) / 2.0,
                    false => act * ratio(Point::MlpPre),
                }
            }
            What::Logit { token, .. } => {
                let head = Site::new(Point::LmHead, 0);
                let linear = |i: usize| {
                    let (now, plain) = (at(seen, head, i), at(&self.plain, head, i));
                    let Some(cap) = self.model.spec().final_softcap.map(f64::from) else { return now };
                    let raw = |y: f64| cap * (y / cap).atanh();
                    plain * raw(now) / raw(plain)
                };
                let n = self.model.spec().vocabulary;
                linear(*token as usize) - (0..n).map(linear).sum::<f64>() / n as f64
            }
            other => panic!("{other:?} reads nothing"),
        }
    }
}

struct Holding<'a> {
    held: &'a Held<'a>,
    change: &'a dyn Fn(Site, &mut Vec<Vec<f32>>),
    seen: Values,
}

impl Tap for Holding<'_> {
    fn wants(&self, site: Site) -> bool {
        site.point != Point::AttnScores
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let site = at.site;
        if let Some(probs) = self.held.probs.get(&site) {
            return Ok(probs.clone());
        }
        let mut values = rows(&x);
        if let Some((before, moments, weights)) = self.held.norms.get(&site) {
            for ((out, x), [_, scale]) in values.iter_mut().zip(&self.seen[before]).zip(moments) {
                // the mean is linear and moves; the scale alone is held
                let [mean, _] = self.held.moments(x);
                for ((o, x), [w, b]) in out.iter_mut().zip(x).zip(weights) {
                    *o = ((f64::from(*x) - mean) * scale * w + b) as f32;
                }
            }
        }
        if site.point == Point::MlpAct {
            values.clone_from(&self.held.plain[&site]);
        }
        (self.change)(site, &mut values);
        self.seen.insert(site, values.clone());
        let flat: Vec<f32> = values.into_iter().flatten().collect();
        Ok(Tensor::from_vec(flat, x.shape(), x.device())?)
    }
}

fn targets(t: &Traced) -> Vec<usize> {
    let Kinds { features, errors, tokens, .. } = t.graph.kinds();
    (0..t.nodes.len()).filter(|&i| i < features || i >= features + errors + tokens).collect()
}

/// What a source adds, taken away from a run that is held still, against the edge.
#[test]
fn edges_sum_to_what_they_reach_and_are_what_a_source_adds() {
    for name in FAMILIES {
        let model = tiny(name);
        let held = Held::new(&model);
        let (t, neurons) = traced(&model, 24);
        let Kinds { features, errors, .. } = t.graph.kinds();
        assert_eq!(features, 24, "{name}");
        // nothing taken away: the run is what it was
        let same = held.run(&|_, _| ());
        // nothing but shifts left
        let bare = held.run(&|site, x| {
            let source = site == Site::new(Point::ResidPre, 0) || site.point == Point::MlpOutPost;
            if source {
                x.iter_mut().flatten().for_each(|v| *v = 0.0);
            }
        });
        let size = |i: usize| t.graph.row(i).iter().map(|e| e.abs()).sum::<f64>();
        for &i in &targets(&t) {
            let (value, whole) = (t.nodes[i].value, held.linear(&t.nodes[i], &same));
            assert!((value - whole).abs() < 1e-3 * size(i), "{name} {:?}: {value} {whole}", t.nodes[i]);
            let sum = t.graph.row(i).iter().sum::<f64>() + held.linear(&t.nodes[i], &bare);
            assert!((sum - value).abs() < 1e-3 * size(i), "{name} {:?}: {sum} {value}", t.nodes[i]);
        }
        if model.is_homogeneous() {
            assert!(t.gap() < 1e-4, "{name}: {}", t.gap());
        }
        let mut tried = 0;
        for source in 0..t.nodes.len() {
            let out: Vec<usize> =
                targets(&t).into_iter().filter(|&i| t.graph.effect(i, source) != 0.0).collect();
            if out.is_empty() {
                continue;
            }
            let from = &t.nodes[source];
            let gone = held.run(&|site, x| match &from.what {
                What::Unit(UnitId::Site { site: s, index: pellucid_core::Index::Coordinate(i), .. })
                    if site == *s =>
                {
                    x[from.position][*i as usize] = 0.0;
                }
                // the units alone are left of what the MLP adds; its shift is the error's
                What::Error if site == Site::new(Point::MlpAct, from.layer.unwrap()) => {
                    let layer = from.layer.unwrap();
                    let kept = |i: &usize| neurons.contains(layer, (from.position, *i));
                    let row = &mut x[from.position];
                    (0..row.len()).filter(|i| !kept(i)).for_each(|i| row[i] = 0.0);
                }
                What::Token(_) if site == Site::new(Point::ResidPre, 0) => {
                    x[from.position].iter_mut().for_each(|v| *v = 0.0);
                }
                _ => (),
            });
            if from.what == What::Error && !model.is_homogeneous() {
                continue;
            }
            for i in out {
                let (now, then) = (held.linear(&t.nodes[i], &same), held.linear(&t.nodes[i], &gone));
                let (measured, edge) = (now - then, t.graph.effect(i, source));
                assert!(
                    (measured - edge).abs() <= 1e-3 * edge.abs() + 2e-6 * size(i).max(1e-3),
                    "{name}: {:?} to {:?}: edge {edge}, measured {measured}",
                    from,
                    t.nodes[i]
                );
                tried += 1;
            }
        }
        assert!(tried > 100 && errors > 0, "{name}: {tried} edges");
    }
}

/// Whatever is chosen as nodes, paths from the inputs add up to the same; with no units at all, errors and tokens alone reach
/// the logits.
#[test]
fn the_choice_of_nodes_changes_no_sum() {
    for name in ["llama", "gemma3"] {
        let model = tiny(name);
        let (few, _) = traced(&model, 5);
        let (many, _) = traced(&model, 60);
        for (a, b) in few.nodes.iter().rev().zip(many.nodes.iter().rev()).take(few.graph.kinds().logits) {
            assert_eq!(a, b, "{name}");
        }
        let sum = |t: &Traced| t.graph.row(t.nodes.len() - 1).iter().sum::<f64>();
        assert!((sum(&few) - sum(&many)).abs() < 1e-3, "{name}: {} {}", sum(&few), sum(&many));
        // more nodes leave less to errors
        assert!(many.graph.scores().0 > few.graph.scores().0, "{name}");
        assert_eq!(traced(&model, 0).0.graph.kinds().features, 0);
    }
}

/// The whole effect of a unit, over all paths, against the matrix inverted by hand: paths of every length, summed.
#[test]
fn predictions_are_sums_over_all_paths() {
    let (t, _) = traced(&tiny("llama"), 16);
    let Kinds { features, errors, tokens, .. } = t.graph.kinds();
    let logit = features + errors + tokens;
    fn paths(t: &Traced, from: usize, to: usize, features: usize) -> f64 {
        let through = (0..features).filter(|&m| t.graph.effect(m, from) != 0.0);
        let more: f64 =
            through.map(|m| t.graph.effect(m, from) / t.nodes[m].value * paths(t, m, to, features)).sum();
        t.graph.effect(to, from) + more
    }
    let predicted = t.predicted(0);
    for source in [0, 3, 7, features, features + 4, logit - 1] {
        let want = paths(&t, source, logit, features);
        assert!((predicted[source] - want).abs() < 1e-9 + 1e-6 * want.abs(), "{} {want}", predicted[source]);
    }
}

#[test]
fn a_graph_is_written_and_read_again() {
    let model = tiny("gemma3");
    let (t, _) = traced(&model, 20);
    let kept = t.graph.prune(0.8, 0.98).unwrap();
    let text = |id: u32| format!("t{id}");
    let words = |i: usize| (i == 0).then(|| "a \"quoted\" description".to_owned());
    let (nodes, links) = nodes_and_links(&t, &kept, model.spec().n_layers, &text, &words);
    assert!(!links.is_empty() && nodes.len() < t.nodes.len());
    let metadata = Metadata { slug: "tiny".to_owned(), schema_version: Some(1), ..Metadata::default() };
    let file = GraphFile { metadata, view: View::default(), nodes, links };
    let json = file.write().unwrap();
    let again = GraphFile::read(&json).unwrap();
    assert_eq!((again.nodes.len(), again.links.len()), (file.nodes.len(), file.links.len()));
    for (a, b) in again.links.iter().zip(&file.links) {
        assert_eq!((&a.source, &a.target), (&b.source, &b.target));
        assert!((a.weight - b.weight).abs() <= 1e-14 * b.weight.abs());
    }
    let words = |file: &GraphFile| {
        file.nodes.iter().map(|n| (n.node_id.clone(), n.clerp.clone())).collect::<Vec<_>>()
    };
    assert_eq!(words(&again), words(&file));
    // the fields that circuit-tracer's own reader asks for
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in ["pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"] {
        assert!(value["qParams"].get(field).is_some(), "{field}");
    }
    for node in value["nodes"].as_array().unwrap() {
        assert!(node["jsNodeId"].is_string() && node["layer"].is_string() && node["feature"].is_i64());
    }
    // as other programs write it: nulls, and fields that are not known here
    let theirs = r#"{"metadata":{"slug":"x","scan":"gemma-2-2b","transcoder_list":[],"prompt_tokens":["<bos>","a"],"prompt":"a",
        "node_threshold":0.8,"info":{"creator_name":"someone","generator":{"name":"y"}}},
        "qParams":{"linkType":"both","pinnedIds":["E_5_1"],"clickedId":null,"supernodes":[["g","E_5_1"]],"sg_pos":null},
        "nodes":[{"node_id":"E_5_1","feature":1,"layer":"E","ctx_idx":1,"feature_type":"embedding","jsNodeId":"E_5-1","clerp":null,
        "token_prob":null,"influence":0.4,"activation":null},
        {"node_id":"27_9_1","feature":9,"layer":"27","ctx_idx":1,"feature_type":"logit","token_prob":0.7,"is_target_logit":true,
        "run_idx":0,"reverse_ctx_idx":0,"jsNodeId":"L_9-1","clerp":"Output","influence":null,"activation":null}],
        "links":[{"source":"E_5_1","target":"27_9_1","weight":-1.5}]}"#;
    let theirs = GraphFile::read(theirs).unwrap();
    assert_eq!((theirs.nodes.len(), theirs.links[0].weight), (2, -1.5));
    assert_eq!(theirs.view.supernodes, [["g", "E_5_1"]]);
    for (wrong, why) in [
        ("{}", "metadata"),
        (
            r#"{"metadata":{"slug":"x"},"nodes":[],"links":[{"source":"a","target":"b","weight":1}]}"#,
            "does not have",
        ),
        (
            r#"{"metadata":{"slug":"x"},"nodes":[{"node_id":"a","layer":"0","ctx_idx":0,"feature_type":"logit"},
            {"node_id":"a","layer":"0","ctx_idx":0,"feature_type":"logit"}],"links":[]}"#,
            "two nodes",
        ),
        ("[", "EOF"),
    ] {
        let error = GraphFile::read(wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn nodes_are_zeroed_beside_controls_that_are_no_nodes() {
    let model = tiny("llama");
    let row = Row::new(TEXT.to_vec());
    let run = model.frozen(&row, TEXT.len() - 1).unwrap();
    let outputs =
        Outputs::Contrast { target: 3, foil: Some(9) }.metrics(run.logits(), TEXT.len() - 1).unwrap();
    let neurons = foremost(&model, &row, &outputs, 12).unwrap();
    let t = trace(&run, &neurons, &outputs, &mut || Ok(())).unwrap();
    let nodes: Vec<usize> = (0..6).collect();
    let tried = zeroed(&run, &row, &t, (0, outputs[0].0), &nodes, Seed(1)).unwrap();
    assert_eq!(tried.len(), 6);
    for one in &tried {
        assert!((one.unit.value - t.nodes[one.node].value).abs() < 1e-6);
        let control = one.control.as_ref().unwrap();
        let UnitId::Site { site, index: pellucid_core::Index::Coordinate(i), .. } = control.unit else {
            panic!("{}", control.unit)
        };
        assert!(!neurons.contains(site.layer as usize, (control.position, i as usize)));
    }
    // a last layer's neuron acts on the logits alone: held still or not, all that differs is the final norm's scale
    assert!(zeroed(&run, &row, &t, (0, outputs[0].0), &[12], Seed(1)).is_err());
    assert!(Outputs::Contrast { target: 3, foil: Some(3) }.metrics(run.logits(), 0).is_err());
    assert!(model.frozen(&row, 99).is_err());
}

/// Latents that read some point of an MLP and add arbitrary vectors, as a dictionary's would: at every token of a layer, by made-up rows.
struct Latents {
    at: Point,
    values: Values,
}

impl Units for Latents {
    fn of_layer(&self, run: &Frozen<'_>, layer: usize) -> pellucid_interp::Result<LayerUnits> {
        let (site, d) = (Site::new(self.at, layer), run.model().spec().d_model);
        let (mut units, mut rows, mut adds, mut positions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (position, x) in self.values[&site].iter().enumerate() {
            let row: Vec<f32> = (0..x.len()).map(|i| ((i * 7 + layer + position) as f32).sin()).collect();
            let value = x.iter().zip(&row).map(|(x, r)| x * r).sum::<f32>();
            let unit =
                UnitId::Latent { dictionary: "made-up".to_owned(), index: position as u32, polarity: None };
            units.push(Placed { unit, position, value });
            adds.extend((0..d).map(|i| value * 0.05 * ((i * 3 + position) as f32).cos()));
            rows.extend(row);
            positions.push(position);
        }
        let tensor =
            |v: Vec<f32>, n: usize| Tensor::from_vec(v, (positions.len(), n), &pellucid_model::CPU).unwrap();
        let width = self.values[&site][0].len();
        let reads = run.reads(site, &positions, &tensor(rows, width))?;
        Ok(LayerUnits { units, reads, adds: run.adds(layer, &positions, &tensor(adds, d))? })
    }
}

/// Whatever stands for the MLPs, what reaches a unit sums to its value, and what reaches the logits to theirs: errors hold the rest.
#[test]
fn other_units_than_neurons_add_up_too() {
    for name in ["llama", "gemma3", "qwen3"] {
        let model = tiny(name);
        let row = Row::new(TEXT.to_vec());
        let run = model.frozen(&row, TEXT.len() - 1).unwrap();
        let outputs = Outputs::USUAL.metrics(run.logits(), TEXT.len() - 1).unwrap();
        for at in [Point::MlpIn, Point::MlpAct, Point::MlpOut] {
            let latents = Latents { at, values: Held::new(&model).plain };
            let t = trace(&run, &latents, &outputs, &mut || Ok(())).unwrap();
            assert_eq!(t.graph.kinds().features, model.spec().n_layers * TEXT.len());
            assert!(t.gap() < 1e-4, "{name} {at:?}: {}", t.gap());
        }
        let wrong = Latents { at: Point::ResidPre, values: Held::new(&model).plain };
        assert!(trace(&run, &wrong, &outputs, &mut || Ok(())).unwrap_err().to_string().contains("mlp_in"));
    }
}
