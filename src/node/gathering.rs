//! Groups of the whole cluster: how nodes hear of each other's members, and how a message reaches
//! those of many nodes (RO-1 to RO-3 of `roster`).
//!
//! A node says that its members have changed, and each other node asks what has. One that missed it
//! asks when the next connection is there. Between two locks of this room that of a group is taken:
//! `Known` first, then the group, then `Announced`.
//!
//! Invariants:
//! - **GT-1** A replica has the members that its node knows of, whenever it was made.
//! - **GT-2** A message that is spread goes to each node at most once, and there to the members that
//!   this node answers for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mobula_actors::carrier::{Address, Carrier};
use mobula_actors::id::{ActorId, NodeId};
use mobula_actors::wire::PAYLOADS_PER_MESSAGE_MAX;
use mobula_actors::{Group, GroupError, Herald, NameError, Payload, Protocol, Replica, Spread};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::cluster::Cluster;
use super::directory::NAME_BYTES_MAX;
use super::roster::{Announced, Change, Cursor, Joined, Known, News};
use super::service::NodeMsg;

/// Nodes that one node hands a message on to.
const BRANCHES: usize = 8;
/// Nodes that one message can be for.
const SPREAD_NODES_MAX: usize = 4_096;
/// How long a node is waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The groups of the cluster as this node sees them.
#[derive(Default)]
pub(super) struct Gathering {
    announced: Announced,
    /// Others are to be told that members have joined or left here.
    changed: Notify,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    known: HashMap<NodeId, Known>,
    /// Nodes that are being asked, and whether they are to be asked again.
    asking: HashMap<NodeId, bool>,
    replicas: HashMap<String, Weak<dyn Replica>>,
}

/// A message on its way along the tree.
#[derive(Serialize, Deserialize)]
pub(super) struct Parcel {
    origin: NodeId,
    group: String,
    protocol: String,
    head: Payload,
    payloads: Vec<Payload>,
    /// Where it is to go from here.
    on: Vec<NodeId>,
}

impl Gathering {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        // No code of the user runs under this lock.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Whether nobody asks this node yet; if so, somebody does now.
    fn begin(&mut self, node: NodeId) -> bool {
        let begins = !self.asking.contains_key(&node);
        self.asking.entry(node).or_insert(false);
        begins
    }

    fn replica(&self, group: &str) -> Option<Arc<dyn Replica>> {
        self.replicas.get(group).and_then(Weak::upgrade)
    }

    fn pass(&self, by: NodeId, change: &Change) {
        let (Change::Entered(joined) | Change::Left(joined)) = change;
        let Some(replica) = self.replica(&joined.group) else { return };
        if replica.schema().name() != joined.protocol {
            let (group, protocol) = (&joined.group, &joined.protocol);
            tracing::warn!(%by, group, protocol, "a member of a group takes other messages");
            return;
        }
        match change {
            Change::Entered(joined) => replica.enter(by, joined.member),
            Change::Left(joined) => replica.exit(by, joined.member.actor),
        }
    }
}

impl Herald for Cluster {
    fn node(&self) -> NodeId {
        self.id
    }

    fn joined(
        &self,
        group: &str,
        protocol: &'static str,
        member: Address,
    ) -> Result<(), GroupError> {
        self.gathering.announced.joined(group, protocol, member)?;
        self.gathering.changed.notify_one();
        Ok(())
    }

    fn left(&self, group: &str, member: ActorId) {
        self.gathering.announced.left(group, member);
        self.gathering.changed.notify_one();
    }

    fn spread(&self, message: Spread) -> Vec<NodeId> {
        let Spread { group, schema, head, payloads, nodes } = message;
        // Where it is not known that the shape fits, the members' own messages find out.
        let fits = |node: &NodeId| self.link(*node).is_some() && self.fits(*node, schema);
        let (on, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(fits);
        let protocol = schema.name().to_owned();
        let payloads = payloads.into_iter().map(Payload).collect();
        let (origin, head) = (self.id, Payload(head.into()));
        self.pass_on(Parcel { origin, group, protocol, head, payloads, on });
        others
    }
}

impl Cluster {
    /// See [`super::Node::group`].
    pub(super) fn group<M: Protocol>(&self, name: &str) -> Result<Group<M>, NameError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || M::NAME.len() > NAME_BYTES_MAX {
            return Err(NameError::Unfit(name.into(), "it takes 1 to 255 bytes"));
        }
        let stopping = || NameError::Unreachable(name.into());
        let cluster = self.arc().ok_or_else(stopping)?;
        let carrier: Arc<dyn Carrier> = cluster.clone();
        let mut heard = self.gathering.heard();
        let (group, replica) = self.engine.shared_group::<M>(name, carrier, cluster)?;
        let is_new = heard.replica(name).is_none();
        let Heard { known, replicas, .. } = &mut *heard;
        let all = || {
            let members = |(by, known): (&NodeId, &Known)| {
                let named = known.members().filter(|joined| joined.group == name).cloned();
                named.map(|joined| (*by, joined)).collect::<Vec<(NodeId, Joined)>>()
            };
            known.iter().flat_map(members)
        };
        if all().any(|(_, joined)| joined.protocol != M::NAME) {
            return Err(NameError::OtherProtocol(name.into()));
        }
        if is_new {
            all().for_each(|(by, joined)| replica.enter(by, joined.member));
            if replicas.len() == replicas.capacity() {
                replicas.retain(|_, replica| replica.strong_count() > 0);
            }
            replicas.insert(name.to_owned(), Arc::downgrade(&replica));
        }
        Ok(group)
    }

