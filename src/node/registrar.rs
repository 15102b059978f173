//! The names that were registered on this node, and where they stand: entered where the members that
//! are seen change who keeps them, and taken out when they end. `naming` does what this says.
//!
//! Invariants:
//! - **NR-1** A registration is granted only when every node that keeps the name by the members
//!   seen here has granted it.
//! - **NR-2** A registration ends once, and says why.
//! - **NR-3** What was entered anywhere and holds no more is taken out until that node says that it
//!   is, or is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mobula_actors::NameError;
use mobula_actors::carrier::Address;
use mobula_actors::id::NodeId;
use tokio::sync::{Notify, watch};

use super::builder::unix_ms;
use super::directory::{Entry, Keepers, NAMES_MAX, NAMES_PER_MESSAGE_MAX, Refusal, Stamp};
use super::names::NameEnd;

#[derive(Default)]
pub(super) struct Registrar {
    table: Mutex<Table>,
    /// There may be something to enter or to take out.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    held: BTreeMap<String, Held>,
    leaving: BTreeMap<NodeId, BTreeMap<String, Stamp>>,
}

struct Held {
    entry: Entry,
    granted: bool,
    /// The nodes where it stands, or may stand while it is claimed.
    at: BTreeSet<NodeId>,
    end: watch::Sender<Option<NameEnd>>,
    /// Keeps the monitor of the named run in force.
    token: Arc<()>,
}

/// What one node is to be told.
#[derive(Clone, Default)]
pub(super) struct Batch {
    pub(super) enter: Vec<Entry>,
    pub(super) leave: Vec<(String, Stamp)>,
}

impl Batch {
    /// Cut so that each is one message that travels in order with all others.
    pub(super) fn parts(self) -> impl Iterator<Item = Self> {
        let enter = self.enter.chunks(NAMES_PER_MESSAGE_MAX).map(<[_]>::to_vec);
        let leave = self.leave.chunks(NAMES_PER_MESSAGE_MAX).map(<[_]>::to_vec);
        let leave = leave.map(|leave| Self { enter: Vec::new(), leave });
        let enter = enter.map(|enter| Self { enter, leave: Vec::new() });
        leave.chain(enter).collect::<Vec<_>>().into_iter()
    }
}

impl Registrar {
    pub(super) fn begin(
        &self,
        by: NodeId,
        name: &str,
        protocol: &str,
        address: Address,
    ) -> Result<(Entry, watch::Receiver<Option<NameEnd>>), NameError> {
        let mut table = self.table();
        if table.held.contains_key(name) {
            return Err(NameError::Taken(name.into()));
        }
        if table.held.len() + table.leaving.values().map(BTreeMap::len).sum::<usize>() >= NAMES_MAX
        {
            return Err(NameError::TooMany(name.into(), NAMES_MAX));
        }
        table.next += 1;
        let stamp = Stamp { at_ms: unix_ms(), by, number: table.next };
        let (name, protocol) = (name.to_owned(), protocol.to_owned());
        let entry = Entry { name: name.clone(), protocol, address, stamp };
        let (end, ended) = watch::channel(None);
        let (at, token) = (BTreeSet::new(), Arc::new(()));
        let held = Held { entry: entry.clone(), granted: false, at, end, token };
        table.held.insert(name, held);
        Ok((entry, ended))
    }

    /// `keeper` is about to be asked; false if the claim has been displaced meanwhile.
    pub(super) fn asks(&self, name: &str, stamp: Stamp, keeper: NodeId) -> bool {
        let mut table = self.table();
        let held = table.held.get_mut(name).filter(|held| held.entry.stamp == stamp);
        held.map(|held| held.at.insert(keeper)).is_some()
    }

    /// `keepers` have it; whoever was asked besides may have it.
    pub(super) fn grant(&self, name: &str, stamp: Stamp, keepers: &[NodeId]) -> Option<Arc<()>> {
        let mut table = self.table();
        let held = table.held.get_mut(name).filter(|held| held.entry.stamp == stamp)?;
        held.granted = true;
        let asked = std::mem::replace(&mut held.at, keepers.iter().copied().collect());
        let token = held.token.clone();
        let besides = asked.into_iter().filter(|node| !keepers.contains(node));
        table.leave(name, stamp, besides);
        Some(token)
    }

