//! Edits from the command line: files of them, and the short form.

use crate::atlas::concept;
use crate::cmd::unit;
use crate::models::{Loaded, in_file, read};
use crate::show::tame;
use anyhow::{Context, Result};
use pellucid::core::Edit;
use pellucid::model::{Apply, Row, Tap};
use std::path::Path;

/// Reads `--edit` arguments: a path that exists (or ends in `.json`) is a JSON list, `concept(…)` is left for
/// [`concepts`], anything else is the short form.
pub(crate) fn read_all(arguments: &[String]) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for argument in arguments.iter().filter(|a| !concept::is_concept(a)) {
        let path = Path::new(argument);
        if path.is_file() || argument.ends_with(".json") {
            let list: Vec<Edit> = serde_json::from_str(&read(path)?).with_context(|| in_file(path))?;
            edits.extend(list);
        } else {
            edits.push(argument.parse()?);
        }
    }
    Ok(edits)
}

/// The edits of those `--edit` arguments that name a concept; which units were taken is said on stderr.
pub(crate) fn concepts(arguments: &[String], loaded: &Loaded, atlas: Option<&Path>) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for argument in arguments.iter().filter(|a| concept::is_concept(a)) {
        let (list, hits) = concept::resolve(argument, loaded, atlas)?;
        eprintln!("{argument}: {} units; the nearest:", hits.len());
        for hit in hits.iter().take(5) {
            let score = hit.score.map_or("–".to_owned(), |s| format!("{s:.2}"));
            eprintln!("  {:<18} score {score}  {}", unit(hit), tame(&hit.text).replace('\n', "⏎"));
        }
        edits.extend(list);
    }
    Ok(edits)
}

/// Checks edits against a model and a prompt.
pub(crate) fn ready(loaded: &Loaded, row: &Row, edits: &[Edit]) -> Result<Apply> {
    let apply = Apply::new(&loaded.model, edits)?;
    apply.check_prompt(row)?;
    Ok(apply)
}

/// A fresh tap for one run: the edits, or nobody.
pub(crate) fn tap(apply: Option<&Apply>) -> Box<dyn Tap> {
    match apply {
        Some(apply) => Box::new(apply.clone()),
        None => Box::new(()),
    }
}

/// Writes the edits as they were applied, so that anybody can apply them again.
pub(crate) fn save(apply: &Apply, file: &Path) -> Result<()> {
    let list: Vec<&Edit> = apply.edits().collect();
    let text = serde_json::to_string_pretty(&list)?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
