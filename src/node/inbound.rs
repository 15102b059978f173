//! What comes in from the network. Called from connection tasks: nothing here waits.
//!
//! Invariants:
//! - **I-1** A message reaches only actors in the export table.
//! - **I-2** A message that is not run is answered: each of its calls hears why.
//! - **I-3** Messages that were queued and never written answer `Rejected`; those that were
//!   written, `Unknown`.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mobula_actors::carrier::{Carrier, Inbound as Exported, Inbox};
use mobula_actors::id::{ActorId, NodeId, PeerKey};
use mobula_actors::wire::REPLIES_PER_MESSAGE_MAX;
use mobula_actors::{Control, Engine, Why};

use super::asked::denied;
use super::authority::{Violation, plausible};
use super::cluster::Cluster;
use super::frames::{
    self, CREDIT, CreditHead, FITS, GONE, GOSSIP, GoneHead, HANDED, HandedHead, MESSAGE,
    MessageHead, REPLY, ReplyHead, SHAPE,
};
use crate::gossip::Input;
use crate::net::{DialOutcome, Inbound, Link, Message, Verb, may_skip};

/// The network's way into a node that may be going away.
pub(super) struct Door(pub(super) Weak<Cluster>);

impl Inbound for Door {
    fn connected(&self, node: NodeId, link: Link, address: String) {
        let Some(cluster) = self.0.upgrade() else { return };
        let observer = link.terms().observer;
        cluster.add_link(node, link);
        if observer {
            return; // Nobody hears of it (OV-2).
        }
        cluster.gossip(Input::Connected { key: node.key, boot: node.boot, address });
        cluster.watch_again(node);
        cluster.hear_groups(node);
        cluster.offer_revocations(node);
        cluster.changed.notify_waiters();
    }

    fn disconnected(&self, node: NodeId, bye: bool, unwritten: Vec<Message>) {
        let Some(cluster) = self.0.upgrade() else { return };
        let link = cluster.remove_link(node);
        for message in unwritten {
            cluster.never_left(message);
        }
        cluster.revoking.disconnected(node);
        cluster.calls.disconnected(node);
        cluster.end_credit(node);
        cluster.shapes.end(node);
        if !link.is_some_and(|link| link.terms().observer) {
            cluster.gossip(Input::ConnectionClosed { key: node.key, bye });
        }
        cluster.changed.notify_waiters();
    }

    fn dial_outcome(&self, peer: PeerKey, outcome: DialOutcome) {
        let Some(cluster) = self.0.upgrade() else { return };
        tracing::debug!(me = %cluster.id, %peer, ?outcome, "a dial failed");
        cluster.gossip(match outcome {
            DialOutcome::Refused => Input::DialRefused { key: peer },
            _ => Input::DialFailed { key: peer },
        });
    }

    fn message(&self, from: NodeId, link: &Link, message: Message) {
        self.messages(from, link, &mut std::iter::once(message));
    }

    fn messages(&self, from: NodeId, link: &Link, messages: &mut dyn Iterator<Item = Message>) {
        let Some(cluster) = self.0.upgrade() else { return };
        let mut sender = Sender { node: from, link, carrier: cluster.clone(), last: None };
        messages.for_each(|message| cluster.take_in(&mut sender, message));
    }
}

/// Whose messages are being taken in, and whom the last one was for.
struct Sender<'a> {
    node: NodeId,
    link: &'a Link,
    carrier: Arc<dyn Carrier>,
    last: Option<Target>,
}

/// An actor that a message is for.
struct Target {
    /// What `Engine::exports_changes` said before it was found.
    at: u64,
    actor: ActorId,
    inbound: Arc<dyn Exported>,
    control: Arc<dyn Control>,
    /// Its credit line; 0 before the first message.
    line: u32,
}

impl Target {
    /// The last one, or the one in the export table.
    fn find<'a>(
        last: &'a mut Option<Self>,
        engine: &Engine,
        actor: ActorId,
    ) -> Option<&'a mut Self> {
        let at = engine.exports_changes();
        if !last.as_ref().is_some_and(|last| last.actor == actor && last.at == at) {
            let inbound = engine.exported(actor)?;
            let control = inbound.control();
            *last = Some(Self { at, actor, inbound, control, line: 0 });
        }
        last.as_mut()
    }
}

impl Cluster {
    fn take_in(&self, sender: &mut Sender<'_>, message: Message) {
        let from = sender.node;
        let understood = match message.kind {
            kind if kind != MESSAGE && sender.link.terms().observer => {
                self.accuse(from, &Violation::Meddles);
                Some(())
            }
            MESSAGE => self.deliver(sender, message),
            REPLY => self.answered(from, message),
            CREDIT => self.funded(from, &message),
            GONE => self.not_there(from, &message),
            HANDED => self.handed(from, &message),
            SHAPE => self.said(from, &message),
            FITS => self.compared(from, &message),
            GOSSIP if !self.asked.allows(from.key, Instant::now()) => {
                self.accuse(from, &Violation::Flood);
                Some(())
            }
            GOSSIP => {
                self.gossip(Input::Frame { from: from.key, bytes: message.payload });
                Some(())
            }
            kind if may_skip(kind) => Some(()),
            kind => {
                let terms = sender.link.terms();
                tracing::warn!(%from, kind, %terms, "a member sent a frame of an unknown kind");
                None
            }
        };
        if understood.is_none() {
            self.accuse(from, &Violation::Malformed);
        }
    }

