//! One half of a run: accounts are there, payers pay, the books are compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mobula::prelude::*;
use serde::Serialize;
use thiserror::Error;

use crate::audit::Audit;
use crate::bank::{Directory, Statement, Till};
use crate::kept::OpenError;
use crate::payer::{Claims, Payer};
use crate::payment::Orders;

/// How long payments under way may take to arrive once the last payer is done.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// The wait between two looks at payments under way.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// How long all payments may take.
const PAY_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);

/// A half that could not be run to its end.
#[derive(Debug, Error)]
pub enum HalfError {
    #[error("an actor did not start: {0}")]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("a payer gave no report: {0}")]
    Payer(#[source] CallError),
    #[error("account {number} gave no statement: {error}")]
    Account { number: usize, error: CallError },
    #[error("a part of the run was broken off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What one half came to; the fields are the keys of its JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct Half {
    pub name: &'static str,
    /// How long it took to start the accounts.
    pub start_s: f64,
    /// Resident memory per account once they were started, with its place in the directory.
    pub bytes_per_actor: Option<u64>,
    /// How long the payments took.
    pub pay_s: f64,
    /// Payments with a receipt.
    pub paid: u64,
    pub refused: u64,
    /// Payments whose payer does not know whether they were made.
    pub unknown: u64,
    /// Messages that accounts handled, and how many of them in a second.
    pub messages: u64,
    pub messages_per_s: f64,
    pub panics: u64,
    pub restarts: u64,
    pub audit: Audit,
    pub exact: bool,
}

/// Accounts that were started.
pub struct Opened<M> {
    pub name: &'static str,
    pub accounts: Arc<Directory<M>>,
    pub start_s: f64,
    pub bytes_per_actor: Option<u64>,
}

impl<M: Till> Opened<M> {
    /// Has all payments made, and looks at the books.
    pub async fn run(&self, node: &Node, orders: Vec<Orders>) -> Result<Half, HalfError> {
        let began = Instant::now();
        let claims = self.pay(node, orders).await?;
        let pay_s = began.elapsed().as_secs_f64();
        let statements = self.settled().await?;
        let audit = Audit::of(&statements, &claims);
        let messages = statements.iter().map(|statement| statement.messages).sum();
        Ok(Half {
            name: self.name,
            start_s: self.start_s,
            bytes_per_actor: self.bytes_per_actor,
            pay_s,
            paid: claims.paid.len() as u64,
            refused: claims.refused,
            unknown: claims.unknown.len() as u64,
            messages,
            messages_per_s: messages as f64 / pay_s,
            panics: 0,
            restarts: 0,
            exact: audit.is_exact(),
            audit,
        })
    }

    async fn pay(&self, node: &Node, orders: Vec<Orders>) -> Result<Claims, HalfError> {
        let mut payers = Vec::with_capacity(orders.len());
        for orders in orders {
            let payer = Payer::spec((orders, self.accounts.clone())).temporary();
            payers.push(node.spawn(payer).await?);
        }
        let ask =
            |payer: ActorRef<_>| async move { payer.call(|run| run).within(PAY_WITHIN).await };
        let running: Vec<_> = payers.into_iter().map(|payer| tokio::spawn(ask(payer))).collect();
        let mut claims = Claims::default();
        for payer in running {
            claims.add(payer.await?.map_err(HalfError::Payer)?);
        }
        Ok(claims)
    }

    /// What all accounts say once nothing is under way any more, or its time is over.
    ///
    /// An account that has nothing under way now gets no more of it: all that payers sent it came
    /// before this question. So those that had some are asked again, and then all once more.
    async fn settled(&self) -> Result<Vec<Statement>, HalfError> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let mut moving = self.statements((0..self.accounts.all().len()).collect()).await?;
        while Instant::now() < deadline {
            moving.retain(|(_, statement)| statement.under_way > 0);
            if moving.is_empty() {
                break;
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
            moving = self.statements(moving.iter().map(|(number, _)| *number).collect()).await?;
        }
        let all = self.statements((0..self.accounts.all().len()).collect()).await?;
        Ok(all.into_iter().map(|(_, statement)| statement).collect())
    }

    async fn statements(&self, of: Vec<usize>) -> Result<Vec<(usize, Statement)>, HalfError> {
        let mut statements = Vec::with_capacity(of.len());
        for number in of {
            let Some(account) = self.accounts.all().get(number) else { continue };
            let statement = account.call(M::statement).within(SETTLE_WITHIN).await;
            let statement = statement.map_err(|error| HalfError::Account { number, error })?;
            statements.push((number, statement));
        }
        Ok(statements)
    }
}
