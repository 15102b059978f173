//! After the faults stop all nodes hold the same lives alive, and in a section the same records.
//!
//! Source: the notes on testing, invariant 8; A. Demers and others, "Epidemic Algorithms for
//! Replicated Database Maintenance", 1987: anti-entropy makes all copies equal in the end.

use mobula::gossip::State;
use mobula::sim::World;

use super::Written;

/// Whether every running node holds exactly the running nodes alive, in their present life, is
/// connected to its neighbours, and has their records, in the version that they have themselves.
pub fn views_agree(world: &World) -> bool {
    let written = super::written(world);
    written.len() == world.running().count()
        && world.running().all(|node| agrees(world, node, &written))
}

fn agrees(world: &World, node: u32, written: &Written) -> bool {
    let running = written.len();
    let Some(gossip) = world.gossip(node) else { return false };
    if gossip.living_count() != running {
        return false;
    }
    let here = |key: u32| world.gossip(key).is_some();
    let living: Vec<_> = gossip.members().filter(|member| !member.state.is_gone()).collect();
    let known = living.iter().all(|member| {
        let present = here(member.key) && member.boot == world.boot(member.key);
        present && member.state == State::Alive && (member.connected || !member.neighbour)
    });
    let mut neighbours = living.iter().filter(|member| member.neighbour).map(|member| member.key);
    let (mut rows, mut newest) = (Vec::new(), true);
    for row in gossip.rows(world.now()) {
        newest &= written.get(&row.key) == Some(&(row.boot, row.seq));
        rows.push(row.key);
    }
    let near = |key: u32| rows.binary_search(&key).is_ok();
    // A speaker has neighbours in other sections, whose records it does not keep.
    known && newest && near(node) && (rows.len() < running || neighbours.all(near))
}
