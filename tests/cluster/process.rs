//! A node in a process of its own, which can be killed as a process dies: without a word.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use mobula::net::{Allowlist, Identity};
use mobula::prelude::*;

use crate::puppet::Puppet;
use crate::support::{PATIENCE, member};

/// Set in a process that is to be a node: the directory of its key and members.
const NODE_DIR: &str = "MOBULA_TEST_NODE_DIR";
/// What its node says when the others hold it dead.
const FENCED: &str = "node fenced";
/// The address it joins.
const NODE_SEED: &str = "MOBULA_TEST_NODE_SEED";

/// A node process. It ends with this value, and when the test's process ends.
pub struct Process {
    child: Child,
    dir: PathBuf,
    pub id: NodeId,
    out: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a node that hosts puppets and joins `seed`; returns when it listens.
    pub async fn start(key: Identity, members: &[Identity], seed: &Node) -> Self {
        let seed = seed.addresses()[0].clone();
        let members: Vec<_> = members.iter().map(Identity::peer_key).collect();
        tokio::task::spawn_blocking(move || Self::launch(&key, &members, &seed)).await.unwrap()
    }

    fn launch(key: &Identity, members: &[mobula::actors::id::PeerKey], seed: &str) -> Self {
        let dir = std::env::temp_dir().join(format!(
            "mobula-test-{}-{}",
            std::process::id(),
            key.peer_key()
        ));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("node.key");
        if !file.exists() {
            key.save(&file).unwrap();
        }
        let members: Vec<String> =
            members.iter().map(|key| key.0.iter().map(|b| format!("{b:02x}")).collect()).collect();
        std::fs::write(dir.join("members.hex"), members.join("\n")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::a_node_process_ends_when_its_stdin_closes", "--nocapture"])
            .env(NODE_DIR, &dir)
            .env(NODE_SEED, seed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let boot = loop {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the node process ended");
            if let Some((_, boot)) = line.trim().split_once("node boot ") {
                break boot.parse().unwrap();
            }
        };
        Self { child, dir, id: NodeId { key: key.peer_key(), boot }, out }
    }

    /// Kills it without a word, and returns when it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Keeps it from running: its sockets stay open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits until its node has learned that the others hold it dead; what it hosted has ended then.
    pub async fn fenced(mut self) -> Self {
        let told = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while line.trim() != FENCED {
                line.clear();
                assert!(self.out.read_line(&mut line).unwrap() > 0, "the node process ended");
            }
            self
        });
        tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// In a process that was started to be a node, this is the node. Else it starts such a process and
/// lets go of its stdin, as a parent that dies does.
#[test]
fn a_node_process_ends_when_its_stdin_closes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Ok(dir) = std::env::var(NODE_DIR) {
        let node = runtime.block_on(node_of(dir.into()));
        println!("\nnode boot {}", node.id().unwrap().boot);
        std::io::stdout().flush().unwrap();
        runtime.spawn(async move {
            node.fenced().await;
            println!("\n{FENCED}");
            std::io::stdout().flush().unwrap();
            std::future::pending::<()>().await;
        });
        // Reads until the other end is closed.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    }
    let (keys, list) = crate::support::members(2);
    runtime.block_on(async {
        let first = member(keys[0].clone(), &list, None).start().await.unwrap();
        let mut process = Process::start(keys[1].clone(), &keys, &first).await;
        drop(process.child.stdin.take());
        let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap().success());
        assert!(tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap());
    });
}

async fn node_of(dir: PathBuf) -> Node {
    let mut members = Allowlist::new();
    for line in std::fs::read_to_string(dir.join("members.hex")).unwrap().lines() {
        let byte = |i: usize| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap();
        members.insert(mobula::actors::id::PeerKey(std::array::from_fn(byte))).unwrap();
    }
    let key = Identity::load(dir.join("node.key")).unwrap();
    let seed = std::env::var(NODE_SEED).unwrap();
    member(key, &members, None).join([seed]).host::<Puppet>().start().await.unwrap()
}
