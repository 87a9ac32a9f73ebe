//! House rules that a compiler does not know, as ordinary tests: the import table, names, unsafe code, what a repository
//! must not hold. A message names the file and what to do, so that nobody needs to look here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::paths;

/// What each crate may import of the others, floor by floor (ARCHITECTURE.md has the table with its reasons).
const IMPORTS: [(&str, &[&str]); 12] = [
    ("pellucid-core", &[]),
    ("pellucid-kernels", &[]),
    ("pellucid-model", &["pellucid-core", "pellucid-kernels"]),
    ("pellucid-store", &["pellucid-core", "pellucid-kernels"]),
    ("pellucid-dict", &["pellucid-core", "pellucid-kernels"]),
    ("pellucid-train", &["pellucid-core", "pellucid-kernels"]),
    ("pellucid-interp", &["pellucid-core", "pellucid-model", "pellucid-store", "pellucid-dict"]),
    ("pellucid-describe", &["pellucid-core", "pellucid-store"]),
    (
        "pellucid-scope",
        &[
            "pellucid-core",
            "pellucid-model",
            "pellucid-store",
            "pellucid-dict",
            "pellucid-interp",
            "pellucid-describe",
        ],
    ),
    (
        "pellucid-server",
        &[
            "pellucid-core",
            "pellucid-model",
            "pellucid-store",
            "pellucid-interp",
            "pellucid-describe",
            "pellucid-scope",
        ],
    ),
    (
        "pellucid-py",
        &[
            "pellucid-core",
            "pellucid-model",
            "pellucid-store",
            "pellucid-interp",
            "pellucid-describe",
            "pellucid-scope",
        ],
    ),
    (
        "pellucid",
        &[
            "pellucid-core",
            "pellucid-model",
            "pellucid-store",
            "pellucid-dict",
            "pellucid-train",
            "pellucid-interp",
            "pellucid-describe",
            "pellucid-scope",
            "pellucid-server",
        ],
    ),
];

/// Outside crates, by the start of their names, that a crate must never know (its tests may).
const IGNORANCE: [(&str, &[&str]); 9] = [
    ("pellucid-core", &["candle", "tokio", "serde_json"]),
    ("pellucid-kernels", &["candle", "tokio", "axum"]),
    ("pellucid-model", &["tokio", "axum"]),
    ("pellucid-store", &["candle", "tokio", "axum"]),
    ("pellucid-dict", &["candle", "tokio", "axum", "tokenizers"]),
    ("pellucid-train", &["candle", "tokio", "axum"]),
    ("pellucid-interp", &["tokio", "axum", "async-openai", "reqwest"]),
    ("pellucid-describe", &["candle", "axum"]),
    ("pellucid-scope", &["tokio", "axum"]),
];

/// The files with `unsafe` code.
const UNSAFE: [&str; 12] = [
    "crates/pellucid-kernels/src/integers.rs",
    "crates/pellucid-kernels/src/kernel.rs",
    "crates/pellucid-kernels/src/matrix.rs",
    "crates/pellucid-kernels/src/pages.rs",
    "crates/pellucid-kernels/src/patches.rs",
    "crates/pellucid-kernels/src/sheet.rs",
    "crates/pellucid-kernels/src/simd.rs",
    "crates/pellucid-kernels/src/tally.rs",
    "crates/pellucid-kernels/src/team.rs",
    "crates/pellucid-kernels/src/tiles.rs",
    "crates/pellucid-model/src/heap.rs",
    "crates/pellucid-model/src/load/map.rs",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "helpers", "helper", "common", "manager", "base"];

/// Source files may be this long.
const LINES: usize = 700;

/// Every file that is, or could be, in the repository: relative path with `/`, and its text where it is text.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![paths::root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = [".git", "target", "node_modules", "dist", "artefacts", "__pycache__", ".venv"]
                .contains(&name.as_str());
            match path.is_dir() {
                _ if skipped => {}
                true => folders.push(path),
                false => found.extend(text_of(path)),
            }
        }
    }
    found.sort();
    found
}

/// Another test may be writing beside us, so a file that is gone is no error.
fn text_of(path: PathBuf) -> Option<(String, String)> {
    let text = String::from_utf8(fs::read(&path).ok()?).unwrap_or_default();
    let relative = path.strip_prefix(paths::root()).unwrap();
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Some((parts.join("/"), text))
}

fn sources(kind: &str) -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|end| end == kind))
        .collect()
}

/// The text without line comments, which may name what code must not.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether a word stands in a text by itself, not as a part of a longer name (of code or of a crate).
fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "_-".contains(c);
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(inside) && !text[at + word.len()..].starts_with(inside))
}

/// Fails with every fault at once: mending one and running again is slow.
fn none(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}\n  {}\n", faults.join("\n  "));
}

/// The workspace's packages: name and dependencies as (name, for tests only).
fn packages() -> Vec<(String, Vec<(String, bool)>)> {
    let facts = paths::metadata().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let dependencies = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().map(|one| (name(one), one["kind"] == "dev")).collect()
    };
    facts["packages"].as_array().unwrap().iter().map(|p| (name(p), dependencies(p))).collect()
}

