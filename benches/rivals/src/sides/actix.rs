//! actix. Its actors live on the thread that started them, so all of a bench runs on the system's
//! thread; `do_send` is its cast. Its questions are messages of their own.

use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use actix::dev::Request;
use actix::{
    Actor, ActorContext, Addr, AtomicResponse, Context, Handler, Message, Supervised, Supervisor,
    WrapFuture,
};
use tokio::sync::Notify;

use crate::side::{Answer, Fault, Outcome, Side, closed_ring, two_workers};

pub(crate) struct Actix;

#[derive(Clone, Copy)]
pub(crate) struct Add(u64);
impl Message for Add {
    type Result = ();
}

pub(crate) struct Get;
impl Message for Get {
    type Result = u64;
}

pub(crate) struct Counter(u64);
struct Source(Vec<Addr<Counter>>);
struct Caller(Addr<Counter>);
pub(crate) struct Hop {
    next: Arc<OnceLock<Addr<Hop>>>,
    done: Arc<Notify>,
}
pub(crate) struct Victim;

macro_rules! actors {
    ($($actor:ty),*) => {$(
        impl Actor for $actor {
            type Context = Context<Self>;
        }
    )*};
}

actors!(Counter, Source, Caller, Hop, Victim);

impl Handler<Add> for Counter {
    type Result = ();

    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) {
        self.0 += n;
    }
}

impl Handler<Get> for Counter {
    type Result = u64;

    fn handle(&mut self, Get: Get, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

impl Handler<Add> for Source {
    type Result = ();

    fn handle(&mut self, Add(messages): Add, _: &mut Context<Self>) {
        for target in self.0.iter().cycle().take(messages as usize) {
            target.do_send(Add(1));
        }
    }
}

struct Work(u64);
impl Message for Work {
    type Result = Result<(), actix::MailboxError>;
}

impl Handler<Work> for Caller {
    type Result = AtomicResponse<Self, Result<(), actix::MailboxError>>;

    fn handle(&mut self, Work(calls): Work, _: &mut Context<Self>) -> Self::Result {
        let target = self.0.clone();
        let work = async move {
            for _ in 0..calls {
                target.send(Get).await?;
            }
            Ok(())
        };
        AtomicResponse::new(Box::pin(work.into_actor(self)))
    }
}

impl Handler<Add> for Hop {
    type Result = ();

    fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) {
        match self.next.get() {
            _ if n == 0 => self.done.notify_one(),
            Some(next) => next.do_send(Add(n - 1)),
            None => ctx.stop(),
        }
    }
}

impl Supervised for Victim {}

pub(crate) struct Fail;
impl Message for Fail {
    type Result = ();
}

impl Handler<Fail> for Victim {
    type Result = ();

    fn handle(&mut self, Fail: Fail, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Get> for Victim {
    type Result = u64;

    fn handle(&mut self, Get: Get, _: &mut Context<Self>) -> u64 {
        0
    }
}

impl Side for Actix {
    type Counter = Addr<Counter>;
    type Answer = Answer<Pin<Box<Request<Counter, Get>>>>;
    type Ring = (Addr<Hop>, Arc<Notify>);
    type Supervised = Addr<Victim>;

    fn run<T: Send + 'static>(
        main: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let mut runtime = Some(two_workers()?);
        let system = actix::System::with_tokio_rt(move || {
            // It is asked for one runtime, on this thread, at once.
            runtime.take().expect("a system makes one runtime")
        });
        system.block_on(main)
    }

    async fn counter() -> Outcome<Self::Counter> {
        Ok(Counter(0).start())
    }

    fn get(counter: &Self::Counter) -> Self::Answer {
        Answer(Box::pin(counter.send(Get)))
    }

    async fn source(targets: Vec<Self::Counter>, messages: u64) -> Outcome<()> {
        Ok(Source(targets).start().send(Add(messages)).await?)
    }

    async fn caller(target: Self::Counter, calls: u64) -> Outcome<()> {
        Ok(Caller(target).start().send(Work(calls)).await??)
    }

    async fn ring(members: u64) -> Outcome<Self::Ring> {
        closed_ring(members, |next, done| ready(Ok(Hop { next, done }.start()))).await
    }

    async fn pass((first, done): &Self::Ring, hops: u64) -> Outcome<()> {
        first.do_send(Add(hops));
        done.notified().await;
        Ok(())
    }

    /// A panic ends its supervisor with it.
    async fn supervised(fault: Fault, _: u32) -> Outcome<Option<Self::Supervised>> {
        Ok((fault == Fault::Error).then(|| Supervisor::start(|_| Victim)))
    }

    async fn fail(victim: &mut Self::Supervised, _: Fault) -> Outcome<()> {
        victim.do_send(Fail);
        while victim.send(Get).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
