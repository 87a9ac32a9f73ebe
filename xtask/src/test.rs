//! `cargo xtask test`: everything that must hold before a change is kept, cheapest first.
//!
//! All of it uses the dev profile and the features of the whole workspace, so that no crate is compiled twice: the program
//! that fetches the models is the one that the tests' build makes (`cargo run -p pellucid` would choose other features).

use std::time::Instant;

use anyhow::{Result, bail};

use crate::count;
use crate::live;
use crate::paths;
use crate::shell::{cargo, pretty, program, step, works};
use crate::ui;

/// The real models that tests load, by the program's names for them.
const MODELS: [&str; 3] = ["smollm2", "gemma3-270m", "minilm"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => {}
        [one] if one == "live" => return live::all(),
        _ => bail!(
            "`test` takes nothing, or `live` for the browser and the clients alone (others: `cargo nextest run`)"
        ),
    }
    let start = Instant::now();
    component("fmt", "rustfmt")?;
    component("clippy", "clippy")?;
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    ui::check()?;
    ui::build()?;
    step("lints", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("docs", cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    step(
        "build",
        &mut cargo(&["build", "--workspace", "--tests", "--bin", "pellucid", "--example", "counted"]),
    )?;
    models()?;
    tests()?;
    count::check()?;
    step("doc tests", &mut cargo(&["test", "--workspace", "--doc"]))?;
    ui::check_types()?;
    live::all()?;
    dependencies()?;
    println!("everything holds, in {}", pretty(start.elapsed()));
    Ok(())
}

/// A part of the Rust toolchain that not every installation has.
fn component(command: &str, name: &str) -> Result<()> {
    if works(&mut cargo(&[command, "--version"])) {
        return Ok(());
    }
    bail!("{name} is not installed; get it with `rustup component add {name}`")
}

fn models() -> Result<()> {
    let mut fetch = program(&paths::executable("debug", "pellucid")?);
    step("models (fetched once, with pip)", fetch.arg("fetch").args(MODELS))
}

fn tests() -> Result<()> {
    if works(&mut cargo(&["nextest", "--version"])) {
        return step("tests", &mut cargo(&["nextest", "run", "--workspace"]));
    }
    println!("   (cargo-nextest is not installed: plain `cargo test`)");
    // Doc tests have their own step, so that both runners run the same.
    step("tests", &mut cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]))
}

fn dependencies() -> Result<()> {
    if works(&mut cargo(&["deny", "--version"])) {
        return step("dependencies (deny.toml)", &mut cargo(&["deny", "check"]));
    }
    println!(
        "   skipped: cargo-deny is not installed, so advisories were not checked (licences, sources and bans are, by a test)\n"
    );
    Ok(())
}
