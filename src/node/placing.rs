//! Starts actors where their specs allow: the node's side of `Spawner`.
//!
//! One placement is a conversation: choose by the view, ask the target to reserve, and have it
//! start what it granted. The target decides; this side only guesses well.
//!
//! Invariants:
//! - **L-1** A start that failed leaves nothing behind: the reservation is consumed or expires,
//!   and an actor that came to life too late is told to end.
//! - **L-2** A child whose run ended for a reason of its own is started again on its cell, where
//!   its mailbox waits, if its node still has the room.
//! - **L-3** A child that is to [wait](OnPartition::Wait) is not started on another cell while this
//!   node sees no majority of the nodes that it knows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mobula_actors::carrier::{Address, BoxFuture, Carrier};
use mobula_actors::demand::{Neighbour, Place};
use mobula_actors::id::{ActorId, Epoch, NodeId, PeerKey};
use mobula_actors::spawner::{Local, Notice, Request, Site, Spawner, Started, start_here};
use mobula_actors::{CallError, Exit, Lost, OnPartition, Payload, SpawnError, Why};

use super::asked::Unreserved;
use super::cluster::{Cluster, origin_of};
use super::hosting::Commission;
use super::pending::Queue;
use super::placed::Placed;
use super::routes::Route;
use super::service::{NodeMsg, StartOrder};
use super::unfinished::Unfinished;
use crate::machine::{Rng, Time};
use crate::net::Denied;
use crate::placement::{Attempt, Debits, PLACED_WITHIN, Pending, Step, Verdict, Where};

/// How long a node may take to say whether it has room.
pub const RESERVE_TIMEOUT: Duration = Duration::from_secs(2);
/// What the answer to a start may take on its way, beyond the time of the start itself.
const ANSWER_SLACK: Duration = Duration::from_secs(2);

/// Starts the children of this node's supervisors, here and elsewhere.
pub(super) struct Placer {
    pub(super) cluster: Arc<Cluster>,
    choice: Mutex<Choice>,
}

/// What all placements of a node share.
pub(super) struct Choice {
    pub(super) debits: Debits<NodeId>,
    pub(super) rng: Rng,
    pub(super) pending: Pending,
    reservations: u64,
}

enum Next {
    Ask(NodeId, u128),
    Wait(Time, String),
}

