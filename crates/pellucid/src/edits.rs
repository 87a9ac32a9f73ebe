//! Edits from the command line: files of them, and the short form.

use crate::atlas::{meaning, shelf};
use crate::models::{Loaded, in_file, read};
use crate::show::tame;
use anyhow::{Context, Result};
use pellucid::core::{Edit, Positions, Site};
use pellucid::model::{Apply, Row};
pub(crate) use pellucid::scope::tap;
use pellucid::scope::{Change, Concept, Steering, What, steer};
use std::path::Path;

/// Reads `--edit` arguments (`site_of` says where a dictionary stands): a path that exists (or ends in `.json`) is a JSON list, `concept(…)` is left for
/// [`concepts`], anything else is the short form.
pub(crate) fn read_all(arguments: &[String], site_of: &dyn Fn(&str) -> Option<Site>) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for argument in arguments.iter().filter(|a| !Concept::is_one(a)) {
        let path = Path::new(argument);
        if path.is_file() || argument.ends_with(".json") {
            let list: Vec<Edit> = serde_json::from_str(&read(path)?).with_context(|| in_file(path))?;
            edits.extend(list);
        } else {
            edits.push(Edit::read(argument, site_of)?);
        }
    }
    Ok(edits)
}

/// Where the dictionary of this name stands.
pub(crate) fn site_of(loaded: &Loaded, name: &str) -> Option<Site> {
    loaded.model.dictionary(name).ok().map(|dictionary| dictionary.site)
}

/// The edits of those `--edit` arguments that name a concept; which units were taken is said on stderr.
pub(crate) fn concepts(arguments: &[String], loaded: &Loaded, atlas: Option<&Path>) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    for argument in arguments.iter().filter(|a| Concept::is_one(a)) {
        let Concept { text, k, strength, score } = Concept::parse(argument)?;
        let what = What::Concept { text, k, score: Some(score), dictionary: None };
        let change = Change::Strength(strength);
        let steering = Steering { name: argument.clone(), what, change, positions: Positions::All };
        let opened = shelf(loaded, atlas).need(loaded)?;
        let steered = steer(loaded, Some(&opened), &meaning()?, &steering)?;
        eprintln!("{argument}: {} units; the nearest:", steered.units.len());
        for unit in steered.units.iter().take(5) {
            let score = unit.score.map_or("–".to_owned(), |s| format!("{s:.2}"));
            let description = tame(&unit.description).replace('\n', "⏎");
            eprintln!("  {:<18} score {score}  {description}", unit.unit);
        }
        edits.extend(steered.edits);
    }
    Ok(edits)
}

/// Checks edits against a model and a prompt.
pub(crate) fn ready(loaded: &Loaded, row: &Row, edits: &[Edit]) -> Result<Apply> {
    let apply = Apply::new(&loaded.model, edits)?;
    apply.check_prompt(row)?;
    Ok(apply)
}

/// Writes the edits as they were applied, so that anybody can apply them again.
pub(crate) fn save(apply: &Apply, file: &Path) -> Result<()> {
    let list: Vec<&Edit> = apply.edits().collect();
    let text = serde_json::to_string_pretty(&list)?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
