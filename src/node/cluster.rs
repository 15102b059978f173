//! One node's share of a cluster: what carries messages between it and the others.
//!
//! Messages leave through `outbound` and come in through `inbound`. Each table here has a room-mate
//! that owns its rules: `calls`, `credit`, `routes`, `children`, `hosting`, `watches`, `watched`,
//! `directory`, `registrar`, `shapes`,
//! `gathering`, `membership`, `ways`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};

use bytes::Bytes;
use mobula_actors::carrier::{Address, Carrier};
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::spawner::Hosted;
use mobula_actors::wire::CallId;
use mobula_actors::{ActorRef, CallError, Engine, Why};
use tokio::sync::Notify;

use super::asked::Asked;
use super::backlog::Backlog;
use super::calls::Calls;
use super::children::Children;
use super::credit::{CREDIT_START, Grant, Granting, Spending};
use super::directory::Directory;
use super::frames::{self, CREDIT, CreditHead};
use super::gathering::Gathering;
use super::hosting::Hosting;
use super::membership::Membership;
use super::registrar::Registrar;
use super::revoking::Revoking;
use super::routes::{Route, Routes};
use super::service::NodeMsg;
use super::shapes::Shapes;
use super::watched::Watched;
use super::watches::Watches;
use super::ways::{Changes, Ways};
use crate::net::{self, Lane, Link, Message, Net};

/// Actors that a node looks for at the same time.
const LOCATING_MAX: usize = 4_096;
/// Messages of senders that have just begun may exceed a mailbox by so many.
const NEWCOMERS_MAX: usize = 32 * CREDIT_START as usize;

/// A table that is looked into for every message: hashed by a fast function with a secret seed.
pub(super) type Table<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What this node is in its cluster.
pub(super) struct Cluster {
    me: Weak<Self>,
    pub(super) id: NodeId,
    /// Runs the actors of the user.
    pub(super) engine: Engine,
    /// Runs what must go on when actors keep their runtime busy.
    pub(super) system: Engine,
    pub(super) kinds: HashMap<&'static str, Hosted>,
    net: RwLock<Option<Net>>,
    links: RwLock<Table<NodeId, Link>>,
    pub(super) asked: Asked,
    pub(super) backlog: Backlog,
    pub(super) revoking: Revoking,
    pub(super) calls: Calls,
    pub(super) spending: Spending,
    pub(super) granting: Arc<Granting>,
    routes: Mutex<Routes>,
    /// Actors whose home is being asked where they are.
    locating: Mutex<BTreeSet<ActorId>>,
    pub(super) children: Children,
    pub(super) ways: Ways,
    changes: Arc<Changes>,
    pub(super) hosting: Hosting,
    pub(super) watches: Watches,
    pub(super) watched: Watched,
    pub(super) directory: Directory,
    pub(super) registrar: Registrar,
    pub(super) shapes: Shapes,
    pub(super) gathering: Gathering,
    pub(super) membership: Membership,
    /// Something changed that a waiting send may have waited for.
    pub(super) changed: Notify,
    pub(super) message_bytes_max: usize,
}

/// The pieces a node is made of before it has a network.
pub(super) struct Foundation {
    pub(super) id: NodeId,
    pub(super) engine: Engine,
    pub(super) system: Engine,
    pub(super) kinds: HashMap<&'static str, Hosted>,
    pub(super) hosting: Hosting,
    pub(super) membership: Membership,
    pub(super) message_bytes_max: usize,
}

/// The digest of a node's name that marks the actors it creates.
pub(super) fn origin_of(node: NodeId) -> u64 {
    let mut hash = crate::machine::Rng::new(node.boot).next_u64();
    for chunk in node.key.0.chunks(8) {
        let word = chunk.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        hash = crate::machine::Rng::new(hash ^ word).next_u64();
    }
    hash
}

/// The well-known name of a node's own actor.
pub(super) fn service_id(node: NodeId) -> ActorId {
    ActorId { origin: origin_of(node), number: 0 }
}

