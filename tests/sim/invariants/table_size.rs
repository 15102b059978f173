//! G-7: a table has one entry for each other node at most, however often they come and go.
//!
//! Source: the notes on testing, invariant 9: memory per node within a constant times the nodes.

use mobula::sim::World;

pub fn look(world: &World) -> Result<(), String> {
    for node in world.running() {
        let known = world.gossip(node).map_or(0, |gossip| gossip.members().count());
        if known >= world.size() as usize {
            return Err(format!("{node} knows {known} others of {} nodes", world.size()));
        }
    }
    Ok(())
}
