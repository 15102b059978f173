//! Actors that start together or not at all, on nodes that lie to each other as they should.
//!
//! [`Gang`] plans, and says whom to ask; this side asks, and holds what was granted until every
//! member is alive.
//!
//! Invariants:
//! - **GA-1** A gang that fails, or whose spawn is dropped, leaves nothing: room that was granted is
//!   given back at once, and members that are alive end.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use mobula_actors::carrier::Carrier;
use mobula_actors::demand::Place;
use mobula_actors::id::NodeId;
use mobula_actors::spawner::{Request, Started};
use mobula_actors::{Actor, ActorRef, SpawnError, Spec};

use super::Node;
use super::asked::Unreserved;
use super::builder::{reference, request};
use super::cluster::Cluster;
use super::pending::Queue;
use super::placing::{Choice, Placer, or_denied};
use super::service::NodeMsg;
use super::unfinished::Unfinished;
use crate::machine::Time;
use crate::net::Denied;
use crate::placement::{GANG_MEMBERS_MAX, Gang, GangStep, Layout, PLACED_WITHIN, Verdict};

impl Node {
    /// Starts several actors together, or none of them, on nodes of the cluster as `layout` says.
    /// They come in the order of their specs, once all are alive.
    ///
    /// Each spec must be one that may run elsewhere, such as with
    /// [`anywhere`](Spec::anywhere). Rooms are looked for within
    /// [`PLACED_WITHIN`], and again and again, with a back-off, when another gang was faster. A
    /// member that ends later ends alone: [`link`](mobula_actors::Context::link) those that cannot go
    /// on without each other.
    ///
    /// # Errors
    /// [`SpawnError::NoCapacity`] at once if the members could not lie like this on empty nodes, and
    /// when the time is over; [`SpawnError::Refused`] without a cluster or with more members than
    /// [`GANG_MEMBERS_MAX`]; else the first member that did not start. Nothing is left of the gang.
    ///
    /// # Cancel safety
    /// A spawn that is dropped leaves nothing either.
    pub async fn spawn_gang<A: Actor, R>(
        &self,
        layout: Layout,
        specs: Vec<Spec<A, R>>,
    ) -> Result<Vec<ActorRef<A::Msg>>, SpawnError> {
        let Some(clustered) = &self.0.cluster else {
            let why =
                "a node on its own has no nodes to place a gang on: make it with Node::builder";
            return Err(SpawnError::Refused(why.into()));
        };
        if specs.len() > GANG_MEMBERS_MAX {
            let (members, max) = (specs.len(), GANG_MEMBERS_MAX);
            let why = format!("a gang has at most {max} members, not {members}: start several");
            return Err(SpawnError::Refused(why));
        }
        let placer = &clustered.placer;
        let requests = specs.into_iter().map(|spec| request(&placer.cluster, spec)).collect();
        let started = placer.place_gang(layout, requests).await?;
        started.into_iter().map(reference::<A>).collect()
    }
}

/// What a gang holds on other nodes and on this one. Dropped, it is given back (GA-1); what was
/// started meanwhile is not touched by that.
struct Rooms {
    cluster: Arc<Cluster>,
    /// By member.
    held: BTreeMap<usize, (NodeId, u128)>,
}

impl Rooms {
    fn give_back(&mut self, member: usize) {
        let Some((node, reservation)) = self.held.remove(&member) else { return };
        if node == self.cluster.id {
            self.cluster.cancel(reservation);
        } else {
            self.cluster.tell(node, NodeMsg::Release { reservation });
        }
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        while let Some((member, _)) = self.held.first_key_value() {
            self.give_back(*member);
        }
    }
}

/// A member on its way to life.
struct Member {
    request: Request,
    unfinished: Unfinished,
}

enum Next {
    Ask { member: usize, node: NodeId, reservation: u128 },
    Release(Vec<usize>),
    Commit,
    Wait(Time),
}