#[test]
fn crates_import_only_what_the_table_allows() {
    let mut faults = Vec::new();
    for (package, dependencies) in packages() {
        if package == "xtask" {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == package) else {
            faults.push(format!("{package} is not in the table; give it a floor"));
            continue;
        };
        let own = dependencies.iter().filter(|(name, _)| name == "xtask" || name.starts_with("pellucid"));
        faults.extend(
            own.filter(|(name, _)| !allowed.contains(&name.as_str()))
                .map(|(name, _)| format!("{package} imports {name}")),
        );
    }
    none("A crate imports one that it may not:", &faults);
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    let packages = packages();
    let mut faults = Vec::new();
    for (package, forbidden) in IGNORANCE {
        let Some((_, dependencies)) = packages.iter().find(|(name, _)| name == package) else { continue };
        for (name, _) in dependencies.iter().filter(|(_, for_tests)| !for_tests) {
            if forbidden.iter().any(|start| name.starts_with(start)) {
                faults.push(format!("{package} depends on {name}"));
            }
        }
    }
    none("A crate knows what it must not:", &faults);
}

#[test]
fn a_crate_is_named_like_its_folder() {
    let folders: BTreeSet<String> = crates().into_iter().collect();
    let named: BTreeSet<String> =
        packages().into_iter().map(|(name, _)| name).filter(|name| name != "xtask").collect();
    assert_eq!(folders, named);
}

fn crates() -> Vec<String> {
    let entries = fs::read_dir(paths::root().join("crates")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("Cargo.toml").exists());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = sources("rs").into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path);
    none("These files do not open with `//!`:", &silent.collect::<Vec<_>>());
}

#[test]
fn no_file_has_an_empty_name() {
    let mut faults = Vec::new();
    for (path, text) in sources("rs") {
        let plain = path.trim_end_matches(".rs");
        let code = code(&text);
        for name in EMPTY_NAMES {
            if plain.split('/').any(|part| part == name) || has_word(&code, &format!("mod {name}")) {
                faults.push(format!("{path}: a module named `{name}`"));
            }
        }
    }
    none("Say what is inside:", &faults);
}

#[test]
fn files_are_not_too_long() {
    let mut faults = Vec::new();
    for (path, text) in sources("rs").into_iter().chain(sources("py")) {
        let lines = text.lines().count();
        if lines > LINES {
            faults.push(format!("{path}: {lines} lines; split it"));
        }
    }
    none(&format!("More than {LINES} lines:"), &faults);
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    let word = concat!("un", "safe");
    let with =
        sources("rs").into_iter().filter(|(_, text)| has_word(&code(text), word)).map(|(path, _)| path);
    let strangers = with.filter(|path| !UNSAFE.contains(&path.as_str()));
    none("Unsafe code outside the files listed in tidy.rs:", &strangers.collect::<Vec<_>>());
}

#[test]
fn fused_operations_without_gradients_are_not_used() {
    // candle's neural network crate: its norms, softmax and rope give wrong gradients instead of none.
    let spellings = [concat!("candle", "_nn"), concat!("candle", "-nn")];
    let mut faults: Vec<String> = sources("rs")
        .into_iter()
        .filter(|(_, text)| has_word(&code(text), spellings[0]))
        .map(|(path, _)| path)
        .collect();
    for (package, dependencies) in packages() {
        if dependencies.iter().any(|(name, _)| spellings.contains(&name.as_str())) {
            faults.push(package);
        }
    }
    none("Use pellucid-model's ops instead of candle's neural network crate:", &faults);
}

#[test]
fn nothing_belongs_to_one_machine() {
    let mut faults = Vec::new();
    for (path, text) in files() {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| names_a_machine(line)) {
            let start: String = line.trim().chars().take(100).collect();
            faults.push(format!("{path}:{}: {start}", at + 1));
        }
    }
    none("A path or a host that only one machine has:", &faults);
}

/// Absolute paths of a person or a workplace, and package mirrors by address.
fn names_a_machine(line: &str) -> bool {
    let rooms = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/ho", "me/")];
    let hosts = ["registry.", "files.", "static.", "index.", "deb."];
    // `a/b` inside a longer path or address is no absolute path.
    let absolute = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~}/*".contains(c));
    rooms.iter().any(|room| line.match_indices(room).any(|(at, _)| absolute(at)))
        || line.split("://").skip(1).any(|address| hosts.iter().any(|host| address.starts_with(host)))
}

#[test]
fn machine_names_are_told_from_others() {
    assert!(names_a_machine(concat!("see /ro", "ot/x")));
    assert!(names_a_machine(concat!("\"/ho", "me/me/x\"")));
    assert!(names_a_machine(concat!("https:/", "/registry.example/x")));
    assert!(!names_a_machine(concat!("a/ho", "me/x and $HOME/wo", "rk/x")));
    assert!(!names_a_machine("https://github.com/rust-lang/crates.io-index"));
}

#[test]
fn the_map_shows_every_crate() {
    let map = fs::read_to_string(paths::root().join("ARCHITECTURE.md")).unwrap_or_default();
    let missing: Vec<String> =
        crates().into_iter().filter(|name| !has_word(&map, &format!("crates/{name}"))).collect();
    none("ARCHITECTURE.md does not mention, as `crates/NAME`:", &missing);
}

#[test]
fn the_readme_shows_both_commands() {
    let readme = fs::read_to_string(paths::root().join("README.md")).unwrap_or_default();
    let commands = ["cargo xtask demo", "cargo xtask test"];
    let missing = commands.into_iter().filter(|command| !readme.contains(command)).map(str::to_owned);
    none("README.md does not show:", &missing.collect::<Vec<_>>());
}

#[test]
fn words_are_whole() {
    assert!(has_word("mod norm;", "mod norm"));
    assert!(!has_word("mod normal;", "mod norm"));
    assert!(!has_word("#![deny(code_of)]", "code"));
    assert!(has_word("crates/pellucid-core (words)", "crates/pellucid-core"));
    assert!(!has_word("crates/pellucid-core (words)", "crates/pellucid"));
}
