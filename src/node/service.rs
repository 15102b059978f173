//! A node's own actor: how nodes ask each other for what is not a user's message.
//!
//! It is an ordinary actor with a well-known name, so that deadlines, refusals and answers work as
//! they do for everybody. It runs on the system runtime and never waits: what takes time goes into
//! a task.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mobula_actors::demand::{Demand, Place};
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::spawner::{Notice, Order, Watch};
use mobula_actors::{
    Actor, Context, Down, Exit, Fault, OnRestart, Payload, Reply, Restart, Settings, SpawnError,
    protocol,
};
use serde::{Deserialize, Serialize};

use super::asked::Unreserved;
use super::authority::Heard;
use super::children::Located;
use super::cluster::{Cluster, service_id};
use super::directory::{Entry, Refusal, Stamp};
use super::gathering::Parcel;
use super::hosting::Commission;
use super::membership::Member;
use super::names::NameEnd;
use super::roster::{Cursor, News};
use crate::placement::{Dimension, Verdict};

/// What nodes say to each other.
#[derive(Serialize, Deserialize)]
pub(super) enum NodeMsg {
    /// Hold room for an actor.
    Reserve {
        reservation: u128,
        actor: ActorId,
        epoch: Epoch,
        kind: String,
        demand: Demand,
        verdict: Reply<Result<Verdict, Unreserved>>,
    },
    /// Start what was reserved.
    Start(Box<StartOrder>),
    /// End an actor: this run of it, or whichever there is.
    End { actor: ActorId, epoch: Option<Epoch>, exit: Exit, kill: bool },
    /// No run after this one is started on the actor's cell.
    Retire { actor: ActorId, epoch: Epoch },
    /// Where is an actor whose home you are? With `next`, one between two runs is waited for.
    Locate { actor: ActorId, next: bool, reply: Reply<Located> },
    /// Tell `watcher` when the present run of an actor ends.
    Watch { actor: ActorId, watcher: NodeId, number: u64 },
    /// A watched run has ended.
    Fired { by: NodeId, number: u64, down: Down },
    /// An actor that is to be watched is not here.
    Absent { number: u64 },
    /// `watcher` has heard of the end, or does not care any more.
    Unwatch { watcher: NodeId, number: u64 },
    /// A run of an actor whose home you are has ended.
    Ended { actor: ActorId, epoch: Epoch, exit: Exit, known: Reply<()> },
    /// The state of an actor whose home you are.
    Checkpoint { actor: ActorId, epoch: Epoch, sequence: u64, state: Payload, stored: Reply<()> },
    /// Whom do you know?
    Members { reply: Reply<Vec<Member>> },
    /// A fresh registration of a name that you keep.
    NameClaim { entry: Entry, granted: Reply<Result<(), Refusal>> },
    /// Who has this name?
    NameFind { name: String, found: Reply<Result<Option<Entry>, Refusal>> },
    /// Names to be taken out, then names to be entered that were granted elsewhere.
    Names { enter: Vec<Entry>, leave: Vec<(String, Stamp)>, refused: Reply<Vec<(String, Refusal)>> },
    /// Your registration has given way to an older one.
    NameLost { name: String, lost: Stamp, winner: Stamp, known: Reply<()> },
    /// Members have joined groups on `by`, or left them.
    GroupsChanged { by: NodeId },
    /// Which of your members have joined and left since?
    GroupsSince { cursor: Cursor, news: Reply<News> },
    /// A message to the members of a group.
    Spread(Box<Parcel>),
    /// The version of the list of revocations that is known here; 0 for none.
    Revoked { version: u64 },
    /// That list, which the cluster signed.
    Revocations { list: Payload },
    /// What you hold for me under this number is not needed.
    Release { reservation: u128 },
}

protocol!(NodeMsg = "mobula.node/1");

/// Everything a node needs to start an actor for another.
#[derive(Serialize, Deserialize)]
pub(super) struct StartOrder {
    pub(super) reservation: u128,
    pub(super) home: NodeId,
    pub(super) kind: String,
    pub(super) args: Payload,
    pub(super) actor: ActorId,
    pub(super) epoch: Epoch,
    pub(super) checkpoint: Option<Payload>,
    pub(super) mailbox_messages: u64,
    pub(super) restart: Restart,
    pub(super) on_restart: OnRestart,
    pub(super) supervised: bool,
    pub(super) start_timeout_ms: u64,
    pub(super) started: Reply<Result<(), SpawnError>>,
}

/// Questions that wait for the node. Enough for every actor of a node to end at once: what is only
/// told, as the end of a watched run, is not told again.
pub(super) const SERVICE_MESSAGES_MAX: usize = 65_536;

/// The actor behind [`NodeMsg`].
pub(super) struct Service(Weak<Cluster>);

impl Actor for Service {
    type Args = Weak<Cluster>;
    type Msg = Heard;

