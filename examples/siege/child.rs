//! Processes that this program starts of itself. Each ends when its standard input closes.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use mobula::prelude::*;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use crate::attack::Attack;
use crate::peer::Papers;

const ANSWER_WITHIN: Duration = Duration::from_secs(120);

pub struct Child {
    _process: tokio::process::Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// A node, and where it can be joined.
    pub async fn peer(papers: &Papers) -> io::Result<(Self, String)> {
        let program = std::env::current_exe()?;
        let mut child = Self::start(Command::new(program).arg("peer"), papers).await?;
        let address = child.line().await?;
        Ok((child, address))
    }

    /// An attack, at the lowest priority.
    pub async fn attacker(attack: &Attack) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut nice = Command::new("nice");
        Self::start(nice.args(["-n", "19"]).arg(program).arg("attack"), attack).await
    }

    async fn start(command: &mut Command, papers: &impl Serialize) -> io::Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("no pipes to the process"));
        };
        let answers = BufReader::new(answers).lines();
        let mut child = Self { _process: process, orders, answers };
        child.say(&serde_json::to_string(papers)?).await?;
        Ok(child)
    }

    /// Gives an order, and waits for the answer.
    pub async fn ask<T: DeserializeOwned>(&mut self, order: &str) -> io::Result<T> {
        self.say(order).await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.orders.write_all(format!("{line}\n").as_bytes()).await
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = tokio::time::timeout(ANSWER_WITHIN, self.answers.next_line()).await;
        let line = line.map_err(|_| io::Error::other("a process says nothing"))??;
        line.ok_or_else(|| io::Error::other("a process has ended"))
    }
}
