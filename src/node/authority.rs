//! Who may say what: a node speaks for itself only.
//!
//! Every frame comes over a connection whose peer has proved its key. What a node says of watchers,
//! homes, hosts, names and runs is held against that. A lie closes the connection, as everything
//! else that no correct node sends.
//!
//! Invariants:
//! - **AU-1** A node's own actor knows who sent a message, whatever stands in it.
//! - **AU-2** What a node says in the name of another changes nothing.
//! - **AU-3** The epoch of a run is believed only from the actor's home, and at most
//!   [`EPOCH_LEAP_MAX`] above the known one.

use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::{Protocol, wire};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::cluster::{Cluster, origin_of};
use super::placing::{owner_of, owner_of_key};
use super::service::{NodeMsg, StartOrder};

/// How many runs a node may have missed of an actor before it believes nobody.
pub const EPOCH_LEAP_MAX: u64 = 1_000;

/// What a node's own actor was told, and by whom. On the wire there is only what was said.
pub(super) struct Heard<M = NodeMsg> {
    pub(super) from: NodeId,
    pub(super) said: M,
}

impl<M: Protocol> Protocol for Heard<M> {
    const NAME: &'static str = M::NAME;
}

impl<M: Serialize> Serialize for Heard<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.said.serialize(serializer)
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Heard<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = M::deserialize(deserializer)?;
        let from = wire::sender().ok_or_else(|| D::Error::custom("nobody sent this"))?;
        Ok(Self { from, said })
    }
}

/// What no correct member sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Violation {
    /// More messages than it had credit for.
    #[error("it sends more than it has credit for")]
    Overdrawn,
    /// More questions than a correct node asks.
    #[error("it floods the node")]
    Flood,
    /// It said that it only looks, and does more.
    #[error("it does more than look")]
    Meddles,
    /// A list of revocations that the cluster did not sign.
    #[error("it forges revocations")]
    Forged,
    /// A frame that cannot be read.
    #[error("a malformed frame")]
    Malformed,
    /// It speaks in the name of another.
    #[error("it speaks in the name of {0}")]
    Impostor(NodeId),
    /// It orders what only an actor's home can order.
    #[error("it is not the home of {0}")]
    NotHome(ActorId),
    /// It tells of a run that it was not asked to host.
    #[error("it does not host {0}")]
    NotHost(ActorId),
    /// It answers what another node was asked.
    #[error("it answers watch {0}, which it was not asked for")]
    NotAsked(u64),
    /// It uses the room that was held for something else.
    #[error("it starts {0} in the room of another")]
    NotReserved(ActorId),
    /// It gives up room that is held for another.
    #[error("it gives up room that it does not hold")]
    NotHeld,
    /// It tells of a run that nobody can have started yet.
    #[error("it tells of run {claimed} of {actor}, of which run {known} is known")]
    Epoch {
        /// Whose run.
        actor: ActorId,
        /// Which, as told.
        claimed: Epoch,
        /// The newest that is known.
        known: Epoch,
    },
}

/// An error if a run is too far in the future to be believed even from those who know (AU-3).
pub(super) fn plausible(actor: ActorId, claimed: Epoch, known: Epoch) -> Result<(), Violation> {
    if claimed.0 > known.0.saturating_add(EPOCH_LEAP_MAX) {
        return Err(Violation::Epoch { actor, claimed, known });
    }
    Ok(())
}

fn speaks_for(from: NodeId, named: NodeId) -> Result<(), Violation> {
    if from == named { Ok(()) } else { Err(Violation::Impostor(named)) }
}

fn is_made_by(from: NodeId, reservation: u128) -> bool {
    owner_of(reservation) == owner_of_key(from.key)
}

impl Cluster {
    /// Whether `from` may say this at all (AU-2, AU-3).
    pub(super) fn believable(&self, from: NodeId, said: &NodeMsg) -> Result<(), Violation> {
        match said {
            NodeMsg::Reserve { reservation, actor, epoch, .. } => {
                self.is_order_of(from, *reservation, *actor, *epoch)
            }
            NodeMsg::Start(order) => self.is_start_of(from, order),
            NodeMsg::End { actor, epoch: Some(_), .. } | NodeMsg::Retire { actor, .. } => {
                self.is_home(from, *actor).map(drop)
            }
            NodeMsg::Watch { watcher, .. } | NodeMsg::Unwatch { watcher, .. } => {
                speaks_for(from, *watcher)
            }
            NodeMsg::Fired { by, number, .. } => {
                speaks_for(from, *by)?;
                self.watches.is_asked(from, *number)
            }
            NodeMsg::Absent { number } => self.watches.is_asked(from, *number),
            NodeMsg::Ended { actor, epoch, .. } | NodeMsg::Checkpoint { actor, epoch, .. } => {
                self.children.is_host(from, *actor, *epoch)
            }
            NodeMsg::NameClaim { entry, .. } => speaks_for(from, entry.stamp.by),
            NodeMsg::Names { enter, leave, .. } => {
                let entered = enter.iter().map(|entry| entry.stamp);
                let mut stamps = entered.chain(leave.iter().map(|(_, stamp)| *stamp));
                stamps.try_for_each(|stamp| speaks_for(from, stamp.by))
            }
            NodeMsg::NameLost { lost, .. } => speaks_for(self.id, lost.by),
            NodeMsg::GroupsChanged { by } => speaks_for(from, *by),
            NodeMsg::Release { reservation } if !is_made_by(from, *reservation) => {
                Err(Violation::NotHeld)
            }
            NodeMsg::End { epoch: None, .. }
            | NodeMsg::GroupsSince { .. }
            // It is handed on by others than the one who sent it.
            | NodeMsg::Spread(_)
            | NodeMsg::Revoked { .. }
            | NodeMsg::Revocations { .. }
            | NodeMsg::Locate { .. }
            | NodeMsg::Members { .. }
            | NodeMsg::NameFind { .. }
            | NodeMsg::Release { .. } => Ok(()),
        }
    }