    /// Puts a message into its actor's mailbox. `None` if it is malformed.
    fn deliver(&self, sender: &mut Sender<'_>, message: Message) -> Option<()> {
        let Sender { node: from, link, carrier, last } = sender;
        let from = *from;
        let (head, behind) = frames::split::<MessageHead>(&message.head)?;
        if head.calls.len() > REPLIES_PER_MESSAGE_MAX {
            return None;
        }
        let (body, payloads) = head.parts.cut(behind, message.payload)?;
        if link.terms().observer && !self.only_looks(from, &head) {
            self.accuse(from, &Violation::Meddles);
            return Some(());
        }
        let Some(target) = Target::find(last, &self.engine, head.actor) else {
            self.refuse(head.calls(from), &Why::NoRoute);
            self.push_control(from, frames::bare(GONE, &GoneHead { actor: head.actor }));
            return Some(());
        };
        if head.actor.number != 0 && link.may(Verb::Message).is_err() {
            self.refuse(head.calls(from), &denied(Verb::Message));
            self.give_no_place(from, head.actor);
            return Some(());
        }
        if let Err(text) = self.understands(from, message.target, &*target.inbound) {
            self.refuse(head.calls(from), &Why::Incompatible(text));
            self.give_no_place(from, head.actor);
            return Some(());
        }
        if let Err(violation) = plausible(head.actor, head.epoch, target.control.epoch()) {
            self.accuse(from, &violation);
            return Some(());
        }
        // A deadline too far away to be a time is none.
        let deadline =
            head.rest_us.and_then(|rest| Instant::now().checked_add(Duration::from_micros(rest)));
        let credit = match self.line_of(from, target) {
            Ok(credit) => credit,
            Err(violation) => {
                self.refuse(head.calls(from), &Why::NoCredit);
                self.accuse(from, &violation);
                return Some(());
            }
        };
        let inbox = Inbox { from, head: &body, payloads, deadline, credit };
        let extra = Self::extra(target.control.capacity());
        if let Err(mut why) = target.inbound.deliver(carrier, inbox, extra) {
            if let Why::Incompatible(text) = &mut why
                && self.shapes.differs(from, target.inbound.schema().name())
            {
                text.push_str("; its sender and its receiver do not have the same variants");
            }
            tracing::debug!(%from, actor = %head.actor, %why, "a message was refused");
            self.refuse(head.calls(from), &why);
            self.return_credit(credit);
        }
        Some(())
    }

    /// A message was refused before it took its place: the credit for it is free.
    fn give_no_place(&self, from: NodeId, actor: ActorId) {
        if actor.number != 0 {
            let head = CreditHead { actor, messages: 1 };
            self.push_control(from, frames::bare(CREDIT, &head));
        }
    }

    /// The node's own actors need no credit, and are not to be flooded either.
    fn line_of(&self, from: NodeId, target: &mut Target) -> Result<u32, Violation> {
        if target.actor.number == 0 {
            let allowed = self.asked.allows(from.key, Instant::now());
            return allowed.then_some(0).ok_or(Violation::Flood);
        }
        let line = self.granting.received(from, target.actor, target.line);
        target.line = line.ok_or(Violation::Overdrawn)?;
        Ok(target.line)
    }

    pub(super) fn answered(&self, from: NodeId, message: Message) -> Option<()> {
        let (head, behind) = frames::split::<ReplyHead>(&message.head)?;
        match head.outcome {
            Ok(()) => {
                let (body, payloads) = head.parts.cut(behind, message.payload)?;
                self.answer_here(from, head.number, &body, payloads);
            }
            Err(_) if !behind.is_empty() || !message.payload.is_empty() => return None,
            Err(error) => self.calls.fail(head.number, error),
        }
        Some(())
    }

    fn funded(&self, from: NodeId, message: &Message) -> Option<()> {
        let head = frames::whole::<CreditHead>(message)?;
        self.spending.granted(from, head.actor, head.messages);
        Some(())
    }

    fn not_there(&self, from: NodeId, message: &Message) -> Option<()> {
        let head = frames::whole::<GoneHead>(message)?;
        // The message that found nobody has spent its credit for nothing.
        self.spending.granted(from, head.actor, 1);
        self.routes().not_there(head.actor, from);
        self.changed.notify_waiters();
        Some(())
    }

    /// Somebody else answers a call of this node.
    fn handed(&self, from: NodeId, message: &Message) -> Option<()> {
        let head = frames::whole::<HandedHead>(message)?;
        self.calls.handed_on(head.number, from, head.to);
        if self.membership.is_gone(head.to) {
            self.calls.disconnected(head.to);
        }
        Some(())
    }

    /// A message that was queued when the connection ended (I-3).
    fn never_left(&self, message: Message) {
        if message.kind != MESSAGE {
            return;
        }
        let Some((head, _)) = frames::split::<MessageHead>(&message.head) else { return };
        if head.calls.is_empty() {
            tracing::debug!(actor = %head.actor, "a cast was lost with its connection");
        }
        self.refuse(head.calls(self.id), &Why::Unreachable);
    }
}
