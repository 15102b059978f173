//! G-6: a copy of a record is never replaced by an older one.
//!
//! Source: R. van Renesse and others, "Efficient Reconciliation and Flow Control for Anti-Entropy
//! Protocols", 2008: versions of a key only grow, and a delta has what is newer.

use std::collections::BTreeMap;

use mobula::sim::World;

/// Up to so many nodes are one section: a record is dropped with its life only, and so never comes
/// back.
const SECTION_NODES_MAX: u32 = 128;

/// An observer and its life, and whose record of which life.
type Copy = (u32, u64, u32, u64);

/// The version of each copy at the last look.
#[derive(Debug, Default)]
pub struct Versions(BTreeMap<Copy, u64>);

impl Versions {
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        if world.size() > SECTION_NODES_MAX {
            return Ok(());
        }
        let mut now = BTreeMap::new();
        for node in world.running() {
            for row in world.gossip(node).into_iter().flat_map(|gossip| gossip.rows(world.now())) {
                let copy = (node, world.boot(node), row.key, row.boot);
                let before = self.0.get(&copy).copied().unwrap_or_default();
                if row.seq < before {
                    let (key, boot, seq) = (row.key, row.boot, row.seq);
                    return Err(format!("{node} had {key}@{boot} in {before}, now in {seq}"));
                }
                now.insert(copy, row.seq);
            }
        }
        self.0 = now;
        Ok(())
    }
}
