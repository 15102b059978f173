//! The bars, and whether they were met.

use std::fmt;

use crate::attack::Strangers;
use crate::peer::{Looked, Paced};

const RSS_KIB_MAX: u64 = 50 << 10;
const JOINED_MS_MAX: u64 = 2_000;
const OPEN_MAX: u64 = 32;
const FREED_MS_MAX: u64 = 10_000;
/// Both nodes of the scene; the one that joined in between is gone again.
const MEMBERS: usize = 2;

pub struct Report {
    pub control: Paced,
    pub siege: (Paced, Strangers),
    pub slow: (Paced, Strangers),
    pub before: Looked,
    pub after: Looked,
    pub last: Looked,
}

pub struct Verdict {
    what: &'static str,
    found: u64,
    most: u64,
}

impl Report {
    pub fn verdicts(&self) -> Vec<Verdict> {
        let (siege, slow) = (&self.siege, &self.slow);
        let verdict = |what, found, most| Verdict { what, found, most };
        let more = |looked: &Looked| looked.rss_max_kib.saturating_sub(self.before.rss_kib);
        vec![
            verdict("strangers admitted", siege.1.admitted + slow.1.admitted, 0),
            verdict("members too many", self.last.members.abs_diff(MEMBERS) as u64, 0),
            verdict("violations, of decoded frames", self.last.violations, 0),
            verdict("calls failed", siege.0.failed + slow.0.failed, 0),
            verdict("p99 of calls under siege, us", siege.0.p99_us, 2 * self.control.p99_us),
            verdict("RSS more in the siege, KiB", more(&self.after), RSS_KIB_MAX),
            verdict("RSS more in all, KiB", more(&self.last), RSS_KIB_MAX),
            verdict("join under siege, ms", siege.0.joined_ms, JOINED_MS_MAX),
            verdict("join beside slowloris, ms", slow.0.joined_ms, JOINED_MS_MAX),
            verdict("sockets that say nothing, open", slow.1.open, OPEN_MAX),
            verdict("the last of them closed after, ms", slow.1.longest_ms, FREED_MS_MAX),
            verdict("of them never closed", slow.1.left_open, 0),
        ]
    }
}

impl Verdict {
    pub fn is_met(&self) -> bool {
        self.found <= self.most
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met() { "MET" } else { "MISSED" };
        write!(f, "{word:6} {}: {} of at most {}", self.what, self.found, self.most)
    }
}
