//! Groups of actors: what they promise, and how they are asked for.
//!
//! A group of the cluster has members on many nodes, and every node has all of them at hand. What
//! joins on a node is announced by that node and by no other; the others hear of it soon, after a
//! break as soon as they are connected again, and forget it when the node is dead. Nothing can
//! contradict, so nothing has to be healed.

use mobula_actors::{Group, NameError, Protocol};

use super::Node;

impl Node {
    /// The group of the whole cluster with this name; without members if there is none. A member is
    /// the present run of an actor, on whichever node. It leaves when that run ends, by
    /// [`Group::leave`] on the node where it joined, or with that node.
    ///
    /// To hold the group is cheap; a group that nobody holds and nobody joined here takes no room
    /// beyond the list of its members.
    ///
    /// # Errors
    /// [`NameError::OtherProtocol`] if it takes other messages, [`NameError::Unfit`].
    pub fn group<M: Protocol>(&self, name: &str) -> Result<Group<M>, NameError> {
        #[cfg(feature = "net")]
        if let Some(cluster) = self.cluster() {
            return cluster.group(name);
        }
        self.group_here(name)
    }

    /// The group with this name on this node only; a new one, without members, if there is none. Its
    /// messages need no protocol.
    ///
    /// # Errors
    /// [`NameError::OtherProtocol`] if the group takes other messages.
    pub fn group_here<M: Send + 'static>(&self, name: &str) -> Result<Group<M>, NameError> {
        self.0.engine.group(name)
    }
}
