//! All accounts of one half of a run, and what both kinds of them have in common.

use std::sync::OnceLock;
use std::time::Duration;

use mobula::prelude::*;

use crate::payment::{Number, Order, PaymentId, Receipt};

/// What accounts of either kind understand.
pub trait Till: Send + Sized + 'static {
    /// How long a payer waits for its receipt.
    const PATIENCE: Duration;

    fn pay(order: Order, reply: Reply<Receipt>) -> Self;
    fn statement(reply: Reply<Statement>) -> Self;
    /// The payer has its receipt; `None` if the account does not care.
    fn claimed(id: PaymentId) -> Option<Self>;
}

/// What an account says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub balance: u64,
    /// Taken off here, and not yet known to be added to another account.
    pub under_way: u64,
    /// Payments from here that were made and whose payer may not know.
    pub paid: Vec<PaymentId>,
    /// Messages that it has handled.
    pub messages: u64,
}

/// The addresses of all accounts, by number. Accounts hold it weakly: it holds them.
pub struct Directory<M>(OnceLock<Vec<ActorRef<M>>>);

impl<M: Send + 'static> Directory<M> {
    /// Without accounts yet.
    pub fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Gives the accounts their numbers, once.
    pub fn open(&self, accounts: Vec<ActorRef<M>>) {
        // A second list is not taken: the numbers are given.
        let _ = self.0.set(accounts);
    }

    pub fn all(&self) -> &[ActorRef<M>] {
        self.0.get().map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, number: Number) -> Option<&ActorRef<M>> {
        self.all().get(number as usize)
    }
}
