//! A peer that only looks: it asks nodes what they know, and takes part in nothing.
//!
//! It is admitted as every member is, and says in its hello that it is no node (OV-1 to OV-3 of
//! `looks`). It listens nowhere and offers nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::{StreamExt, stream};
use mobula_actors::id::{NodeId, PeerKey};
use mobula_actors::wire::Wire;
use mobula_actors::{CallError, Engine, Reply, Why};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::System;
use super::builder::{NodeBuilder, NodeError, unix_ms};
use super::cluster::{Cluster, origin_of};
use super::frames::REPLY;
use super::looks::{LookMsg, NODES_PER_ANSWER, NodeStatus, TreeLine};
use super::membership::Standing;
use crate::net::{DialOutcome, Inbound, Link, Message, Net, NetError};

/// Nodes that are asked at a time.
const ASKED_AT_A_TIME: usize = 32;

/// A peer that only looks. Others do not hear of it; it is gone when it is dropped.
#[derive(Debug)]
pub struct Observer {
    cluster: Arc<Cluster>,
    refused: Arc<Refused>,
    /// Of the nodes to join the first that let it in.
    first: NodeId,
    _runtime: System,
}

/// The nodes of a cluster, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The node whose view this is.
    pub asked: NodeId,
    /// All that it knows, itself among them.
    pub nodes: Vec<NodeStatus>,
    /// Those of them that are not gone and did not reply in time.
    pub silent: Vec<NodeId>,
}

/// The supervision trees of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trees {
    /// The lines of each node that replied.
    pub nodes: BTreeMap<NodeId, Vec<TreeLine>>,
    /// The nodes that are not gone and did not reply in time.
    pub silent: Vec<NodeId>,
}

/// Why nothing could be seen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObserverError {
    /// Its key, certificate or network.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// There is nobody to ask.
    #[error("name a node to ask, with its address /ip4/HOST/tcp/PORT/p2p/KEY")]
    Nobody,
    /// No node let it in.
    #[error("no node let this observer in: {why}")]
    Unreached {
        /// How it went with the last of them.
        why: String,
    },
    /// The node that was asked did not answer.
    #[error("the node did not answer: {0}")]
    Unanswered(#[from] CallError),
}

impl NodeBuilder {
    /// Connects, within `timeout`, to one of the nodes to join as a peer that only looks: with the
    /// identity and the certificate (or members) of this description. What it would host, offer and
    /// listen at is left out. Give it a key of its own: a running node's is turned away.
    ///
    /// # Errors
    /// [`ObserverError`]; nothing is left of it.
    ///
    /// # Panics
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn observe(mut self, timeout: Duration) -> Result<Observer, ObserverError> {
        let seeds = self.take_seeds()?;
        // Smaller than the boot of every life, and growing as these do (OV-3).
        let boot = unix_ms() / 2;
        let mut config = self.take_config(boot)?;
        config.observer = true;
        let id = NodeId { key: config.identity.peer_key(), boot };
        let runtime = System::start().map_err(NodeError::System)?;
        let engine = Engine::new(origin_of(id), Handle::current());
        let system =
            runtime.handle().map_or_else(|| engine.clone(), |handle| engine.beside(handle));
        let cluster = Cluster::new(self.foundation(id, &engine, &system, Vec::new())?);
        let refused = Arc::<Refused>::default();
        let window = Window { cluster: Arc::downgrade(&cluster), refused: refused.clone() };
        let starting = system.runtime().spawn(Net::start(config, Arc::new(window)));
        let started = starting.await.map_err(|failed| std::io::Error::other(failed).into());
        cluster.set_net(Some(started.and_then(|net| net.map_err(NodeError::Net))?));
        let first = first(&cluster, &refused, &seeds, Instant::now() + timeout).await?;
        Ok(Observer { cluster, refused, first, _runtime: runtime })
    }
}

impl Observer {
    /// The nodes that the first one knows; each of them says itself how many actors it runs. Takes
    /// `timeout` if some do not reply.
    ///
    /// # Errors
    /// [`ObserverError::Unanswered`] if the first one does not reply.
    pub async fn status(&self, timeout: Duration) -> Result<Status, ObserverError> {
        let deadline = Instant::now() + timeout;
        let mut nodes = self.nodes(deadline).await?;
        let asked = self.each(&nodes, deadline, |count| LookMsg::Actors { count });
        let answers: HashMap<_, _> = asked.await.into_iter().collect();
        let mut silent = Vec::new();
        for status in &mut nodes {
            status.actors = answers.get(&status.node).copied().flatten();
            if status.actors.is_none() && answers.contains_key(&status.node) {
                silent.push(status.node);
            }
        }
        Ok(Status { asked: self.first, nodes, silent })
    }

    /// The supervision trees of all nodes that the first one knows. Takes `timeout` if some do not
    /// reply.
    ///
    /// # Errors
    /// [`ObserverError::Unanswered`] if the first one does not reply.
    pub async fn trees(&self, timeout: Duration) -> Result<Trees, ObserverError> {
        let deadline = Instant::now() + timeout;
        let known = self.nodes(deadline).await?;
        let (mut nodes, mut silent) = (BTreeMap::new(), Vec::new());
        for (node, lines) in self.each(&known, deadline, |lines| LookMsg::Trees { lines }).await {
            match lines {
                Some(lines) => drop(nodes.insert(node, lines)),
                None => silent.push(node),
            }
        }
        silent.sort_unstable();
        Ok(Trees { nodes, silent })
    }

