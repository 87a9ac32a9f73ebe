//! `pellucid info`: what a model file holds.

use crate::json::Token;
use crate::models::{Loaded, StorageArgs, load};
use crate::show::{Out, Table, quoted};
use anyhow::Result;
use clap::Args;
use pellucid::model::Device;
use pellucid::model::load::{Checkpoint, Format};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A built-in name, a path or a hub id.
    #[arg(required_unless_present = "device")]
    model: Option<String>,
    /// What this machine computes with, instead of a model.
    #[arg(long, conflicts_with = "model")]
    device: bool,
    #[command(flatten)]
    storage: StorageArgs,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    format: &'static str,
    tensors: BTreeMap<String, usize>,
    parameters: u64,
    bytes_f32: u64,
    bytes_bf16: u64,
    layers: usize,
    d_model: usize,
    d_mlp: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocabulary: usize,
    context: usize,
    /// The tokens that each layer's attention sees; none sees all.
    windows: Vec<Option<usize>>,
    chat_template: bool,
    bos: Option<Token>,
    eos: Vec<Token>,
}

/// What the machine computes with, on the wire.
#[derive(Serialize)]
struct DeviceReport<'a> {
    architecture: &'static str,
    features: &'a [&'static str],
    threads: usize,
    exact: &'static str,
    fast: &'static str,
    blocks: &'static str,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let Some(model) = &self.model else { return device(out) };
        let loaded = load(model, self.storage)?;
        let report = report(&loaded)?;
        if !out.json("info", Some(&loaded), &report)? {
            show(&loaded, &report, out)?;
        }
        Ok(())
    }
}

fn device(out: &mut Out) -> Result<()> {
    let device = Device::here();
    let report = DeviceReport {
        architecture: device.architecture,
        features: &device.features,
        threads: device.threads,
        exact: device.exact,
        fast: device.fast,
        blocks: device.blocks,
    };
    if out.json("device", None, &report)? {
        return Ok(());
    }
    let mut table = Table::new(&["", ""]);
    let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    line("processor", device.architecture.to_owned());
    line("features in use", device.features.join(", "));
    line("threads", device.threads.to_string());
    line("--precision exact", device.exact.to_owned());
    line("--precision fast", device.fast.to_owned());
    line("one token on blocks", device.blocks.to_owned());
    out.table(table)
}

fn report(loaded: &Loaded) -> Result<Report> {
    let model = &loaded.model;
    let (spec, tokenizer) = (model.spec(), model.tokenizer());
    let mut tensors = BTreeMap::new();
    for info in Checkpoint::open(model.path())?.tensors() {
        *tensors.entry(info.dtype.name().to_owned()).or_insert(0) += 1;
    }
    // control tokens have no text of their own; their names say more
    let named = |id: u32| Token { id, text: tokenizer.piece(id).unwrap_or_default().to_owned() };
    Ok(Report {
        format: match model.format() {
            Format::Gguf => "gguf",
            Format::Safetensors => "safetensors",
        },
        tensors,
        parameters: model.parameters(),
        bytes_f32: model.parameters() * 4,
        bytes_bf16: model.parameters() * 2,
        layers: spec.n_layers,
        d_model: spec.d_model,
        d_mlp: spec.d_mlp,
        heads: spec.n_heads,
        kv_heads: spec.n_kv_heads,
        head_dim: spec.head_dim,
        vocabulary: spec.vocabulary,
        context: spec.context,
        windows: spec.attention.iter().map(|a| a.window).collect(),
        chat_template: tokenizer.chat_template().is_some(),
        bos: tokenizer.bos().map(named),
        eos: tokenizer.eos().iter().copied().map(named).collect(),
    })
}

fn show(loaded: &Loaded, r: &Report, out: &mut Out) -> Result<()> {
    let model = &loaded.model;
    let mut table = Table::new(&["", ""]);
    let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    let tokens = |all: &[Token]| match all {
        [] => "none".to_owned(),
        all => all.iter().map(|t| format!("{} ({})", quoted(&t.text), t.id)).collect::<Vec<_>>().join(", "),
    };
    let types: Vec<String> = r.tensors.iter().map(|(name, n)| format!("{n} × {name}")).collect();
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let windows = r.windows.iter().flatten().count();
    line("model", loaded.name.clone());
    line("path", model.path().display().to_string());
    line("architecture", model.spec().architecture.clone());
    line("parameters", format!("{:.1} million", r.parameters as f64 / 1e6));
    line("layers", r.layers.to_string());
    line("stream, neurons per layer", format!("{}, {}", r.d_model, r.d_mlp));
    line("heads × width", format!("{} × {} ({} for keys and values)", r.heads, r.head_dim, r.kv_heads));
    line("vocabulary", r.vocabulary.to_string());
    line("context", format!("{} tokens", r.context));
    if let (true, Some(window)) = (windows > 0, r.windows.iter().flatten().next()) {
        line("windowed layers", format!("{windows} of {}, {window} tokens", r.layers));
    }
    line("file", format!("{}: {}", r.format, types.join(", ")));
    line("weights in memory", format!("{} as f32, {} as bf16 or f16", mib(r.bytes_f32), mib(r.bytes_bf16)));
    line("chat template", if r.chat_template { "yes" } else { "no" }.to_owned());
    line(
        "begins with",
        r.bos.as_ref().map_or_else(|| "none".to_owned(), |t| tokens(std::slice::from_ref(t))),
    );
    line("ends with", tokens(&r.eos));
    line("sha256", model.sha256().to_owned());
    line("tokenizer hash", model.tokenizer().hash());
    out.table(table)
}
