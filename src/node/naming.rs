//! How a node registers names and looks them up: it claims them at the nodes that keep them, and
//! goes on telling those what they are to keep (NR-1 to NR-3 of `registrar`).

use std::sync::Arc;
use std::time::Duration;

use mobula_actors::carrier::Monitor;
use mobula_actors::id::NodeId;
use mobula_actors::limits::DEADLINE_DEFAULT;
use mobula_actors::{ActorRef, CallError, NameError, Protocol, Why};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::directory::{Entry, Keepers, NAME_BYTES_MAX, NAMES_MAX, Refusal, Stamp};
use super::names::{NameEnd, Registration};
use super::registrar::Batch;
use super::service::NodeMsg;

/// How long one node is waited for before the members are looked at again.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

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

    /// Claims a name at all that keep it, and returns them (NR-1). The first decides between claims
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
                    Ok(Ok(())) => {}
                    Ok(Err(Refusal::Taken(_))) => return Err(NameError::Taken(name())),
                    Ok(Err(Refusal::TooMany)) => {
                        return Err(NameError::TooMany(name(), NAMES_MAX));
                    }
                    Err(CallError::Rejected(Why::Denied(why))) => {
                        return Err(NameError::Denied(name(), why.into()));
                    }
                    Ok(Err(Refusal::NotMine)) | Err(_) => {
                        tokio::time::sleep(ASK_AGAIN).await;
                        continue 'looking;
                    }
                }
            }
            return Ok(keepers);
        }
    }

    async fn claim_at(
        &self,
        keeper: NodeId,
        entry: &Entry,
    ) -> Result<Result<(), Refusal>, CallError> {
        let service = self.service(keeper).ok_or(CallError::Rejected(Why::NoRoute))?;
        let entry = entry.clone();
        service.call(|granted| NodeMsg::NameClaim { entry, granted }).within(ASK_TIMEOUT).await
    }

    /// See [`super::Node::lookup`].
    pub(super) async fn lookup<M: Protocol>(&self, name: &str) -> Result<ActorRef<M>, NameError> {
        let found = tokio::time::timeout(DEADLINE_DEFAULT, self.find_entry(name)).await;
        let unreachable = || NameError::Unreachable(name.into());
        let entry = found.map_err(|_| unreachable())??;
        let entry = entry.ok_or_else(|| NameError::Unknown(name.into()))?;
        if entry.protocol != M::NAME {
            return Err(NameError::OtherProtocol(name.into()));
        }
        let carrier = self.carrier().ok_or_else(unreachable)?;
        Ok(ActorRef::at(&self.engine, carrier, entry.address))
    }

    async fn find_entry(&self, name: &str) -> Result<Option<Entry>, NameError> {
        if name.len() > NAME_BYTES_MAX {
            return Ok(None);
        }
        loop {
            if let Some(entry) = self.registrar.granted(name) {
                return Ok(Some(entry));
            }
            if let Some(found) = self.ask_for(name).await? {
                return Ok(found);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Asks all that keep a name. One that has it is enough; that nobody has it all must say.
    async fn ask_for(&self, name: &str) -> Result<Option<Option<Entry>>, NameError> {
        let mut asked = JoinSet::new();
        for keeper in Keepers::among(&self.membership.living()).of(name) {
            let Some(service) = self.service(keeper) else { return Ok(None) };
            let name = name.to_owned();
            let call = service.call(|found| NodeMsg::NameFind { name, found }).within(ASK_TIMEOUT);
            asked.spawn_on(call.into_future(), self.system.runtime());
        }
        let mut all = true;
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Ok(Some(entry)))) => return Ok(Some(Some(entry))),
                Ok(Ok(Ok(None))) => {}
                Ok(Err(CallError::Rejected(Why::Denied(why)))) => {
                    return Err(NameError::Denied(name.into(), why.into()));
                }
                _ => all = false,
            }
        }
        Ok(all.then_some(None))
    }

    /// Enters names where they are to be kept, and takes out those that hold no more, until the
    /// node stops (NR-3).
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
