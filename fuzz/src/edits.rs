//! Edits as text: the command line's spelling, JSON, and the names in them. What is read is written and read again as the
//! same, and is then fitted to a tiny model or refused.

use pellucid_core::{Edit, Positions, Site, UnitId};
use pellucid_model::{Apply, Model, Row, Storage};
use pellucid_scope::{Concept, EditShape};
use std::sync::OnceLock;

/// Any text.
pub fn edits(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut all = Vec::new();
    all.extend(text.parse::<Edit>());
    all.extend(serde_json::from_str::<Edit>(text));
    all.extend(serde_json::from_str::<Vec<Edit>>(text).into_iter().flatten());
    all.iter().for_each(fits);
    if let Ok(site) = text.parse::<Site>() {
        assert_eq!(site.to_string().parse(), Ok(site));
    }
    if let Ok(unit) = text.parse::<UnitId>() {
        assert_eq!(unit.to_string().parse(), Ok(unit));
    }
    let _ = (text.parse::<Positions>(), Concept::parse(text));
}

fn model() -> &'static Model {
    static MADE: OnceLock<Model> = OnceLock::new();
    MADE.get_or_init(|| {
        Model::open(&super::fixtures().join("llama"), Storage::F32, &mut |_| ()).expect("a fixture")
    })
}

fn fits(edit: &Edit) {
    survives(edit);
    if let Ok(apply) = Apply::new(model(), std::slice::from_ref(edit)) {
        // a patch has been filled in
        apply.edits().for_each(survives);
        let _ = apply.check_prompt(&Row::new(vec![5, 6, 7]));
    }
}

fn survives(edit: &Edit) {
    let written = serde_json::to_string(edit).expect("an edit can be written");
    let again: Edit = serde_json::from_str(&written).unwrap_or_else(|why| panic!("{written}: {why}"));
    assert_eq!(again, *edit, "{written}");
    serde_json::from_str::<EditShape>(&written).unwrap_or_else(|why| panic!("{written}: {why}"));
}
