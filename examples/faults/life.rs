//! A node process: a node under load, which begins a new life when the others hold it dead.
//!
//! It gets its key and the members through its standard input, and says where it can be joined; then
//! it gets one word a line: `mark`, or `counts`, which it answers with a line of JSON. It ends when
//! its standard input closes.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use mobula::net::{Allowlist, Identity, parse_key};
use mobula::node::Node;
use mobula::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::echo::Echo;
use crate::load::Loads;

/// Before a start that failed is tried again: the port of the life before may not be free yet.
const AGAIN: Duration = Duration::from_millis(100);

/// What a process is told on the first line.
#[derive(Serialize, Deserialize)]
pub struct Papers {
    pub secret: String,
    pub members: Vec<String>,
    pub listen: String,
    pub seeds: Vec<String>,
    pub nodes: usize,
}

pub async fn serve() -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let papers = lines.next_line().await?.unwrap_or_default();
    let mut papers: Papers = serde_json::from_str(&papers)
        .map_err(|_| "`node` is for the processes that this program starts itself")?;
    let loads = Loads::new();
    let mut life = Life::begin(&papers, &loads).await?;
    say(&life.node.addresses().first().cloned().unwrap_or_default())?;
    loop {
        tokio::select! {
            () = life.node.fenced() => {
                let known = life.node.members().into_iter().map(|member| member.address);
                papers.seeds = known.skip(1).filter(|address| !address.is_empty()).collect();
                life.end().await;
                loads.new_life();
                life = Life::begin(&papers, &loads).await?;
            }
            line = lines.next_line() => match line?.as_deref() {
                Some("mark") => loads.mark(),
                Some(_) => say(&serde_json::to_string(&loads.counts(&life.node))?)?,
                None => std::process::exit(0),
            },
        }
    }
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

struct Life {
    node: Node,
    loads: JoinSet<()>,
}

impl Life {
    async fn begin(papers: &Papers, loads: &Loads) -> Result<Self, Box<dyn Error>> {
        let identity = Identity::from_secret(&papers.secret)?;
        let members = Allowlist::parse(&papers.members.join("\n"))?;
        let node = loop {
            let started = Node::builder()
                .key(identity.clone())
                .members(members.clone())
                .listen(papers.listen.clone())
                .join(papers.seeds.clone())
                .nodes_on_host(u32::try_from(papers.nodes)?)
                .host::<Echo>()
                .start()
                .await;
            match started {
                Ok(node) => break node,
                Err(failed) => eprintln!("{}: {failed}", papers.listen),
            }
            tokio::time::sleep(AGAIN).await;
        };
        let mut set = JoinSet::new();
        let members = papers.members.iter().filter_map(|digits| parse_key(digits));
        for other in members.filter(|key| *key != identity.peer_key()) {
            set.spawn(loads.clone().keep(node.clone(), other));
        }
        Ok(Self { node, loads: set })
    }

    async fn end(mut self) {
        self.loads.shutdown().await;
        self.node.stop().await;
    }
}
