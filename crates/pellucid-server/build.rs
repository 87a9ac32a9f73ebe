//! Makes sure that there is a page to embed: the built one (`cargo xtask ui`), or where it was not built, one that says so.

use std::path::Path;
use std::{env, fs};

const MISSING: &str = "<!doctype html><meta charset=utf-8><title>Pellucid</title><p>The page was not built into this program. \
     In a checkout, <code>cargo xtask ui</code> builds it; then build the program again. The API is at \
     <a href=\"api/openapi.json\">api/openapi.json</a>.";

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let dist = Path::new(&root).join("../../ui/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let out = env::var("OUT_DIR").unwrap_or_default();
    let page = Path::new(&out).join("page");
    let _ = fs::remove_dir_all(&page);
    let copied = copy(&dist, &page).is_ok() && page.join("index.html").is_file();
    if !copied
        && fs::create_dir_all(&page).and_then(|()| fs::write(page.join("index.html"), MISSING)).is_err()
    {
        println!("cargo::error=cannot write {}", page.display());
    }
    println!("cargo::rustc-env=PELLUCID_PAGE={}", page.display());
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}