impl Placer {
    async fn place_gang(
        &self,
        layout: Layout,
        requests: Vec<Request>,
    ) -> Result<Vec<Started>, SpawnError> {
        let members = requests.into_iter().map(|request| self.member(request));
        let mut members: Vec<Member> = members.collect::<Result<_, _>>()?;
        let mut rooms = self.find_rooms(layout, &members).await?;
        let nodes = self.start_all(&mut members, &rooms).await?;
        for (Member { request, .. }, node) in members.iter().zip(&nodes) {
            self.settled(request.order.id, request.order.epoch, *node)?;
        }
        // Started: there is nothing to give back any more.
        rooms.held.clear();
        let carrier: Arc<dyn Carrier> = self.cluster.clone();
        let started =
            members.into_iter().zip(nodes).map(|(Member { request, unfinished }, node)| {
                unfinished.finished();
                self.started(&carrier, &request, node)
            });
        let started = started.collect();
        self.cluster.changed.notify_waiters();
        Ok(started)
    }

    fn member(&self, request: Request) -> Result<Member, SpawnError> {
        let carrier: Arc<dyn Carrier> = self.cluster.clone();
        if request.settings.place == Place::Here || request.seed.encode(&carrier).is_none() {
            return Err(SpawnError::NotPortable { kind: request.seed.kind().to_owned() });
        }
        let unfinished = Unfinished::ordered(&self.cluster, &request.order)?;
        Ok(Member { request, unfinished })
    }

    /// Room for each member, by the steps of the gang.
    async fn find_rooms(&self, layout: Layout, members: &[Member]) -> Result<Rooms, SpawnError> {
        let wanted = members.iter().map(|member| self.wanted(&member.request)).collect();
        let now = self.cluster.membership.now();
        let mut gang = Gang::new(now, wanted, layout, PLACED_WITHIN);
        let mut queue = Queue::new(self);
        let mut rooms = Rooms { cluster: self.cluster.clone(), held: BTreeMap::new() };
        let mut denied: Option<Denied> = None;
        loop {
            let next = self.next_of(&mut gang);
            match next.map_err(|why| or_denied(why, denied.as_ref()))? {
                Next::Ask { member, node, reservation } => {
                    // Held from the question on: the answer may be lost.
                    rooms.held.insert(member, (node, reservation));
                    match self.reserve(node, reservation, &members[member].request).await {
                        Ok(Ok(Verdict::Granted { .. })) => gang.granted(),
                        Ok(Ok(Verdict::Rejected { free, .. })) => gang.rejected(free),
                        Ok(Err(Unreserved::Denied(why))) => {
                            denied = Some(why);
                            gang.unanswered();
                        }
                        Ok(Err(Unreserved::Unfit(_))) | Err(_) => gang.unanswered(),
                    }
                }
                Next::Release(those) => those.into_iter().for_each(|at| rooms.give_back(at)),
                Next::Commit => return Ok(rooms),
                Next::Wait(until) => {
                    let missing = "room for all at the same time";
                    queue.wait(until, members.iter().map(|m| &m.request), missing).await?;
                }
            }
        }
    }

    fn next_of(&self, gang: &mut Gang<NodeId>) -> Result<Next, SpawnError> {
        let here = self.cluster.hosting.figures();
        self.cluster.membership.with_candidates(here, |now, view| {
            let mut choice = self.choice();
            let Choice { debits, rng, .. } = &mut *choice;
            Ok(match gang.next(now, view, debits, rng) {
                GangStep::Ask { member, node } => {
                    let reservation = choice.next_reservation(self.cluster.id);
                    Next::Ask { member, node, reservation }
                }
                GangStep::Release(those) => {
                    Next::Release(those.into_iter().map(|(member, _)| member).collect())
                }
                GangStep::Commit(_) => Next::Commit,
                GangStep::Wait { until } => Next::Wait(until),
                GangStep::Fail(why) => {
                    choice.pending.failed(now, &why);
                    return Err(SpawnError::NoCapacity(why.to_string()));
                }
            })
        })
    }

    /// Starts all members side by side, each in its room; says where they are once all are alive.
    async fn start_all(
        &self,
        members: &mut [Member],
        rooms: &Rooms,
    ) -> Result<Vec<NodeId>, SpawnError> {
        let starts = members.iter_mut().zip(rooms.held.values()).map(|(member, room)| async {
            let (node, reservation) = *room;
            member.unfinished.asks(node);
            self.start_at(node, reservation, &member.request).await?;
            member.unfinished.alive();
            Ok(node)
        });
        try_join_all(starts).await
    }
}
