//! The machine that the numbers belong to, and how busy it was with other things.

use std::env::consts::{ARCH, OS};
use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

/// What a reader needs to know to compare with another machine.
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) features: String,
    pub(super) cores: usize,
    pub(super) threads: usize,
    pub(super) system: String,
}

impl Machine {
    pub(super) fn here(threads: usize) -> Self {
        let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = about.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").unwrap_or_default();
        // What decides the speed of matrix products.
        let wide = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"];
        let features: Vec<&str> =
            wide.into_iter().filter(|name| flags.split(' ').any(|flag| flag == *name)).collect();
        let unnamed = || "unknown processor".to_owned();
        Self {
            cpu: field("model name").unwrap_or_else(unnamed),
            features: features.join(" "),
            cores: thread::available_parallelism().map_or(1, usize::from),
            threads,
            system: format!("{OS} {ARCH}"),
        }
    }

    /// The page of docs/ for a processor of this kind: what is fast on one says little about the other.
    pub(super) fn page(&self) -> &'static str {
        if self.features.contains("amx_bf16") { "benchmarks.md" } else { "benchmarks-without-tiles.md" }
    }
}

impl fmt::Display for Machine {
    /// The sentence that a page of measurements begins with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, features, cores, threads, system } = self;
        write!(f, "Machine: {cpu}, {cores} cores, {system}, {features}. Threads: {threads} on every side.")
    }
}

/// Processor time in clock ticks since boot: of everybody, and of the children that we have waited for (Linux).
pub(super) struct Usage {
    busy: f64,
    children: f64,
}

/// Ticks in a second, the same on every Linux since 2.6 for what `/proc` shows.
const TICKS: f64 = 100.0;

impl Usage {
    pub(super) fn now() -> Option<Self> {
        let all = fs::read_to_string("/proc/stat").ok()?;
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        Some(Self { busy: busy(&all)?, children: children(&own)? })
    }

    /// The share of all processors' time between two readings that went to programs that we did not start.
    pub(super) fn others(before: Option<Self>, after: Option<Self>, wall: Duration) -> Option<f64> {
        let (before, after) = (before?, after?);
        let cores = thread::available_parallelism().map_or(1.0, |count| usize::from(count) as f64);
        let foreign = (after.busy - before.busy) - (after.children - before.children);
        Some((foreign / TICKS / (wall.as_secs_f64() * cores)).max(0.0))
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, …
fn busy(stat: &str) -> Option<f64> {
    let numbers: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|x| x.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, irq, soft, steal, ..] = numbers[..] else { return None };
    Some(user + nice + system + irq + soft + steal)
}

/// `cutime` and `cstime` of `/proc/self/stat`: the 14th and 15th after the name, which may itself hold spaces.
fn children(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(13)?.parse::<f64>().ok()? + fields.get(14)?.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::{busy, children};

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy("cpu  10 1 5 900 90 2 3 4 0 0\ncpu0 1 2 3\n"), Some(25.0));
        assert_eq!(busy("cpu 1 2\n"), None);
    }

    #[test]
    fn a_program_name_may_hold_spaces_and_brackets() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 30 4 20 0 1";
        assert_eq!(children(stat), Some(34.0));
    }
}
