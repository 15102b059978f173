//! The memory of this process, as the system counts it.

use std::fs;

/// Resident memory in bytes; `None` where the system has no `/proc`.
///
/// The field is read that is in kibibytes, so that the size of a page need not be known.
pub fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?).map(|kibibytes| kibibytes << 10)
}

fn kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_size_is_found_among_the_others() {
        let status = "Name:\tx\nVmPeak:\t    9000 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(status), Some(1_234));
        assert_eq!(kibibytes("Name:\tx\n"), None);
        assert_eq!(kibibytes("VmRSS:\tmuch\n"), None);
    }
}
