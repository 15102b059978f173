//! What a node tells those who only look.
//!
//! An observer is a peer that is admitted as every other, and no node: it dials, asks, and goes. It
//! reaches one actor of each node, whose protocol has questions only. So what an observer says cannot
//! change anything, whatever it says.
//!
//! Invariants:
//! - **OV-1** What an observer sends is a question to this actor, of its own; for anything else its
//!   connection is closed.
//! - **OV-2** An observer is no member: no node hears of it, and it is sent nothing but answers.
//! - **OV-3** An observer never takes the place of a life of its key.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mobula_actors::carrier::Address;
use mobula_actors::id::{ActorId, Epoch, NodeId};
use mobula_actors::{Actor, ActorRef, Context, Fault, Reply, SpawnError, protocol, wire};
use mobula_supervision::{Branch, Tree};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::asked;
use super::authority::Heard;
use super::cluster::{Cluster, origin_of};
use super::figures::{free, total};
use super::frames::MessageHead;
use super::membership::{Member, Standing};
use crate::net::Verb;
use crate::placement::Capacity;

/// Lines of trees that one node tells; those that follow are counted.
pub const TREE_LINES_MAX: usize = 1_000;
/// How long a node waits for its supervisors to tell of their children.
pub const TREE_LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes in one answer: their records fit into a message, whatever they hold.
pub(super) const NODES_PER_ANSWER: usize = 32;
/// Texts of users are cut to this, so that an answer fits into a message.
const TEXT_BYTES_MAX: usize = 200;
/// Questions that wait for an answer.
const QUESTIONS_MAX: usize = 64;

/// A node as another one sees it, for whoever looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who.
    pub node: NodeId,
    /// Where it stands.
    pub standing: Standing,
    /// Where it can be dialled.
    pub address: String,
    /// How old the record is from which the rest is known; `None` until one has come.
    pub record_age: Option<Duration>,
    /// All it has.
    pub total: Capacity,
    /// What of it is free.
    pub free: Capacity,
    /// The kinds it hosts.
    pub kinds: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// How many actors it runs, its own and supervisors among them, as itself says; `None` if it did
    /// not reply.
    pub actors: Option<u64>,
}

/// A line of a supervision tree: its root, a child, or how many are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeLine {
    /// How far below its root it stands.
    pub depth: usize,
    /// Its id at its supervisor.
    pub name: String,
    /// Its kind, or `supervisor`.
    pub kind: String,
    /// What it is doing.
    pub state: String,
    /// Its strategy and how many of its children run, if it is a supervisor.
    pub below: Option<String>,
    /// Its actor.
    pub actor: Option<ActorId>,
    /// Its run; `None` for a root.
    pub epoch: Option<Epoch>,
    /// The node it runs on, or ran on last.
    pub node: NodeId,
    /// How often it was started again.
    pub restarts: u64,
    /// What its start waits for.
    pub waits: Option<String>,
    /// How its last run ended.
    pub last_exit: Option<String>,
    /// More than zero for a line that stands for so many others.
    pub left_out: usize,
}

/// What an observer may ask. A question added here must change nothing (OV-1).
#[derive(Serialize, Deserialize)]
pub(super) enum LookMsg {
    /// The nodes that are known, in the order of their names after this one.
    Nodes { after: Option<NodeId>, nodes: Reply<Vec<NodeStatus>> },
    /// How many actors run here?
    Actors { count: Reply<u64> },
    /// The trees that were started here.
    Trees { lines: Reply<Vec<TreeLine>> },
}

protocol!(LookMsg = "mobula.looks/1");

/// The actor behind [`LookMsg`]. It answers one question after the other.
struct Looks {
    cluster: Weak<Cluster>,
    trees: Arc<Mutex<Vec<Tree>>>,
}

/// The well-known name of the actor that answers those who look.
fn looks_id(node: NodeId) -> ActorId {
    // Number 0, as the node's own actors have, which need no credit; the origin of no node.
    ActorId { origin: !origin_of(node), number: 0 }
}

impl Actor for Looks {
    type Args = (Weak<Cluster>, Arc<Mutex<Vec<Tree>>>);
    type Msg = Heard<LookMsg>;

    async fn start((cluster, trees): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { cluster, trees })
    }

    async fn handle(&mut self, msg: Self::Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let Some(cluster) = self.cluster.upgrade() else {
            ctx.stop();
            return Ok(());
        };
        let Heard { from, said } = msg;
        if !cluster.grants(from, Verb::Members) {
            wire::discarding(asked::why(Verb::Members), || drop(said));
            return Ok(());
        }
        match said {
            LookMsg::Nodes { after, nodes } => nodes.send(statuses(&cluster, after)),
            LookMsg::Actors { count } => count.send(cluster.engine.actors_count() as u64),
            LookMsg::Trees { lines } => lines.send(self.lines(cluster.id).await),
        }
        Ok(())
    }
}

impl Looks {
    async fn lines(&self, here: NodeId) -> Vec<TreeLine> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let deadline = Instant::now() + TREE_LOOK_TIMEOUT;
        let mut lines: Vec<TreeLine> = Vec::new();
        for tree in trees {
            let room = TREE_LINES_MAX.saturating_sub(lines.len()).max(1);
            match timeout_at(deadline, tree.outline(room)).await {
                Ok(outline) => lines.extend(outline.iter().map(|branch| line(here, branch))),
                Err(_) => lines.push(silent(here)),
            }
        }
        lines
    }
}

