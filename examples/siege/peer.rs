//! A member: hosts an actor that answers, and calls that of another at a steady pace.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mobula::net::{Allowlist, Identity};
use mobula::node::Standing;
use mobula::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::memory;

const PATIENCE: Duration = Duration::from_secs(30);
/// The longest call that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

#[derive(Serialize, Deserialize)]
pub struct Papers {
    pub secret: String,
    pub members: Vec<String>,
    pub seed: Option<String>,
}

/// How calls at a steady pace went; each is measured from when it was due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paced {
    pub answered: u64,
    pub failed: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    /// How long a member took to join meanwhile.
    pub joined_ms: u64,
}

/// What a node sees of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Looked {
    pub members: usize,
    pub denied: u64,
    pub crowded: u64,
    pub throttled: u64,
    pub violations: u64,
    pub rss_kib: u64,
    pub rss_max_kib: u64,
}

#[derive(Serialize, Deserialize)]
enum EchoMsg {
    Ask(Reply<()>),
}
protocol!(EchoMsg = "siege.echo/1");

struct Echo;
kind!(Echo = "siege.echo");

impl Actor for Echo {
    type Args = ();
    type Msg = EchoMsg;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: EchoMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        let EchoMsg::Ask(reply) = msg;
        reply.send(());
        Ok(())
    }
}

pub async fn serve() -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let papers: Papers = serde_json::from_str(&lines.next_line().await?.unwrap_or_default())
        .map_err(|_| "`peer` is for the processes that this program starts itself")?;
    let node = Node::builder()
        .key(Identity::from_secret(&papers.secret)?)
        .members(Allowlist::parse(&papers.members.join("\n"))?)
        .listen("/ip4/127.0.0.1/tcp/0")
        .join(papers.seed.clone())
        .nodes_on_host(2)
        .host::<Echo>()
        .start()
        .await?;
    say(&node.addresses().first().cloned().unwrap_or_default())?;
    let echo = match &papers.seed {
        Some(_) => Some(echo_on_another(&node).await?),
        None => None,
    };
    while let Some(order) = lines.next_line().await? {
        let words: Vec<&str> = order.split(' ').collect();
        match (words.as_slice(), &echo) {
            (["pace", rate, seconds], Some(echo)) => {
                let paced = pace(echo, rate.parse()?, Duration::from_secs(seconds.parse()?)).await;
                say(&serde_json::to_string(&paced)?)?;
            }
            _ => say(&serde_json::to_string(&look(&node))?)?,
        }
    }
    std::process::exit(0)
}

async fn echo_on_another(node: &Node) -> Result<ActorRef<EchoMsg>, Box<dyn Error>> {
    let ready = |m: &mobula::node::Member| !m.kinds.is_empty() && Some(m.node) != node.id();
    node.until(PATIENCE, |members| members.iter().any(ready)).await;
    let other = node.members().into_iter().find(ready).ok_or("nobody is there")?;
    Ok(node.spawn(Echo::spec(()).on(other.node)).await?)
}

async fn pace(echo: &ActorRef<EchoMsg>, rate: u32, lasts: Duration) -> Paced {
    let taken = Arc::new(Mutex::new((Histogram::<u64>::new_with_max(LONGEST_US, 3).ok(), 0_u64)));
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0.. {
        let due = Duration::from_secs(1) * number / rate.max(1);
        if due >= lasts {
            break;
        }
        tokio::time::sleep_until((began + due).into()).await;
        let (echo, taken) = (echo.clone(), taken.clone());
        calls.spawn(async move {
            let answer = echo.call(EchoMsg::Ask).await;
            let took = (began.elapsed().saturating_sub(due)).as_micros();
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut taken.0, answer) {
                (Some(histogram), Ok(())) => {
                    histogram.saturating_record(u64::try_from(took).unwrap_or(LONGEST_US));
                }
                _ => taken.1 += 1,
            }
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |share| taken.0.as_ref().map_or(0, |histogram| histogram.value_at_quantile(share));
    Paced {
        answered: taken.0.as_ref().map_or(0, Histogram::len),
        failed: taken.1,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
        joined_ms: 0,
    }
}

fn look(node: &Node) -> Looked {
    let counts = node.counts();
    let kib = |field| memory::kibibytes(field).unwrap_or(0);
    // The member that came and went is known, and gone.
    let members = node.members().iter().filter(|m| m.standing != Standing::Gone).count();
    Looked {
        members,
        denied: counts.denied,
        crowded: counts.crowded,
        throttled: counts.throttled,
        violations: counts.violations,
        rss_kib: kib("VmRSS"),
        rss_max_kib: kib("VmHWM"),
    }
}

pub fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

impl fmt::Display for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls answered, {} failed, p50 {} us, p99 {} us, max {} us; a member joined in {} ms",
            self.answered, self.failed, self.p50_us, self.p99_us, self.max_us, self.joined_ms
        )
    }
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} members, denied {}, crowded {}, throttled {}, violations {}, RSS {} MiB, max {} MiB",
            self.members,
            self.denied,
            self.crowded,
            self.throttled,
            self.violations,
            self.rss_kib >> 10,
            self.rss_max_kib >> 10
        )
    }
}
