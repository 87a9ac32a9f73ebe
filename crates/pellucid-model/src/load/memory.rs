//! How much memory a load may still take.

/// Bytes that can be allocated without swapping: `MemAvailable` on Linux, or what the control group still
/// allows if that is less; `None` where the system does not say.
#[must_use]
pub fn available_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let system = mem_available(&meminfo)?;
    Some(group_headroom().map_or(system, |group| group.min(system)))
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Limit minus use of a version 2 control group, as containers see it.
fn group_headroom() -> Option<u64> {
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    // The use counts page cache, which the kernel gives back when asked.
    let used = read("memory.current")?;
    let cached =
        std::fs::read_to_string("/sys/fs/cgroup/memory.stat").ok().and_then(|stat| inactive_file(&stat));
    Some(read("memory.max")?.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

fn inactive_file(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        let text = "MemTotal:       24000000 kB\nMemFree:   1 kB\nMemAvailable:       1000 kB\n";
        assert_eq!(mem_available(text), Some(1_024_000));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
        assert_eq!(inactive_file("anon 5\ninactive_file 77\n"), Some(77));
    }
}
