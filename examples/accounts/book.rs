//! The book of one account: what survives its panics.
//!
//! - BK-1: money that was taken off is in the book as a payment under way until the other account
//!   is known to have it.
//! - BK-2: a payment is added once, however often it comes.
//! - BK-3: what may come again is remembered; what cannot is not.

use serde::{Deserialize, Serialize};

use crate::payment::{OPENING, Payment, PaymentId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    pub balance: u64,
    /// Taken off here, and not yet known to be added there.
    pub under_way: Vec<Payment>,
    /// Added here, and not yet known to be forgotten there: they may come again.
    added: Vec<PaymentId>,
    /// Paid from here, and not yet known to be known to the payer.
    pub paid: Vec<PaymentId>,
    /// Messages that were handled, as far as the book was kept since.
    pub messages: u64,
}

impl Default for Book {
    fn default() -> Self {
        let (under_way, added, paid) = (Vec::new(), Vec::new(), Vec::new());
        Self { balance: OPENING, under_way, added, paid, messages: 0 }
    }
}

impl Book {
    /// Takes the money off; false, and nothing has changed, if there is too little.
    pub fn withdraw(&mut self, payment: Payment) -> bool {
        let Some(rest) = self.balance.checked_sub(payment.amount) else { return false };
        self.balance = rest;
        self.under_way.push(payment);
        true
    }

    /// Adds the money, unless it has been already.
    pub fn deposit(&mut self, payment: Payment) {
        if !self.added.contains(&payment.id) {
            self.balance += payment.amount;
            self.added.push(payment.id);
        }
    }

    /// The other account has the money; false if that was known.
    pub fn confirm(&mut self, id: PaymentId) -> bool {
        let Some(at) = self.under_way.iter().position(|payment| payment.id == id) else {
            return false;
        };
        self.under_way.swap_remove(at);
        self.paid.push(id);
        true
    }

    /// The paying account will not send this payment again.
    pub fn settle(&mut self, id: PaymentId) {
        self.added.retain(|added| *added != id);
    }

    /// The payer knows that this was paid.
    pub fn claim(&mut self, id: PaymentId) {
        self.paid.retain(|paid| *paid != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(count: u32, amount: u64) -> Payment {
        Payment { id: PaymentId { payer: 0, count }, from: 0, to: 1, amount }
    }

    #[test]
    fn money_is_in_one_of_the_two_books_at_every_step() {
        let (mut from, mut to) = (Book::default(), Book::default());
        let ten = payment(1, 10);
        assert!(from.withdraw(ten));
        // BK-1
        assert_eq!((from.balance, from.under_way.as_slice()), (OPENING - 10, &[ten][..]));
        to.deposit(ten);
        to.deposit(ten);
        assert_eq!(to.balance, OPENING + 10); // BK-2
        assert!(from.confirm(ten.id) && !from.confirm(ten.id));
        assert_eq!((from.under_way.len(), from.paid.as_slice()), (0, &[ten.id][..]));
    }

    #[test]
    fn more_than_there_is_cannot_be_taken_off() {
        let mut book = Book::default();
        assert!(!book.withdraw(payment(1, OPENING + 1)));
        assert_eq!(book, Book::default());
        assert!(book.withdraw(payment(2, OPENING)) && book.balance == 0);
    }

    #[test]
    fn a_finished_payment_leaves_nothing_behind() {
        let (mut from, mut to) = (Book::default(), Book::default());
        let one = payment(1, 1);
        assert!(from.withdraw(one));
        to.deposit(one);
        from.confirm(one.id);
        to.settle(one.id);
        from.claim(one.id);
        // BK-3
        assert!(from.under_way.is_empty() && from.paid.is_empty() && to.added.is_empty());
    }
}
