//! The names that this node keeps for the cluster.
//!
//! Every name is kept by the [`NAME_COPIES`] living nodes that rank highest for it by rendezvous
//! hashing (D. G. Thaler, C. V. Ravishankar, "Using name-based mappings to increase hit rates",
//! 1998): each node computes the same ones from the members it sees, and a join or a death moves
//! few names. Of two copies one survives any single change of the members.
//!
//! Invariants:
//! - **DI-1** A name that is kept is granted to nobody else: a fresh registration of it is refused.
//! - **DI-2** Of two registrations that were both granted the older stays, whichever comes first,
//!   and the node of the other one is told until it knows, or is dead.
//! - **DI-3** What a node registered goes with that life of it.
//! - **DI-4** For each node at most [`NAMES_MAX`] names are kept, each of at most
//!   [`NAME_BYTES_MAX`] bytes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mobula_actors::carrier::Address;
use mobula_actors::id::NodeId;
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, origin_of};
use super::service::NodeMsg;
use crate::machine::Rng;

/// Nodes that keep one name.
pub const NAME_COPIES: usize = 2;
/// Names that a node can have registered at the same time.
pub const NAMES_MAX: usize = 65_536;
/// The longest name.
pub const NAME_BYTES_MAX: usize = 255;
/// Names in one message between nodes: few enough that it never counts as a large one, which could
/// be overtaken.
pub(super) const NAMES_PER_MESSAGE_MAX: usize = 64;
/// Between two attempts to tell a node that it has lost a name.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// Which registration: the older is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Unix time by the clock of the node that registered.
    pub(super) at_ms: u64,
    pub(super) by: NodeId,
    /// Counts the registrations of that node.
    pub(super) number: u64,
}

/// A name as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) address: Address,
    pub(super) stamp: Stamp,
}

/// Why a name was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// This registration has it.
    Taken(Stamp),
    /// By the members that the asked node sees, others keep this name.
    NotMine,
    /// It breaks a bound (DI-4).
    TooMany,
}

#[derive(Default)]
pub(super) struct Directory(Mutex<Table>);

#[derive(Default)]
struct Table {
    entries: HashMap<String, Entry>,
    /// How many of them are whose.
    counts: HashMap<NodeId, usize>,
}

/// Says who keeps a name.
pub(super) struct Keepers(Vec<(u64, NodeId)>);

impl Keepers {
    pub(super) fn among(living: &[NodeId]) -> Self {
        Self(living.iter().map(|&node| (origin_of(node), node)).collect())
    }

    /// The nodes that keep `name`, best first.
    pub(super) fn of(&self, name: &str) -> Vec<NodeId> {
        let mut digest = Rng::new(name.len() as u64).next_u64();
        for chunk in name.as_bytes().chunks(8) {
            let word = chunk.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
            digest = Rng::new(digest ^ word).next_u64();
        }
        let mut best: Vec<(u64, NodeId)> = Vec::with_capacity(NAME_COPIES + 1);
        for &(origin, node) in &self.0 {
            best.push((Rng::new(digest ^ origin).next_u64(), node));
            best.sort_unstable_by(|a, b| b.cmp(a));
            best.truncate(NAME_COPIES);
        }
        best.into_iter().map(|(_, node)| node).collect()
    }
}

impl Directory {
    /// Enters a name. Returns the younger registration that had to go.
    pub(super) fn enter(&self, entry: Entry, fresh: bool) -> Result<Option<Entry>, Refusal> {
        if entry.name.len() > NAME_BYTES_MAX || entry.protocol.len() > NAME_BYTES_MAX {
            return Err(Refusal::TooMany);
        }
        let by = entry.stamp.by;
        let mut table = self.table();
        let is_full = table.counts.get(&by).is_some_and(|&count| count >= NAMES_MAX);
        match table.entries.get(&entry.name).map(|kept| kept.stamp) {
            // One node registers a name once at a time: the later one is the one it has.
            Some(kept) if kept.by == by && kept.number <= entry.stamp.number => {}
            Some(kept) if kept.by == by || fresh || kept < entry.stamp => {
                return Err(Refusal::Taken(kept));
            }
            _ if is_full => return Err(Refusal::TooMany),
            _ => {}
        }
        let displaced = table.remove(&entry.name).filter(|kept| kept.stamp.by != by);
        *table.counts.entry(by).or_default() += 1;
        table.entries.insert(entry.name.clone(), entry);
        Ok(displaced)
    }

