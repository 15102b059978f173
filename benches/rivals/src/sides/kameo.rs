//! kameo, without remote, macros and spans. Its questions are messages of their own, answered by
//! what their handler returns.

use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::request::PendingReply;
use tokio::sync::Notify;

use crate::side::{Answer, Fault, Outcome, Side, closed_ring};

pub(crate) struct Kameo;

/// As many as our mailboxes hold. 64, its default, and no bound were not clearly faster.
const MAILBOX_MESSAGES: usize = 1_024;

pub(crate) struct Add(u64);
pub(crate) struct Get;

pub(crate) struct Counter(u64);
struct Source(Vec<ActorRef<Counter>>);
struct Caller(ActorRef<Counter>);
pub(crate) struct Hop {
    next: Arc<OnceLock<ActorRef<Hop>>>,
    done: Arc<Notify>,
}
#[derive(Clone)]
pub(crate) struct Victim;
pub(crate) struct Supervisor;

/// These actors start as what they are given.
macro_rules! actors {
    ($($actor:ty),*) => {$(
        impl Actor for $actor {
            type Args = Self;
            type Error = Infallible;

            async fn on_start(this: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
                Ok(this)
            }
        }
    )*};
}

actors!(Counter, Source, Caller, Hop, Victim, Supervisor);

impl Message<Add> for Counter {
    type Reply = ();

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, ()>) {
        self.0 += n;
    }
}

impl Message<Get> for Counter {
    type Reply = u64;

    async fn handle(&mut self, Get: Get, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

impl Message<Add> for Source {
    type Reply = Result<(), String>;

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        for target in self.0.iter().cycle().take(n as usize) {
            target.tell(Add(1)).send().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Message<Add> for Caller {
    type Reply = Result<(), String>;

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        for _ in 0..n {
            self.0.ask(Get).send().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl Message<Add> for Hop {
    type Reply = Result<(), String>;

    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        if n == 0 {
            self.done.notify_one();
            return Ok(());
        }
        let next = self.next.get().ok_or("the ring is open")?;
        next.tell(Add(n - 1)).send().await.map_err(|error| error.to_string())
    }
}

struct Fail(Fault);

impl Message<Fail> for Victim {
    type Reply = Result<(), String>;

    async fn handle(&mut self, fail: Fail, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        match fail.0 {
            Fault::Error => Err("as told".into()),
            Fault::Panic => panic!("as told"),
        }
    }
}

impl Message<Get> for Victim {
    type Reply = u64;

    async fn handle(&mut self, Get: Get, _: &mut Context<Self, u64>) -> u64 {
        0
    }
}

fn spawn<A: Actor<Args = A>>(actor: A) -> ActorRef<A> {
    A::spawn_with_mailbox(actor, mailbox::bounded(MAILBOX_MESSAGES))
}

impl Side for Kameo {
    type Counter = ActorRef<Counter>;
    type Answer = Sum;
    type Ring = (ActorRef<Hop>, Arc<Notify>);
    type Supervised = (ActorRef<Victim>, ActorRef<Supervisor>);

    async fn counter() -> Outcome<Self::Counter> {
        Ok(spawn(Counter(0)))
    }

    fn get(counter: &Self::Counter) -> Sum {
        match counter.ask(Get).try_enqueue() {
            Ok(pending) => Sum::Pending(Answer(pending)),
            Err(error) => Sum::Refused(error.to_string()),
        }
    }

    async fn source(targets: Vec<Self::Counter>, messages: u64) -> Outcome<()> {
        let source = spawn(Source(targets));
        source.ask(Add(messages)).send().await.map_err(|error| error.to_string())?;
        source.kill();
        Ok(())
    }

    async fn caller(target: Self::Counter, calls: u64) -> Outcome<()> {
        let caller = spawn(Caller(target));
        caller.ask(Add(calls)).send().await.map_err(|error| error.to_string())?;
        caller.kill();
        Ok(())
    }

    async fn ring(members: u64) -> Outcome<Self::Ring> {
        closed_ring(members, |next, done| ready(Ok(spawn(Hop { next, done })))).await
    }

    async fn pass((first, done): &Self::Ring, hops: u64) -> Outcome<()> {
        first.tell(Add(hops)).send().await.map_err(|error| error.to_string())?;
        done.notified().await;
        Ok(())
    }

    async fn supervised(_: Fault, restarts: u32) -> Outcome<Option<Self::Supervised>> {
        let supervisor = spawn(Supervisor);
        let victim = Victim::supervise(&supervisor, Victim)
            .restart_limit(restarts, Duration::from_secs(1))
            .spawn()
            .await;
        Ok(Some((victim, supervisor)))
    }

    async fn fail((victim, _): &mut Self::Supervised, fault: Fault) -> Outcome<()> {
        victim.tell(Fail(fault)).send().await.map_err(|error| error.to_string())?;
        while victim.ask(Get).send().await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A question that is on its way, or why it is not.
pub(crate) enum Sum {
    Pending(Answer<PendingReply<Get, u64>>),
    Refused(String),
}

impl Future for Sum {
    type Output = Outcome<u64>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        match &mut *self {
            Self::Pending(pending) => std::pin::Pin::new(pending).poll(cx),
            Self::Refused(why) => std::task::Poll::Ready(Err(std::mem::take(why).into())),
        }
    }
}
