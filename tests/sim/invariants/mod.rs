//! What holds at all times, whatever happens to the nodes: one file per invariant, with its source.

// The example `simulate` looks at the same invariants from another crate.
#![allow(unreachable_pub)]

mod final_verdicts;
mod own_versions;
mod rising_versions;
mod table_size;
mod views_agree;

use std::collections::BTreeMap;

use mobula::sim::{Seen, World};

pub use views_agree::views_agree;

/// The life and the version of the record that each node has of itself.
type Written = BTreeMap<u32, (u64, u64)>;

fn written(world: &World) -> Written {
    let own = |node: u32| {
        let row = world.gossip(node)?.rows(world.now()).find(|row| row.key == node)?;
        Some((node, (row.boot, row.seq)))
    };
    world.running().filter_map(own).collect()
}

/// All that has to hold while faults go on.
#[derive(Debug, Default)]
pub struct Always {
    verdicts: final_verdicts::Verdicts,
    versions: rising_versions::Versions,
}

impl Always {
    /// Takes the events since the last look, and looks at the nodes.
    ///
    /// # Errors
    /// What does not hold, in words.
    pub fn look(&mut self, world: &World, seen: &[Seen]) -> Result<(), String> {
        seen.iter().try_for_each(|seen| self.verdicts.see(seen))?;
        self.versions.look(world)?;
        own_versions::look(world)?;
        table_size::look(world)
    }
}
