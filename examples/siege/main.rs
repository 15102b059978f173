//! What members notice while strangers besiege the door of one of them.
//!
//! Two node processes: one calls an actor on the other a thousand times a second. At the lowest
//! priority, a third process sends the other one strangers: garbage, plain HTTP, keys that are no
//! member's, and sockets that say nothing. Then all of it again against a bare listener, which is
//! what the attack costs the machine without any node.

// An example exports nothing: `pub` marks what a module offers to the others.
#![allow(unreachable_pub)]

mod attack;
mod child;
#[path = "../common/memory.rs"]
mod memory;
mod peer;
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use mobula::net::{Allowlist, Identity};
use mobula::node::Standing;
use mobula::prelude::*;
use tokio::net::TcpListener;

use attack::{Attack, Sort, Strangers};
use child::Child;
use peer::{Looked, Paced, Papers};
use report::{Report, Verdict};

/// Exit code when a bar was missed.
const MISSED: u8 = 1;
/// Exit code of a run that could not be made.
const FAILED: u8 = 2;
/// How long a member may take to join while the door is besieged.
const JOINED_WITHIN: Duration = Duration::from_secs(2);
/// In how many seconds the sockets that say nothing are opened.
const IDLE_SECONDS: u32 = 8;
const CALLS_PER_SECOND: u32 = 1_000;

/// Besieges a node with strangers, and measures what members notice of it.
#[derive(Debug, Parser)]
#[command(name = "siege")]
struct Flags {
    #[command(subcommand)]
    what: Option<What>,
    /// Strangers that knock
    #[arg(long, default_value_t = 10_000)]
    dials: u32,
    /// How many of them a second
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Sockets that are opened and then say nothing
    #[arg(long, default_value_t = 5_000)]
    idle: u32,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(hide = true)]
    Peer,
    #[command(hide = true)]
    Attack,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    let done = match flags.what {
        Some(What::Peer) => peer::serve().await.map(|()| true),
        Some(What::Attack) => attack::serve().await.map(|()| true),
        None => besiege(&flags).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::from(FAILED)
        }
    }
}

async fn besiege(flags: &Flags) -> Result<bool, Box<dyn Error>> {
    let mut scene = Scene::new().await?;
    let (target, _) = mobula::net::split_address(&scene.seed)?;
    let (sort, dials, rate) = (Sort::Knock, flags.dials, flags.rate);
    let knocks = Attack { sort, dials, rate, at: scene.at, target };
    let seconds = u64::from(flags.dials.div_ceil(flags.rate.max(1)));
    let rest = Duration::from_secs(3);

    let (bare, _listening) = listener().await?;
    let control = scene.under(&Attack { at: bare, ..knocks }, seconds).await?;
    println!("control, a bare listener: {}", control.0);
    tokio::time::sleep(rest).await;

    let before = scene.target.ask::<Looked>("look").await?;
    let siege = scene.under(&knocks, seconds).await?;
    let after = scene.target.ask::<Looked>("look").await?;
    println!("siege: {} strangers: {}", siege.0, siege.1);
    println!("before {before}\nafter  {after}");

    let rate = flags.idle.div_ceil(IDLE_SECONDS);
    let idle = Attack { sort: Sort::Idle, dials: flags.idle, rate, ..knocks };
    let slow = scene.under(&idle, u64::from(IDLE_SECONDS) + 4).await?;
    println!("slowloris: {} strangers: {}", slow.0, slow.1);
    let last = scene.target.ask::<Looked>("look").await?;

    let report = Report { control: control.0, siege, slow, before, after, last };
    let verdicts = report.verdicts();
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    Ok(verdicts.iter().all(Verdict::is_met))
}

/// The members of a siege.
struct Scene {
    target: Child,
    caller: Child,
    /// Where strangers knock.
    at: std::net::SocketAddr,
    /// A member that is not there yet, and where it joins.
    late: Identity,
    members: Vec<String>,
    seed: String,
}

impl Scene {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let keys: Vec<Identity> = (0..3).map(|_| Identity::generate()).collect();
        let members: Vec<String> = keys.iter().map(|key| format!("{:#}", key.peer_key())).collect();
        let papers = |key: &Identity, seed: Option<String>| Papers {
            secret: key.secret(),
            members: members.clone(),
            seed,
        };
        let (target, seed) = Child::peer(&papers(&keys[0], None)).await?;
        let (caller, _) = Child::peer(&papers(&keys[1], Some(seed.clone()))).await?;
        let parts: Vec<&str> = seed.split('/').collect();
        let at = match parts.as_slice() {
            [_, _, host, _, port, ..] => format!("{host}:{port}").parse()?,
            _ => return Err("the target listens nowhere".into()),
        };
        let late = keys[2].clone();
        Ok(Self { target, caller, at, late, members, seed })
    }

    /// Calls for so long while an attack goes on; a member joins in the middle of it.
    async fn under(
        &mut self,
        attack: &Attack,
        seconds: u64,
    ) -> Result<(Paced, Strangers), Box<dyn Error>> {
        let mut attacker = Child::attacker(attack).await?;
        let order = format!("pace {CALLS_PER_SECOND} {seconds}");
        let calling = self.caller.ask::<Paced>(&order);
        let joining = async {
            tokio::time::sleep(Duration::from_secs(seconds) / 2).await;
            join(&self.late, &self.members, &self.seed).await
        };
        let (paced, joined) = tokio::join!(calling, joining);
        let mut paced = paced?;
        paced.joined_ms = u64::try_from(joined?.as_millis())?;
        let strangers = attacker.ask::<Strangers>("end").await?;
        Ok((paced, strangers))
    }
}

/// How long a member takes to see both others alive.
async fn join(key: &Identity, members: &[String], seed: &str) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let members = Allowlist::parse(&members.join("\n"))?;
    let node = Node::builder().key(key.clone()).members(members).join([seed]).start().await?;
    let alive = |m: &&mobula::node::Member| m.standing == Standing::Alive;
    let met = node.until(10 * JOINED_WITHIN, |all| all.iter().filter(alive).count() == 3).await;
    let took = began.elapsed();
    node.stop().await;
    if met { Ok(took) } else { Err("a member could not join".into()) }
}

/// A bare listener that closes whatever comes.
async fn listener() -> std::io::Result<(std::net::SocketAddr, tokio::task::AbortHandle)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    Ok((at, accepting.abort_handle()))
}
