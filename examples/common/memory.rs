//! The memory of this process, as the system counts it.

use std::fs;

/// A field of `/proc/self/status` that is in kibibytes, so that the size of a page need not be known:
/// `VmRSS` is what is resident, `VmHWM` the most that was. `None` where the system has no `/proc`.
pub fn kibibytes(field: &str) -> Option<u64> {
    read(&fs::read_to_string("/proc/self/status").ok()?, field)
}

fn read(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_found_among_the_others() {
        let status = "Name:\tx\nVmPeak:\t    9000 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(read(status, "VmRSS"), Some(1_234));
        assert_eq!(read("Name:\tx\n", "VmRSS"), None);
        assert_eq!(read("VmRSS:\tmuch\n", "VmRSS"), None);
    }
}
