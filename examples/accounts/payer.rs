//! Orders payments, one after the other, and notes what it was told of each.

use std::sync::Arc;

use mobula::prelude::*;

use crate::bank::{Directory, Till};
use crate::payment::{Order, Orders, Payment, Receipt};

/// What payers know of their payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// A receipt says that it was made.
    pub paid: Vec<Payment>,
    /// It was made or not: the books will say.
    pub unknown: Vec<Payment>,
    /// Certainly not made: the account had too little, or the other one took no message.
    pub refused: u64,
}

impl Claims {
    pub fn add(&mut self, others: Self) {
        self.paid.extend(others.paid);
        self.unknown.extend(others.unknown);
        self.refused += others.refused;
    }
}

/// All that is asked of a payer: to make its payments, and to say how they went.
pub type Run = Reply<Claims>;

pub struct Payer<M> {
    orders: Orders,
    accounts: Arc<Directory<M>>,
}

impl<M: Till> Actor for Payer<M> {
    type Args = (Orders, Arc<Directory<M>>);
    type Msg = Run;

    async fn start((orders, accounts): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { orders, accounts })
    }

    async fn handle(&mut self, run: Run, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let mut claims = Claims::default();
        while let Some(order) = self.orders.next() {
            self.pay(order, &mut claims).await?;
        }
        run.send(claims);
        ctx.stop();
        Ok(())
    }
}

impl<M: Till> Payer<M> {
    async fn pay(&mut self, order: Order, claims: &mut Claims) -> Result<(), Fault> {
        let payment = order.payment;
        let account = self.accounts.get(payment.from);
        let account = account.ok_or_else(|| Fault::new("a payment names no account"))?;
        match account.call(|reply| M::pay(order, reply)).within(M::PATIENCE).await {
            Ok(Receipt::Paid) => {
                claims.paid.push(payment);
                if let Some(claimed) = M::claimed(payment.id) {
                    // Only spares the account a line in its book.
                    let _ = account.cast(claimed);
                }
            }
            Ok(Receipt::Short | Receipt::Busy) | Err(CallError::Rejected(_)) => {
                claims.refused += 1;
                self.orders.put_back(order);
            }
            Err(_) => claims.unknown.push(payment),
        }
        Ok(())
    }
}
