//! Ours: default mailbox, `send().await`, default deadlines armed.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, Call, Context, Engine, Fault as Failed, Reply};
use mobula_supervision::{Strategy, Supervisor, Tree, supervise};
use tokio::sync::{Notify, oneshot};

use crate::side::{Answer, Fault, Outcome, Side, closed_ring, two_workers};

pub(crate) struct Mobula;

pub(crate) enum Msg {
    Add(u64),
    Get(Reply<u64>),
}

struct Counter(u64);

impl Actor for Counter {
    type Args = u64;
    type Msg = Msg;

    async fn start(sum: u64, _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(Self(sum))
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Failed> {
        match msg {
            Msg::Add(n) => self.0 += n,
            Msg::Get(reply) => reply.send(self.0),
        }
        Ok(())
    }
}

struct Source(Vec<ActorRef<Msg>>);

impl Actor for Source {
    type Args = Vec<ActorRef<Msg>>;
    type Msg = Msg;

    async fn start(targets: Self::Args, _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(Self(targets))
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Failed> {
        match msg {
            Msg::Add(messages) => {
                for target in self.0.iter().cycle().take(messages as usize) {
                    target.send(Msg::Add(1)).await?;
                }
            }
            Msg::Get(reply) => reply.send(0),
        }
        Ok(())
    }
}

struct Caller(ActorRef<Msg>);

impl Actor for Caller {
    type Args = ActorRef<Msg>;
    type Msg = Msg;

    async fn start(target: Self::Args, _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(Self(target))
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Failed> {
        match msg {
            Msg::Add(calls) => {
                for _ in 0..calls {
                    self.0.call(Msg::Get).await?;
                }
            }
            Msg::Get(reply) => reply.send(0),
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Hop {
    next: Arc<OnceLock<ActorRef<Msg>>>,
    done: Arc<Notify>,
}

impl Actor for Hop {
    type Args = Self;
    type Msg = Msg;

    async fn start(hop: Self, _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(hop)
    }

    async fn handle(&mut self, msg: Msg, _: &mut Context<Self>) -> Result<(), Failed> {
        match (msg, self.next.get()) {
            (Msg::Add(0), _) => self.done.notify_one(),
            (Msg::Add(n), Some(next)) => next.send(Msg::Add(n - 1)).await?,
            (Msg::Add(_), None) => return Err(Failed::new("the ring is open")),
            (Msg::Get(reply), _) => reply.send(0),
        }
        Ok(())
    }
}

enum VictimMsg {
    Fail(Fault),
    Get(Reply<u64>),
}

struct Victim;

impl Actor for Victim {
    type Args = ();
    type Msg = VictimMsg;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: VictimMsg, _: &mut Context<Self>) -> Result<(), Failed> {
        match msg {
            VictimMsg::Fail(Fault::Error) => return Err(Failed::new("as told")),
            VictimMsg::Fail(Fault::Panic) => panic!("as told"),
            VictimMsg::Get(reply) => reply.send(0),
        }
        Ok(())
    }
}

pub(crate) struct Supervised {
    child: ActorRef<VictimMsg>,
    _tree: Tree,
}

fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(1, tokio::runtime::Handle::current())).clone()
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who carries a bench out: an actor, as it is a process in Erlang and a task with bare tokio.
struct Main;

impl Actor for Main {
    type Args = ();
    type Msg = Work;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Failed> {
        Ok(Self)
    }

    async fn handle(&mut self, work: Work, _: &mut Context<Self>) -> Result<(), Failed> {
        work.await;
        Ok(())
    }
}

impl Side for Mobula {
    type Counter = ActorRef<Msg>;
    type Answer = Answer<Call<Msg, u64>>;
    type Ring = (ActorRef<Msg>, Arc<Notify>);
    type Supervised = Supervised;

    fn run<T: Send + 'static>(
        main: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        two_workers()?.block_on(async {
            let (told, outcome) = oneshot::channel();
            let work: Work = Box::pin(async move {
                // Who waits for it does so until it is there.
                let _ = told.send(main.await);
            });
            let carrier = engine().spawn(Main::spec(())).await?;
            carrier.cast(work).map_err(|refused| refused.why)?;
            outcome.await?
        })
    }

    async fn counter() -> Outcome<Self::Counter> {
        Ok(engine().spawn(Counter::spec(0)).await?)
    }

    fn get(counter: &Self::Counter) -> Self::Answer {
        Answer(counter.call(Msg::Get))
    }

    async fn source(targets: Vec<Self::Counter>, messages: u64) -> Outcome<()> {
        work(engine().spawn(Source::spec(targets)).await?, messages).await
    }

    async fn caller(target: Self::Counter, calls: u64) -> Outcome<()> {
        work(engine().spawn(Caller::spec(target)).await?, calls).await
    }

    async fn ring(members: u64) -> Outcome<Self::Ring> {
        closed_ring(members, |next, done| async {
            Ok(engine().spawn(Hop::spec(Hop { next, done })).await?)
        })
        .await
    }

    async fn pass((first, done): &Self::Ring, hops: u64) -> Outcome<()> {
        first.send(Msg::Add(hops)).await?;
        done.notified().await;
        Ok(())
    }

    async fn supervised(_: Fault, restarts: u32) -> Outcome<Option<Supervised>> {
        let spec = Supervisor::spec(Strategy::OneForOne)
            .intensity(restarts, Duration::from_secs(1))
            .child("victim", Victim::spec(()));
        let tree = supervise(&engine(), Arc::new(engine()), spec).await?;
        let child = tree.child("victim").ok_or("the tree has a victim")?;
        Ok(Some(Supervised { child, _tree: tree }))
    }

    async fn fail(supervised: &mut Supervised, fault: Fault) -> Outcome<()> {
        supervised.child.send(VictimMsg::Fail(fault)).await?;
        while supervised.child.call(VictimMsg::Get).await.is_err() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

async fn work(worker: ActorRef<Msg>, n: u64) -> Outcome<()> {
    worker.send(Msg::Add(n)).await?;
    worker.call(Msg::Get).within(Duration::from_secs(600)).await?;
    worker.stop();
    Ok(())
}
