//! ractor, without spans and monitors. Its mailboxes have no bound, so a cast never waits.

use std::sync::{Arc, OnceLock};

use ractor::concurrency::{OneshotReceiver, oneshot};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::{Notify, watch};

use crate::side::{Answer, Fault, Outcome, Side, closed_ring};

pub(crate) struct Ractor;

pub(crate) enum Msg {
    Add(u64),
    Get(RpcReplyPort<u64>),
}

impl ractor::Message for Msg {}

type Done = Result<(), ActorProcessingErr>;

fn ask(target: &ActorRef<Msg>) -> OneshotReceiver<u64> {
    let (reply, answer) = oneshot();
    // A target that is gone drops the reply, which is what the caller sees.
    drop(target.cast(Msg::Get(reply.into())));
    answer
}

struct Counter;

impl Actor for Counter {
    type Msg = Msg;
    type State = u64;
    type Arguments = u64;

    async fn pre_start(&self, _: ActorRef<Msg>, sum: u64) -> Result<u64, ActorProcessingErr> {
        Ok(sum)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, sum: &mut u64) -> Done {
        match msg {
            Msg::Add(n) => *sum += n,
            Msg::Get(reply) => reply.send(*sum)?,
        }
        Ok(())
    }
}

struct Source;

impl Actor for Source {
    type Msg = Msg;
    type State = Vec<ActorRef<Msg>>;
    type Arguments = Self::State;

    async fn pre_start(
        &self,
        _: ActorRef<Msg>,
        targets: Self::State,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(targets)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, targets: &mut Self::State) -> Done {
        match msg {
            Msg::Add(messages) => {
                for target in targets.iter().cycle().take(messages as usize) {
                    target.cast(Msg::Add(1))?;
                }
            }
            Msg::Get(reply) => reply.send(0)?,
        }
        Ok(())
    }
}

struct Caller;

impl Actor for Caller {
    type Msg = Msg;
    type State = ActorRef<Msg>;
    type Arguments = ActorRef<Msg>;

    async fn pre_start(
        &self,
        _: ActorRef<Msg>,
        target: ActorRef<Msg>,
    ) -> Result<ActorRef<Msg>, ActorProcessingErr> {
        Ok(target)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, target: &mut ActorRef<Msg>) -> Done {
        match msg {
            Msg::Add(calls) => {
                for _ in 0..calls {
                    ractor::call!(target, Msg::Get)?;
                }
            }
            Msg::Get(reply) => reply.send(0)?,
        }
        Ok(())
    }
}

struct Hop;

struct Link {
    next: Arc<OnceLock<ActorRef<Msg>>>,
    done: Arc<Notify>,
}

impl Actor for Hop {
    type Msg = Msg;
    type State = Link;
    type Arguments = Link;

    async fn pre_start(&self, _: ActorRef<Msg>, link: Link) -> Result<Link, ActorProcessingErr> {
        Ok(link)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, link: &mut Link) -> Done {
        match msg {
            Msg::Add(0) => link.done.notify_one(),
            Msg::Add(n) => link.next.get().ok_or("the ring is open")?.cast(Msg::Add(n - 1))?,
            Msg::Get(reply) => reply.send(0)?,
        }
        Ok(())
    }
}

pub(crate) enum VictimMsg {
    Fail(Fault),
    Get(RpcReplyPort<u64>),
}

impl ractor::Message for VictimMsg {}

struct Victim;

impl Actor for Victim {
    type Msg = VictimMsg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<VictimMsg>, (): ()) -> Done {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<VictimMsg>, msg: VictimMsg, (): &mut ()) -> Done {
        match msg {
            VictimMsg::Fail(Fault::Error) => return Err("as told".into()),
            VictimMsg::Fail(Fault::Panic) => panic!("as told"),
            VictimMsg::Get(reply) => reply.send(0)?,
        }
        Ok(())
    }
}

/// Starts the victim again and says where it is now.
struct Supervisor;

type Place = watch::Sender<Option<ActorRef<VictimMsg>>>;

async fn start_victim(me: ActorRef<()>, place: &Place) -> Done {
    let (child, _) = Victim::spawn_linked(None, Victim, (), me.get_cell()).await?;
    place.send_replace(Some(child));
    Ok(())
}

impl Actor for Supervisor {
    type Msg = ();
    type State = Place;
    type Arguments = Place;

    async fn pre_start(&self, me: ActorRef<()>, place: Place) -> Result<Place, ActorProcessingErr> {
        start_victim(me, &place).await?;
        Ok(place)
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<()>,
        event: SupervisionEvent,
        place: &mut Place,
    ) -> Done {
        match event {
            SupervisionEvent::ActorFailed(..) => start_victim(me, place).await,
            _ => Ok(()),
        }
    }
}

impl Side for Ractor {
    type Counter = ActorRef<Msg>;
    type Answer = Answer<OneshotReceiver<u64>>;
    type Ring = (ActorRef<Msg>, Arc<Notify>);
    type Supervised = watch::Receiver<Option<ActorRef<VictimMsg>>>;

    async fn counter() -> Outcome<Self::Counter> {
        Ok(Counter::spawn(None, Counter, 0).await?.0)
    }

    fn get(counter: &Self::Counter) -> Self::Answer {
        Answer(ask(counter))
    }

    async fn source(targets: Vec<Self::Counter>, messages: u64) -> Outcome<()> {
        work(Source::spawn(None, Source, targets).await?.0, messages).await
    }

    async fn caller(target: Self::Counter, calls: u64) -> Outcome<()> {
        work(Caller::spawn(None, Caller, target).await?.0, calls).await
    }

    async fn ring(members: u64) -> Outcome<Self::Ring> {
        closed_ring(members, |next, done| async {
            Ok(Hop::spawn(None, Hop, Link { next, done }).await?.0)
        })
        .await
    }

    async fn pass((first, done): &Self::Ring, hops: u64) -> Outcome<()> {
        // Its error carries the message, which cannot be shared between threads.
        first.cast(Msg::Add(hops)).map_err(|error| error.to_string())?;
        done.notified().await;
        Ok(())
    }

    async fn supervised(_: Fault, _: u32) -> Outcome<Option<Self::Supervised>> {
        let (place, child) = watch::channel(None);
        Supervisor::spawn(None, Supervisor, place).await?;
        Ok(Some(child))
    }

    async fn fail(child: &mut Self::Supervised, fault: Fault) -> Outcome<()> {
        let old = child.borrow_and_update().clone().ok_or("no victim")?;
        old.cast(VictimMsg::Fail(fault)).map_err(|error| error.to_string())?;
        child.changed().await?;
        let new = child.borrow_and_update().clone().ok_or("no victim")?;
        ractor::call!(new, VictimMsg::Get).map_err(|error| error.to_string())?;
        Ok(())
    }
}

async fn work(worker: ActorRef<Msg>, n: u64) -> Outcome<()> {
    worker.cast(Msg::Add(n)).map_err(|error| error.to_string())?;
    ask(&worker).await?;
    worker.stop(None);
    Ok(())
}
