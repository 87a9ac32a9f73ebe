//! `pellucid docs parity`: every architecture against `transformers`, point by point, and both real models
//! against an independent forward pass (`fixtures/README.md` says how the references were made).

use super::docs::{REAL, tiny};
use crate::models::{Dtype, Loaded, load};
use crate::show::{Out, bar};
use anyhow::{Context, Result, ensure};
use pellucid::core::{Point, Site};
use pellucid::model::parity::{Dump, Gap, relative_error};
use pellucid::model::{Batch, CPU, Plan, Record, Row, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What the page promises.
const TOLERANCE: f32 = 1e-4;

/// Largest errors of one model by column: a point, or `gradients`.
#[derive(Serialize)]
struct Compared {
    model: String,
    errors: BTreeMap<String, f32>,
    worst: f32,
    worst_at: String,
}

#[derive(Serialize)]
struct Report {
    tiny: Vec<Compared>,
    real: Vec<Compared>,
}

pub(crate) fn run(fixtures: &Path, real_only: bool, out: &mut Out) -> Result<()> {
    let mut report = Report { tiny: Vec::new(), real: Vec::new() };
    let models = if real_only { Vec::new() } else { tiny(fixtures)? };
    let progress = bar("comparing", models.len() + REAL.len());
    for (name, path) in models {
        let like = match name.as_str() {
            "sharded" => "llama",
            other => other.strip_suffix("-gguf").unwrap_or(other),
        };
        let loaded = load(&path.display().to_string(), Dtype::F32)?;
        let dump = Dump::read(&fixtures.join("tiny").join(like))?;
        let gaps = dump.compare(&loaded.model).with_context(|| name.clone())?;
        report.tiny.push(compared(name, &gaps));
        progress.inc(1);
    }
    for name in REAL {
        let loaded = load(name, Dtype::F32)?;
        report.real.push(compared(name.to_owned(), &real(&loaded, &fixtures.join("real"))?));
        progress.inc(1);
    }
    progress.finish_and_clear();
    if out.json("docs parity", None, &report)? {
        return Ok(());
    }
    out.raw(&page(&report)?)
}

fn compared(model: String, gaps: &[Gap]) -> Compared {
    let mut errors: BTreeMap<String, f32> = BTreeMap::new();
    let (mut worst, mut worst_at) = (0.0, String::new());
    for gap in gaps {
        let column =
            if gap.key.contains('/') { "gradients" } else { gap.key.split('.').next().unwrap_or_default() };
        let most = errors.entry(column.to_owned()).or_insert(0.0);
        *most = most.max(gap.error);
        if gap.error >= worst {
            (worst, worst_at) = (gap.error, gap.key.clone());
        }
    }
    Compared { model, errors, worst, worst_at }
}

/// The parts of a real reference's description that are needed here.
#[derive(Deserialize)]
struct Reference {
    tokens: Vec<u32>,
    sha256: String,
}

/// Compares a real model at the last position with `real/NAME.safetensors`.
fn real(loaded: &Loaded, folder: &Path) -> Result<Vec<Gap>> {
    let file = |end: &str| folder.join(format!("{}.{end}", loaded.name));
    let cannot = |end: &str| format!("cannot read {}", file(end).display());
    let about = std::fs::read(file("json")).with_context(|| cannot("json"))?;
    let about: Reference = serde_json::from_slice(&about).with_context(|| cannot("json"))?;
    let found = loaded.model.sha256();
    ensure!(
        found == about.sha256,
        "the reference was made with weights {} and these are {found}",
        about.sha256
    );
    let bytes = std::fs::read(file("safetensors")).with_context(|| cannot("safetensors"))?;
    let reference = SafeTensors::deserialize(&bytes).with_context(|| cannot("safetensors"))?;
    let keys: Vec<&str> = reference.names().into_iter().filter(|name| *name != "tokens").collect();
    let sites: Vec<Site> = keys.iter().map(|key| key.parse()).collect::<Result<_, _>>()?;
    let mut record = Record::new(sites.iter().copied());
    loaded.model.run(&Batch::one(Row::new(about.tokens)), &Plan::LAST, None, &mut record)?;
    let mut gaps = Vec::new();
    for (key, site) in keys.into_iter().zip(sites) {
        let view = reference.tensor(key)?;
        let expected =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        gaps.push(Gap {
            key: key.to_owned(),
            error: last_error(&record.value(site)?, view.shape(), expected)?,
        });
    }
    gaps.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(gaps)
}

/// The error of the last position's values.
fn last_error(found: &Tensor, shape: &[usize], expected: Vec<f32>) -> Result<f32> {
    let last = || -> Result<(Tensor, Tensor), pellucid::model::Error> {
        let last = found.dim(0)? - 1;
        Ok((found.get(last)?.contiguous()?, Tensor::from_vec(expected, shape, &CPU)?))
    };
    let (last, expected) = last()?;
    Ok(relative_error(&last, &expected)?)
}

fn page(report: &Report) -> Result<String> {
    let mut page = String::from(
        "# Parity\n\nWritten by `cargo xtask docs parity`. The error of a tensor is its largest absolute difference \
         from the reference, over the reference's largest absolute value, so a wrong scale shows; a column holds the \
         largest over all layers.\n",
    );
    if !report.tiny.is_empty() {
        page.push_str(
            "\n## Every architecture against transformers\n\nTiny random checkpoints, f32; `-gguf` is the same \
             weights as a GGUF file. Gradients are those of the embeddings and of five points in each layer, for two \
             metrics.\n\n",
        );
        table(&report.tiny, &mut page)?;
        verdict(&report.tiny, &mut page)?;
    }
    page.push_str(
        "\n## Real models against an independent forward pass\n\nThe published GGUF files, dequantised; values at the \
         last token of a short prompt.\n\n",
    );
    table(&report.real, &mut page)?;
    verdict(&report.real, &mut page)?;
    Ok(page)
}

fn table(rows: &[Compared], page: &mut String) -> Result<()> {
    let has = |name: &str| rows.iter().any(|r| r.errors.contains_key(name));
    let names = Point::ALL.iter().map(|p| p.name()).chain(["gradients"]);
    let columns: Vec<&str> = names.filter(|name| has(name)).collect();
    writeln!(page, "| model | {} | worst at |", columns.join(" | "))?;
    writeln!(page, "| --- |{} --- |", " --: |".repeat(columns.len()))?;
    for row in rows {
        let cell = |name: &&str| match row.errors.get(*name) {
            None => "–".to_owned(),
            Some(0.0) => "0".to_owned(),
            Some(e) => format!("{e:.0e}"),
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        writeln!(page, "| {} | {} | {} {:.1e} |", row.model, cells.join(" | "), row.worst_at, row.worst)?;
    }
    Ok(())
}

fn verdict(rows: &[Compared], page: &mut String) -> Result<()> {
    let over: Vec<&str> = rows.iter().filter(|r| r.worst > TOLERANCE).map(|r| r.model.as_str()).collect();
    let worst = rows.iter().map(|r| r.worst).fold(0.0, f32::max);
    match over.as_slice() {
        [] => writeln!(page, "\nLargest error: {worst:.1e}. All are at most {TOLERANCE:.0e}.")?,
        over => {
            writeln!(page, "\nLargest error: {worst:.1e}. **Above {TOLERANCE:.0e}: {}.**", over.join(", "))?
        }
    }
    Ok(())
}
