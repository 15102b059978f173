//! An account under a supervisor, which keeps its book over panics.
//!
//! Nobody is told of a change before the supervisor holds the book that has it. So a panic loses
//! messages and what was not kept, and of that nobody knows:
//!
//! ```text
//! payer ── Pay ──▶ from     takes the money off, has its book kept
//!                  from ── Deposit ──▶ to      adds the money, has its book kept
//!                  from ◀── Deposited ── to
//! payer ◀─ Paid ── from     strikes the payment off, has its book kept
//!                  from ── Settled ──▶ to      forgets the payment
//! payer ─ Claimed ▶ from    forgets the payment
//! ```
//!
//! - KA-1: a deposit is sent again until it is confirmed, also after a restart. The other account
//!   adds it once.
//! - KA-2: a receipt is given only when both books are kept. Without one the payer knows nothing:
//!   the payment was made or not, and the books say which.
//! - KA-3: a payment is forgotten only when it cannot come again.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use mobula::actors::Timer;
use mobula::prelude::*;
use mobula::supervision::{Hook, SuperviseError, TreeError};
use thiserror::Error;

use crate::bank::{Directory, Statement, Till};
use crate::book::Book;
use crate::payment::{Crash, Order, Payment, PaymentId, Receipt};

/// How long an account waits for the confirmation of a deposit before it sends it again.
const DEPOSIT_AGAIN: Duration = Duration::from_millis(100);
/// The supervisor is asked by this many at the same time.
const STARTERS: u32 = 64;
/// The period of the restarts that are allowed.
const WHOLE_RUN: Duration = Duration::from_secs(24 * 60 * 60);
/// What accounts that are made to panic say.
pub const PLANNED: &str = "an account panics as planned";

