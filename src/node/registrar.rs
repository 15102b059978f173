//! The names that were registered on this node: claimed at the nodes that keep them, entered where
//! the members that are seen change who keeps them, and taken out when they end.
//!
//! Invariants:
//! - **NA-1** A registration is granted only when every node that keeps the name by the members
//!   seen here has granted it.
//! - **NA-2** A registration ends once, and says why.
//! - **NA-3** What was entered anywhere and holds no more is taken out until that node says that it
//!   is, or is dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mobula_actors::carrier::{Address, Monitor};
use mobula_actors::id::NodeId;
use mobula_actors::limits::DEADLINE_DEFAULT;
use mobula_actors::{ActorRef, NameError, Protocol};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::directory::{
    Entry, Keepers, NAME_BYTES_MAX, NAMES_MAX, NAMES_PER_MESSAGE_MAX, Refusal, Stamp,
};
use super::names::{NameEnd, Registration};
use super::service::NodeMsg;

/// How long one node is waited for before the members are looked at again.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

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
struct Batch {
    enter: Vec<Entry>,
    leave: Vec<(String, Stamp)>,
}

/// A claim that is not granted yet. Dropped, it is given up.
struct Claim<'a> {
    cluster: &'a Cluster,
    entry: Entry,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Entry { name, stamp, .. } = &self.entry;
        self.cluster.registrar.drop_claim(name, *stamp);
    }
}