impl Cluster {
    /// Starts the actor that answers those who look.
    pub(super) async fn show(&self, trees: &Arc<Mutex<Vec<Tree>>>) -> Result<(), SpawnError> {
        let looks = Looks::spec((self.weak(), trees.clone())).mailbox(QUESTIONS_MAX);
        let looks = self.system.spawn(looks).await?;
        self.engine.export_as(looks_id(self.id), &looks);
        Ok(())
    }

    /// The reference to that actor of a node.
    pub(super) fn looks(&self, node: NodeId) -> Option<ActorRef<LookMsg>> {
        let address = Address { actor: looks_id(node), epoch: Epoch(1), node, home: node };
        Some(ActorRef::at(&self.system, self.carrier()?, address))
    }

    /// Whether a message is what an observer may send: a question of its own to that actor (OV-1).
    pub(super) fn only_looks(&self, from: NodeId, head: &MessageHead) -> bool {
        head.actor == looks_id(self.id) && head.calls(from).all(|call| call.origin == from)
    }
}

fn statuses(cluster: &Cluster, after: Option<NodeId>) -> Vec<NodeStatus> {
    let mut nodes = cluster.membership.known(|member, record| {
        let Member { node, standing, kinds, labels, address, .. } = member;
        NodeStatus {
            node,
            standing,
            address,
            record_age: record.map(|(_, age)| age),
            total: record.map(|(record, _)| total(record)).unwrap_or_default(),
            free: record.map(|(record, _)| free(record)).unwrap_or_default(),
            kinds,
            labels,
            actors: None,
        }
    });
    nodes.retain(|status| after.is_none_or(|after| status.node > after));
    nodes.sort_unstable_by_key(|status| status.node);
    nodes.truncate(NODES_PER_ANSWER);
    nodes
}

fn line(here: NodeId, branch: &Branch) -> TreeLine {
    let child = branch.child.as_ref();
    let kind = match child {
        Some(child) if !child.is_supervisor => cut(child.kind),
        None if branch.left_out > 0 => String::new(),
        _ => "supervisor".into(),
    };
    TreeLine {
        depth: branch.depth,
        name: cut(&branch.name),
        kind,
        state: child.map_or("running", |child| child.state.name()).into(),
        below: branch.below.map(|below| below.to_string()),
        actor: branch.actor,
        epoch: child.map(|child| child.epoch),
        node: child.and_then(|child| child.node).unwrap_or(here),
        restarts: child.map_or(0, |child| child.restarts),
        waits: child.and_then(|child| child.waits.as_deref()).map(cut),
        last_exit: child
            .and_then(|child| child.last_exit.as_ref())
            .map(|exit| cut(&exit.to_string())),
        left_out: branch.left_out,
    }
}

/// Stands for a tree whose supervisors do not answer in time.
fn silent(here: NodeId) -> TreeLine {
    TreeLine {
        depth: 0,
        name: "tree".into(),
        kind: "supervisor".into(),
        state: "does not answer".into(),
        below: None,
        actor: None,
        epoch: None,
        node: here,
        restarts: 0,
        waits: None,
        last_exit: None,
        left_out: 0,
    }
}

/// The first line of a text, as far as it may go.
fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line[..line.floor_char_boundary(TEXT_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use mobula_actors::wire::CallId;

    use super::*;
    use crate::net::{Inbound, Message};
    use crate::node::cluster::service_id;
    use crate::node::frames::{self, MESSAGE};
    use crate::node::hostile::{Scene, ask};
    use crate::node::inbound::Door;
    use crate::node::service::NodeMsg;

    /// A question as an observer sends it, whose answer goes to `call`.
    fn question(from: NodeId, actor: ActorId, call: CallId) -> Message {
        let parts = frames::Parts::default();
        let head = MessageHead::new(actor, Epoch(1), None, from, &[call], parts);
        frames::bare(MESSAGE, &head)
    }

    /// OV-1, OV-2.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_observer_that_does_more_than_look_is_cut_off_and_changes_nothing() {
        let mut scene = Scene::observed().await;
        let (me, there) = (scene.cluster.id, scene.scribe.node());
        scene.until("it is connected", |cluster| cluster.link(there).is_some()).await;
        let link = scene.cluster.link(there).unwrap();
        assert_eq!(scene.node.members().len(), 1);
        assert!(scene.cluster.linked().is_empty(), "it is told nothing");
        let target = scene.target_id;
        let mut more = frames::samples(target, me);
        let service = scene.cluster.service(there).unwrap();
        ask(|reply| NodeMsg::Members { reply })(service);
        more.push(scene.frame(service_id(me)).await);
        let own = CallId { origin: there, number: 1 };
        more.push(question(there, target, own));
        more.push(question(there, looks_id(me), CallId { origin: me, number: 1 }));
        for (n, frame) in (1..).zip(more) {
            Door(Arc::downgrade(&scene.cluster)).message(there, &link, frame);
            assert_eq!(scene.node.counts().violations, n, "frame {n}");
        }
        scene.lives().await;
    }
}
