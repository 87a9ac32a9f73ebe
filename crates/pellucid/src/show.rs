//! What a person sees: lines, tables and coloured tokens on stdout; errors and progress on stderr.
//!
//! Colours follow `NO_COLOR`, `CLICOLOR_FORCE` and whether the stream is a terminal. Text that comes from a
//! model or a file never reaches the terminal raw: control characters are shown, not obeyed.

use crate::json::{Envelope, ModelId};
use crate::models::Loaded;
use anstream::{AutoStream, ColorChoice};
use anstyle::{Ansi256Color, AnsiColor, Style};
use anyhow::Result;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pellucid::scope::lab::Step;
use serde::Serialize;
use std::io::{self, Write};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// Stdout, as text for a person or as one JSON object.
pub(crate) struct Out {
    json: bool,
    colour: bool,
    stream: AutoStream<io::Stdout>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let colour = !matches!(AutoStream::choice(&stdout), ColorChoice::Never);
        Out { json, colour, stream: AutoStream::auto(stdout) }
    }

    /// One line for a person; nothing under `--json`.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        if !self.json {
            writeln!(self.stream, "{}", text.as_ref())?;
        }
        Ok(())
    }

    /// A bold line with a blank one above.
    pub(crate) fn heading(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.line(format!("\n{BOLD}{}{BOLD:#}", text.as_ref()))
    }

    /// Part of a line, shown at once: how generated text arrives.
    pub(crate) fn piece(&mut self, text: &str) -> Result<()> {
        if !self.json {
            write!(self.stream, "{}", tame(text))?;
            self.stream.flush()?;
        }
        Ok(())
    }

    /// Text that is printed whatever the mode (markdown pages).
    pub(crate) fn raw(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    pub(crate) fn table(&mut self, table: Table) -> Result<()> {
        let colour = self.colour;
        self.line(table.render(colour))
    }

    /// Prints the JSON object if that is what was asked for, and says whether it did.
    pub(crate) fn json<T: Serialize>(
        &mut self,
        command: &str,
        model: Option<&Loaded>,
        result: &T,
    ) -> Result<bool> {
        if self.json {
            let model = model.map(ModelId::of);
            let envelope = Envelope { pellucid: env!("CARGO_PKG_VERSION"), command, model, result };
            serde_json::to_writer_pretty(&mut self.stream, &envelope)?;
            writeln!(self.stream)?;
        }
        Ok(self.json)
    }
}

/// A table with a header; numbers stand to the right.
pub(crate) struct Table {
    header: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Column titles; one that begins with `>` is aligned to the right.
    pub(crate) fn new(header: &[&str]) -> Self {
        Table {
            header: header.iter().map(|h| h.trim_start_matches('>').to_owned()).collect(),
            right: header.iter().map(|h| h.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn render(self, colour: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if colour {
            table.enforce_styling();
        }
        let aligned = |text: &String, right: &bool| {
            let side = if *right { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(side)
        };
        let bold = |cell: Cell| if colour { cell.add_attribute(Attribute::Bold) } else { cell };
        table.set_header(self.header.iter().zip(&self.right).map(|(t, r)| bold(aligned(t, r))));
        for row in &self.rows {
            table.add_row(row.iter().zip(&self.right).map(|(t, r)| aligned(t, r)));
        }
        table.trim_fmt()
    }
}

/// A token's text between quotes, with control characters spelled out.
pub(crate) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// Free text with control characters other than line ends and tabs made visible.
pub(crate) fn tame(text: &str) -> String {
    let shown = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A probability, short but never a false zero.
pub(crate) fn percent(p: f64) -> String {
    match p {
        p if p < 1e-11 => "<1e-9%".to_owned(),
        p if p >= 0.0995 => format!("{:.1}%", p * 100.0),
        p if p >= 0.000_095 => format!("{:.2}%", p * 100.0),
        p => format!("{:.0e}%", p * 100.0),
    }
}

/// A signed number with its sign always shown.
pub(crate) fn signed(x: f64) -> String {
    if x != 0.0 && x.abs() < 0.0005 { format!("{x:+.1e}") } else { format!("{x:+.3}") }
}

/// Tokens one after the other on a coloured ground: green for positive values, red for negative, stronger
/// for larger ones.
pub(crate) fn heat(tokens: &[(String, f64)]) -> String {
    const GREEN: [u8; 4] = [22, 28, 34, 40];
    const RED: [u8; 4] = [52, 88, 124, 160];
    let most = tokens.iter().fold(0f64, |m, t| m.max(t.1.abs()));
    let ground = |value: f64| {
        let strength = if most > 0.0 { value.abs() / most } else { 0.0 };
        let level = ((strength * 4.0) as usize).min(3);
        let ramp = if value < 0.0 { RED } else { GREEN };
        let style = Style::new().bg_color(Some(Ansi256Color(ramp[level]).into()));
        if strength < 0.05 { Style::new() } else { style.fg_color(Some(AnsiColor::BrightWhite.into())) }
    };
    let one = |(text, value): &(String, f64)| {
        let style = ground(*value);
        format!("{style}{}{style:#}", tame(text).replace('\n', "⏎"))
    };
    tokens.iter().map(one).collect()
}

/// An error and its causes, one line each, on stderr.
pub(crate) fn error(error: &anyhow::Error) {
    let mut stderr = AutoStream::auto(io::stderr());
    let mut causes = error.chain().map(|cause| tame(&cause.to_string()).replace('\n', " "));
    let first = causes.next().unwrap_or_default();
    // nothing can be done about a stderr that cannot be written
    let _ = writeln!(stderr, "{BAD}error:{BAD:#} {first}");
    let mut before = first;
    for cause in causes.filter(|c| !c.is_empty()) {
        if !before.contains(&cause) {
            let _ = writeln!(stderr, "  caused by: {cause}");
        }
        before = cause;
    }
}

/// Whether the reader of our output has gone away.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(closed)
            || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind)
                == Some(io::ErrorKind::BrokenPipe)
    })
}

/// With this in the environment, bars are lines for another program: `progress`, what, done and of all, with tabs between.
pub(crate) const LINES: (&str, &str) = ("PELLUCID_PROGRESS", "lines");

/// A bar on stderr; invisible where stderr is no terminal.
pub(crate) fn bar(what: &str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    if std::env::var(LINES.0).is_ok_and(|v| v == LINES.1) {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        tell(&bar);
    }
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

/// A bar for each kind of step that a method takes.
#[derive(Default)]
pub(crate) struct Bars(Option<(&'static str, ProgressBar)>);

impl Bars {
    /// Shows a step; the method goes on.
    pub(crate) fn show(&mut self, step: Step) -> bool {
        if self.0.as_ref().is_none_or(|(what, _)| *what != step.what) {
            self.end();
            self.0 = Some((step.what, bar(step.what, step.total)));
        }
        if let Some((_, bar)) = &self.0 {
            bar.set_length(step.total as u64);
            bar.set_position(step.done as u64);
        }
        true
    }

    /// Takes the last bar away.
    pub(crate) fn end(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// Writes how far a bar is, every second until it ends.
fn tell(bar: &ProgressBar) {
    let bar = bar.downgrade();
    std::thread::spawn(move || {
        while let Some(bar) = bar.upgrade().filter(|b| !b.is_finished()) {
            eprintln!("progress\t{}\t{}\t{}", bar.message(), bar.position(), bar.length().unwrap_or(0));
            drop(bar);
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    });
}