    /// Takes out a registration, if it is that one which is kept.
    pub(super) fn leave(&self, name: &str, stamp: Stamp) {
        let mut table = self.table();
        if table.entries.get(name).is_some_and(|kept| kept.stamp == stamp) {
            table.remove(name);
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<Entry> {
        self.table().entries.get(name).cloned()
    }

    /// A life is over, and its names with it (DI-3).
    pub(super) fn node_is_gone(&self, node: NodeId) {
        let mut table = self.table();
        if table.counts.remove(&node).is_some() {
            table.entries.retain(|_, entry| entry.stamp.by != node);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        if let Some(count) = self.counts.get_mut(&entry.stamp.by) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&entry.stamp.by);
            }
        }
        Some(entry)
    }
}

impl Cluster {
    /// Another node, or this one, enters a name here.
    pub(super) fn enter_name(&self, entry: Entry, fresh: bool) -> Result<(), Refusal> {
        let by = entry.stamp.by;
        // Nothing is kept for nodes that are not there: so many can be made up.
        if !self.membership.is_living(by) {
            return Err(Refusal::NotMine);
        }
        if fresh && !self.keeps(&entry.name) {
            return Err(Refusal::NotMine);
        }
        let (name, winner) = (entry.name.clone(), entry.stamp);
        let displaced = self.directory.enter(entry, fresh)?;
        if self.membership.is_gone(by) {
            // It died meanwhile, and those who were told then did not find this.
            self.directory.node_is_gone(by);
        }
        if let Some(loser) = displaced {
            self.tell_loser(name, loser.stamp, winner);
        }
        Ok(())
    }

    /// Carries out what a node says of its names, and returns those that were refused. `None` if it
    /// says too much at once.
    pub(super) fn names_changed(
        &self,
        enter: Vec<Entry>,
        leave: Vec<(String, Stamp)>,
    ) -> Option<Vec<(String, Refusal)>> {
        if enter.len().max(leave.len()) > NAMES_PER_MESSAGE_MAX {
            return None;
        }
        leave.iter().for_each(|(name, stamp)| self.directory.leave(name, *stamp));
        let entered = enter.into_iter().map(|entry| (entry.name.clone(), entry));
        let refused = |(name, entry)| Some((name, self.enter_name(entry, false).err()?));
        Some(entered.filter_map(refused).collect())
    }

    /// Who has a name; `NotMine` if others may know better.
    pub(super) fn find_name(&self, name: &str) -> Result<Option<Entry>, Refusal> {
        match self.directory.find(name) {
            Some(entry) => Ok(Some(entry)),
            None if self.keeps(name) => Ok(None),
            None => Err(Refusal::NotMine),
        }
    }

    fn keeps(&self, name: &str) -> bool {
        Keepers::among(&self.membership.living()).of(name).contains(&self.id)
    }

    /// Whether `keeper` may say that a name of this node has been lost: one that keeps it, by the
    /// members seen here.
    pub(super) fn may_take(&self, keeper: NodeId, name: &str) -> bool {
        Keepers::among(&self.membership.living()).of(name).contains(&keeper)
    }