impl Placer {
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        let seed = origin_of(cluster.id) ^ 0x9E37;
        let reservations = cluster.id.boot << LIFE_BITS;
        let choice = Choice {
            debits: Debits::default(),
            rng: Rng::new(seed),
            pending: Pending::default(),
            reservations,
        };
        Self { cluster, choice: Mutex::new(choice) }
    }

    /// Starts a run where its spec allows.
    pub(super) async fn place(self: Arc<Self>, request: Request) -> Result<Started, SpawnError> {
        let carrier: Arc<dyn Carrier> = self.cluster.clone();
        if request.seed.encode(&carrier).is_none() {
            return self.keep_here(&carrier, &request).await;
        }
        let (actor, epoch) = (request.order.id, request.order.epoch);
        let mut unfinished = Unfinished::ordered(&self.cluster, &request.order)?;
        let node = match self.again(&request, &mut unfinished).await {
            Some(started) => started?,
            None => {
                if self.waits(&request) {
                    self.majority(&request).await;
                }
                self.find_node(&request, &mut unfinished).await?
            }
        };
        self.settled(actor, epoch, node)?;
        unfinished.finished();
        self.cluster.changed.notify_waiters();
        Ok(self.started(&carrier, &request, node))
    }

    /// Notes where a run came to life.
    pub(super) fn settled(
        &self,
        actor: ActorId,
        epoch: Epoch,
        node: NodeId,
    ) -> Result<(), SpawnError> {
        if !self.cluster.children.started(actor, epoch, node) {
            return Err(SpawnError::Start(Exit::Killed));
        }
        if self.cluster.membership.is_gone(node) {
            // It died between its answer and now, and those who were told did not find this run.
            self.cluster.children_node_is_dead(node);
        }
        Ok(())
    }

    /// Whether this run follows another one that may still go on, on the other side of a cut, and
    /// its spec forbids that (L-3).
    fn waits(&self, request: &Request) -> bool {
        request.settings.on_partition == OnPartition::Wait && request.order.epoch > Epoch(1)
    }

    /// Waits until this node sees a majority of the nodes that it knows, and has the supervisor say
    /// so (L-3).
    async fn majority(&self, request: &Request) {
        let mut told = false;
        loop {
            let changed = self.cluster.changed.notified();
            let (seen, known) = self.cluster.membership.seen();
            if 2 * seen > known {
                return;
            }
            if let Some(watch) = request.order.watch.as_ref().filter(|_| !told) {
                let why = format!("{seen} of {known} nodes are seen, which is no majority");
                let (actor, epoch) = (request.order.id, request.order.epoch);
                watch.notice(Notice::Waits { actor, epoch, why });
                told = true;
            }
            changed.await;
        }
    }

    /// A child that can only run here.
    async fn keep_here(
        &self,
        carrier: &Arc<dyn Carrier>,
        request: &Request,
    ) -> Result<Started, SpawnError> {
        if request.settings.place != Place::Here {
            let kind = request.seed.kind().to_owned();
            return Err(SpawnError::NotPortable { kind });
        }
        let control = start_here(&self.cluster.engine, request).await?;
        let site = Site { control: Some(&control), cluster: None };
        let reference = request.seed.refer(&carrier.engine(), &site);
        Ok(Started { child: Arc::new(Local(control)), reference })
    }

    pub(super) fn started(
        &self,
        carrier: &Arc<dyn Carrier>,
        request: &Request,
        node: NodeId,
    ) -> Started {
        let (actor, epoch) = (request.order.id, request.order.epoch);
        let address = Address { actor, epoch, node, home: self.cluster.id };
        let site = Site { control: None, cluster: Some((carrier.clone(), address)) };
        let reference = request.seed.refer(&carrier.engine(), &site);
        let child = Placed { cluster: self.cluster.clone(), actor, epoch, node };
        Started { child: Arc::new(child), reference }
    }

    /// Starts another run where the last one was (L-2); `None` if it cannot go on there.
    async fn again(
        &self,
        request: &Request,
        unfinished: &mut Unfinished,
    ) -> Option<Result<NodeId, SpawnError>> {
        let node = request.previous.as_ref()?.node().unwrap_or(self.cluster.id);
        let reservation = self.choice().next_reservation(self.cluster.id);
        match self.reserve(node, reservation, request).await {
            Ok(Ok(Verdict::Granted { .. })) => {
                unfinished.asks(node);
                Some(self.start_at(node, reservation, request).await.map(|()| node))
            }
            _ => {
                let (actor, epoch) = (request.order.id, request.order.epoch);
                self.cluster.tell(node, NodeMsg::Retire { actor, epoch });
                None
            }
        }
    }

    async fn find_node(
        &self,
        request: &Request,
        unfinished: &mut Unfinished,
    ) -> Result<NodeId, SpawnError> {
        let wanted = self.wanted(request);
        let mut denied: Option<Denied> = None;
        let mut queue = Queue::new(self);
        let mut attempt = Attempt::new(self.cluster.membership.now(), wanted, PLACED_WITHIN);
        loop {
            let next = self.next(&mut attempt);
            let (node, reservation) = match next.map_err(|why| or_denied(why, denied.as_ref()))? {
                Next::Ask(node, reservation) => (node, reservation),
                Next::Wait(until, missing) => {
                    queue.wait(until, [request], &missing).await?;
                    continue;
                }
            };
            match self.reserve(node, reservation, request).await {
                Ok(Ok(Verdict::Granted { .. })) => {
                    unfinished.asks(node);
                    return self.start_at(node, reservation, request).await.map(|()| node);
                }
                Ok(Ok(Verdict::Rejected { free, .. })) => {
                    attempt.rejected(node, free, &mut self.choice().debits);
                }
                // Others grant it no more than this one does; only what it has there differs.
                Ok(Err(Unreserved::Denied(why @ (Denied::Verb(_) | Denied::Kind(_))))) => {
                    return Err(SpawnError::Refused(why.to_string()));
                }
                Ok(Err(Unreserved::Denied(why))) => {
                    denied = Some(why);
                    attempt.unanswered(node);
                }
                Ok(Err(Unreserved::Unfit(_))) | Err(_) => attempt.unanswered(node),
            }
        }
    }

    /// What a request asks of the nodes.
    pub(super) fn wanted(&self, request: &Request) -> crate::placement::Request<NodeId> {
        crate::placement::Request {
            kind: request.seed.kind().to_owned(),
            demand: request.settings.demand.clone(),
            place: Where::new(request.settings.place, self.cluster.id),
            strategy: request.settings.strategy,
            near: request.settings.near.and_then(|near| self.whereabouts(near)),
            avoid: request.avoid.clone(),
        }
    }

    /// Where an actor is, as far as this node knows without asking.
    fn whereabouts(&self, neighbour: Neighbour) -> Option<NodeId> {
        let Neighbour { actor, node } = neighbour;
        if self.cluster.engine.inspect(actor).is_some() {
            return Some(self.cluster.id);
        }
        if let Some(child) = self.cluster.children.find(actor) {
            return child.ok().map(|(node, _)| node);
        }
        match self.cluster.route(actor) {
            Some(Route::At(node, _)) => Some(node),
            Some(_) => None,
            None => node,
        }
    }

    fn next(&self, attempt: &mut Attempt<NodeId>) -> Result<Next, SpawnError> {
        let here = self.cluster.hosting.figures();
        self.cluster.membership.with_candidates(here, |now, view| {
            let mut choice = self.choice();
            let Choice { debits, rng, .. } = &mut *choice;
            match attempt.next(now, view, debits, rng) {
                Step::Ask(node) => Ok(Next::Ask(node, choice.next_reservation(self.cluster.id))),
                Step::Wait { until } => {
                    let missing = attempt.waits_for(now, view, &choice.debits);
                    let missing = missing.map(|missing| missing.to_string());
                    Ok(Next::Wait(until, missing.unwrap_or_default()))
                }
                Step::Fail(why) => {
                    choice.pending.failed(now, &why);
                    Err(SpawnError::NoCapacity(why.to_string()))
                }
            }
        })
    }

    pub(super) async fn reserve(
        &self,
        node: NodeId,
        reservation: u128,
        request: &Request,
    ) -> Result<Result<Verdict, Unreserved>, CallError> {
        let (actor, epoch) = (request.order.id, request.order.epoch);
        let kind = request.seed.kind();
        let demand = &request.settings.demand;
        if node == self.cluster.id {
            return Ok(self.cluster.reserve(reservation, actor, epoch, kind, demand));
        }
        let service = self.cluster.service(node).ok_or(CallError::Rejected(Why::NoRoute))?;
        let (kind, demand) = (kind.to_owned(), demand.clone());
        service
            .call(|verdict| NodeMsg::Reserve { reservation, actor, epoch, kind, demand, verdict })
            .within(RESERVE_TIMEOUT)
            .await
    }

    pub(super) async fn start_at(
        &self,
        node: NodeId,
        reservation: u128,
        request: &Request,
    ) -> Result<(), SpawnError> {
        if node == self.cluster.id {
            let commission = Commission {
                seed: request.seed.clone(),
                settings: request.settings.clone(),
                order: request.order.clone(),
                home: self.cluster.id,
                reservation,
            };
            let admitted = self.cluster.admit(commission)?;
            return self.cluster.clone().host(admitted).await;
        }
        self.start_there(node, reservation, request).await
    }

    async fn start_there(
        &self,
        node: NodeId,
        reservation: u128,
        request: &Request,
    ) -> Result<(), SpawnError> {
        let carrier: Arc<dyn Carrier> = self.cluster.clone();
        let args = request.seed.encode(&carrier);
        let args = args.ok_or_else(|| SpawnError::Refused("its arguments are used up".into()))?;
        let mut args = args.map_err(|why| SpawnError::Node(CallError::Rejected(why)))?;
        if !args.calls.is_empty() || !args.payloads.is_empty() {
            let why = "arguments carry no replies and no payloads to another node";
            return Err(SpawnError::Refused(why.into()));
        }
        let bytes = Bytes::from(std::mem::take(&mut args.head));
        let Request { settings, order, seed, .. } = request;
        let timeout = settings.start_timeout;
        let service = self.cluster.service(node);
        let service = service.ok_or(SpawnError::Node(CallError::Rejected(Why::NoRoute)))?;
        let kind = seed.kind().to_owned();
        let answer = service
            .call(|started| {
                NodeMsg::Start(Box::new(StartOrder {
                    reservation,
                    home: self.cluster.id,
                    kind,
                    args: Payload(bytes),
                    actor: order.id,
                    epoch: order.epoch,
                    checkpoint: order.checkpoint.clone().map(Payload),
                    mailbox_messages: settings.mailbox_messages as u64,
                    restart: settings.restart,
                    on_restart: settings.on_restart,
                    supervised: order.watch.is_some(),
                    start_timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                    started,
                }))
            })
            .within(timeout.saturating_add(ANSWER_SLACK))
            .await;
        match answer {
            Ok(started) => started,
            Err(CallError::Unknown(Lost::Disconnected)) => {
                Err(SpawnError::Start(Exit::NodeDead(node)))
            }
            Err(error) => Err(SpawnError::Node(error)),
        }
    }

    pub(super) fn choice(&self) -> MutexGuard<'_, Choice> {
        // The choosers are total: nothing under this lock panics.
        self.choice.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a node would not have it says more than that no node had room.
