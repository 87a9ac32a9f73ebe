//! The rules of deny.toml on licences, sources and banned crates, as ordinary tests, so that they are checked where cargo-deny is not
//! installed. Its list of vulnerabilities (advisories) is the one thing that only cargo-deny looks at: it lies on a host of
//! its own.
//!
//! Sources and names are those of Cargo.lock, so of every platform; licences are those of what this platform's build takes.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::paths;
use crate::shell::{cargo, program, read};

fn text(file: &str) -> String {
    fs::read_to_string(paths::root().join(file)).unwrap()
}

/// The words in quotes of a list in deny.toml: `key = [ "a", "b" ]` in a section; comments may hold anything.
fn list(policy: &str, section: &str, key: &str) -> Vec<String> {
    let plain: Vec<&str> = policy.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let plain = plain.join("\n");
    let section = plain.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
    let inside = section.split(&format!("\n{key} = [")).nth(1).unwrap().split("\n]").next().unwrap();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The crates that deny.toml bans: `{ crate = "name", … }`.
fn banned(policy: &str) -> Vec<String> {
    let after = policy.split("{ crate = \"").skip(1);
    after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// Names and sources of Cargo.lock; our own crates have no source.
fn locked(lock: &str) -> Vec<(String, Option<String>)> {
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]\n").skip(1);
    packages.map(|package| (value(package, "name").unwrap(), value(package, "source"))).collect()
}

/// Whether a licence expression can be met with the allowed ones. `/` is the old way to write OR.
fn may(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let fine = either(&words, &mut at, allowed);
    fine && at == words.len()
}

/// `A OR B`, which binds less than AND. Both sides are read even where one would do.
fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut fine = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fine |= both(words, at, allowed);
    }
    fine
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut fine = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fine &= one(words, at, allowed);
    }
    fine
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let fine = either(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return fine && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

/// All packages of this platform's build, with what they say of themselves.
fn built() -> Vec<Value> {
    let said = read(program("rustc".as_ref()).arg("-vV")).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--format-version", "1", "--all-features", "--offline", "--locked"];
    let mut command = cargo(&arguments);
    let facts: Value =
        serde_json::from_str(&read(command.args(["--filter-platform", host])).unwrap()).unwrap();
    facts["packages"].as_array().unwrap().clone()
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() {
    let allowed = list(&text("deny.toml"), "licenses", "allow");
    assert!(allowed.iter().any(|name| name == "MIT"), "{allowed:?}");
    let packages = built();
    assert!(packages.len() > 200, "cargo metadata shows {} packages", packages.len());
    let mut faults = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none, or only a file");
        if !may(licence, &allowed) {
            faults.push(format!("{} {}: {licence}", package["name"], package["version"]));
        }
    }
    assert!(faults.is_empty(), "licences that deny.toml does not allow:\n  {}", faults.join("\n  "));
}

#[test]
fn every_crate_comes_from_the_registry_and_none_is_banned() {
    let policy = text("deny.toml");
    let (sources, banned) = (list(&policy, "sources", "allow-registry"), banned(&policy));
    assert!(sources.len() == 1 && banned.len() >= 5, "{sources:?} {banned:?}");
    let locked = locked(&text("Cargo.lock"));
    assert!(locked.len() > 200, "Cargo.lock shows {} packages", locked.len());
    let ours: BTreeSet<String> = paths::metadata().unwrap()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["name"].as_str().unwrap().to_owned())
        .collect();
    let mut faults = Vec::new();
    for (name, source) in locked {
        let from = source.as_deref().map(|s| s.trim_start_matches("registry+").to_owned());
        match from {
            Some(from) if !sources.contains(&from) => faults.push(format!("{name} comes from {from}")),
            None if !ours.contains(&name) => faults.push(format!("{name} is a folder, and not one of ours")),
            _ => {}
        }
        if banned.contains(&name) {
            faults.push(format!("{name} is banned by deny.toml, which says why"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n  "));
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for fine in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "MIT AND ISC",
        "GPL-3.0 OR MIT AND ISC",
        "(MIT OR GPL-3.0) AND ISC",
    ] {
        assert!(may(fine, &allowed), "{fine}");
    }
    assert!(may("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &allowed));
    for wrong in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "Apache-2.0",
        "(MIT",
        "MIT ISC",
        "MIT AND",
        "MIT WITH LLVM-exception",
    ] {
        assert!(!may(wrong, &allowed), "{wrong}");
    }
}

#[test]
fn deny_toml_is_read_without_its_comments() {
    let policy = "[a]\nx = 1 # [b]\n\n[b]\ny = 1\nallow = [\n  \"one\", # \"no\"\n  \"two\",\n]\n[c]\nallow = [\n \"three\",\n]\n";
    assert_eq!(list(policy, "b", "allow"), ["one", "two"]);
    assert_eq!(banned("deny = [\n  { crate = \"x\", reason = \"y\" },\n]"), ["x"]);
}
