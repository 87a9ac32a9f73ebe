//! `cargo xtask soak`: the program in use for as long as one likes. Clients ask, chat, write, send nonsense and leave; beside
//! them one atlas after the other is built. At a third of the time server and build are killed in the midst of work; the
//! atlases must be whole, and both go on. Over the rest of the time the server's memory must not grow.

mod clients;
mod http;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::report::median;
use crate::live::{self, Server};
use crate::paths;
use crate::python;
use crate::shell::{pellucid, pretty, program, read};

use clients::{CLIENTS, Shared, Tally};

/// Between two looks at the server's memory.
const TICK: Duration = Duration::from_secs(2);

/// How much more memory the last quarter may have than the second.
const GROWTH: f64 = 1.10;

/// What `python3 -c` runs with a file's name: SQLite's own opinion of it.
const CHECK: &str = "import sqlite3, sys; print(*(r[0] for r in sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check')))";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let minutes: f64 = match arguments {
        [] => 60.0,
        [flag, number] if flag == "--minutes" => {
            number.parse().ok().filter(|m| *m >= 1.0).context("--minutes takes a number from 1 up")?
        }
        _ => bail!("`soak` takes --minutes N"),
    };
    ensure!(cfg!(target_os = "linux"), "a soak reads a process's memory from /proc, which only Linux has");
    let mut soak = Soak::new()?;
    let whole = Duration::from_secs_f64(minutes * 60.0);
    println!("── soak: {} with {CLIENTS} clients, killed at a third\n", pretty(whole));
    let start = Instant::now();
    let first = soak.life(whole / 3)?;
    println!("   killed both after {}", pretty(start.elapsed()));
    soak.check_atlases("after the first kill")?;
    let second = soak.life(whole.saturating_sub(start.elapsed()))?;
    soak.check_atlases("at the end, killed again")?;
    soak.finish()?;
    soak.report(&first, &second, start.elapsed())
}

struct Soak {
    /// Of this run alone.
    folder: PathBuf,
    shared: Shared,
    /// Atlases that were built to their end.
    built: usize,
    /// What was found wrong beside the clients' faults.
    faults: Vec<String>,
}

/// Resident memory of the server in KiB, with seconds since it began to serve.
type Samples = Vec<(f64, u64)>;