    pub(super) fn drop_claim(&self, name: &str, stamp: Stamp) {
        let granted = |held: &Held| held.granted && held.entry.stamp == stamp;
        let is_granted = self.table().held.get(name).is_some_and(granted);
        if !is_granted {
            self.end(name, stamp, NameEnd::GivenUp);
        }
    }

    /// A registration holds no more (NR-2).
    pub(super) fn end(&self, name: &str, stamp: Stamp, end: NameEnd) {
        let mut table = self.table();
        if table.held.get(name).is_none_or(|held| held.entry.stamp != stamp) {
            return;
        }
        let Some(held) = table.held.remove(name) else { return };
        table.leave(name, stamp, held.at.iter().copied());
        drop(table);
        held.end.send_replace(Some(end));
        self.changed.notify_one();
    }

    /// The others hold this node dead: nobody keeps its names.
    pub(super) fn fenced(&self) {
        let held = {
            let mut table = self.table();
            table.leaving.clear();
            std::mem::take(&mut table.held)
        };
        for held in held.into_values() {
            held.end.send_replace(Some(NameEnd::Fenced));
        }
    }

    pub(super) fn node_is_gone(&self, node: NodeId) {
        let mut table = self.table();
        table.leaving.remove(&node);
        for held in table.held.values_mut() {
            held.at.remove(&node);
        }
    }

    pub(super) fn granted(&self, name: &str) -> Option<Entry> {
        let table = self.table();
        table.held.get(name).filter(|held| held.granted).map(|held| held.entry.clone())
    }

    /// What is to be told to whom.
    pub(super) fn work(&self, living: &[NodeId]) -> BTreeMap<NodeId, Batch> {
        let keepers = Keepers::among(living);
        let mut work = BTreeMap::<NodeId, Batch>::new();
        let mut table = self.table();
        let mut stale = Vec::new();
        for held in table.held.values_mut().filter(|held| held.granted) {
            let wanted = keepers.of(&held.entry.name);
            let missing = wanted.iter().filter(|node| !held.at.contains(node));
            let missing: Vec<_> = missing.copied().collect();
            // It leaves where it was only when it is where it should be.
            if missing.is_empty() {
                let (name, stamp) = (&held.entry.name, held.entry.stamp);
                let left = held.at.extract_if(.., |node| !wanted.contains(node));
                stale.extend(left.map(|node| (node, name.clone(), stamp)));
            }
            for node in missing {
                work.entry(node).or_default().enter.push(held.entry.clone());
            }
        }
        for (node, name, stamp) in stale {
            table.leave(&name, stamp, [node]);
        }
        table.leaving.retain(|node, names| !names.is_empty() && living.contains(node));
        for (&node, names) in &table.leaving {
            let leave = names.iter().map(|(name, stamp)| (name.clone(), *stamp)).collect();
            work.entry(node).or_default().leave = leave;
        }
        work
    }

    /// `node` has done what it was told, apart from what it `refused`; false if something of that
    /// is to be tried again.
    pub(super) fn told(&self, node: NodeId, batch: Batch, refused: &[(String, Refusal)]) -> bool {
        let mut lost = Vec::new();
        let mut all = true;
        {
            let mut table = self.table();
            for (name, stamp) in batch.leave {
                if let Some(names) = table.leaving.get_mut(&node)
                    && names.get(&name) == Some(&stamp)
                {
                    names.remove(&name);
                }
            }
            for Entry { name, stamp, .. } in batch.enter {
                match refused.iter().find(|(refused, _)| *refused == name) {
                    Some((_, Refusal::Taken(winner))) => lost.push((name, stamp, winner.by)),
                    Some(_) => all = false,
                    None => table.entered(&name, stamp, node),
                }
            }
        }
        for (name, stamp, winner) in lost {
            self.end(&name, stamp, NameEnd::Lost(winner));
        }
        all
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that can panic runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn entered(&mut self, name: &str, stamp: Stamp, node: NodeId) {
        match self.held.get_mut(name).filter(|held| held.entry.stamp == stamp) {
            Some(held) => drop(held.at.insert(node)),
            // It ended while it was being entered.
            None => self.leave(name, stamp, [node]),
        }
    }

    fn leave(&mut self, name: &str, stamp: Stamp, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            self.leaving.entry(node).or_default().insert(name.to_owned(), stamp);
        }
    }
}
