//! Payments, what is said of them, and the seeded generator that draws them.
//!
//! - AC-1: a payment has an id that its payer gives once, so that whoever sees it twice knows.

use serde::{Deserialize, Serialize};

use crate::random::SplitMix;

/// What each account has at the beginning.
pub const OPENING: u64 = 1_000;
/// The largest amount of one payment.
const AMOUNT_MAX: u32 = 100;

/// The number of an account.
pub type Number = u32;

/// Names a payment: who ordered it, and its count there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PaymentId {
    pub payer: u32,
    pub count: u32,
}

/// Money that goes from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub id: PaymentId,
    pub from: Number,
    pub to: Number,
    pub amount: u64,
}

/// What a payer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Both accounts have it in their books.
    Paid,
    /// The account has too little; nothing has changed.
    Short,
    /// The other account takes no more messages at the moment; nothing has changed.
    Busy,
}

/// Where a payment makes an account panic: once, and before, between and behind all that the
/// account does for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The paying account, before it has taken the money off.
    Withdrawing,
    /// The paying account, before its book is kept.
    Withdrawn,
    /// The paying account, with its book kept and the money not yet sent.
    Kept,
    /// The other account, before it has added the money.
    Depositing,
    /// The other account, before its book is kept.
    Deposited,
    /// The paying account, before the payer hears of it.
    Confirming,
}

impl Crash {
    const ALL: [Self; 6] = [
        Self::Withdrawing,
        Self::Withdrawn,
        Self::Kept,
        Self::Depositing,
        Self::Deposited,
        Self::Confirming,
    ];

    fn hits_the_other(self) -> bool {
        matches!(self, Self::Depositing | Self::Deposited)
    }
}

/// What a payer is to have paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub payment: Payment,
    pub crash: Option<Crash>,
}

/// The payments that one payer orders, one after the other.
#[derive(Clone, Debug)]
pub struct Orders {
    pub payer: u32,
    accounts: u32,
    payments: u32,
    count: u32,
    /// Accounts that are still to panic, spread over the payments that are left.
    victims: Vec<Number>,
    random: SplitMix,
}

impl Orders {
    /// `payments` between `accounts` accounts, of which there are at least two.
    pub fn new(
        payer: u32,
        accounts: u32,
        payments: u32,
        victims: Vec<Number>,
        random: SplitMix,
    ) -> Self {
        Self { payer, accounts, payments, count: 0, victims, random }
    }

    /// A planned panic did not come about, as the payment was refused: a later one sees to it.
    pub fn put_back(&mut self, Order { payment, crash }: Order) {
        let victim = |crash: Crash| if crash.hits_the_other() { payment.to } else { payment.from };
        self.victims.extend(crash.map(victim));
    }

    fn victim(&mut self) -> Option<Number> {
        // Takes each with the same chance, and all of them by the end (Knuth, TAOCP vol. 2, 3.4.2,
        // algorithm S).
        let left = self.payments - self.count;
        let is_due = (self.random.below(left) as usize) < self.victims.len();
        if is_due { self.victims.pop() } else { None }
    }

    fn anybody_but(&mut self, number: Number) -> Number {
        let other = self.random.below(self.accounts - 1);
        if other < number { other } else { other + 1 }
    }
}

impl Iterator for Orders {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        if self.count == self.payments {
            return None;
        }
        let victim = self.victim();
        let crash = victim.map(|_| Crash::ALL[self.random.below(6) as usize]);
        let one = victim.unwrap_or_else(|| self.random.below(self.accounts));
        let other = self.anybody_but(one);
        let swap = crash.is_some_and(Crash::hits_the_other);
        let (from, to) = if swap { (other, one) } else { (one, other) };
        let id = PaymentId { payer: self.payer, count: self.count };
        let amount = u64::from(self.random.below(AMOUNT_MAX)) + 1;
        self.count += 1;
        Some(Order { payment: Payment { id, from, to, amount }, crash })
    }
}

/// Shares `payments` among `payers`, and with them `victims` different accounts that are to panic.
pub fn shared(seed: u64, accounts: u32, payments: u32, payers: u32, victims: u32) -> Vec<Orders> {
    let mut random = SplitMix(seed);
    let mut all: Vec<Number> = if victims == 0 { Vec::new() } else { (0..accounts).collect() };
    for at in 0..victims.min(accounts) {
        // The first step of a Fisher-Yates shuffle for each of them.
        let other = at + random.below(accounts - at);
        all.swap(at as usize, other as usize);
    }
    all.truncate(victims as usize);
    let share = |of: u32, payer: u32| of / payers + u32::from(payer < of % payers);
    let orders = (0..payers).map(|payer| {
        let mine = all.split_off(all.len() - share(victims, payer) as usize);
        Orders::new(payer, accounts, share(payments, payer), mine, random.split())
    });
    orders.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_payments_again_and_each_id_once() {
        let draw = |seed| shared(seed, 50, 1_003, 4, 5).into_iter().flatten().collect::<Vec<_>>();
        let orders = draw(7);
        assert_eq!(orders, draw(7));
        assert_ne!(orders, draw(8));
        // AC-1
        let ids: HashSet<PaymentId> = orders.iter().map(|order| order.payment.id).collect();
        assert_eq!((orders.len(), ids.len()), (1_003, 1_003));
    }

    #[test]
    fn nobody_pays_himself_and_amounts_and_numbers_are_in_range() {
        for Order { payment, .. } in shared(3, 2, 500, 3, 0).into_iter().flatten() {
            assert_ne!(payment.from, payment.to);
            assert!(payment.from < 2 && payment.to < 2);
            assert!((1..=u64::from(AMOUNT_MAX)).contains(&payment.amount));
        }
    }

    #[test]
    fn every_planned_panic_has_an_account_of_its_own() {
        let orders = shared(7, 1_000, 400, 7, 100).into_iter().flatten();
        let hit: Vec<Number> = orders
            .filter_map(|order| {
                let Payment { from, to, .. } = order.payment;
                order.crash.map(|crash| if crash.hits_the_other() { to } else { from })
            })
            .collect();
        assert_eq!(hit.len(), 100);
        assert_eq!(hit.iter().collect::<HashSet<_>>().len(), 100);
    }

    #[test]
    fn a_panic_that_did_not_come_about_is_planned_again() {
        let mut orders = Orders::new(0, 10, 3, vec![4], SplitMix(1));
        let first = orders.find(|order| order.crash.is_some()).unwrap();
        orders.payments = 10;
        orders.put_back(first);
        assert!(orders.any(|order| order.crash.is_some()));
    }
}
