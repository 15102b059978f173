//! The processes of the cluster: this one, and those it starts of the same program.
//!
//! A child gets its key and the list of members through its standard input, and ends when that
//! closes: it cannot outlive this process, however that ends.

use std::io;
use std::time::{Duration, Instant};

use mobula::actors::id::PeerKey;
use mobula::net::{Allowlist, Identity};
use mobula::node::{Member, Node, NodeError, Standing};
use mobula::prelude::*;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;

use crate::child;
use crate::partition::Partition;
use crate::scorer::Scorer;

/// The label of the first node: the scorer keeps away from it.
pub const FRONT: &str = "front";
/// How long the cluster may take to come together.
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);

/// How long a child may take to leave once its parent is gone.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// What ends a run.
#[derive(Debug, Error)]
pub enum CrewError {
    #[error("the first node did not start: {0}")]
    First(#[source] NodeError),
    #[error("{name} could not be started: {cause}")]
    Start { name: String, cause: io::Error },
    #[error("a node could not be killed, stopped or let go on: {0}")]
    Signal(#[from] io::Error),
    #[error("the nodes did not find each other within {TOGETHER_WITHIN:?}")]
    Apart,
}

/// What a child is told on its standard input, on one line.
#[derive(Serialize, Deserialize)]
struct Papers {
    secret: String,
    members: Vec<String>,
    seed: String,
    nodes: u16,
}

/// All nodes of a run.
pub struct Crew {
    pub first: Node,
    workers: Vec<Worker>,
    members: Vec<String>,
    seed: String,
}

struct Worker {
    name: String,
    identity: Identity,
    child: Option<Child>,
}

impl Crew {
    /// Starts all nodes, and returns when each is seen alive and ready to host.
    pub async fn start(nodes: u16, port: u16) -> Result<Self, CrewError> {
        let identities: Vec<Identity> = (0..nodes).map(|_| Identity::generate()).collect();
        let members: Vec<String> = identities.iter().map(|id| digits(id.peer_key())).collect();
        let mut identities = identities.into_iter();
        // The range above is not empty: the flags allow no run without nodes.
        let own = identities.next().unwrap_or_else(Identity::generate);
        let first = builder(own, &members, nodes)
            .listen(format!("/ip4/127.0.0.1/tcp/{port}"))
            .label(FRONT)
            .start()
            .await
            .map_err(CrewError::First)?;
        let seed = first.addresses().into_iter().next().unwrap_or_default();
        let worker =
            |(i, identity)| Worker { name: format!("node-{}", i + 2), identity, child: None };
        let workers = identities.enumerate().map(worker).collect();
        let mut crew = Self { first, workers, members, seed };
        for at in 0..crew.workers.len() {
            crew.launch(at).await?;
        }
        let n = usize::from(nodes);
        let together =
            crew.first.until(TOGETHER_WITHIN, |members| members.iter().filter(hosts).count() == n);
        if together.await { Ok(crew) } else { Err(CrewError::Apart) }
    }

    pub fn nodes(&self) -> usize {
        self.workers.len() + 1
    }

    /// The name of a node, by its key.
    pub fn name(&self, node: NodeId) -> String {
        let worker = self.workers.iter().find(|worker| worker.identity.peer_key() == node.key);
        worker.map_or_else(|| "node-1".into(), |worker| worker.name.clone())
    }

    /// Whether a node can be killed: the first one, which is this process, cannot.
    pub fn can_kill(&self, node: NodeId) -> bool {
        self.worker(node).is_some()
    }

    fn worker(&self, node: NodeId) -> Option<usize> {
        self.workers.iter().position(|worker| worker.identity.peer_key() == node.key)
    }

    /// Sends SIGKILL to a node.
    pub async fn kill(&mut self, node: NodeId) -> io::Result<()> {
        let no_child = || io::Error::other("this node is not a child of this process");
        self.kill_worker(self.worker(node).ok_or_else(no_child)?).await
    }

    /// The nodes that are processes of their own.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    pub fn worker_name(&self, at: usize) -> &str {
        &self.workers[at].name
    }

    /// Sends SIGKILL to the worker with this number.
    pub async fn kill_worker(&mut self, at: usize) -> io::Result<()> {
        match self.workers[at].child.take() {
            Some(mut child) => child.kill().await,
            None => Err(io::Error::other("it does not run")),
        }
    }

    /// Keeps the worker with this number from running; its sockets stay open.
    pub fn pause(&self, at: usize) -> io::Result<()> {
        self.signal(at, "-STOP")
    }

    /// Lets it go on.
    pub fn resume(&self, at: usize) -> io::Result<()> {
        self.signal(at, "-CONT")
    }

    fn signal(&self, at: usize, signal: &str) -> io::Result<()> {
        let pid = self.workers[at].child.as_ref().and_then(Child::id);
        let pid = pid.ok_or_else(|| io::Error::other("it does not run"))?;
        let done = std::process::Command::new("kill").args([signal, &pid.to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other("`kill` failed")) }
    }

    /// Starts a killed node again, and waits until every view holds it alive and hosting. Returns
    /// how long that took.
    pub async fn revive(&mut self, dead: NodeId) -> Result<Duration, CrewError> {
        let began = Instant::now();
        let at = self.worker(dead).ok_or(CrewError::Apart)?;
        self.launch(at).await?;
        let is_back = |members: &[Member]| {
            members.iter().any(|m| m.node.key == dead.key && m.node.boot > dead.boot && hosts(&m))
        };
        let left = || TOGETHER_WITHIN.saturating_sub(began.elapsed());
        if !self.first.until(left(), is_back).await {
            return Err(CrewError::Apart);
        }
        for other in self.first.members().iter().map(|member| member.node) {
            loop {
                match self.first.members_of(other).await {
                    Ok(view) if is_back(&view) => break,
                    _ if left().is_zero() => return Err(CrewError::Apart),
                    // A life that is over has no view.
                    Err(_)
                        if !self.first.members().iter().any(|m| m.node == other && hosts(&m)) =>
                    {
                        break;
                    }
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
        Ok(began.elapsed())
    }

    /// Starts the worker with this number; it joins by and by.
    pub async fn launch(&mut self, at: usize) -> Result<(), CrewError> {
        let worker = &mut self.workers[at];
        let papers = Papers {
            secret: worker.identity.secret(),
            members: self.members.clone(),
            seed: self.seed.clone(),
            nodes: u16::try_from(self.members.len()).unwrap_or(u16::MAX),
        };
        let child = child::start(&papers).await;
        let child = child.map_err(|cause| CrewError::Start { name: worker.name.clone(), cause })?;
        worker.child = Some(child);
        Ok(())
    }

    /// Ends all nodes.
    pub async fn dismiss(mut self) {
        for worker in &mut self.workers {
            if let Some(mut child) = worker.child.take() {
                // Its standard input closes, and it ends in order; one that does not is killed.
                drop(child.stdin.take());
                if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                    // It may have ended just now.
                    let _ = child.kill().await;
                }
            }
        }
        self.first.stop().await;
    }
}

fn builder(identity: Identity, members: &[String], nodes: u16) -> mobula::node::NodeBuilder {
    // The keys were written by this program.
    let members = Allowlist::parse(&members.join("\n")).unwrap_or_else(|_| Allowlist::new());
    Node::builder()
        .key(identity)
        .members(members)
        .nodes_on_host(nodes.into())
        .host::<Partition>()
        .host::<Scorer>()
}

fn hosts(member: &&Member) -> bool {
    member.standing == Standing::Alive && !member.kinds.is_empty()
}

fn digits(key: PeerKey) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The life of a child: a node until its standard input closes.
pub async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let papers: Papers = serde_json::from_str(&line)
        .map_err(|_| "`node` is for the processes that this program starts itself")?;
    let mut rest = Vec::new();
    let mut closed = std::pin::pin!(stdin.read_to_end(&mut rest));
    loop {
        let node = builder(Identity::from_secret(&papers.secret)?, &papers.members, papers.nodes)
            .listen("/ip4/127.0.0.1/tcp/0")
            .join([papers.seed.clone()])
            .start()
            .await?;
        tokio::select! {
            // Ends with the parent, whatever ended that; nobody is left to say good-bye to for long.
            _ = &mut closed => {
                let _ = tokio::time::timeout(LEAVE_WITHIN, node.stop()).await;
                std::process::exit(0);
            }
            // The others hold this life dead: a new one takes its place.
            () = node.fenced() => {}
        }
    }
}
