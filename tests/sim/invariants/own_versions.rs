//! G-6: nobody has a newer version of a record than its writer.
//!
//! Source: R. van Renesse and others, "Efficient Reconciliation and Flow Control for Anti-Entropy
//! Protocols", 2008: each key has one writer, which alone makes versions.

use mobula::sim::World;

pub fn look(world: &World) -> Result<(), String> {
    let written = super::written(world);
    for node in world.running() {
        for row in world.gossip(node).into_iter().flat_map(|gossip| gossip.rows(world.now())) {
            if written.get(&row.key).is_some_and(|own| (row.boot, row.seq) > *own) {
                return Err(format!("{node} has {}@{} in version {}", row.key, row.boot, row.seq));
            }
        }
    }
    Ok(())
}