    async fn start(cluster: Weak<Cluster>, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(cluster))
    }

    async fn handle(&mut self, msg: Heard, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let Some(cluster) = self.0.upgrade() else {
            ctx.stop();
            return Ok(());
        };
        let Heard { from, said } = msg;
        if let Err(violation) = cluster.believable(from, &said) {
            cluster.accuse(from, &violation);
            return Ok(());
        }
        let Some(said) = cluster.permitted(from, said) else { return Ok(()) };
        match said {
            NodeMsg::Reserve { reservation, actor, epoch, kind, demand, verdict } => {
                let more = Dimension::ALL.map(|dimension| dimension.needed(&demand));
                let granted = cluster.grants_start(from, &kind, more);
                let reserve = |()| cluster.reserve(reservation, actor, epoch, &kind, &demand);
                verdict.send(granted.map_err(Unreserved::Denied).and_then(reserve));
            }
            NodeMsg::Start(order) => start(cluster, from, *order),
            // Nobody ends a node's own actor from elsewhere.
            NodeMsg::End { actor, .. } if actor == service_id(cluster.id) => {}
            NodeMsg::End { actor, epoch, exit, kill } => {
                cluster.end_hosted(actor, epoch, exit, kill);
            }
            NodeMsg::Retire { actor, epoch } => cluster.retire_hosted(actor, epoch),
            NodeMsg::Locate { actor, next, reply } => cluster.children.locate(actor, next, reply),
            NodeMsg::Watch { actor, watcher, number } => cluster.watch_for(actor, watcher, number),
            NodeMsg::Fired { by, number, down } => cluster.watch_fired(by, number, down),
            NodeMsg::Absent { number } => cluster.watch_denied(number),
            NodeMsg::Unwatch { watcher, number } => cluster.watched.forget(watcher, number),
            NodeMsg::Ended { actor, epoch, exit, known } => {
                cluster.child_ended(actor, epoch, exit);
                known.send(());
            }
            NodeMsg::Checkpoint { actor, epoch, sequence, state, stored } => {
                let stored = Box::new(move || stored.send(()));
                cluster.child_checkpoint(actor, epoch, sequence, state.0, stored);
            }
            NodeMsg::Members { reply } => reply.send(cluster.membership.members()),
            NodeMsg::NameClaim { entry, granted } => {
                granted.send(cluster.enter_name(entry, true));
            }
            NodeMsg::NameFind { name, found } => found.send(cluster.find_name(&name)),
            NodeMsg::Names { enter, leave, refused } => {
                if let Some(those) = cluster.names_changed(enter, leave) {
                    refused.send(those);
                }
            }
            NodeMsg::NameLost { name, lost, winner, known } => {
                if cluster.may_take(from, &name) {
                    cluster.registrar.end(&name, lost, NameEnd::Lost(winner.by));
                }
                known.send(());
            }
            NodeMsg::GroupsChanged { by } => cluster.hear_groups(by),
            NodeMsg::GroupsSince { cursor, news } => news.send(cluster.groups_since(cursor)),
            NodeMsg::Spread(parcel) => cluster.parcel_came(*parcel),
            NodeMsg::Revoked { version } => cluster.compare_revocations(from, version),
            NodeMsg::Revocations { list } => cluster.learn_revocations(from, &list.0),
            NodeMsg::Release { reservation } => cluster.cancel(reservation),
        }
        Ok(())
    }
}

fn start(cluster: Arc<Cluster>, from: NodeId, order: StartOrder) {
    let granted = cluster.grants_start(from, &order.kind, [0; 5]);
    let granted = granted.map_err(|denied| denied.to_string());
    let commission = match granted.and_then(|()| commission(&cluster, &order)) {
        Ok(commission) => commission,
        Err(why) => {
            cluster.cancel(order.reservation);
            return order.started.send(Err(SpawnError::Refused(why)));
        }
    };
    // Entered before the next message is looked at, which may be its end.
    let admitted = match cluster.admit(commission) {
        Ok(admitted) => admitted,
        Err(why) => return order.started.send(Err(why)),
    };
    let (started, runtime) = (order.started, cluster.system.runtime().clone());
    runtime.spawn(async move {
        started.send(cluster.host(admitted).await);
    });
}

fn commission(cluster: &Cluster, order: &StartOrder) -> Result<Commission, String> {
    let hosted = cluster.kinds.get(order.kind.as_str());
    let hosted = hosted.ok_or_else(|| format!("the kind {:?} is not hosted here", order.kind))?;
    let carrier = cluster.carrier().ok_or("the node is stopping")?;
    let seed = hosted.seed(&carrier, order.home, &order.args.0)?;
    let settings = Settings {
        mailbox_messages: usize::try_from(order.mailbox_messages).unwrap_or(usize::MAX),
        start_timeout: Duration::from_millis(order.start_timeout_ms),
        restart: order.restart,
        on_restart: order.on_restart,
        place: Place::Here,
        ..Settings::default()
    };
    let run = Order {
        id: order.actor,
        epoch: order.epoch,
        checkpoint: order.checkpoint.as_ref().map(|state| state.0.clone()),
        watch: order.supervised.then(|| Arc::new(Supervised) as Arc<dyn Watch>),
        ..Order::new(&settings)
    };
    let (home, reservation) = (order.home, order.reservation);
    Ok(Commission { seed, settings, order: run, home, reservation })
}

/// Stands for a supervisor at the actor's home: `host` puts the real way there in its place.
struct Supervised;

impl Watch for Supervised {
    fn notice(&self, _: Notice) {}
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}
