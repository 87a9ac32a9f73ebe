//! Every committed input of the fuzz targets (`fuzz/corpus`), and every one that once broke something (`fuzz/regressions`),
//! through the targets' own functions. `cargo xtask fuzz` looks for more.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn inputs_that_broke_something_or_might_are_answered_or_refused() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut count = 0;
    for (name, target) in targets::ALL {
        for folder in ["corpus", "regressions"].map(|kind| fuzz.join(kind).join(name)) {
            // a target may have broken nothing yet
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                println!("{}", path.display()); // shown where it fails
                target(&fs::read(&path).unwrap());
                count += 1;
            }
        }
    }
    assert!(count > 40, "only {count} inputs were found");
}