/// Accounts that did not start.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the supervisor of the accounts did not start: {0}")]
    Supervise(#[from] SuperviseError),
    #[error("an account did not start: {0}")]
    Start(#[from] TreeError),
    #[error("starting accounts was broken off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

pub enum Msg {
    Pay(Order, Reply<Receipt>),
    Deposit(Order),
    Deposited(Order),
    Settled(PaymentId),
    Claimed(PaymentId),
    /// The supervisor holds the book with this number.
    Kept(u64),
    /// A deposit may have been lost.
    Again(PaymentId),
    Statement(Reply<Statement>),
}

/// What is done once the book is kept.
enum Next {
    Deposit(Order),
    Confirm(Order),
    Settle(Payment),
}

pub struct Account {
    book: Book,
    others: Weak<Directory<Msg>>,
    /// In the order of the books that they wait for.
    waiting: VecDeque<(u64, Next)>,
    payers: Vec<(PaymentId, Reply<Receipt>)>,
    timers: Vec<(PaymentId, Timer)>,
}

impl Actor for Account {
    type Args = Weak<Directory<Msg>>;
    type Msg = Msg;

    async fn start(others: Self::Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        ctx.on_checkpoint_stored(Msg::Kept);
        let book = ctx.restored()?.unwrap_or_default();
        let (waiting, payers, timers) = Default::default();
        let mut account = Self { book, others, waiting, payers, timers };
        for payment in account.book.under_way.clone() {
            account.send_deposit(Order { payment, crash: None }, ctx);
        }
        Ok(account)
    }

    async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        self.book.messages += 1;
        match msg {
            Msg::Pay(order, reply) => self.pay(order, reply, ctx),
            Msg::Deposit(order) => self.deposit(order, ctx),
            Msg::Deposited(order) => self.confirmed(order, ctx),
            Msg::Settled(id) => self.book.settle(id),
            Msg::Claimed(id) => self.book.claim(id),
            Msg::Kept(number) => self.go_on(number, ctx),
            Msg::Again(id) => self.deposit_again(id, ctx),
            Msg::Statement(reply) => {
                self.book.messages -= 1;
                reply.send(self.statement());
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        Some(postcard::to_allocvec(&self.book).map(Bytes::from).map_err(Fault::from))
    }
}

impl Account {
    fn pay(&mut self, order: Order, reply: Reply<Receipt>, ctx: &mut Context<Self>) {
        crash_if(order.crash, Crash::Withdrawing);
        if !self.book.withdraw(order.payment) {
            return reply.send(Receipt::Short);
        }
        crash_if(order.crash, Crash::Withdrawn);
        self.payers.push((order.payment.id, reply));
        self.once_kept(Next::Deposit(order), ctx);
    }

    fn deposit(&mut self, order: Order, ctx: &mut Context<Self>) {
        crash_if(order.crash, Crash::Depositing);
        self.book.deposit(order.payment);
        crash_if(order.crash, Crash::Deposited);
        // Also when it was known: the confirmation may have been lost.
        self.once_kept(Next::Confirm(order), ctx);
    }

    fn confirmed(&mut self, Order { payment, crash }: Order, ctx: &mut Context<Self>) {
        crash_if(crash, Crash::Confirming);
        if let Some((_, timer)) = take(&mut self.timers, payment.id) {
            timer.cancel();
        }
        if self.book.confirm(payment.id)
            && let Some((_, payer)) = take(&mut self.payers, payment.id)
        {
            // Both books are kept: this one before the deposit was sent, the other before it was
            // confirmed (KA-2).
            payer.send(Receipt::Paid);
        }
        self.once_kept(Next::Settle(payment), ctx);
    }

    fn once_kept(&mut self, next: Next, ctx: &mut Context<Self>) {
        self.waiting.push_back((ctx.checkpoint_now(), next));
    }

    fn go_on(&mut self, kept: u64, ctx: &mut Context<Self>) {
        while let Some((_, next)) = self.waiting.pop_front_if(|(number, _)| *number <= kept) {
            match next {
                Next::Deposit(order) => {
                    crash_if(order.crash, Crash::Kept);
                    self.send_deposit(order, ctx);
                }
                Next::Confirm(order) => self.tell(order.payment.from, Msg::Deposited(order)),
                Next::Settle(Payment { id, to, .. }) => self.tell(to, Msg::Settled(id)),
            }
        }
    }

    fn send_deposit(&mut self, order: Order, ctx: &mut Context<Self>) {
        let id = order.payment.id;
        self.tell(order.payment.to, Msg::Deposit(order));
        self.timers.push((id, ctx.after(DEPOSIT_AGAIN, Msg::Again(id))));
    }

    fn deposit_again(&mut self, id: PaymentId, ctx: &mut Context<Self>) {
        drop(take(&mut self.timers, id));
        let payment = self.book.under_way.iter().find(|payment| payment.id == id);
        if let Some(&payment) = payment {
            self.send_deposit(Order { payment, crash: None }, ctx);
        }
    }

    /// What is refused, because the other's mailbox is full, is as good as lost: KA-1 sees to it.
    fn tell(&self, number: u32, msg: Msg) {
        let others = self.others.upgrade();
        if let Some(other) = others.as_ref().and_then(|others| others.get(number)) {
            let _ = other.cast(msg);
        }
    }

    fn statement(&self) -> Statement {
        Statement {
            balance: self.book.balance,
            under_way: self.book.under_way.iter().map(|payment| payment.amount).sum(),
            paid: self.book.paid.clone(),
            messages: self.book.messages,
        }
    }
}

fn take<T>(list: &mut Vec<(PaymentId, T)>, id: PaymentId) -> Option<(PaymentId, T)> {
    let at = list.iter().position(|(known, _)| *known == id)?;
    Some(list.swap_remove(at))
}

fn crash_if(planned: Option<Crash>, here: Crash) {
    if planned == Some(here) {
        std::panic::panic_any(PLANNED);
    }
}

impl Till for Msg {
    /// Longer than a deposit takes that is lost a few times.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn pay(order: Order, reply: Reply<Receipt>) -> Self {
        Self::Pay(order, reply)
    }

    fn statement(reply: Reply<Statement>) -> Self {
        Self::Statement(reply)
    }

    fn claimed(id: PaymentId) -> Option<Self> {
        Some(Self::Claimed(id))
    }
}

/// Starts `accounts` of them under a dynamic supervisor that allows `restarts`.
pub async fn open(
    node: &Node,
    accounts: u32,
    restarts: u32,
    hook: Hook,
) -> Result<(Arc<Directory<Msg>>, Tree), OpenError> {
    let template = |others: Weak<Directory<Msg>>| Account::spec(others);
    let spec = Supervisor::dynamic(template).intensity(restarts, WHOLE_RUN).on_event(hook);
    let tree = node.supervise(spec).await?;
    let directory = Arc::new(Directory::new());
    let share = accounts.div_ceil(STARTERS);
    let shares = (0..accounts).step_by(share as usize).map(|from| share.min(accounts - from));
    let starters: Vec<_> = shares
        .map(|share| tokio::spawn(start(tree.clone(), share, Arc::downgrade(&directory))))
        .collect();
    let mut all = Vec::with_capacity(accounts as usize);
    for starter in starters {
        all.extend(starter.await??);
    }
    directory.open(all);
    Ok((directory, tree))
}

async fn start(
    tree: Tree,
    accounts: u32,
    others: Weak<Directory<Msg>>,
) -> Result<Vec<ActorRef<Msg>>, TreeError> {
    let mut started = Vec::with_capacity(accounts as usize);
    for _ in 0..accounts {
        started.push(tree.start_child::<Account>(others.clone()).await?);
    }
    Ok(started)
}
