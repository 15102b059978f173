//! An account without a supervisor: nothing of it would survive a panic, and none is planned.
//!
//! A payment is one message to the paying account and one from there to the other, which answers
//! the payer: the right to answer goes along with the money. Between the two, the money is in the
//! mailbox.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mobula::prelude::*;

use crate::bank::{Directory, Statement, Till};
use crate::payment::{OPENING, Order, Payment, PaymentId, Receipt};

pub enum Msg {
    Pay(Payment, Reply<Receipt>),
    Deposit(u64, Reply<Receipt>),
    Statement(Reply<Statement>),
}

pub struct Account {
    balance: u64,
    messages: u64,
    others: Weak<Directory<Msg>>,
}

impl Actor for Account {
    type Args = Weak<Directory<Msg>>;
    type Msg = Msg;

    async fn start(others: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { balance: OPENING, messages: 0, others })
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Msg::Pay(payment, reply) => self.pay(payment, reply),
            Msg::Deposit(amount, reply) => {
                self.balance += amount;
                reply.send(Receipt::Paid);
            }
            Msg::Statement(reply) => {
                let Self { balance, messages, .. } = *self;
                reply.send(Statement { balance, under_way: 0, paid: Vec::new(), messages });
                return Ok(());
            }
        }
        self.messages += 1;
        Ok(())
    }
}

impl Account {
    fn pay(&mut self, Payment { to, amount, .. }: Payment, reply: Reply<Receipt>) {
        let Some(rest) = self.balance.checked_sub(amount) else {
            return reply.send(Receipt::Short);
        };
        let others = self.others.upgrade();
        let Some(other) = others.as_ref().and_then(|others| others.get(to)) else { return };
        match other.cast(Msg::Deposit(amount, reply)) {
            Ok(()) => self.balance = rest,
            // What is refused comes back, and has not run: the money has not moved.
            Err(Rejected { message: Msg::Deposit(_, reply), .. }) => reply.send(Receipt::Busy),
            Err(_) => {}
        }
    }
}

impl Till for Msg {
    /// Nothing is lost here, so an answer that does not come within this is a machine at its limit.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn pay(order: Order, reply: Reply<Receipt>) -> Self {
        Self::Pay(order.payment, reply)
    }

    fn statement(reply: Reply<Statement>) -> Self {
        Self::Statement(reply)
    }

    fn claimed(_: PaymentId) -> Option<Self> {
        None
    }
}

/// Starts `accounts` of them, one after the other.
pub async fn open(node: &Node, accounts: u32) -> Result<Arc<Directory<Msg>>, SpawnError> {
    let directory = Arc::new(Directory::new());
    let mut all = Vec::with_capacity(accounts as usize);
    for _ in 0..accounts {
        all.push(node.spawn(Account::spec(Arc::downgrade(&directory))).await?);
    }
    directory.open(all);
    Ok(directory)
}