    async fn nodes(&self, deadline: Instant) -> Result<Vec<NodeStatus>, CallError> {
        let mut nodes: Vec<NodeStatus> = Vec::new();
        loop {
            let after = nodes.last().map(|status| status.node);
            let ask = |nodes| LookMsg::Nodes { after, nodes };
            let more = ask_of(&self.cluster, self.first, deadline, ask).await?;
            let last = more.len() < NODES_PER_ANSWER;
            nodes.extend(more);
            if last {
                return Ok(nodes);
            }
        }
    }

    /// What all that are not gone say, or `None` for those that do not in time.
    async fn each<T: Wire>(
        &self,
        nodes: &[NodeStatus],
        deadline: Instant,
        question: impl Fn(Reply<T>) -> LookMsg + Copy + Send,
    ) -> Vec<(NodeId, Option<T>)> {
        let living = nodes.iter().filter(|status| status.standing != Standing::Gone);
        let answers = living.map(|status| async move {
            let key = status.node.key;
            let met = meet(&self.cluster, &self.refused, key, &status.address, deadline).await;
            let answer = match met {
                Ok(node) if node == status.node => {
                    ask_of(&self.cluster, node, deadline, question).await.ok()
                }
                _ => None,
            };
            (status.node, answer)
        });
        stream::iter(answers).buffer_unordered(ASKED_AT_A_TIME).collect().await
    }
}

/// How dials of an observer ended, until they are tried again.
#[derive(Debug, Default)]
struct Refused(Mutex<HashMap<PeerKey, DialOutcome>>);

impl Refused {
    fn all(&self) -> MutexGuard<'_, HashMap<PeerKey, DialOutcome>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn first(
    cluster: &Cluster,
    refused: &Refused,
    seeds: &[(PeerKey, String)],
    deadline: Instant,
) -> Result<NodeId, ObserverError> {
    let mut why = None;
    for (key, address) in seeds {
        match meet(cluster, refused, *key, address, deadline).await {
            Ok(node) => {
                let asked = ask_of(cluster, node, deadline, |count| LookMsg::Actors { count });
                match asked.await {
                    Ok(_) => return Ok(node),
                    Err(denied @ CallError::Rejected(Why::Denied(_))) => return Err(denied.into()),
                    // It was connected for its own part, and turned away by the other.
                    Err(_) => why = Some(words(&DialOutcome::Denied)),
                }
            }
            Err(failed) => why = Some(failed),
        }
    }
    why.map_or(Err(ObserverError::Nobody), |why| Err(ObserverError::Unreached { why }))
}

/// Asks a node that it has met, as long as they are connected.
async fn ask_of<T: Wire>(
    cluster: &Cluster,
    node: NodeId,
    deadline: Instant,
    question: impl FnOnce(Reply<T>) -> LookMsg,
) -> Result<T, CallError> {
    let looks = cluster.looks(node).ok_or(CallError::Rejected(Why::NoRoute))?;
    let cut = async {
        loop {
            let changed = cluster.changed.notified();
            if cluster.link(node).is_none() {
                return;
            }
            changed.await;
        }
    };
    tokio::select! {
        answer = looks.call(question).within(deadline.saturating_duration_since(Instant::now())) => answer,
        () = cut => Err(CallError::Rejected(Why::Unreachable)),
    }
}

/// Connects with a node, or says why not.
async fn meet(
    cluster: &Cluster,
    refused: &Refused,
    key: PeerKey,
    address: &str,
    deadline: Instant,
) -> Result<NodeId, String> {
    refused.all().remove(&key);
    let linked = || cluster.net(|net| net.link(&key)).flatten().map(|link| link.node());
    let met = async {
        let mut dialled = false;
        loop {
            let changed = cluster.changed.notified();
            if let Some(node) = linked().filter(|node| cluster.link(*node).is_some()) {
                return Ok(node);
            }
            if let Some(outcome) = refused.all().remove(&key) {
                return Err(words(&outcome));
            }
            if !dialled {
                match cluster.dial(key, address) {
                    Err(NetError::Busy) => {}
                    Err(error) => return Err(error.to_string()),
                    Ok(()) => dialled = true,
                }
            }
            changed.await;
        }
    };
    let late = |_| Err(format!("{address} did not answer in time"));
    tokio::time::timeout_at(deadline, met).await.unwrap_or_else(late)
}

fn words(outcome: &DialOutcome) -> String {
    match outcome {
        DialOutcome::Refused => "nobody listens there".into(),
        DialOutcome::TimedOut => "it did not answer in time".into(),
        DialOutcome::Denied => "it was turned away: its key must be admitted to the cluster (see \
             `mobula admit`) and be that of no running node"
            .into(),
        DialOutcome::WrongKey => "a node with another key answers there".into(),
        DialOutcome::Other(why) => why.clone(),
    }
}

/// What an observer hears: that it is connected, and answers.
struct Window {
    cluster: Weak<Cluster>,
    refused: Arc<Refused>,
}

impl Inbound for Window {
    fn connected(&self, node: NodeId, link: Link, _: String) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        cluster.add_link(node, link);
        cluster.changed.notify_waiters();
    }

    fn disconnected(&self, node: NodeId, _: bool, unwritten: Vec<Message>) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        cluster.remove_link(node);
        drop(unwritten);
        cluster.calls.disconnected(node);
        cluster.changed.notify_waiters();
    }

    fn dial_outcome(&self, peer: PeerKey, outcome: DialOutcome) {
        self.refused.all().insert(peer, outcome);
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.changed.notify_waiters();
        }
    }

    fn message(&self, from: NodeId, _: &Link, message: Message) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        if message.kind == REPLY && cluster.answered(from, message).is_none() {
            cluster.net(|net| net.accuse(&from.key));
        }
    }
}
