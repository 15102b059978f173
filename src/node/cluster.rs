//! One node's share of a cluster: what carries messages between it and the others.
//!
//! Messages leave through [`Carrier`], which finds the actor's node, spends credit and queues on
//! the lane; they come back in through `inbound`. Each table it holds has a room-mate that owns its
//! rules: `calls`, `credit`, `routes`, `children`, `hosting`, `watches`, `membership`.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobula_actors::carrier::{Address, Answer, BoxFuture, Carrier, Inbox, OnDown};
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::spawner::Hosted;
use mobula_actors::wire::{CallId, Outgoing};
use mobula_actors::{ActorRef, CallError, Engine, Exit, Lost, Why};
use tokio::sync::Notify;

use super::calls::Calls;
use super::children::Children;
use super::credit::{CREDIT_START, Granting, Purse, Spending};
use super::frames::{
    self, CREDIT, CreditHead, HANDED, HandedHead, MESSAGE, MessageHead, Parts, REPLY, ReplyHead,
};
use super::hosting::{Hosting, end};
use super::membership::Membership;
use super::routes::{Route, Routes};
use super::service::NodeMsg;
use super::watches::Watches;
use crate::net::{self, Lane, Link, Message, Net};

/// How often a send that waits looks again by itself, whatever it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a send waits for room in a mailbox here whose actor was elsewhere when it was encoded.
const FULL_HERE: Duration = Duration::from_millis(2);
/// Actors that a node looks for at the same time.
const LOCATING_MAX: usize = 4_096;
/// Messages for a node's own actor that are larger than this do not stand in the way of calls.
const BULK_BYTES_MIN: usize = 64 << 10;
/// Messages of senders that have just begun may exceed a mailbox by so many.
const NEWCOMERS_MAX: usize = 32 * CREDIT_START as usize;

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
    links: RwLock<HashMap<NodeId, Link>>,
    pub(super) calls: Calls,
    pub(super) spending: Spending,
    pub(super) granting: Granting,
    routes: Mutex<Routes>,
    /// Actors whose home is being asked where they are.
    locating: Mutex<BTreeSet<ActorId>>,
    pub(super) children: Children,
    pub(super) hosting: Hosting,
    pub(super) watches: Watches,
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
        let cluster = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            id,
            engine,
            system,
            kinds,
            net: RwLock::default(),
            links: RwLock::default(),
            calls: Calls::default(),
            spending: Spending::default(),
            granting: Granting::default(),
            routes: Mutex::default(),
            locating: Mutex::default(),
            children: Children::default(),
            hosting,
            watches: Watches::default(),
            membership,
            changed: Notify::new(),
            message_bytes_max,
        });
        let weak = Arc::downgrade(&cluster);
        cluster.engine.on_credit_returned(Arc::new(move |line| {
            if let Some(cluster) = weak.upgrade() {
                cluster.return_credit(line);
            }
        }));
        cluster
    }

    /// This very value, shared. The node that owns it is alive while anything can call it.
    pub(super) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
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
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(node, link);
    }

    pub(super) fn remove_link(&self, node: NodeId) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
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

    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        // Nothing that can panic runs under this lock.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a message for `to` must go.
    fn find(&self, to: &Address) -> Result<(NodeId, Epoch), Why> {
        if let Some(found) = self.children.find(to.actor) {
            return found;
        }
        if to.home == self.id {
            // Nobody knows better. A child that its home does not know has ended.
            return if to.node == self.id { Ok((to.node, to.epoch)) } else { Err(Why::Stopped) };
        }
        match self.routes().get(to.actor) {
            Some(Route::At(node, epoch)) => Ok((node, epoch)),
            Some(Route::Ended) => Err(Why::Stopped),
            Some(Route::Unknown) => Err(Why::NoRoute),
            None => Ok((to.node, to.epoch)),
        }
    }

    /// Where the actor is, if its node may still be alive.
    pub(super) fn whereabouts(&self, to: &Address) -> Result<NodeId, Why> {
        let (node, _) = self.find(to)?;
        if self.membership.is_living(node) { Ok(node) } else { Err(self.unlinked(node)) }
    }

    /// Why a node without a connection cannot be sent to: one that is not a member, or not any
    /// more, never will be, and the actor's home must be asked.
    fn unlinked(&self, node: NodeId) -> Why {
        if self.membership.is_living(node) { Why::Unreachable } else { Why::NoRoute }
    }

    fn push_on(
        &self,
        lane: Lane,
        to: &Address,
        mut outgoing: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)> {
        let (node, epoch) = match self.find(to) {
            Ok(found) => found,
            Err(why) => return Err((outgoing, why)),
        };
        if node == self.id {
            return self.push_here(to.actor, outgoing, deadline);
        }
        if lane == Lane::Call && Parts::of(&outgoing).bytes() > self.message_bytes_max {
            let (bytes, max) = (outgoing.len() as u64, self.message_bytes_max as u64);
            return Err((outgoing, Why::TooLarge { bytes, max }));
        }
        let Some(link) = self.link(node) else { return Err((outgoing, self.unlinked(node))) };
        let purse = match self.spend(node, to.actor) {
            Ok(purse) => purse,
            Err(why) => return Err((outgoing, why)),
        };
        // A call is entered as sent before it is, so that its answer finds it.
        for call in outgoing.calls.iter().filter(|call| call.origin == self.id) {
            self.calls.sent(call.number, node);
        }
        let rest_us = deadline.map(|deadline| {
            let rest = deadline.saturating_duration_since(Instant::now()).as_micros();
            u64::try_from(rest).unwrap_or(u64::MAX)
        });
        let head = MessageHead::new(to.actor, epoch, rest_us, self.id, &outgoing);
        let frame = frames::frame(MESSAGE, &head, &mut outgoing);
        match link.push(lane, frame) {
            Ok(()) => {
                outgoing.sent();
                self.handed_on(&outgoing.calls, node);
                Ok(())
            }
            Err(refused) => {
                if let Some(purse) = purse {
                    purse.add(1);
                }
                frames::unframe(refused.message, &mut outgoing);
                Err((outgoing, why_of(refused.why)))
            }
        }
    }

    /// Tells the callers elsewhere that `to` answers them now: from here on its death is the end
    /// of their calls, and this node's no longer is.
    fn handed_on(&self, calls: &[CallId], to: NodeId) {
        for call in calls.iter().filter(|call| call.origin != self.id) {
            let head = HandedHead { number: call.number, to };
            self.push_surely(call.origin, Lane::Call, frames::bare(HANDED, &head));
        }
    }

    /// The node's own actors answer at once and are asked little: they need no credit.
    fn spend(&self, node: NodeId, actor: ActorId) -> Result<Option<Arc<Purse>>, Why> {
        if actor.number == 0 {
            return Ok(None);
        }
        let purse = self.spending.purse(node, actor).ok_or(Why::NoCredit)?;
        if purse.spend() { Ok(Some(purse)) } else { Err(Why::NoCredit) }
    }

    /// An actor that was elsewhere when its message was encoded has come here.
    fn push_here(
        &self,
        actor: ActorId,
        mut outgoing: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)> {
        let (Some(inbound), Some(carrier)) = (self.engine.exported(actor), self.carrier()) else {
            return Err((outgoing, Why::Stopped));
        };
        let payloads = outgoing.payloads.clone();
        let inbox = Inbox { from: self.id, head: &outgoing.head, payloads, deadline, credit: 0 };
        match inbound.deliver(&carrier, inbox, 0) {
            Ok(()) => {
                outgoing.sent();
                Ok(())
            }
            Err(why) => Err((outgoing, why)),
        }
    }

    /// Sends as [`Carrier::send`], on a lane.
    pub(super) async fn send_on(
        self: Arc<Self>,
        lane: Lane,
        to: Address,
        mut outgoing: Outgoing,
        deadline: Instant,
        carry_deadline: bool,
    ) -> Result<(), (Outgoing, Why)> {
        loop {
            let changed = self.changed.notified();
            let why = match self.push_on(lane, &to, outgoing, carry_deadline.then_some(deadline)) {
                Ok(()) => return Ok(()),
                Err((back, why)) => {
                    outgoing = back;
                    why
                }
            };
            let hopeless = why == Why::NoRoute && self.membership.is_gone(to.home);
            if is_final(&why) || hopeless || Instant::now() >= deadline {
                return Err((outgoing, why));
            }
            if why == Why::NoRoute {
                self.locate(to);
            }
            let look_again = (Instant::now() + LOOK_AGAIN).min(deadline);
            // Whatever it is, the loop looks again: a wait that ends early costs one look.
            let _ = tokio::time::timeout_at(look_again.into(), async {
                tokio::select! {
                    () = changed => {}
                    () = self.wait_for(lane, &to, &why) => {}
                }
            })
            .await;
        }
    }

    async fn wait_for(&self, lane: Lane, to: &Address, why: &Why) {
        // What cannot be waited for is looked at again in a while, never at once.
        let Ok((node, _)) = self.find(to) else { return std::future::pending().await };
        match why {
            Why::NoCredit => match self.spending.purse(node, to.actor) {
                Some(purse) => purse.funded().await,
                None => std::future::pending().await,
            },
            Why::Full if node == self.id => tokio::time::sleep(FULL_HERE).await,
            Why::Full => match self.link(node) {
                Some(link) => link.room(lane).await,
                None => std::future::pending().await,
            },
            _ => std::future::pending().await,
        }
    }

    pub(super) fn return_credit(&self, line: u32) {
        let capacity =
            |actor| self.engine.exported(actor).map_or(0, |inbound| inbound.control().capacity());
        let Some(grant) = self.granting.taken(line, capacity) else { return };
        let head = CreditHead { actor: grant.actor, messages: grant.messages };
        self.push_control(grant.node, frames::bare(CREDIT, &head));
    }

    /// Sends what must not get lost while the connection lives.
    pub(super) fn push_control(&self, node: NodeId, message: Message) {
        self.push_surely(node, Lane::Control, message);
    }

    fn push_surely(&self, node: NodeId, lane: Lane, message: Message) {
        // Without a connection both sides have given up what this was about.
        let Some(link) = self.link(node) else { return };
        let Err(refused) = link.push(lane, message) else { return };
        if refused.why != net::Why::Full {
            tracing::debug!(%node, why = %refused.why, "a frame was not sent");
            return;
        }
        let mut message = refused.message;
        self.system.runtime().spawn(async move {
            while link.is_open() {
                link.room(lane).await;
                match link.push(lane, message) {
                    Ok(()) => return,
                    Err(refused) => message = refused.message,
                }
            }
        });
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

/// Large things that nodes tell each other name their place and need no order.
fn lane_of(actor: ActorId, message: &Outgoing) -> Lane {
    if actor.number == 0 && message.len() >= BULK_BYTES_MIN { Lane::Bulk } else { Lane::Call }
}

fn is_final(why: &Why) -> bool {
    matches!(why, Why::TooLarge { .. } | Why::Incompatible(_) | Why::Stopped)
}

fn why_of(why: net::Why) -> Why {
    match why {
        net::Why::Full => Why::Full,
        net::Why::TooLarge { bytes, max } => Why::TooLarge { bytes: bytes as u64, max: max as u64 },
        _ => Why::Unreachable,
    }
}

impl Carrier for Cluster {
    fn node(&self) -> NodeId {
        self.id
    }

    fn engine(&self) -> Engine {
        self.engine.clone()
    }

    fn register(&self, answer: Arc<dyn Answer>) -> Result<CallId, Why> {
        Ok(CallId { origin: self.id, number: self.calls.register(answer)? })
    }

    fn forget(&self, call: CallId) {
        if call.origin == self.id {
            self.calls.take(call.number);
        }
    }

    fn push(
        &self,
        to: &Address,
        message: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)> {
        let pushed = self.push_on(lane_of(to.actor, &message), to, message, deadline);
        if let Err((_, Why::NoRoute)) = &pushed {
            // The next message finds the way.
            self.locate(*to);
        }
        pushed
    }

    fn send(
        self: Arc<Self>,
        to: Address,
        message: Outgoing,
        deadline: Instant,
        carry_deadline: bool,
    ) -> BoxFuture<'static, Result<(), (Outgoing, Why)>> {
        let lane = lane_of(to.actor, &message);
        Box::pin(self.send_on(lane, to, message, deadline, carry_deadline))
    }

    fn reply(&self, call: CallId, answer: Result<Outgoing, CallError>) {
        let mut answer = answer.and_then(|outgoing| {
            let bytes = Parts::of(&outgoing).bytes();
            if bytes <= self.message_bytes_max || call.origin == self.id {
                return Ok(outgoing);
            }
            Err(CallError::Unknown(Lost::Undecodable(format!(
                "the answer has {} bytes, more than the {} allowed between nodes",
                outgoing.len(),
                self.message_bytes_max
            ))))
        });
        if call.origin == self.id {
            match &mut answer {
                Ok(outgoing) => {
                    let payloads = std::mem::take(&mut outgoing.payloads);
                    self.answer_here(self.id, call.number, &outgoing.head, payloads);
                    outgoing.sent();
                }
                Err(error) => self.calls.fail(call.number, error.clone()),
            }
            return;
        }
        let frame = match &mut answer {
            Ok(outgoing) => {
                let parts = Parts::of(outgoing);
                let head = ReplyHead { number: call.number, outcome: Ok(()), parts };
                let frame = frames::frame(REPLY, &head, outgoing);
                outgoing.sent();
                frame
            }
            Err(error) => {
                let (number, parts) = (call.number, Parts::default());
                frames::bare(REPLY, &ReplyHead { number, outcome: Err(error.clone()), parts })
            }
        };
        self.push_surely(call.origin, Lane::Call, frame);
    }

    fn present(&self, to: &Address) -> Address {
        match self.find(to) {
            Ok((node, epoch)) => Address { node, epoch, ..*to },
            Err(_) => *to,
        }
    }

    fn monitor(&self, to: &Address, on_down: OnDown) {
        if let Some(inbound) = self.engine.exported(to.actor) {
            inbound.control().monitor(on_down);
            return;
        }
        self.watch(*to, on_down);
    }

    fn stop(&self, to: &Address, exit: Exit, kill: bool) {
        if let Some(inbound) = self.engine.exported(to.actor) {
            return end(&*inbound.control(), exit, kill);
        }
        if let Ok((node, _)) = self.find(to) {
            self.tell(node, NodeMsg::End { actor: to.actor, epoch: None, exit, kill });
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.id)
    }
}
