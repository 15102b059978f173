//! The two things placement compares: what is asked for, and a node as the view shows it.

use std::time::Duration;

use mobula_actors::{
    demand::{Demand, Place, PlaceStrategy},
    id::NodeId,
};

use super::capacity::Capacity;

/// Where an actor may go, once "here" has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where<N> {
    /// Any node that hosts its kind and has room.
    Anywhere,
    /// This node and no other.
    On(N),
}

impl Where<NodeId> {
    /// Reads `place` on the node `here`.
    #[must_use]
    pub fn new(place: Place, here: NodeId) -> Self {
        match place {
            Place::Here => Self::On(here),
            Place::Anywhere => Self::Anywhere,
            Place::On(node) => Self::On(node),
        }
    }
}

/// What one placement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<N> {
    /// The kind of actor; only nodes that host it can take it.
    pub kind: String,
    /// What it needs.
    pub demand: Demand,
    /// Where it may go.
    pub place: Where<N>,
    /// Which of the nodes with room it prefers.
    pub strategy: PlaceStrategy,
    /// The node that it prefers, for the sake of an actor there.
    pub near: Option<N>,
    /// Nodes to use only when no other node has room by the view.
    pub avoid: Vec<N>,
}

/// A node as the chooser's view shows it. The driver leaves out nodes that are not alive.
#[derive(Clone, Debug)]
pub struct Candidate<'a, N> {
    /// Its name.
    pub node: N,
    /// The version of its record: larger when the node has published other figures.
    pub version: u64,
    /// All it has.
    pub total: Capacity,
    /// What of it was free when the record was written.
    pub free: Capacity,
    /// The kinds of actors it hosts.
    pub kinds: &'a [String],
    /// The labels it carries.
    pub labels: &'a [String],
    /// It takes no new actors now (draining, degraded or told so). It counts as feasible.
    pub closed: bool,
    /// The time since this copy was last known to be the newest.
    pub age: Duration,
}
