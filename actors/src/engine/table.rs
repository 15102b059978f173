//! All actors of an engine, found by their ids.
//!
//! Actors that were started one after the other lie side by side in a block, so that an entry costs
//! about 22 bytes; blocks are spread over shards, so that starts on many threads seldom meet.
//!
//! Invariants:
//! - **LI-1** An actor is listed from before its first run begins until it has ended for good.
//! - **LI-2** Of several cells of one actor the newest is listed.
//! - **LI-3** The list keeps no cell alive, and no cell is dropped under its locks.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::cell::Control;
use crate::id::ActorId;

/// Actors that lie side by side. One that outlives the others of its block holds 2 KiB. Smaller blocks
/// come in between the other allocations of each start more often, and leave holes: in blocks of 16
/// an entry costs 68 bytes of resident memory, in these 22 (glibc, 200,000 actors).
const BLOCK_ACTORS: u64 = 128;
const SHARDS: usize = 16;

/// Less than from where glibc gives memory back at once, or maps it apart.
const ROOM_BYTES: usize = 112 * 1024;

type Entry = Option<Weak<dyn Control>>;
type Block = [Entry; BLOCK_ACTORS as usize];
/// By the id of their first actor.
type Blocks = BTreeMap<ActorId, Box<Block>>;

#[derive(Default)]
pub(crate) struct Table([Mutex<Blocks>; SHARDS]);

/// Where an actor is listed.
struct Place {
    shard: usize,
    block: ActorId,
    entry: usize,
}

impl Place {
    fn of(id: ActorId) -> Self {
        let (run, entry) = (id.number / BLOCK_ACTORS, id.number % BLOCK_ACTORS);
        Self {
            shard: (run % SHARDS as u64) as usize,
            block: ActorId { number: id.number - entry, ..id },
            entry: entry as usize,
        }
    }
}

impl Table {
    /// Lists an actor, in the place of an older cell of its.
    pub(crate) fn enter(&self, id: ActorId, cell: Weak<dyn Control>) {
        let Place { shard, block, entry } = Place::of(id);
        let mut blocks = self.blocks(shard);
        let listed = blocks.entry(block).or_insert_with(|| {
            make_room();
            Box::new(std::array::from_fn(|_| None))
        });
        listed[entry] = Some(cell);
    }

    /// Takes the actor out, if it is this cell of its that is listed.
    pub(crate) fn leave(&self, id: ActorId, cell: *const ()) {
        let Place { shard, block, entry } = Place::of(id);
        let mut blocks = self.blocks(shard);
        let Some(entries) = blocks.get_mut(&block) else { return };
        let is_it = |listed: &mut Weak<_>| std::ptr::addr_eq(listed.as_ptr(), cell);
        entries[entry].take_if(is_it);
        if entries.iter().all(Option::is_none) {
            blocks.remove(&block);
        }
    }

    /// How many are listed.
    pub(crate) fn len(&self) -> usize {
        let listed = |shard| -> usize {
            self.blocks(shard).values().map(|block| block.iter().flatten().count()).sum()
        };
        (0..SHARDS).map(listed).sum()
    }

    pub(crate) fn get(&self, id: ActorId) -> Option<Arc<dyn Control>> {
        let Place { shard, block, entry } = Place::of(id);
        self.blocks(shard).get(&block)?[entry].as_ref()?.upgrade()
    }

    /// The actors of the first block after `last`, and that block; `None` if there is none.
    pub(crate) fn after(&self, last: Option<ActorId>) -> Option<(ActorId, Vec<Arc<dyn Control>>)> {
        let rest = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let firsts = (0..SHARDS).filter_map(|shard| {
            let blocks = self.blocks(shard);
            blocks.range(rest).next().map(|(block, _)| *block)
        });
        let block = firsts.min()?;
        let blocks = self.blocks(Place::of(block).shard);
        let entries = blocks.get(&block).into_iter().flat_map(|block| block.iter());
        let living = entries.flatten().filter_map(Weak::upgrade).collect();
        Some((block, living))
    }

    fn blocks(&self, shard: usize) -> MutexGuard<'_, Blocks> {
        // No code of the user runs under this lock, so a poisoned one still holds whole data.
        self.0[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the allocator grow its heap once for all actors of a block. glibc grows the heap of a thread by
/// what is asked for: by a page, for every sixth actor, with a system call that takes longer than all
/// else that an actor's start does.
fn make_room() {
    drop(black_box(Vec::<u8>::with_capacity(ROOM_BYTES)));
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::cell::Cell;
    use crate::engine::Engine;

    fn cell(engine: &Engine, number: u64) -> Arc<dyn Control> {
        Cell::<()>::ended(engine.clone(), ActorId { origin: 1, number })
    }

    // LI-2
    #[tokio::test]
    async fn the_newest_cell_of_an_actor_is_listed() {
        let (engine, table) = (Engine::new(1, Handle::current()), Table::default());
        let (old, new) = (cell(&engine, 7), cell(&engine, 7));
        for cell in [&old, &new] {
            table.enter(cell.id(), Arc::downgrade(cell));
        }
        table.leave(old.id(), Arc::as_ptr(&old).cast());
        assert!(table.get(new.id()).is_some_and(|listed| Arc::ptr_eq(&listed, &new)));
        table.leave(new.id(), Arc::as_ptr(&new).cast());
        assert!(table.get(new.id()).is_none());
        assert!(table.0.iter().all(|blocks| blocks.lock().unwrap().is_empty()));
    }

    // LI-3
    #[tokio::test]
    async fn the_list_keeps_no_cell_alive() {
        let (engine, table) = (Engine::new(1, Handle::current()), Table::default());
        let cell = cell(&engine, 3);
        table.enter(cell.id(), Arc::downgrade(&cell));
        let id = cell.id();
        drop(cell);
        assert!(table.get(id).is_none());
    }

    #[tokio::test]
    async fn blocks_come_in_the_order_of_their_actors() {
        let (engine, table) = (Engine::new(1, Handle::current()), Table::default());
        let numbers = [500, 3, 40, 41, 7_000, 16, 15];
        let cells: Vec<_> = numbers.map(|number| cell(&engine, number)).into();
        for cell in &cells {
            table.enter(cell.id(), Arc::downgrade(cell));
        }
        let (mut last, mut seen) = (None, Vec::new());
        while let Some((block, actors)) = table.after(last) {
            last = Some(block);
            seen.extend(actors.iter().map(|cell| cell.id().number));
        }
        assert_eq!(seen, [3, 15, 16, 40, 41, 500, 7_000]);
    }

    #[test]
    fn an_entry_is_two_words() {
        assert_eq!(size_of::<Entry>(), 16);
    }
}
