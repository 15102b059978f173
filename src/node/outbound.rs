//! What leaves this node: where a message goes, what it must wait for, and how it gets on its way.
//!
//! A message goes where `children` or `routes` say that its actor is, spends `credit`, and is queued
//! on a lane of the connection to that node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mobula_actors::carrier::{Address, Answer, BoxFuture, Carrier, Inbox, Monitor};
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::wire::{CallId, Outgoing};
use mobula_actors::{CallError, Engine, Exit, Lost, Why};

use super::cluster::Cluster;
use super::frames::{self, HANDED, HandedHead, MESSAGE, MessageHead, Parts, REPLY, ReplyHead};
use super::hosting::end;
use super::routes::Route;
use super::service::NodeMsg;
use super::ways::Way;
use crate::net::{self, Lane, Message};

/// How often a send that waits looks again by itself, whatever it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a send waits for room in a mailbox here whose actor was elsewhere when it was encoded.
const FULL_HERE: Duration = Duration::from_millis(2);
/// Messages for a node's own actor that are larger than this do not stand in the way of calls.
const BULK_BYTES_MIN: usize = 64 << 10;

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
        match self.push_on(lane_of(to.actor, &message), to, message, deadline) {
            Err((back, Why::NoRoute)) if !self.membership.is_gone(to.home) => {
                // The next message finds the way.
                self.locate(*to);
                Err((back, Why::Moving))
            }
            pushed => pushed,
        }
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

    fn monitor(&self, to: &Address, monitor: Monitor) {
        match self.engine.exported(to.actor) {
            Some(inbound) => inbound.control().monitor(monitor),
            None => self.watch(*to, monitor),
        }
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

impl Cluster {
    /// Where a message for `to` must go.
    pub(super) fn find(&self, to: &Address) -> Result<(NodeId, Epoch), Why> {
        if let Some(found) = self.children.find(to.actor) {
            return found;
        }
        if to.home == self.id {
            // Nobody knows better. A child that its home does not know has ended.
            return if to.node == self.id { Ok((to.node, to.epoch)) } else { Err(Why::Stopped) };
        }
        match self.route(to.actor) {
            Some(Route::At(node, epoch)) => Ok((node, epoch)),
            Some(Route::Ended(_)) => Err(Why::Stopped),
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
        let parts = Parts::of(&outgoing);
        let too_large = (lane == Lane::Call && parts.bytes() > self.message_bytes_max).then(|| {
            let (bytes, max) = (outgoing.len() as u64, self.message_bytes_max as u64);
            Why::TooLarge { bytes, max }
        });
        let way = match self.ways.get(to, Way::is_open, || self.way(to)) {
            Ok(way) => way,
            Err(Off::Here) => return self.push_here(to.actor, outgoing, deadline),
            // No way would do.
            Err(Off::Not(why)) => return Err((outgoing, too_large.unwrap_or(why))),
        };
        if let Some(why) = too_large {
            return Err((outgoing, why));
        }
        let Way { node, epoch, link, purse } = &*way;
        if purse.as_ref().is_some_and(|purse| !purse.spend()) {
            return Err((outgoing, Why::NoCredit));
        }
        let number = match self.introduce(link, lane, outgoing.schema, purse.as_deref()) {
            Ok(number) => number,
            Err(why) => {
                if let Some(purse) = purse {
                    purse.add(1);
                }
                return Err((outgoing, why));
            }
        };
        // A call is entered as sent before it is, so that its answer finds it.
        for call in outgoing.calls.iter().filter(|call| call.origin == self.id) {
            self.calls.sent(call.number, *node);
        }
        let rest_us = deadline.map(|deadline| {
            let rest = deadline.saturating_duration_since(Instant::now()).as_micros();
            u64::try_from(rest).unwrap_or(u64::MAX)
        });
        let head = MessageHead::new(to.actor, *epoch, rest_us, self.id, &outgoing.calls, parts);
        let mut frame = frames::frame(MESSAGE, &head, &mut outgoing);
        frame.target = number;
        match link.push(lane, frame) {
            Ok(()) => {
                outgoing.sent();
                self.handed_on(&outgoing.calls, *node);
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

    /// Finds what [`Ways`](super::ways::Ways) remembers.
    fn way(&self, to: &Address) -> Result<Way, Off> {
        let (node, epoch) = self.find(to).map_err(Off::Not)?;
        if node == self.id {
            return Err(Off::Here);
        }
        let link = self.link(node).ok_or_else(|| Off::Not(self.unlinked(node)))?;
        // The node's own actors answer at once and are asked little: they need no credit.
        let purse = match to.actor.number {
            0 => None,
            _ => Some(self.spending.purse(node, to.actor).ok_or(Off::Not(Why::NoCredit))?),
        };
        Ok(Way { node, epoch, link, purse })
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

    pub(super) fn push_surely(&self, node: NodeId, lane: Lane, message: Message) {
        // Without a connection both sides have given up what this was about.
        let Some(link) = self.link(node) else { return };
        let Err(refused) = link.push(lane, message) else { return };
        if refused.why != net::Why::Full {
            tracing::debug!(%node, why = %refused.why, "a frame was not sent");
            return;
        }
        let Some(cluster) = self.arc() else { return };
        if !self.backlog.enter(node) {
            tracing::warn!(%node, "a node does not read what it is sent: it is cut off");
            self.net(|net| net.close(&node.key, false));
            return;
        }
        let mut message = refused.message;
        self.system.runtime().spawn(async move {
            while link.is_open() {
                link.room(lane).await;
                match link.push(lane, message) {
                    Ok(()) => break,
                    Err(refused) => message = refused.message,
                }
            }
            cluster.backlog.leave(node);
        });
    }
}

/// Why there is no way to another node.
enum Off {
    /// The actor is on this one.
    Here,
    Not(Why),
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
