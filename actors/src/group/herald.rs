//! Groups with members on many nodes: what a group asks of its node, and its node of the group.
//!
//! A node announces the members that joined on it, and nobody else's. Each node has a replica of the
//! group, in which the members of all nodes stand.

use std::sync::Arc;

use bytes::Bytes;

use crate::carrier::{Address, Carrier};
use crate::engine::Engine;
use crate::error::{NameError, Why};
use crate::group::watch::Watcher;
use crate::group::{Group, GroupError, Member, Shared};
use crate::id::{ActorId, NodeId};
use crate::reference::ActorRef;
use crate::wire::{Outgoing, PAYLOADS_PER_MESSAGE_MAX, Protocol, Schema, decode, encode_message};

/// Nodes, beside one's own, up to which a message to all members goes to each member.
const DIRECT_NODES_MAX: usize = 8;
/// A larger message goes to each member.
const SPREAD_BYTES_MAX: usize = 32 << 10;

/// What a group tells its node. Called under the group's lock, so it must not call the group.
pub trait Herald: Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// A member has joined on this node.
    ///
    /// # Errors
    /// [`GroupError::TooMany`]; it is not announced.
    fn joined(
        &self,
        group: &str,
        protocol: &'static str,
        member: Address,
    ) -> Result<(), GroupError>;

    /// A member that had joined on this node has left.
    fn left(&self, group: &str, member: ActorId);

    /// Sends a message to the members of many nodes, one copy a node. Not called under a lock.
    /// Returns the nodes that it does not go to.
    fn spread(&self, message: Spread) -> Vec<NodeId>;
}

/// A message on its way to the members that joined on some nodes.
#[derive(Debug)]
pub struct Spread {
    /// The group's name.
    pub group: String,
    /// What the members understand.
    pub schema: &'static Schema,
    /// The message in postcard.
    pub head: Vec<u8>,
    /// Its payloads.
    pub payloads: Vec<Bytes>,
    /// Where to.
    pub nodes: Vec<NodeId>,
}

/// The group on this node, as its node sees it.
pub trait Replica: Send + Sync + 'static {
    /// What its members understand.
    fn schema(&self) -> &'static Schema;

    /// Another node says that an actor has joined on it.
    fn enter(&self, by: NodeId, member: Address);

    /// Another node says that an actor that had joined on it has left.
    fn exit(&self, by: NodeId, member: ActorId);

    /// Gives a message from `from` to each member that joined on this node. Returns how many of
    /// them did not take it.
    fn deliver(&self, from: NodeId, head: &[u8], payloads: &[Bytes]) -> usize;
}

/// What binds a group to the other nodes.
pub(super) struct Tie<M> {
    pub(super) herald: Arc<dyn Herald>,
    carrier: Arc<dyn Carrier>,
    schema: &'static Schema,
    encode: fn(&Arc<dyn Carrier>, &M) -> Result<Outgoing, Why>,
    address: fn(&ActorRef<M>, &Arc<dyn Carrier>) -> Option<Address>,
}

impl Engine {
    /// The group of the whole cluster with this name, and the same for its node.
    ///
    /// # Errors
    /// [`NameError::OtherProtocol`] if the group takes other messages.
    pub fn shared_group<M: Protocol>(
        &self,
        name: &str,
        carrier: Arc<dyn Carrier>,
        herald: Arc<dyn Herald>,
    ) -> Result<(Group<M>, Arc<dyn Replica>), NameError> {
        let tie = Tie {
            herald,
            carrier,
            schema: Schema::of::<M>(),
            encode: encode_message::<M>,
            address: ActorRef::<M>::address,
        };
        let group = self.group_with(name, Some(tie))?;
        let replica = group.0.clone();
        Ok((group, replica))
    }
}

impl<M: Send + 'static> Tie<M> {
    /// Announces a member that has just joined.
    pub(super) fn joined(&self, group: &str, address: Address) -> Result<(), GroupError> {
        self.herald.joined(group, self.schema.name(), address)
    }

    pub(super) fn address(&self, actor: &ActorRef<M>) -> Option<Address> {
        (self.address)(actor, &self.carrier)
    }

    /// Sends one copy to each of many nodes. Returns those of `members` that it does not reach.
    pub(super) fn spread(
        &self,
        group: &str,
        members: &[Member<M>],
        message: impl FnOnce() -> M,
    ) -> Option<Vec<Member<M>>> {
        let me = self.herald.node();
        let mut nodes: Vec<NodeId> = members.iter().filter_map(Member::owner).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != me);
        if nodes.len() <= DIRECT_NODES_MAX {
            return None;
        }
        // What cannot be encoded, or must be answered, is refused or sent member by member.
        let mut outgoing = (self.encode)(&self.carrier, &message()).ok()?;
        // The message itself travels as one payload more.
        let fits = outgoing.len() <= SPREAD_BYTES_MAX
            && outgoing.payloads.len() < PAYLOADS_PER_MESSAGE_MAX;
        if !outgoing.calls.is_empty() || !fits {
            return None;
        }
        let (head, payloads) =
            (std::mem::take(&mut outgoing.head), std::mem::take(&mut outgoing.payloads));
        let (group, schema) = (group.to_owned(), self.schema);
        let unreached = self.herald.spread(Spread { group, schema, head, payloads, nodes });
        let direct = |member: &&Member<M>| {
            member.owner().is_none_or(|owner| owner == me || unreached.contains(&owner))
        };
        Some(members.iter().filter(direct).cloned().collect())
    }
}

impl<M: Protocol> Replica for Shared<M> {
    fn schema(&self) -> &'static Schema {
        Schema::of::<M>()
    }

    fn enter(&self, by: NodeId, member: Address) {
        let Some(tie) = &self.tie else { return };
        let actor = ActorRef::at(&self.engine, tie.carrier.clone(), member);
        let idle = self.state().add(&actor, by, None);
        idle.iter().for_each(Watcher::wake);
    }

    fn exit(&self, by: NodeId, member: ActorId) {
        self.take(member, by, |_| true);
    }

    fn deliver(&self, from: NodeId, head: &[u8], payloads: &[Bytes]) -> usize {
        let Some(tie) = &self.tie else { return 0 };
        let me = Some(tie.herald.node());
        let refuses = |member: &&Member<M>| {
            let message = decode::<M>(&tie.carrier, from, head, payloads.to_vec());
            !message.is_ok_and(|message| member.actor.cast(message).is_ok())
        };
        let members = self.members();
        members.iter().filter(|member| member.owner() == me).filter(refuses).count()
    }
}