impl Cluster {
    pub(super) fn new(parts: Foundation) -> Arc<Self> {
        let Foundation { id, engine, system, kinds, hosting, membership, message_bytes_max } =
            parts;
        let changes = Arc::<Changes>::default();
        let cluster = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            id,
            engine,
            system,
            kinds,
            net: RwLock::default(),
            links: RwLock::default(),
            asked: Asked::default(),
            backlog: Backlog::default(),
            revoking: Revoking::default(),
            calls: Calls::default(),
            spending: Spending::default(),
            granting: Arc::default(),
            routes: Mutex::default(),
            locating: Mutex::default(),
            children: Children::new(changes.clone()),
            ways: Ways::new(changes.clone()),
            changes,
            hosting,
            watches: Watches::default(),
            watched: Watched::default(),
            directory: Directory::default(),
            registrar: Registrar::default(),
            shapes: Shapes::default(),
            gathering: Gathering::default(),
            membership,
            changed: Notify::new(),
            message_bytes_max,
        });
        let (weak, granting) = (Arc::downgrade(&cluster), cluster.granting.clone());
        cluster.engine.on_credit_returned(Arc::new(move |line| {
            // Most messages bring no grant, and leave the node's reference count alone.
            let capacity = |actor| weak.upgrade().map_or(0, |cluster| cluster.capacity(actor));
            let grant = granting.taken(line, capacity);
            if let (Some(grant), Some(cluster)) = (grant, weak.upgrade()) {
                cluster.grant(&grant);
            }
        }));
        cluster
    }

    /// This very value, shared. The node that owns it is alive while anything can call it.
    pub(super) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    pub(super) fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        self.arc().map(|cluster| cluster as Arc<dyn Carrier>)
    }

    /// The reference to a node's own actor.
    pub(super) fn service(&self, node: NodeId) -> Option<ActorRef<NodeMsg>> {
        let address = Address { actor: service_id(node), epoch: Epoch(1), node, home: node };
        Some(ActorRef::at(&self.system, self.carrier()?, address))
    }

    /// Tells a node's own actor something, waiting for a connection if need be.
    pub(super) fn tell(&self, node: NodeId, message: NodeMsg) {
        let Some(service) = self.service(node).filter(|_| !self.membership.is_gone(node)) else {
            return;
        };
        let Err(refused) = service.cast(message) else { return };
        self.system.runtime().spawn(async move {
            if let Err(refused) = service.send(refused.message).await {
                tracing::warn!(%node, why = %refused.why, "a node could not be told");
            }
        });
    }

    pub(super) fn link(&self, node: NodeId) -> Option<Link> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&node).filter(|link| link.is_open()).cloned()
    }

    pub(super) fn add_link(&self, node: NodeId, link: Link) {
        self.links_to_change().insert(node, link);
    }

    /// The nodes that are connected; who only looks is none (OV-2).
    pub(super) fn linked(&self) -> Vec<NodeId> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        let nodes = links.iter().filter(|(_, link)| !link.terms().observer);
        nodes.map(|(node, _)| *node).collect()
    }

    pub(super) fn remove_link(&self, node: NodeId) -> Option<Link> {
        let removed = self.links_to_change().remove(&node);
        self.ways.forget();
        removed
    }

    fn links_to_change(&self) -> RwLockWriteGuard<'_, Table<NodeId, Link>> {
        let links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.note();
        links
    }

    /// Both credit lines with `node` are over.
    pub(super) fn end_credit(&self, node: NodeId) {
        self.spending.end(node);
        self.changes.note();
        self.granting.end(node);
    }

    pub(super) fn dial(&self, key: PeerKey, address: &str) -> Result<(), net::NetError> {
        self.net(|net| net.dial(key, address)).unwrap_or(Err(net::NetError::Busy))
    }

    /// Does something with the network; `None` before it has started and after it has stopped.
    pub(super) fn net<R>(&self, body: impl FnOnce(&Net) -> R) -> Option<R> {
        self.net.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(body)
    }

    pub(super) fn set_net(&self, net: Option<Net>) -> Option<Net> {
        std::mem::replace(&mut *self.net.write().unwrap_or_else(PoisonError::into_inner), net)
    }

    /// Whether nobody asks for this actor yet; if so, somebody does now.
    pub(super) fn locating(&self, actor: ActorId) -> bool {
        let mut locating = self.locating.lock().unwrap_or_else(PoisonError::into_inner);
        locating.len() < LOCATING_MAX && locating.insert(actor)
    }

    pub(super) fn located(&self, actor: ActorId) {
        self.locating.lock().unwrap_or_else(PoisonError::into_inner).remove(&actor);
    }

    pub(super) fn route(&self, actor: ActorId) -> Option<Route> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(actor)
    }

    /// For whoever may change something.
    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        // Nothing that can panic runs under this lock.
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.note();
        routes
    }

    pub(super) fn return_credit(&self, line: u32) {
        if let Some(grant) = self.granting.taken(line, |actor| self.capacity(actor)) {
            self.grant(&grant);
        }
    }

    fn grant(&self, grant: &Grant) {
        let head = CreditHead { actor: grant.actor, messages: grant.messages };
        self.push_control(grant.node, frames::bare(CREDIT, &head));
    }

    /// How many messages the mailbox of an actor here holds.
    fn capacity(&self, actor: ActorId) -> usize {
        self.engine.exported(actor).map_or(0, |inbound| inbound.control().capacity())
    }

    /// Sends what must not get lost while the connection lives.
    pub(super) fn push_control(&self, node: NodeId, message: Message) {
        self.push_surely(node, Lane::Control, message);
    }

    /// Answers the calls of a message that was not run.
    pub(super) fn refuse(&self, calls: impl Iterator<Item = CallId>, why: &Why) {
        for call in calls {
            self.reply(call, Err(CallError::Rejected(why.clone())));
        }
    }

    pub(super) fn answer_here(&self, from: NodeId, number: u64, body: &[u8], payloads: Vec<Bytes>) {
        if let (Some(answer), Some(carrier)) = (self.calls.take(number), self.carrier()) {
            answer.answer(&carrier, from, body, payloads);
        }
    }

    /// How far a mailbox may be filled beyond its capacity by messages that hold credit.
    pub(super) fn extra(capacity: usize) -> usize {
        capacity.saturating_add(NEWCOMERS_MAX)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.id)
    }
}
