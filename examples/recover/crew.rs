//! The processes of a cluster: this one, and those it starts of the same program.
//!
//! A child gets its key and the list of members through its standard input, and ends when that
//! closes: it cannot outlive this process, however that ends.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use mobula::actors::id::PeerKey;
use mobula::net::{Allowlist, Identity};
use mobula::node::{NodeBuilder, NodeError};
use mobula::placement::Capacity;
use mobula::prelude::*;
use mobula::supervision::{SuperviseError, TreeError};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;

use crate::child;
use crate::echo::Echo;

/// The label of this process's node, which is never killed and has no actors of the others.
pub const FRONT: &str = "front";
/// How long the nodes may take to see each other.
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);
/// How long a child may take to leave once its parent is gone.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// Far more than is started here.
const ROOM: Capacity = Capacity {
    cpu_milli: 1_000_000,
    memory_bytes: 1 << 40,
    devices: Vec::new(),
    counters: BTreeMap::new(),
    actors: 1_000_000,
};

/// What ends a run.
#[derive(Debug, Error)]
pub enum CrewError {
    #[error("the first node did not start: {0}")]
    First(#[from] NodeError),
    #[error("a process: {0}")]
    Process(#[from] io::Error),
    #[error("the nodes did not see each other within {TOGETHER_WITHIN:?}")]
    Apart,
    #[error("an actor did not start: {0}")]
    Spawn(#[from] SpawnError),
    #[error("the tree did not start: {0}")]
    Supervise(#[from] SuperviseError),
    #[error("a child did not start: {0}")]
    Child(#[from] TreeError),
    #[error("an actor did not answer: {0}")]
    Call(#[from] CallError),
    #[error("{0}")]
    Other(String),
}

/// What a child is told on its standard input, on one line.
#[derive(Serialize, Deserialize)]
struct Papers {
    secret: String,
    members: Vec<String>,
    seed: String,
}

pub struct Crew {
    pub first: Node,
    /// Those that run, with their keys.
    children: Vec<(Identity, Option<Child>)>,
    members: Vec<String>,
}

impl Crew {
    /// The first node, and keys for `nodes` in all; the others are launched one by one.
    pub async fn gather(nodes: usize) -> Result<Self, CrewError> {
        let mut keys: Vec<Identity> = (0..nodes).map(|_| Identity::generate()).collect();
        let members: Vec<String> = keys.iter().map(|key| digits(key.peer_key())).collect();
        let own = keys.pop().unwrap_or_else(Identity::generate);
        let first = builder(own, &members).label(FRONT).start().await?;
        let children = keys.into_iter().map(|key| (key, None)).collect();
        Ok(Self { first, children, members })
    }

    /// All of them, each seen by all.
    pub async fn start(nodes: usize) -> Result<Self, CrewError> {
        let mut crew = Self::gather(nodes).await?;
        for at in 0..crew.children.len() {
            crew.launch(at).await?;
        }
        crew.agree(nodes).await?;
        Ok(crew)
    }

    /// Starts the process with this number.
    pub async fn launch(&mut self, at: usize) -> Result<(), CrewError> {
        let (key, child) = &mut self.children[at];
        let papers = Papers {
            secret: key.secret(),
            members: self.members.clone(),
            seed: self.first.addresses().into_iter().next().unwrap_or_default(),
        };
        *child = Some(child::start(&papers).await?);
        Ok(())
    }

    /// Waits until every node sees `nodes` that host; returns how long that took.
    pub async fn agree(&self, nodes: usize) -> Result<Duration, CrewError> {
        let began = Instant::now();
        let all = |members: &[Member]| members.iter().filter(|m| hosts(m)).count() == nodes;
        if !self.first.until(TOGETHER_WITHIN, all).await {
            return Err(CrewError::Apart);
        }
        for node in self.first.members().iter().filter(|m| hosts(m)).map(|m| m.node) {
            while !self.first.members_of(node).await.is_ok_and(|view| all(&view)) {
                if began.elapsed() > TOGETHER_WITHIN {
                    return Err(CrewError::Apart);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(began.elapsed())
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().filter_map(|(_, child)| child.as_ref()?.id()).collect()
    }

    /// Sends SIGKILL to a node's process; returns its number.
    pub async fn kill(&mut self, node: NodeId) -> Result<usize, CrewError> {
        let is_it = |(key, _): &(Identity, _)| key.peer_key() == node.key;
        let at = self.children.iter().position(is_it);
        let at = at.ok_or_else(|| CrewError::Other(format!("{node} is no child")))?;
        if let Some(mut child) = self.children[at].1.take() {
            child.kill().await?;
        }
        Ok(at)
    }

    /// Ends all nodes.
    pub async fn dismiss(mut self) {
        for (_, child) in &mut self.children {
            // It may have ended.
            if let Some(child) = child {
                let _ = child.kill().await;
            }
        }
        self.first.stop().await;
    }
}

fn builder(key: Identity, members: &[String]) -> NodeBuilder {
    // The keys were written by this program.
    let members = Allowlist::parse(&members.join("\n")).unwrap_or_else(|_| Allowlist::new());
    Node::builder()
        .key(key)
        .members(members)
        .listen("/ip4/127.0.0.1/tcp/0")
        .capacity(ROOM)
        .host::<Echo>()
}

fn hosts(member: &Member) -> bool {
    member.standing == Standing::Alive && !member.kinds.is_empty()
}

fn digits(key: PeerKey) -> String {
    format!("{key:#}")
}

/// The life of a child: a node until its standard input closes.
pub async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut stdin = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    stdin.read_line(&mut line).await?;
    let papers: Papers = serde_json::from_str(&line)
        .map_err(|_| "`node` is for the processes that this program starts itself")?;
    let key = Identity::from_secret(&papers.secret)?;
    let node = builder(key, &papers.members).join([papers.seed]).start().await?;
    // Ends with the parent, whatever ended that; nobody is left to say good-bye to for long.
    let _ = stdin.read_to_end(&mut Vec::new()).await;
    let _ = tokio::time::timeout(LEAVE_WITHIN, node.stop()).await;
    std::process::exit(0);
}
