//! `pellucid points`: what can be looked at in a model.

use crate::models::{StorageArgs, load};
use crate::show::{BOLD, DIM, Out, Table};
use anyhow::Result;
use clap::Args;
use pellucid::core::{Point, Shape, Site, hugging_face_name, transformer_lens_name};
use pellucid::model::Spec;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Arguments {
    /// A built-in name, a path or a hub id.
    model: String,
    #[command(flatten)]
    storage: StorageArgs,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    layers: usize,
    points: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    point: &'static str,
    per_layer: bool,
    /// Axes with their sizes; none where the model lacks the point.
    shape: Option<String>,
    missing: Option<&'static str>,
    about: &'static str,
    /// Names at layer 0.
    transformer_lens: Option<String>,
    hugging_face: Option<String>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let loaded = load(&self.model, self.storage)?;
        let spec = loaded.model.spec();
        let report = Report {
            layers: spec.n_layers,
            points: Point::ALL.iter().map(|&point| entry(spec, point)).collect(),
        };
        if !out.json("points", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }
}

fn entry(spec: &Spec, point: Point) -> Entry {
    let site = Site::new(point, 0);
    let missing = spec.lacks(point);
    let here = missing.is_none();
    Entry {
        point: point.name(),
        per_layer: point.per_layer(),
        shape: here.then(|| shape(spec, point)),
        missing,
        about: point.doc(),
        transformer_lens: transformer_lens_name(site).filter(|_| here),
        hugging_face: hugging_face_name(site, spec.hf_family).filter(|_| here),
    }
}

fn shape(spec: &Spec, point: Point) -> String {
    match point.shape() {
        Shape::Stream => format!("(tokens, {})", spec.d_model),
        Shape::Heads => format!("(tokens, {}, {})", spec.n_heads, spec.head_dim),
        Shape::KvHeads => format!("(tokens, {}, {})", spec.n_kv_heads, spec.head_dim),
        Shape::Attention => format!("({}, queries, keys)", spec.n_heads),
        Shape::Mlp => format!("(tokens, {})", spec.d_mlp),
        Shape::Vocabulary => format!("(tokens, {})", spec.vocabulary),
    }
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    let last = report.layers.saturating_sub(1);
    out.line(format!(
        "{BOLD}{} layers{BOLD:#}; a site is written mlp_act.L with L from 0 to {last}\n",
        report.layers
    ))?;
    let layered = |name: &Option<String>| {
        let name = name.as_deref().unwrap_or("–");
        name.replacen(".0.", ".L.", 1)
    };
    let mut table = Table::new(&["point", "shape", "TransformerLens", "Hugging Face", "what stands there"]);
    for p in report.points.iter().filter(|p| p.missing.is_none()) {
        let name = if p.per_layer { format!("{}.L", p.point) } else { p.point.to_owned() };
        let shape = p.shape.clone().unwrap_or_default();
        table.row(vec![
            name,
            shape,
            layered(&p.transformer_lens),
            layered(&p.hugging_face),
            p.about.to_owned(),
        ]);
    }
    out.table(table)?;
    for p in &report.points {
        if let Some(why) = p.missing {
            out.line(format!("{DIM}not in this model: {} ({why}){DIM:#}", p.point))?;
        }
    }
    Ok(())
}
