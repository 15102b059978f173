//! What the system says about memory. Linux only: there is no portable way to ask.

use std::fs::read_to_string;

use crate::side::Outcome;

/// What this process has in memory.
pub(crate) fn resident_bytes() -> Outcome<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// What could be taken without swapping.
pub(crate) fn available_bytes() -> Outcome<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

fn kilobytes(file: &str, key: &str) -> Outcome<u64> {
    let text = read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("{file} does not tell {key}"))?.parse::<u64>()? * 1_024)
}
