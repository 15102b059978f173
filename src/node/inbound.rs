//! What comes in from the network. Called from connection tasks: nothing here waits.
//!
//! Invariants:
//! - **I-1** A message reaches only actors in the export table.
//! - **I-2** A message that is not run is answered: each of its calls hears why.
//! - **I-3** Messages that were queued and never written answer `Rejected`; those that were
//!   written, `Unknown`.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mobula_actors::Why;
use mobula_actors::carrier::{Carrier, Inbox};
use mobula_actors::id::{ActorId, NodeId, PeerKey};
use mobula_actors::wire::REPLIES_PER_MESSAGE_MAX;

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
        cluster.add_link(node, link);
        cluster.gossip(Input::Connected { key: node.key, boot: node.boot, address });
        cluster.watch_again(node);
        cluster.hear_groups(node);
        cluster.offer_revocations(node);
        cluster.changed.notify_waiters();
    }

    fn disconnected(&self, node: NodeId, bye: bool, unwritten: Vec<Message>) {
        let Some(cluster) = self.0.upgrade() else { return };
        cluster.remove_link(node);
        for message in unwritten {
            cluster.never_left(message);
        }
        cluster.revoking.disconnected(node);
        cluster.calls.disconnected(node);
        cluster.end_credit(node);
        cluster.shapes.end(node);
        cluster.gossip(Input::ConnectionClosed { key: node.key, bye });
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
        let Some(cluster) = self.0.upgrade() else { return };
        let understood = match message.kind {
            MESSAGE => cluster.deliver(from, link, message),
            REPLY => cluster.answered(from, message),
            CREDIT => cluster.funded(from, &message),
            GONE => cluster.not_there(from, &message),
            HANDED => cluster.handed(from, &message),
            SHAPE => cluster.said(from, &message),
            FITS => cluster.compared(from, &message),
            GOSSIP if !cluster.asked.allows(from.key, Instant::now()) => {
                cluster.accuse(from, &Violation::Flood);
                Some(())
            }
            GOSSIP => {
                cluster.gossip(Input::Frame { from: from.key, bytes: message.payload });
                Some(())
            }
            kind if may_skip(kind) => Some(()),
            kind => {
                let terms = link.terms();
                tracing::warn!(%from, kind, %terms, "a member sent a frame of an unknown kind");
                None
            }
        };
        if understood.is_none() {
            cluster.accuse(from, &Violation::Malformed);
        }
    }
}

impl Cluster {
    /// Puts a message into its actor's mailbox. `None` if it is malformed.
    fn deliver(self: &Arc<Self>, from: NodeId, link: &Link, message: Message) -> Option<()> {
        let (head, behind) = frames::split::<MessageHead>(&message.head)?;
        if head.calls.len() > REPLIES_PER_MESSAGE_MAX {
            return None;
        }
        let (body, payloads) = head.parts.cut(behind, message.payload)?;
        let Some(inbound) = self.engine.exported(head.actor) else {
            self.refuse(head.calls(from), &Why::NoRoute);
            self.push_control(from, frames::bare(GONE, &GoneHead { actor: head.actor }));
            return Some(());
        };
        if head.actor.number != 0 && link.may(Verb::Message).is_err() {
            self.refuse(head.calls(from), &denied(Verb::Message));
            self.give_no_place(from, head.actor);
            return Some(());
        }
        if let Err(text) = self.understands(from, message.target, &*inbound) {
            self.refuse(head.calls(from), &Why::Incompatible(text));
            self.give_no_place(from, head.actor);
            return Some(());
        }
        let carrier: Arc<dyn Carrier> = self.clone();
        let control = inbound.control();
        if let Err(violation) = plausible(head.actor, head.epoch, control.epoch()) {
            self.accuse(from, &violation);
            return Some(());
        }
        // A deadline too far away to be a time is none.
        let deadline =
            head.rest_us.and_then(|rest| Instant::now().checked_add(Duration::from_micros(rest)));
        let credit = match self.line_of(from, head.actor) {
            Ok(credit) => credit,
            Err(violation) => {
                self.refuse(head.calls(from), &Why::NoCredit);
                self.accuse(from, &violation);
                return Some(());
            }
        };
        let inbox = Inbox { from, head: &body, payloads, deadline, credit };
        let extra = Self::extra(control.capacity());
        if let Err(mut why) = inbound.deliver(&carrier, inbox, extra) {
            if let Why::Incompatible(text) = &mut why
                && self.shapes.differs(from, inbound.schema().name())
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
    fn line_of(&self, from: NodeId, actor: ActorId) -> Result<u32, Violation> {
        if actor.number == 0 {
            let allowed = self.asked.allows(from.key, Instant::now());
            return allowed.then_some(0).ok_or(Violation::Flood);
        }
        self.granting.received(from, actor).ok_or(Violation::Overdrawn)
    }

    fn answered(&self, from: NodeId, message: Message) -> Option<()> {
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
