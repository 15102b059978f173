//! G-1: a life that is over stays over, and is reported once.
//!
//! Source: A. Das, I. Gupta, A. Motivala, "SWIM", 2002, section 4.2: a confirmation of failure
//! overrides every other word about that life.

use std::collections::BTreeMap;

use mobula::gossip::Event;
use mobula::sim::Seen;

/// The largest life of each node that each life of an observer has seen the end of.
#[derive(Debug, Default)]
pub struct Verdicts {
    over: BTreeMap<(u32, u64, u32), u64>,
}

impl Verdicts {
    pub fn see(&mut self, seen: &Seen) -> Result<(), String> {
        let (node, boot) = (seen.node, seen.boot);
        let pair = |key| (node, boot, key);
        match seen.event {
            Event::Dead { key, boot } | Event::Left { key, boot } => {
                let before = self.over.insert(pair(key), boot);
                let again = before.is_some_and(|over| over >= boot);
                return if again {
                    Err(format!("{node} saw {key}@{boot} end twice"))
                } else {
                    Ok(())
                };
            }
            Event::Alive { key, boot, .. }
            | Event::Suspect { key, boot }
            | Event::Unreachable { key, boot }
            | Event::Reachable { key, boot }
                if self.over.get(&pair(key)).is_some_and(|over| *over >= boot) =>
            {
                return Err(format!("{node} saw {key}@{boot} again after its end"));
            }
            _ => {}
        }
        Ok(())
    }
}