    /// Tells all others when members have joined or left here, until the node stops.
    pub(super) async fn keep_groups(self: Arc<Self>) {
        loop {
            self.gathering.changed.notified().await;
            for node in self.membership.living() {
                if node != self.id {
                    self.tell(node, NodeMsg::GroupsChanged { by: self.id });
                }
            }
        }
    }

    /// What another node has not heard of this one's members.
    pub(super) fn groups_since(&self, cursor: Cursor) -> News {
        self.gathering.announced.since(cursor)
    }

    /// Asks `node` for what has changed of its members, until nothing more comes.
    pub(super) fn hear_groups(&self, node: NodeId) {
        let Some(cluster) = self.arc().filter(|_| node != self.id) else { return };
        {
            let mut heard = self.gathering.heard();
            if !heard.begin(node) {
                heard.asking.insert(node, true);
                return;
            }
        }
        self.system.runtime().spawn(async move { while cluster.ask_groups(node).await {} });
    }

    /// One question; false if it was the last.
    async fn ask_groups(&self, node: NodeId) -> bool {
        let cursor = {
            let mut heard = self.gathering.heard();
            heard.asking.insert(node, false);
            heard.known.get(&node).map_or_else(Cursor::default, |known| known.cursor)
        };
        let answer = match self.service(node).filter(|_| self.link(node).is_some()) {
            Some(service) => {
                let question = |news| NodeMsg::GroupsSince { cursor, news };
                service.call(question).within(ASK_TIMEOUT).await.ok()
            }
            None => None,
        };
        match answer {
            Some(news) => self.heard_groups(node, news),
            // The next connection begins with a question.
            None if self.link(node).is_none() => {
                self.gathering.heard().asking.remove(&node);
                // One that came meanwhile found this one still asking.
                self.link(node).is_some() && self.gathering.heard().begin(node)
            }
            None => {
                tokio::time::sleep(ASK_AGAIN).await;
                true
            }
        }
    }

    /// Takes an answer in; false if nothing is left to be asked.
    fn heard_groups(&self, node: NodeId, news: News) -> bool {
        let more = news.more;
        let mut heard = self.gathering.heard();
        // Nothing is kept for nodes that are not there; of one that comes it is asked then.
        let changes = match self.membership.is_living(node) {
            true => heard.known.entry(node).or_default().hear(news),
            false => None,
        };
        let Some(changes) = changes else {
            heard.asking.remove(&node);
            return false;
        };
        changes.iter().for_each(|change| heard.pass(node, change));
        let goes_on = more || heard.asking.get(&node) == Some(&true);
        if !goes_on {
            heard.asking.remove(&node);
        }
        goes_on
    }

    /// A life is over, and its members with it (RO-3).
    pub(super) fn groups_node_is_gone(&self, node: NodeId) {
        let mut heard = self.gathering.heard();
        let Some(known) = heard.known.remove(&node) else { return };
        for joined in known.members() {
            heard.pass(node, &Change::Left(joined.clone()));
        }
    }

    /// A message that goes along the tree has come here.
    pub(super) fn parcel_came(&self, parcel: Parcel) {
        let Parcel { origin, group, protocol, head, payloads, on } = &parcel;
        if payloads.len() > PAYLOADS_PER_MESSAGE_MAX || on.len() > SPREAD_NODES_MAX {
            return;
        }
        let replica = self.gathering.heard().replica(group);
        if let Some(replica) = replica.filter(|replica| replica.schema().name() == protocol) {
            let payloads: Vec<_> = payloads.iter().map(|payload| payload.0.clone()).collect();
            let refused = replica.deliver(*origin, &head.0, &payloads);
            if refused > 0 {
                tracing::debug!(group, refused, "members of a group refused a message");
            }
        }
        self.pass_on(parcel);
    }

    /// Hands a message on to a few nodes, each of which hands it on to its share of the others.
    fn pass_on(&self, parcel: Parcel) {
        let Parcel { origin, group, protocol, head, payloads, on } = parcel;
        let mut seen = HashSet::from([self.id]);
        let on: Vec<NodeId> = on.into_iter().filter(|node| seen.insert(*node)).collect();
        for share in on.chunks(on.len().div_ceil(BRANCHES).max(1)) {
            let Some((next, on)) = share.split_first() else { continue };
            let (group, protocol) = (group.clone(), protocol.clone());
            let (head, payloads) = (head.clone(), payloads.clone());
            let parcel = Parcel { origin, group, protocol, head, payloads, on: on.to_vec() };
            self.tell(*next, NodeMsg::Spread(Box::new(parcel)));
        }
    }
}
