//! Hosts of their own on one machine: a network namespace for each node, and one for the router
//! between them, in which the ways between hosts are cut and healed.
//!
//! A cut is silent: the router drops the packets, and no socket is told.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The port that every node listens at.
pub const PORT: u16 = 7_000;

/// The namespaces of a run. They are deleted with this value.
pub struct Site {
    prefix: String,
    hosts: usize,
    /// Ways between hosts that are cut, as rules of the router.
    cuts: Vec<String>,
}

impl Site {
    /// A router and `hosts` around it. The error says why there is none: no right to make
    /// namespaces, no command `ip`.
    pub async fn make(hosts: usize) -> io::Result<Self> {
        let site =
            Self { prefix: format!("mobula{}-", std::process::id()), hosts, cuts: Vec::new() };
        let router = site.router();
        ip(&["netns", "add", &router]).await?;
        in_namespace(&router, &["sysctl", "-qw", "net.ipv4.ip_forward=1"]).await?;
        for host in 0..hosts {
            site.add(host, &router).await?;
        }
        Ok(site)
    }

    async fn add(&self, host: usize, router: &str) -> io::Result<()> {
        let name = self.host(host);
        let (near, far, net) = (format!("h{host}"), format!("r{host}"), format!("10.97.{host}"));
        ip(&["netns", "add", &name]).await?;
        let (type_, peer) = (["type", "veth"], ["peer", "name"]);
        let link = [&["link", "add", &near, "netns", &name], &type_[..], &peer[..]].concat();
        ip(&[&link[..], &[&far, "netns", router]].concat()).await?;
        let lines = format!(
            "link set lo up\naddr add {net}.2/24 dev {near}\nlink set {near} up\nroute add default via {net}.1\n"
        );
        batch(&name, &lines).await?;
        batch(router, &format!("addr add {net}.1/24 dev {far}\nlink set {far} up\n")).await
    }

    /// The name of a host's namespace.
    pub fn host(&self, host: usize) -> String {
        format!("{}{host}", self.prefix)
    }

    fn router(&self) -> String {
        format!("{}r", self.prefix)
    }

    /// Where the node of a host listens.
    pub fn address(host: usize) -> String {
        format!("/ip4/10.97.{host}.2/tcp/{PORT}")
    }

    /// From now on nothing of `from` arrives at `to`.
    pub async fn cut(&mut self, from: &[usize], to: &[usize]) -> io::Result<()> {
        let ways = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
        let rules = ways.map(|(from, to)| format!("from 10.97.{from}.2 to 10.97.{to}.2 blackhole"));
        let rules: Vec<String> = rules.collect();
        let lines: String = rules.iter().map(|rule| format!("rule add {rule}\n")).collect();
        batch(&self.router(), &lines).await?;
        self.cuts.extend(rules);
        Ok(())
    }

    /// All ways are open again.
    pub async fn heal(&mut self) -> io::Result<()> {
        let lines: String = self.cuts.drain(..).map(|rule| format!("rule del {rule}\n")).collect();
        batch(&self.router(), &lines).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The pairs of interfaces go with their namespaces.
        for name in (0..self.hosts).map(|host| self.host(host)).chain([self.router()]) {
            let delete = ["netns", "del", &name];
            let _ = std::process::Command::new("ip").args(delete).stderr(Stdio::null()).status();
        }
    }
}

/// A command that runs inside a namespace.
pub fn command(namespace: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]);
    command
}

async fn ip(arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new("ip");
    succeed(command.args(arguments)).await
}

async fn in_namespace(namespace: &str, arguments: &[&str]) -> io::Result<()> {
    succeed(command(namespace).args(arguments)).await
}

async fn succeed(command: &mut Command) -> io::Result<()> {
    let done = command.stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(io::Error::other(said.trim().to_owned())) }
}

/// Lines of `ip -batch` inside a namespace.
async fn batch(namespace: &str, lines: &str) -> io::Result<()> {
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).await?;
    }
    let done = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(io::Error::other(said.trim().to_owned())) }
}
