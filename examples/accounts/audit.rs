//! Whether no money appeared or vanished: by account, and in sum.
//!
//! - AU-1: an account has what it began with, without what it paid and with what it was paid: all
//!   payments with a receipt, and those of the unknown ones that the books have. To the unit.
//! - AU-2: a payment counts once, whoever knows of it.
//! - AU-3: an unknown payment that no book has was not made. One that a book has and nobody ordered
//!   is an error.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::bank::Statement;
use crate::payer::Claims;
use crate::payment::{OPENING, Payment, PaymentId};

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// All money at the beginning.
    pub opening: u64,
    /// All money at the end, with what is under way.
    pub closing: u64,
    /// Taken off one account and not yet known to be added to another.
    pub under_way: u64,
    /// Unknown payments that were made, as the books say.
    pub unknown_made: u64,
    /// Accounts that do not have what they should.
    pub wrong_accounts: u64,
    /// Payments in the books that nobody ordered.
    pub strays: u64,
}

impl Audit {
    /// Compares what accounts have with what payers know. Nothing moves meanwhile.
    pub fn of(accounts: &[Statement], claims: &Claims) -> Self {
        let mut expected = vec![i128::from(OPENING); accounts.len()];
        let mut book = |payment: &Payment| {
            for (number, change) in [(payment.from, -1), (payment.to, 1)] {
                if let Some(balance) = expected.get_mut(number as usize) {
                    *balance += change * i128::from(payment.amount);
                }
            }
        };
        claims.paid.iter().for_each(&mut book);
        let receipts: HashSet<PaymentId> = claims.paid.iter().map(|payment| payment.id).collect();
        let mut unknown: HashMap<PaymentId, &Payment> =
            claims.unknown.iter().map(|payment| (payment.id, payment)).collect();
        let (mut unknown_made, mut strays) = (0, 0);
        // A book may still have what its payer has a receipt for (AU-2).
        let made = accounts.iter().flat_map(|account| &account.paid);
        for id in made.filter(|id| !receipts.contains(id)) {
            match unknown.remove(id) {
                Some(payment) => {
                    book(payment);
                    unknown_made += 1;
                }
                None => strays += 1,
            }
        }
        let wrong = accounts.iter().zip(expected);
        let wrong = wrong.filter(|(account, expected)| i128::from(account.balance) != *expected);
        let under_way = accounts.iter().map(|account| account.under_way).sum();
        Self {
            opening: OPENING * accounts.len() as u64,
            closing: accounts.iter().map(|account| account.balance).sum::<u64>() + under_way,
            under_way,
            unknown_made,
            wrong_accounts: wrong.count() as u64,
            strays,
        }
    }

    /// Whether every account has exactly what it should, and nothing is under way.
    pub fn is_exact(&self) -> bool {
        let Self { opening, closing, under_way, wrong_accounts, strays, .. } = *self;
        opening == closing && (under_way, wrong_accounts, strays) == (0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(balance: u64, paid: &[u32]) -> Statement {
        let paid = paid.iter().map(|&count| PaymentId { payer: 0, count }).collect();
        Statement { balance, under_way: 0, paid, messages: 0 }
    }

    fn payment(count: u32, from: u32, to: u32, amount: u64) -> Payment {
        Payment { id: PaymentId { payer: 0, count }, from, to, amount }
    }

    fn claims(paid: &[Payment], unknown: &[Payment]) -> Claims {
        Claims { paid: paid.to_vec(), unknown: unknown.to_vec(), refused: 0 }
    }

    #[test]
    fn receipts_say_what_each_account_has() {
        // AU-1
        let claims = claims(&[payment(1, 0, 1, 10), payment(2, 1, 2, 4)], &[]);
        let right = [account(990, &[]), account(1_006, &[]), account(1_004, &[])];
        let audit = Audit::of(&right, &claims);
        assert!(audit.is_exact());
        assert_eq!((audit.opening, audit.closing), (3_000, 3_000));
        // The sum is right, and two accounts are not.
        let swapped = [account(990, &[]), account(1_004, &[]), account(1_006, &[])];
        let audit = Audit::of(&swapped, &claims);
        assert_eq!((audit.closing, audit.wrong_accounts), (3_000, 2));
        assert!(!audit.is_exact());
    }

    #[test]
    fn an_unknown_payment_counts_if_a_book_has_it() {
        // AU-3
        let claims = claims(&[], &[payment(1, 0, 1, 10), payment(2, 0, 1, 5)]);
        let audit = Audit::of(&[account(990, &[1]), account(1_010, &[])], &claims);
        assert!(audit.is_exact());
        assert_eq!(audit.unknown_made, 1);
        // Money that moved and that no book explains.
        assert!(!Audit::of(&[account(985, &[1]), account(1_015, &[])], &claims).is_exact());
    }

    #[test]
    fn a_receipt_and_a_book_are_one_payment() {
        // AU-2
        let claims = claims(&[payment(1, 0, 1, 10)], &[]);
        let audit = Audit::of(&[account(990, &[1]), account(1_010, &[])], &claims);
        assert!(audit.is_exact());
        assert_eq!(audit.unknown_made, 0);
    }

    #[test]
    fn money_under_way_and_payments_of_nobody_are_found() {
        let mut early = account(990, &[]);
        early.under_way = 10;
        let audit = Audit::of(&[early, account(1_000, &[])], &claims(&[], &[]));
        assert_eq!((audit.closing, audit.under_way), (2_000, 10));
        assert!(!audit.is_exact());
        let audit = Audit::of(&[account(1_000, &[9]), account(1_000, &[])], &claims(&[], &[]));
        assert_eq!(audit.strays, 1); // AU-3
        assert!(!audit.is_exact());
    }
}