pub(super) fn or_denied(why: SpawnError, denied: Option<&Denied>) -> SpawnError {
    denied.map_or(why, |denied| SpawnError::Refused(denied.to_string()))
}

impl Choice {
    /// Unique in the cluster, and over the lives of a node: whose it is, and a counter that began
    /// with its boot.
    pub(super) fn next_reservation(&mut self, me: NodeId) -> u128 {
        self.reservations = self.reservations.wrapping_add(1);
        u128::from(owner_of_key(me.key)) << 64 | u128::from(self.reservations)
    }
}

/// Reservations that a node may make for each millisecond that it lives: this many bits of them.
const LIFE_BITS: u32 = 20;

/// Who made a reservation.
pub(super) fn owner_of(reservation: u128) -> u64 {
    (reservation >> 64) as u64
}

/// How a key is named in reservations: nobody can choose what its own begins with.
pub(super) fn owner_of_key(key: PeerKey) -> u64 {
    key.0.iter().take(8).fold(0, |owner, byte| owner << 8 | u64::from(*byte))
}

/// The spawner that supervisors of this node use.
#[derive(Clone)]
pub(super) struct NodeSpawner(pub(super) Arc<Placer>);

impl Spawner for NodeSpawner {
    fn next_id(&self) -> ActorId {
        self.0.cluster.engine.next_id()
    }

    fn start(&self, request: Request) -> BoxFuture<'static, Result<Started, SpawnError>> {
        Box::pin(self.0.clone().place(request))
    }
}

impl std::fmt::Debug for Placer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Placer({})", self.cluster.id)
    }
}
