//! Nodes of one process that carry each other's messages by calling each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use bytes::Bytes;
use mobula_actors::carrier::{Address, Answer, BoxFuture, Carrier, Inbox, Monitor};
use mobula_actors::id::{Epoch, NodeId, PeerKey};
use mobula_actors::wire::{CallId, Outgoing};
use mobula_actors::{ActorRef, CallError, Down, Engine, Exit, Lost, Protocol, Why};
use tokio::runtime::Handle;
use tokio::sync::watch;

type Net = Arc<Mutex<HashMap<NodeId, Weak<FakeNode>>>>;

pub(crate) struct FakeNode {
    node: NodeId,
    engine: Engine,
    net: Net,
    me: Weak<Self>,
    calls: Mutex<HashMap<u64, Arc<dyn Answer>>>,
    next_call: AtomicU64,
    /// Why nothing leaves at the moment.
    pub(crate) refusal: watch::Sender<Option<Why>>,
}

/// `N` nodes that know each other.
pub(crate) fn nodes<const N: usize>() -> [Arc<FakeNode>; N] {
    let net = Net::default();
    std::array::from_fn(|index| {
        let node = NodeId { key: PeerKey([index as u8 + 1; 32]), boot: 1 };
        let engine = Engine::new(index as u64 + 1, Handle::current());
        let fake = Arc::new_cyclic(|me| FakeNode {
            node,
            engine,
            net: net.clone(),
            me: me.clone(),
            calls: Mutex::default(),
            next_call: AtomicU64::new(1),
            refusal: watch::Sender::new(None),
        });
        net.lock().unwrap().insert(node, Arc::downgrade(&fake));
        fake
    })
}

impl FakeNode {
    pub(crate) fn carrier(&self) -> Arc<dyn Carrier> {
        self.me.upgrade().unwrap()
    }

    pub(crate) fn pending_calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    fn peer(&self, node: NodeId) -> Option<Arc<Self>> {
        self.net.lock().unwrap().get(&node).and_then(Weak::upgrade)
    }

    /// A reference of this node to an actor of `other`, which is listed there.
    pub(crate) fn refer<M: Protocol>(&self, other: &Self, target: &ActorRef<M>) -> ActorRef<M> {
        other.engine.export_as(target.id(), target);
        let (node, epoch) = (other.node, Epoch(1));
        let address = Address { actor: target.id(), epoch, node, home: node };
        ActorRef::at(&self.engine, self.carrier(), address)
    }

    fn deliver(&self, to: &Address, mut message: Outgoing, deadline: Option<Instant>) {
        message.sent();
        let (calls, payloads) = (message.calls.clone(), message.payloads.clone());
        let inbox = Inbox { from: self.node, head: &message.head, payloads, deadline, credit: 0 };
        let peer = self.peer(to.node);
        let inbound = peer.as_ref().and_then(|peer| peer.engine.exported(to.actor));
        let outcome = match (&peer, inbound) {
            (Some(peer), Some(inbound)) => inbound.deliver(&peer.carrier(), inbox, 0),
            _ => Err(Why::NoRoute),
        };
        if let Err(why) = outcome {
            for call in calls {
                let error = match call.origin == self.node {
                    true => CallError::Rejected(why.clone()),
                    false => CallError::Unknown(Lost::Dropped),
                };
                self.reply(call, Err(error));
            }
        }
    }

    fn inbound(&self, to: &Address) -> Option<Arc<dyn mobula_actors::Control>> {
        let inbound = self.peer(to.node)?.engine.exported(to.actor)?;
        Some(inbound.control())
    }
}

impl Carrier for FakeNode {
    fn node(&self) -> NodeId {
        self.node
    }

    fn engine(&self) -> Engine {
        self.engine.clone()
    }

    fn register(&self, answer: Arc<dyn Answer>) -> Result<CallId, Why> {
        let number = self.next_call.fetch_add(1, Ordering::Relaxed);
        self.calls.lock().unwrap().insert(number, answer);
        Ok(CallId { origin: self.node, number })
    }

    fn forget(&self, call: CallId) {
        let gone = self.calls.lock().unwrap().remove(&call.number);
        drop(gone);
    }

    fn push(
        &self,
        to: &Address,
        message: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(), (Outgoing, Why)> {
        if let Some(why) = self.refusal.borrow().clone() {
            return Err((message, why));
        }
        self.deliver(to, message, deadline);
        Ok(())
    }

    fn send(
        self: Arc<Self>,
        to: Address,
        message: Outgoing,
        deadline: Instant,
        carry_deadline: bool,
    ) -> BoxFuture<'static, Result<(), (Outgoing, Why)>> {
        Box::pin(async move {
            let mut refusal = self.refusal.subscribe();
            let open = refusal.wait_for(Option::is_none);
            if tokio::time::timeout_at(deadline.into(), open).await.is_err() {
                return Err((message, Why::NoCredit));
            }
            self.deliver(&to, message, carry_deadline.then_some(deadline));
            Ok(())
        })
    }

    fn reply(&self, call: CallId, answer: Result<Outgoing, CallError>) {
        let Some(origin) = self.peer(call.origin) else { return };
        let Some(waiting) = origin.calls.lock().unwrap().remove(&call.number) else { return };
        match answer {
            Ok(mut answer) => {
                answer.sent();
                let payloads = answer.payloads.clone();
                waiting.answer(&origin.carrier(), self.node, &answer.head, payloads);
            }
            Err(error) => waiting.fail(error),
        }
    }

    fn monitor(&self, to: &Address, monitor: Monitor) {
        match self.inbound(to) {
            Some(control) => control.monitor(monitor),
            None => {
                let (actor, epoch, exit) = (to.actor, to.epoch, Exit::NoProc);
                monitor.tell(Down { actor, epoch, exit, restarting: false });
            }
        }
    }

    fn stop(&self, to: &Address, exit: Exit, kill: bool) {
        if let Some(control) = self.inbound(to) {
            if kill { control.kill(exit) } else { control.stop(exit) }
        }
    }
}

/// Bytes as a peer might send them.
#[derive(Debug, Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>, pub(crate) Vec<Bytes>);