impl Soak {
    /// A folder with a copy of the program, so that a build beside it changes nothing, and an atlas to write to.
    fn new() -> Result<Soak> {
        let atlas = live::atlas()?;
        let built = pellucid()?;
        let folder = paths::target()?.join("soak");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("removing the last soak's folder")?;
        }
        fs::create_dir_all(&folder).context("making the soak's folder")?;
        let soak = Soak { folder, shared: Shared::new(), built: 0, faults: Vec::new() };
        fs::copy(built.get_program(), soak.folder.join("pellucid")).context("copying the program")?;
        fs::copy(atlas, soak.served()).context("copying the tests' atlas")?;
        Ok(soak)
    }

    /// The atlas behind the server.
    fn served(&self) -> PathBuf {
        self.folder.join("served.atlas")
    }

    /// The atlas that is being built.
    fn building(&self) -> PathBuf {
        self.folder.join(format!("built-{}.atlas", self.built + 1))
    }

    fn pellucid(&self) -> Command {
        program(&self.folder.join("pellucid"))
    }

    /// A small atlas: minutes of sweep, writing and describing, with its state saved every few seconds.
    fn build(&self) -> Result<Child> {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("build.log"))?;
        let mut command = self.pellucid();
        command.args(["atlas", "build", "--model", "smollm2", "--tokens", "15000", "--checkpoint", "5"]);
        command.args(["--sites", "mlp_act.10,mlp_act.20", "--json", "--atlas"]).arg(self.building());
        command.stdout(Stdio::null()).stderr(log).spawn().context("starting a build")
    }

    /// Serves, builds and uses both for a while, and kills them while they work.
    fn life(&mut self, time: Duration) -> Result<Samples> {
        let served = self.served().display().to_string();
        let arguments = ["--model", "smollm2", "--atlas", served.as_str()];
        let server = live::serve_with(self.pellucid(), &arguments)?;
        let address = server.url.trim_start_matches("http://").to_owned();
        let mut build = self.build()?;
        self.shared.again();
        let mut samples = Samples::new();
        // clients borrow what they share, the rest of us is this thread's
        let shared = std::mem::replace(&mut self.shared, Shared::new());
        let outcome = std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (address, shared) = (&address, &shared);
                scope.spawn(move || clients::live(number, address, shared));
            }
            let outcome = self.watch(&server, &mut build, time, &mut samples);
            shared.dying();
            // a kill -9: nothing is told and nothing is finished
            drop(server);
            let killed = build.kill().and_then(|()| build.wait());
            shared.end();
            outcome.and(killed.map(|_| ()).context("killing the build"))
        });
        self.shared = shared;
        outcome.map(|()| samples)
    }

    /// Looks at the memory, and begins the next atlas where one is ready.
    fn watch(
        &mut self,
        server: &Server,
        build: &mut Child,
        time: Duration,
        samples: &mut Samples,
    ) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < time {
            std::thread::sleep(TICK);
            samples.push((start.elapsed().as_secs_f64(), resident(server.child.id())?));
            if let Some(ended) = build.try_wait()? {
                if !ended.success() {
                    bail!("a build of an atlas ended with {ended}: {}/build.log", self.folder.display());
                }
                self.finished()?;
                *build = self.build()?;
            }
        }
        Ok(())
    }

    /// Lets the build that was killed last go on to its end.
    fn finish(&mut self) -> Result<()> {
        let ended = self.build()?.wait()?;
        ensure!(
            ended.success(),
            "the killed build did not go on: {ended}: {}/build.log",
            self.folder.display()
        );
        self.finished()
    }

    /// An atlas is built: is it whole, and can it be read? It is then removed: those of an hour would take a gigabyte.
    fn finished(&mut self) -> Result<()> {
        let path = self.building();
        self.check(&path, "built to its end")?;
        read(self.pellucid().args(["atlas", "stats", "--json", "--atlas"]).arg(&path))?;
        self.built += 1;
        for ending in ["", "-wal", "-shm", ".built.json"] {
            let part = with(&path, ending);
            if part.exists() {
                fs::remove_file(&part).with_context(|| format!("removing {}", part.display()))?;
            }
        }
        Ok(())
    }

    /// What SQLite says of both atlases.
    fn check_atlases(&mut self, when: &str) -> Result<()> {
        self.check(&self.served(), when)?;
        let building = self.building();
        if building.exists() {
            return self.check(&building, when);
        }
        println!("   {} was still in its sweep, {when}", name(&building));
        Ok(())
    }

    /// Checks a copy with its journal, so that repairing what a kill left is still the program's own task.
    fn check(&mut self, atlas: &Path, when: &str) -> Result<()> {
        let copy = self.folder.join("checked.atlas");
        for journal in ["", "-wal", "-journal"] {
            let (from, to) = (with(atlas, journal), with(&copy, journal));
            if to.exists() {
                fs::remove_file(&to)?;
            }
            if from.exists() {
                fs::copy(&from, &to)?;
            }
        }
        let said = read(python::system_python()?.args(["-c", CHECK]).arg(&copy))?;
        println!("   {} {when}: integrity_check says {}", name(atlas), said.trim());
        if said.trim() != "ok" {
            self.faults.push(format!("{} {when}: {}", name(atlas), said.trim()));
        }
        Ok(())
    }

    fn report(&self, first: &Samples, second: &Samples, time: Duration) -> Result<()> {
        let tally = self.shared.tally();
        table(&tally);
        println!("\nresident memory of the server (MiB)");
        quarters("until the kill", first);
        let grown = quarters("after it", second);
        println!(
            "\n{}: {} atlases built to their end, {} requests cut off by the kills, last quarter {:.1} % of the second",
            pretty(time),
            self.built,
            tally.cut,
            100.0 * grown
        );
        let mut faults: Vec<String> = tally.faults.iter().chain(&self.faults).cloned().collect();
        if grown > GROWTH || grown.is_nan() {
            faults.push(format!(
                "memory grew: the last quarter after the kill has {grown:.3} times the second's"
            ));
        }
        ensure!(faults.is_empty(), "{} faults:\n  {}", faults.len(), shown(&faults));
        println!("everything held");
        Ok(())
    }
}

/// The first of what was wrong.
fn shown(faults: &[String]) -> String {
    faults.iter().take(20).cloned().collect::<Vec<_>>().join("\n  ")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut whole = path.as_os_str().to_owned();
    whole.push(ending);
    PathBuf::from(whole)
}

/// Uses by status.
fn table(tally: &Tally) {
    println!("\n{:<20} {:>8}  by status (0: left before there was one)", "use", "times");
    for (name, statuses) in &tally.uses {
        let by: Vec<String> = statuses.iter().map(|(status, times)| format!("{status}: {times}")).collect();
        println!("{name:<20} {:>8}  {}", statuses.values().sum::<u64>(), by.join(", "));
    }
    let all: u64 = tally.uses.values().flat_map(|s| s.values()).sum();
    println!("{:<20} {all:>8}", "all");
}

/// Prints the medians of a life's quarters; gives the last by the second. The first is the time to warm up.
fn quarters(what: &str, samples: &Samples) -> f64 {
    let medians: Vec<f64> = (0..4)
        .map(|q| {
            let (from, to) = (samples.len() * q / 4, samples.len() * (q + 1) / 4);
            median(&samples[from..to].iter().map(|s| s.1 as f64).collect::<Vec<_>>()) / 1024.0
        })
        .collect();
    let most = samples.iter().map(|s| s.1).max().unwrap_or(0) / 1024;
    let shown: Vec<String> = medians.iter().map(|m| format!("{m:>7.0}")).collect();
    let seconds = samples.last().map_or(0.0, |s| s.0);
    println!(
        "  {what:<16} {seconds:>6.0} s  quarters {}  most {most:>6}  ({} samples)",
        shown.join(" "),
        samples.len()
    );
    medians[3] / medians[1]
}

/// Resident memory of a process in KiB.
fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the server is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.context("the server has ended by itself")
}

#[cfg(test)]
mod tests {
    use super::{median, quarters};

    #[test]
    fn medians_of_few_and_of_none() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn growth_is_the_last_quarter_by_the_second() {
        let samples = [900, 100, 120, 150].map(|kib| (0.0, kib * 1024)).to_vec();
        assert!((quarters("test", &samples) - 1.5).abs() < 1e-12);
    }
}