    /// Cuts off a member that broke the protocol.
    pub(super) fn accuse(&self, from: NodeId, violation: &Violation) {
        tracing::warn!(%from, %violation, "a member broke the protocol: its connection is closed");
        self.net(|net| net.accuse(&from.key));
    }

    fn is_start_of(&self, from: NodeId, order: &StartOrder) -> Result<(), Violation> {
        let StartOrder { reservation, home, actor, epoch, .. } = order;
        speaks_for(from, *home)?;
        self.is_order_of(from, *reservation, *actor, *epoch)?;
        match self.hosting.reserved(*reservation) {
            Some(run) if run != (*actor, *epoch) => Err(Violation::NotReserved(*actor)),
            _ => Ok(()),
        }
    }

    /// An order of a run by the home of its actor, under a number of its own.
    fn is_order_of(
        &self,
        from: NodeId,
        reservation: u128,
        actor: ActorId,
        epoch: Epoch,
    ) -> Result<(), Violation> {
        if !is_made_by(from, reservation) {
            return Err(Violation::NotHome(actor));
        }
        match self.is_home(from, actor)? {
            Some(known) => plausible(actor, epoch, known),
            None => Ok(()),
        }
    }

    /// The run of a hosted actor, whose home `from` must be: the node that made the actor.
    fn is_home(&self, from: NodeId, actor: ActorId) -> Result<Option<Epoch>, Violation> {
        if actor.origin != origin_of(from) {
            return Err(Violation::NotHome(actor));
        }
        match self.hosting.running().get(&actor) {
            Some(hosted) if hosted.home != from => Err(Violation::NotHome(actor)),
            hosted => Ok(hosted.map(|hosted| hosted.epoch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mobula_actors::carrier::Address;
    use mobula_actors::demand::Demand;
    use mobula_actors::{Actor, Down, Exit, OnRestart, Payload, Restart};

    use super::*;
    use crate::net::Message;
    use crate::node::cluster::service_id;
    use crate::node::directory::{Entry, Stamp};
    use crate::node::frames::{self, MESSAGE, MessageHead};
    use crate::node::hostile::{Ask, Scene, Target, ask, stranger};

    const KIND: &str = "test.target";

    fn reservation(of: NodeId) -> u128 {
        u128::from(owner_of_key(of.key)) << 64 | 1
    }

    fn reserve(number: u128, actor: ActorId, epoch: u64) -> Ask {
        ask(move |verdict| NodeMsg::Reserve {
            reservation: number,
            actor,
            epoch: Epoch(epoch),
            kind: KIND.into(),
            demand: Demand::cpu(0.1),
            verdict,
        })
    }

    fn start(number: u128, home: NodeId, actor: ActorId, epoch: u64) -> Ask {
        ask(move |started| {
            NodeMsg::Start(Box::new(StartOrder {
                reservation: number,
                home,
                kind: KIND.into(),
                args: Payload(Bytes::new()),
                actor,
                epoch: Epoch(epoch),
                checkpoint: None,
                mailbox_messages: 8,
                restart: Restart::Permanent,
                on_restart: OnRestart::Keep,
                supervised: true,
                start_timeout_ms: 1_000,
                started,
            }))
        })
    }

    fn entry(by: NodeId, actor: ActorId) -> Entry {
        let address = Address { actor, epoch: Epoch(1), node: by, home: by };
        let stamp = Stamp { at_ms: 1, by, number: 1 };
        Entry { name: "name".into(), protocol: "test.target/1".into(), address, stamp }
    }

    impl Scene {
        /// What is said to a node's own actor, as a frame.
        async fn said(&mut self, asks: Vec<Ask>) -> Vec<Message> {
            let (me, there) = (self.cluster.id, self.scribe.node());
            let service = self.cluster.service(there).unwrap();
            let mut frames = Vec::new();
            for ask in asks {
                ask(service.clone());
                frames.push(self.frame(service_id(me)).await);
            }
            frames
        }

        fn told(msg: NodeMsg) -> Ask {
            Box::new(move |service| service.cast(msg).ok().unwrap())
        }

        /// The node's own actor has handled what it was given.
        async fn handled(&self) {
            self.node.members_of(self.cluster.id).await.unwrap();
        }
    }

    /// AU-1, AU-2: each of these is counted once, and changes nothing.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_member_says_in_the_name_of_another_is_a_violation_and_nothing_else() {
        let mut scene = Scene::new().await;
        let (me, there, third) = (scene.cluster.id, scene.scribe.node(), stranger(9));
        let spec = Target::spec(()).on(me);
        let mine = scene.node.spawn(spec).await.unwrap().id();
        let theirs = ActorId { origin: origin_of(there), number: 5 };
        let (own, epoch, exit) = (reservation(there), Epoch(1), Exit::Killed);
        let down = Down { actor: mine, epoch, exit: exit.clone(), restarting: false };
        let (lost, winner) = (entry(third, mine).stamp, entry(there, mine).stamp);
        let ended = move |epoch: u64| {
            let (epoch, exit) = (Epoch(epoch), Exit::Killed);
            ask(move |known| NodeMsg::Ended { actor: mine, epoch, exit, known })
        };
        let lies = vec![
            Scene::told(NodeMsg::Watch { actor: mine, watcher: third, number: 1 }),
            Scene::told(NodeMsg::Unwatch { watcher: third, number: 1 }),
            Scene::told(NodeMsg::Fired { by: third, number: 1, down }),
            Scene::told(NodeMsg::End { actor: mine, epoch: Some(epoch), exit, kill: true }),
            Scene::told(NodeMsg::Retire { actor: mine, epoch }),
            reserve(own, mine, 2),
            reserve(reservation(third), theirs, 1),
            start(own, third, theirs, 1),
            start(own, there, mine, 2),
            ended(1),
            ended(2),
            ask(move |stored| NodeMsg::Checkpoint {
                actor: mine,
                epoch,
                sequence: 1,
                state: Payload(Bytes::new()),
                stored,
            }),
            ask(move |granted| NodeMsg::NameClaim { entry: entry(third, mine), granted }),
            ask(move |refused| NodeMsg::Names {
                enter: vec![entry(there, mine), entry(third, mine)],
                leave: Vec::new(),
                refused,
            }),
            ask(move |refused| NodeMsg::Names {
                enter: Vec::new(),
                leave: vec![("name".into(), lost)],
                refused,
            }),
            ask(move |known| NodeMsg::NameLost { name: "name".into(), lost, winner, known }),
            Scene::told(NodeMsg::Revocations { list: Payload(Bytes::from_static(b"nonsense")) }),
            Scene::told(NodeMsg::Release { reservation: reservation(third) }),
        ];
        for (n, lie) in (1..).zip(scene.said(lies).await) {
            scene.give(there, lie);
            scene.handled().await;
            assert_eq!(scene.node.counts().violations, n, "lie {n}");
        }
        let hosting = &scene.cluster.hosting;
        assert_eq!(hosting.running().keys().collect::<Vec<_>>(), [&mine]);
        assert_eq!(scene.cluster.children.find(mine), Some(Ok((me, epoch))));
        assert_eq!(scene.cluster.directory.find("name"), None);
        assert_eq!(hosting.reserved(own), None);
        scene.lives().await;
    }

    /// AU-3.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn runs_from_the_future_are_not_believed() {
        let mut scene = Scene::new().await;
        let (there, target) = (scene.scribe.node(), scene.target_id);
        let actor = ActorId { origin: origin_of(there), number: 5 };
        let number = reservation(there);
        let asks = vec![
            reserve(number, actor, 7),
            start(number, there, actor, 7),
            reserve(number + 1, actor, 7 + EPOCH_LEAP_MAX),
            reserve(number + 2, actor, 8 + EPOCH_LEAP_MAX),
            start(number + 1, there, actor, 9),
        ];
        let mut frames = scene.said(asks).await.into_iter();
        let mut give = |n| frames.by_ref().take(n).for_each(|frame| scene.give(there, frame));
        give(2);
        scene.until("it is hosted", |cluster| cluster.hosting.running().contains_key(&actor)).await;
        give(1);
        scene.handled().await;
        assert_eq!(scene.node.counts().violations, 0);
        let run = (actor, Epoch(7 + EPOCH_LEAP_MAX));
        assert_eq!(scene.cluster.hosting.reserved(number + 1), Some(run));
        give(1);
        scene.handled().await;
        assert_eq!(scene.node.counts().violations, 1);
        assert_eq!(scene.cluster.hosting.reserved(number + 2), None);
        // Room that was held for another run.
        give(1);
        scene.handled().await;
        assert_eq!(scene.node.counts().violations, 2);
        assert_eq!(scene.cluster.hosting.running()[&actor].epoch, Epoch(7));
        for (n, epoch) in [(2, EPOCH_LEAP_MAX), (3, 2 + EPOCH_LEAP_MAX)] {
            let outgoing = mobula_actors::wire::encode(&scene.cluster.carrier().unwrap(), &());
            let parts = frames::Parts::of(&outgoing.unwrap());
            let head = MessageHead::new(target, Epoch(epoch), None, there, &[], parts);
            scene.give(there, frames::bare(MESSAGE, &head));
            assert_eq!(scene.node.counts().violations, n, "epoch {epoch}");
        }
    }
}