impl Cluster {
    /// See [`super::Node::register`].
    pub(super) async fn register<M: Protocol>(
        &self,
        name: &str,
        actor: &ActorRef<M>,
    ) -> Result<Registration, NameError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || M::NAME.len() > NAME_BYTES_MAX {
            return Err(NameError::Unfit(name.into(), "it takes 1 to 255 bytes"));
        }
        let unreachable = || NameError::Unreachable(name.into());
        let carrier = self.carrier().ok_or_else(unreachable)?;
        let address = actor.address(&carrier);
        let address =
            address.ok_or_else(|| NameError::Unfit(name.into(), "a group is no actor"))?;
        let (entry, ended) = self.registrar.begin(self.id, name, M::NAME, address)?;
        let stamp = entry.stamp;
        let claim = Claim { cluster: self, entry };
        let claimed = tokio::time::timeout(DEADLINE_DEFAULT, self.claim(&claim.entry)).await;
        let keepers = claimed.map_err(|_| unreachable())??;
        let token = self.registrar.grant(name, stamp, &keepers);
        // One that an older registration has meanwhile displaced is held no more.
        let token = token.ok_or_else(|| NameError::Taken(name.into()))?;
        drop(claim);
        self.watch_named(actor, name, stamp, &token);
        if *ended.borrow() == Some(NameEnd::Ended) {
            return Err(NameError::Ended(name.into()));
        }
        self.registrar.changed.notify_one();
        let (cluster, mine) = (self.weak(), name.to_owned());
        Ok(Registration::new(name, ended, move || {
            if let Some(cluster) = cluster.upgrade() {
                cluster.registrar.end(&mine, stamp, NameEnd::GivenUp);
            }
        }))
    }

    fn watch_named<M: Protocol>(
        &self,
        actor: &ActorRef<M>,
        name: &str,
        stamp: Stamp,
        token: &Arc<()>,
    ) {
        let (cluster, name) = (self.weak(), name.to_owned());
        let on_down = Box::new(move |_| {
            if let Some(cluster) = cluster.upgrade() {
                cluster.registrar.end(&name, stamp, NameEnd::Ended);
            }
        });
        actor.watch(Monitor { on_down, watcher: Some(Arc::downgrade(token)) });
    }

    /// Claims a name at all that keep it, and returns them (NA-1). The first decides between claims
    /// that are made at once.
    async fn claim(&self, entry: &Entry) -> Result<Vec<NodeId>, NameError> {
        let name = || entry.name.clone();
        'looking: loop {
            let keepers = Keepers::among(&self.membership.living()).of(&entry.name);
            for &keeper in &keepers {
                if !self.registrar.asks(&entry.name, entry.stamp, keeper) {
                    return Err(NameError::Taken(name()));
                }
                match self.claim_at(keeper, entry).await {
                    Some(Ok(())) => {}
                    Some(Err(Refusal::Taken(_))) => return Err(NameError::Taken(name())),
                    Some(Err(Refusal::TooMany)) => {
                        return Err(NameError::TooMany(name(), NAMES_MAX));
                    }
                    Some(Err(Refusal::NotMine)) | None => {
                        tokio::time::sleep(ASK_AGAIN).await;
                        continue 'looking;
                    }
                }
            }
            return Ok(keepers);
        }
    }

    async fn claim_at(&self, keeper: NodeId, entry: &Entry) -> Option<Result<(), Refusal>> {
        let service = self.service(keeper)?;
        let entry = entry.clone();
        service.call(|granted| NodeMsg::NameClaim { entry, granted }).within(ASK_TIMEOUT).await.ok()
    }

    /// See [`super::Node::lookup`].
    pub(super) async fn lookup<M: Protocol>(&self, name: &str) -> Result<ActorRef<M>, NameError> {
        let found = tokio::time::timeout(DEADLINE_DEFAULT, self.find_entry(name)).await;
        let unreachable = || NameError::Unreachable(name.into());
        let entry = found.map_err(|_| unreachable())?;
        let entry = entry.ok_or_else(|| NameError::Unknown(name.into()))?;
        if entry.protocol != M::NAME {
            return Err(NameError::OtherProtocol(name.into()));
        }
        let carrier = self.carrier().ok_or_else(unreachable)?;
        Ok(ActorRef::at(&self.engine, carrier, entry.address))
    }

    async fn find_entry(&self, name: &str) -> Option<Entry> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        loop {
            if let Some(entry) = self.registrar.granted(name) {
                return Some(entry);
            }
            if let Some(found) = self.ask_for(name).await {
                return found;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Asks all that keep a name. One that has it is enough; that nobody has it all must say.
    async fn ask_for(&self, name: &str) -> Option<Option<Entry>> {
        let mut asked = JoinSet::new();
        for keeper in Keepers::among(&self.membership.living()).of(name) {
            let service = self.service(keeper)?;
            let name = name.to_owned();
            let call = service.call(|found| NodeMsg::NameFind { name, found }).within(ASK_TIMEOUT);
            asked.spawn_on(call.into_future(), self.system.runtime());
        }
        let mut all = true;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Ok(Some(entry)))) => return Some(Some(entry)),
                Ok(Ok(Ok(None))) => {}
                _ => all = false,
            }
        }
        all.then_some(None)
    }

    /// Enters names where they are to be kept, and takes out those that hold no more, until the
    /// node stops (NA-3).
    pub(super) async fn keep_names(self: Arc<Self>) {
        loop {
            let changed = self.registrar.changed.notified();
            match self.settle_names().await {
                Some(true) => changed.await,
                Some(false) => {}
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// One round: true if nothing was to be done, `None` if something could not.
    async fn settle_names(self: &Arc<Self>) -> Option<bool> {
        let work = self.registrar.work(&self.membership.living());
        if work.is_empty() {
            return Some(true);
        }
        let mut told = JoinSet::new();
        for (node, batch) in work {
            told.spawn_on(self.clone().tell_names(node, batch), self.system.runtime());
        }
        let told = told.join_all().await;
        told.into_iter().all(|done| done).then_some(false)
    }

    /// Tells a node what it is to keep and to forget; false if something is to be tried again.
    async fn tell_names(self: Arc<Self>, node: NodeId, batch: Batch) -> bool {
        let Some(service) = self.service(node) else { return false };
        let mut all = true;
        for batch in batch.parts() {
            let Batch { enter, leave } = batch.clone();
            let call = service.call(|refused| NodeMsg::Names { enter, leave, refused });
            let Ok(refused) = call.within(ASK_TIMEOUT).await else { return false };
            all &= self.registrar.told(node, batch, &refused);
        }
        all
    }
}

impl Batch {
    /// Cut so that each is one message that travels in order with all others.
    fn parts(self) -> impl Iterator<Item = Self> {
        let enter = self.enter.chunks(NAMES_PER_MESSAGE_MAX).map(<[_]>::to_vec);
        let leave = self.leave.chunks(NAMES_PER_MESSAGE_MAX).map(<[_]>::to_vec);
        let leave = leave.map(|leave| Self { enter: Vec::new(), leave });
        let enter = enter.map(|enter| Self { enter, leave: Vec::new() });
        leave.chain(enter).collect::<Vec<_>>().into_iter()
    }
}

impl Registrar {
    fn begin(
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
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let stamp = Stamp { at_ms, by, number: table.next };
        let (name, protocol) = (name.to_owned(), protocol.to_owned());
        let entry = Entry { name: name.clone(), protocol, address, stamp };
        let (end, ended) = watch::channel(None);
        let (at, token) = (BTreeSet::new(), Arc::new(()));
        let held = Held { entry: entry.clone(), granted: false, at, end, token };
        table.held.insert(name, held);
        Ok((entry, ended))
    }

    /// `keeper` is about to be asked; false if the claim has been displaced meanwhile.
    fn asks(&self, name: &str, stamp: Stamp, keeper: NodeId) -> bool {
        let mut table = self.table();
        let held = table.held.get_mut(name).filter(|held| held.entry.stamp == stamp);
        held.map(|held| held.at.insert(keeper)).is_some()
    }

    /// `keepers` have it; whoever was asked besides may have it.
    fn grant(&self, name: &str, stamp: Stamp, keepers: &[NodeId]) -> Option<Arc<()>> {
        let mut table = self.table();
        let held = table.held.get_mut(name).filter(|held| held.entry.stamp == stamp)?;
        held.granted = true;
        let asked = std::mem::replace(&mut held.at, keepers.iter().copied().collect());
        let token = held.token.clone();
        let besides = asked.into_iter().filter(|node| !keepers.contains(node));
        table.leave(name, stamp, besides);
        Some(token)
    }

    fn drop_claim(&self, name: &str, stamp: Stamp) {
        let granted = |held: &Held| held.granted && held.entry.stamp == stamp;
        let is_granted = self.table().held.get(name).is_some_and(granted);
        if !is_granted {
            self.end(name, stamp, NameEnd::GivenUp);
        }
    }

    /// A registration holds no more (NA-2).
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

    fn granted(&self, name: &str) -> Option<Entry> {
        let table = self.table();
        table.held.get(name).filter(|held| held.granted).map(|held| held.entry.clone())
    }

    /// What is to be told to whom.
    fn work(&self, living: &[NodeId]) -> BTreeMap<NodeId, Batch> {
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
    fn told(&self, node: NodeId, batch: Batch, refused: &[(String, Refusal)]) -> bool {
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
