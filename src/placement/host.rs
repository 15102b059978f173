//! What the machine under a node has: its cgroup's limits, or the whole host.
//!
//! Reading is apart from understanding: [`detect`] reads the files, [`Host::capacity`] is pure.
//!
//! Source: Linux kernel documentation, "Control Group v2", `cpu.max` and `memory.max`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::capacity::{ACTORS_DEFAULT, Capacity};

/// How deep a cgroup path is followed towards its root.
const CGROUP_DEPTH_MAX: usize = 64;

/// What was read about the machine; absent texts were not readable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The `cpu.max` of this process's cgroup and of every cgroup above it.
    pub cpu_max: Vec<String>,
    /// The `memory.max` of the same.
    pub memory_max: Vec<String>,
    /// The text of `/proc/meminfo`.
    pub meminfo: Option<String>,
    /// How many threads can run at once.
    pub threads: u32,
}

impl Host {
    /// The tightest limit in each dimension; no devices, [`ACTORS_DEFAULT`] actors.
    ///
    /// Memory is zero when nothing about it was readable: state the capacity by hand then.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let threads_milli = self.threads.max(1).saturating_mul(1_000);
        let quotas = self.cpu_max.iter().filter_map(|text| cpu_milli(text));
        let limits = self.memory_max.iter().filter_map(|text| text.trim().parse().ok());
        let installed = self.meminfo.as_deref().and_then(memory_bytes);
        Capacity {
            cpu_milli: quotas.fold(threads_milli, u32::min),
            memory_bytes: limits.chain(installed).min().unwrap_or(0),
            actors: ACTORS_DEFAULT,
            ..Capacity::default()
        }
    }
}

/// The capacity of the machine this process runs on, within its cgroup v2.
///
/// Nodes that share the machine must divide it: see [`Capacity::share`].
#[must_use]
pub fn detect() -> Capacity {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = cgroups(&own);
    let read = |name: &str| -> Vec<String> {
        groups.iter().filter_map(|group| fs::read_to_string(group.join(name)).ok()).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Host {
        cpu_max: read("cpu.max"),
        memory_max: read("memory.max"),
        meminfo: fs::read_to_string("/proc/meminfo").ok(),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
    }
    .capacity()
}

/// The folders of the cgroup that `/proc/self/cgroup` names and of those above it.
fn cgroups(text: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    root.join(own.trim_start_matches('/'))
        .ancestors()
        .take(CGROUP_DEPTH_MAX)
        .take_while(|folder| folder.starts_with(root))
        .map(Path::to_path_buf)
        .collect()
}

/// Thousandths of a core from `quota period`; `None` for `max` and for anything unreadable.
fn cpu_milli(text: &str) -> Option<u32> {
    let mut fields = text.split_whitespace();
    let quota: u64 = fields.next()?.parse().ok()?;
    let period: u64 = fields.next().map_or(Some(100_000), |field| field.parse().ok())?;
    let milli = quota.saturating_mul(1_000).checked_div(period)?;
    Some(u32::try_from(milli).unwrap_or(u32::MAX))
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn memory_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(cpu_max: &[&str], memory_max: &[&str]) -> Host {
        Host {
            cpu_max: cpu_max.iter().map(ToString::to_string).collect(),
            memory_max: memory_max.iter().map(ToString::to_string).collect(),
            meminfo: Some("MemTotal:        4096 kB\nMemFree:         1024 kB\n".to_owned()),
            threads: 8,
        }
    }

    #[test]
    fn the_tightest_limit_on_the_way_to_the_root_counts() {
        let limited =
            host(&["max 100000\n", "150000 100000\n", "400000 100000\n"], &["max", "1000\n"]);
        let capacity = limited.capacity();
        assert_eq!((capacity.cpu_milli, capacity.memory_bytes), (1_500, 1_000));
        assert_eq!((capacity.devices.len(), capacity.actors), (0, ACTORS_DEFAULT));
    }

    #[test]
    fn without_limits_the_whole_host_counts() {
        let capacity = host(&["max 100000"], &["max"]).capacity();
        assert_eq!((capacity.cpu_milli, capacity.memory_bytes), (8_000, 4_096 * 1_024));
    }

    #[test]
    fn texts_that_make_no_sense_are_passed_over() {
        let strange = host(&["", "100 0", "x y", "-1 100000"], &["", "many"]);
        assert_eq!(strange.capacity(), host(&[], &[]).capacity());
        let huge = format!("{} 1", u64::MAX);
        assert_eq!(host(&[&huge], &[]).capacity().cpu_milli, 8_000);
        assert_eq!(Host::default().capacity().cpu_milli, 1_000);
        assert_eq!(Host::default().capacity().memory_bytes, 0);
    }

    #[test]
    fn the_cgroup_is_followed_to_its_root() {
        let folders = cgroups("1:cpu:/old\n0::/a/b\n");
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"];
        assert!(folders.iter().map(|f| f.as_path()).eq(expected.map(Path::new)));
        assert_eq!(cgroups(""), [PathBuf::from("/sys/fs/cgroup")]);
    }

    #[test]
    fn this_machine_has_at_least_some_processor() {
        assert!(detect().cpu_milli > 0);
    }
}
