//! The project's automation, so that one tool runs everywhere: `cargo xtask COMMAND`.
//!
//! It stays thin and light (two small dependencies, no model code), because every other command waits for it to compile.
//! What the product can do is a command of the program; what only a developer does is here.

use std::env;
use std::process::ExitCode;

#[cfg(test)]
mod audit;
mod bench;
mod corpus;
mod count;
mod demo;
mod docs;
mod embed;
mod fixtures;
mod fuzz;
mod live;
mod paths;
mod picture;
mod python;
mod shell;
mod soak;
mod test;
#[cfg(test)]
mod tidy;
mod ui;

const HELP: &str = "\
cargo xtask COMMAND

  demo [--tour]     fetch SmolLM2, build the page, and serve it (--tour: the story in the terminal instead)
  ui [check | types]
                    build the page into ui/dist; check it; write its types from the server's OpenAPI document
  corpus            assemble the default corpus in the cache (needs pip and npm)
  embed             train the model that comes with the program again, with its dictionary and atlases (half an hour)
  test [live]       everything that must hold: format, lints, docs, tests, the page in a browser (live: that alone)
  fuzz [TARGET…] [--seconds 60]
                    hostile bytes to what reads files, templates, edits and requests (needs a nightly compiler)
  soak [--minutes 60]
                    mixed use of the server while an atlas is built: memory flat, `kill -9` in it, atlases whole (Linux)
  count [--write]   instructions of three kernels and a forward pass, held against xtask/counts.json (needs valgrind)
  fixtures [NAME… | dictionaries]
                    write the tiny reference models again, the references of the real ones and the tiny dictionaries
                    (needs Python)
  docs parity | attribution | check | points | demo
                    run it and write docs/NAME.md (the demo: docs/demo.svg)
  docs atlas [OPTIONS OF pellucid docs atlas]
                    docs/atlas.md from the atlases in the cache and the blind check
  docs blind [--atlas FILE]
                    draw the blind check: docs/atlas/blind-sheet.md for a reader, blind-key.json for us
  docs blind-result --answers FILE
                    hold a reader's answers against the key
  bench [--peers] [--only CASE,…] [--models MODEL,…] [--with PEER,…] [--runs 5] [--rounds 1] [--threads CORES]
        [--ours PROGRAM]
                    time ours; with --peers also what others use, and with all of them docs/benchmarks.md is written
                    (docs/benchmarks-without-tiles.md on a processor that has none)
                    cases: load start forward capture sweep row attribute decode; models: smollm2 gemma3-270m
                    peers: transformers transformer-lens nnsight interp-engine llama.cpp
  bench --dictionaries [--runs 5] [--rounds 2] [--threads CORES]
                    train dictionaries beside dictionary_learning and SAELens, into docs/dictionary-speed.md
  bench --quality [--threads CORES]
                    train a dictionary of SmolLM2 beside dictionary_learning on the same vectors, into docs/dictionary-quality.md
  bench --kernels [--rounds 2] [--threads CORES]
                    the tile linear beside PyTorch's, into docs/kernel-speed.md
  bench --circuits DIR [--runs 5] [--rounds 2] [--threads CORES] [--ours PROGRAM]
                    score a circuit's edges beside EAP-IG's own code, a checkout in DIR, into docs/circuit-speed.md

Models and Python environments are kept in $PELLUCID_CACHE, else $XDG_CACHE_HOME/pellucid, else ~/.cache/pellucid.
$PELLUCID_PYTHON names the Python to make environments with; $PELLUCID_PEERS_PYTHON, $PELLUCID_DICTIONARIES_PYTHON
and $PELLUCID_FIXTURES_PYTHON name ready-made environments to use instead.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match command {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "fixtures" => fixtures::run(rest),
        "fuzz" => fuzz::run(rest),
        "docs" => docs::run(rest),
        "soak" => soak::run(rest),
        "bench" => bench::run(rest),
        "corpus" => corpus::run(rest),
        "embed" => embed::run(rest),
        "count" => count::run(rest),
        "ui" => ui::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("xtask: there is no command `{command}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