    /// Tells a node that it has lost a name, until it knows (DI-2).
    fn tell_loser(&self, name: String, lost: Stamp, winner: Stamp) {
        let Some(cluster) = self.arc() else { return };
        tracing::warn!(name, loser = %lost.by, winner = %winner.by, "two nodes had one name");
        self.system.runtime().spawn(async move {
            while !cluster.membership.is_gone(lost.by) {
                let Some(service) = cluster.service(lost.by) else { return };
                let name = name.clone();
                let told = service.call(|known| NodeMsg::NameLost { name, lost, winner, known });
                if told.await.is_ok() {
                    return;
                }
                tokio::time::sleep(TELL_AGAIN).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::{ActorId, Epoch, PeerKey};

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId { key: PeerKey([number; 32]), boot: 1 }
    }

    fn entry(at_ms: u64, by: u8, number: u64) -> Entry {
        let actor = ActorId { origin: by.into(), number };
        let address = Address { actor, epoch: Epoch(1), node: node(by), home: node(by) };
        let stamp = Stamp { at_ms, by: node(by), number };
        Entry { name: "name".into(), protocol: "test/1".into(), address, stamp }
    }

    /// DI-1.
    #[test]
    fn a_name_that_is_kept_is_refused_even_to_an_older_claim() {
        let directory = Directory::default();
        directory.enter(entry(5, 1, 1), true).unwrap();
        let refused = directory.enter(entry(3, 2, 1), true);
        assert_eq!(refused, Err(Refusal::Taken(entry(5, 1, 1).stamp)));
        directory.leave("name", entry(5, 1, 1).stamp);
        assert_eq!(directory.enter(entry(9, 2, 1), true), Ok(None));
    }

    /// DI-2.
    #[test]
    fn of_two_that_were_granted_the_older_stays_whichever_comes_first() {
        let (old, young) = (entry(5, 2, 1), entry(6, 1, 1));
        let directory = Directory::default();
        directory.enter(young.clone(), false).unwrap();
        assert_eq!(directory.enter(old.clone(), false), Ok(Some(young.clone())));
        assert_eq!(directory.enter(young, false), Err(Refusal::Taken(old.stamp)));
        assert_eq!(directory.find("name"), Some(old));
    }

    #[test]
    fn a_node_that_registers_again_is_known_by_its_latest() {
        let directory = Directory::default();
        directory.enter(entry(5, 1, 1), true).unwrap();
        directory.enter(entry(4, 1, 2), true).unwrap();
        // What the first one still says comes too late.
        assert!(directory.enter(entry(5, 1, 1), false).is_err());
        directory.leave("name", entry(5, 1, 1).stamp);
        assert_eq!(directory.find("name"), Some(entry(4, 1, 2)));
    }

    /// DI-3, DI-4.
    #[test]
    fn names_are_bounded_for_each_node_and_go_with_it() {
        let directory = Directory::default();
        let numbered = |by: u8, number: usize| Entry {
            name: format!("{by} {number}"),
            ..entry(1, by, number as u64)
        };
        for number in 0..NAMES_MAX {
            directory.enter(numbered(1, number), true).unwrap();
        }
        assert_eq!(directory.enter(numbered(1, NAMES_MAX), true), Err(Refusal::TooMany));
        assert_eq!(directory.enter(numbered(2, 0), true), Ok(None));
        directory.node_is_gone(node(1));
        assert_eq!(directory.table().entries.len(), 1);
        assert_eq!(directory.table().counts.len(), 1);
        let long = Entry { name: "n".repeat(NAME_BYTES_MAX + 1), ..entry(1, 2, 2) };
        assert_eq!(directory.enter(long, true), Err(Refusal::TooMany));
    }

    #[test]
    fn one_node_more_or_less_moves_few_names_and_leaves_a_copy_of_each() {
        let nodes: Vec<NodeId> = (1..=10).map(node).collect();
        let names: Vec<String> = (0..1_000).map(|number| format!("name {number}")).collect();
        let mut kept = HashMap::<NodeId, usize>::new();
        let mut moved = 0;
        let (before, after) = (Keepers::among(&nodes[..9]), Keepers::among(&nodes));
        for name in &names {
            let (before, after) = (before.of(name), after.of(name));
            assert!(after.iter().any(|node| before.contains(node)), "{name}");
            moved += usize::from(before != after);
            after.iter().for_each(|&node| *kept.entry(node).or_default() += 1);
        }
        // Two of ten places are the newcomer's, give or take.
        assert!((130..=270).contains(&moved), "{moved}");
        assert!(kept.values().all(|&names| (130..=270).contains(&names)), "{kept:?}");
    }
}
