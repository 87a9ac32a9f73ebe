//! The program `pellucid`: reads arguments, runs one command, and turns every failure into a line on stderr
//! and an exit code (0 done, 1 failed or a check does not hold, 2 wrong arguments).

mod atlas;
mod cmd;
mod default_corpus;
mod dictionaries;
mod edits;
mod embedded;
mod json;
mod models;
mod save;
mod show;
mod target;
mod text;

use clap::{CommandFactory, FromArgMatches, Parser};
use show::Out;
use std::process::ExitCode;

/// See through an open-weight language model: which neurons made it say this word, and what it says without.
#[derive(Parser)]
#[command(name = "pellucid", version, about, max_term_width = 100)]
struct Cli {
    /// Print one JSON object (docs/json.md) instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: cmd::Command,
}

fn main() -> ExitCode {
    // the page opens at once on what comes with the program; every other command has something to say on a real model
    let command = Cli::command()
        .mut_subcommand("serve", |serve| serve.mut_arg("model", |model| model.default_value(embedded::NAME)));
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    pellucid::model::keep_freed_memory();
    // This thread is one of the pool's: a run then hands it work without waking another (but not where it will only
    // wait, and its share of the work with it). If a pool already stands, that one serves as well.
    let pool = rayon::ThreadPoolBuilder::new();
    let _ = if cli.command.waits() { pool } else { pool.use_current_thread() }.build_global();
    let mut out = Out::new(cli.json);
    match cli.command.run(&mut out) {
        Ok(code) => code,
        // whoever reads our output (`head`) has seen enough
        Err(error) if show::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            show::error(&error);
            ExitCode::FAILURE
        }
    }
}
