//! The node processes of a run, each on a host of its own, as their parent has them.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mobula::net::Identity;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::counts::Counts;
use crate::life::Papers;
use crate::site::{self, Site};

/// How long a process may take to say something.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often all are asked whether they have settled.
const LOOK: Duration = Duration::from_millis(100);

pub struct Crew {
    papers: Vec<Papers>,
    /// Where each can be joined.
    addresses: Vec<String>,
    members: Vec<Member>,
    /// What killed processes had counted.
    past: Counts,
}

struct Member {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Crew {
    /// Starts a process on every host of the site.
    pub async fn start(site: &Site, nodes: usize) -> io::Result<Self> {
        let identities: Vec<Identity> = (0..nodes).map(|_| Identity::generate()).collect();
        let keys = identities.iter().map(Identity::peer_key);
        let members: Vec<String> =
            keys.map(|key| key.0.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        let mut crew = Self {
            papers: Vec::new(),
            addresses: Vec::new(),
            members: Vec::new(),
            past: Counts::default(),
        };
        for (host, identity) in identities.iter().enumerate() {
            let papers = Papers {
                secret: identity.secret(),
                members: members.clone(),
                listen: Site::address(host),
                seeds: crew.addresses.clone(),
                nodes,
            };
            let (member, address) = Member::start(site, host, &papers).await?;
            crew.members.push(member);
            crew.addresses.push(address);
            crew.papers.push(papers);
        }
        for (host, papers) in crew.papers.iter_mut().enumerate() {
            papers.seeds.clone_from(&crew.addresses);
            papers.seeds.remove(host);
        }
        Ok(crew)
    }

    /// Waits until all nodes see all, and every one is answered by every other again. `None` if
    /// that takes longer than `patience`.
    pub async fn settle(&mut self, patience: Duration) -> io::Result<Option<Duration>> {
        let began = Instant::now();
        for member in &mut self.members {
            member.say("mark").await?;
        }
        while began.elapsed() < patience {
            let nodes = self.members.len();
            let all = self.ask().await?;
            if all.iter().all(|counts| counts.is_settled(nodes)) {
                return Ok(Some(began.elapsed()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(None)
    }

    /// What each process tells.
    pub async fn ask(&mut self) -> io::Result<Vec<Counts>> {
        let mut all = Vec::new();
        for member in &mut self.members {
            all.push(member.counts().await?);
        }
        Ok(all)
    }

    /// All counts of all processes, the killed ones included.
    pub async fn counts(&mut self) -> io::Result<Counts> {
        let mut sum = self.past.clone();
        self.ask().await?.iter().for_each(|counts| sum.add(counts));
        Ok(sum)
    }

    /// Sends SIGKILL to the process of a host.
    pub async fn kill(&mut self, host: usize) -> io::Result<()> {
        let mut counts = self.members[host].counts().await?;
        counts.abandoned += counts.watching();
        self.past.add(&counts);
        self.members[host].child.kill().await
    }

    /// Starts a killed process again.
    pub async fn revive(&mut self, site: &Site, host: usize) -> io::Result<()> {
        self.members[host] = Member::start(site, host, &self.papers[host]).await?.0;
        Ok(())
    }

    /// Sends a signal, such as STOP or CONT, to the process of a host.
    pub async fn signal(&self, host: usize, name: &str) -> io::Result<()> {
        let pid = self.members[host].child.id().ok_or_else(|| io::Error::other("it has ended"))?;
        let kill = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        if kill.await?.success() { Ok(()) } else { Err(io::Error::other("kill failed")) }
    }
}

impl Member {
    /// The process, and where its node can be joined.
    async fn start(site: &Site, host: usize, papers: &Papers) -> io::Result<(Self, String)> {
        // `ip netns exec` becomes the program: its process is the node's.
        let mut child = site::command(&site.host(host))
            .arg(std::env::current_exe()?)
            .arg("node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes to the process"));
        };
        let mut member = Self { child, orders, answers: BufReader::new(answers).lines() };
        member.say(&serde_json::to_string(papers)?).await?;
        let address = member.line().await?;
        Ok((member, address))
    }

    async fn say(&mut self, word: &str) -> io::Result<()> {
        self.orders.write_all(format!("{word}\n").as_bytes()).await
    }

    async fn counts(&mut self) -> io::Result<Counts> {
        self.say("counts").await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = tokio::time::timeout(ANSWER_WITHIN, self.answers.next_line()).await;
        let line = line.map_err(|_| io::Error::other("a node process says nothing"))??;
        line.ok_or_else(|| io::Error::other("a node process has ended"))
    }
}
