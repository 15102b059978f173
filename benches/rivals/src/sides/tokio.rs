//! Bare tokio: a task that owns an unbounded `mpsc` receiver, and `oneshot` for answers. It is the
//! floor: no deadline, no monitor, no bound.

use std::future::ready;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Notify, oneshot};

use crate::side::{Answer, Fault, Outcome, Side, closed_ring};

pub(crate) struct Tokio;

pub(crate) enum Msg {
    Add(u64),
    Get(oneshot::Sender<u64>),
}

type Sender = UnboundedSender<Msg>;

async fn count(mut mailbox: UnboundedReceiver<Msg>) {
    let mut sum = 0;
    while let Some(msg) = mailbox.recv().await {
        match msg {
            Msg::Add(n) => sum += n,
            Msg::Get(reply) => drop(reply.send(sum)),
        }
    }
}

async fn hop(
    mut mailbox: UnboundedReceiver<Msg>,
    next: Arc<OnceLock<Sender>>,
    done: Arc<Notify>,
) -> Outcome<()> {
    while let Some(msg) = mailbox.recv().await {
        match msg {
            Msg::Add(0) => done.notify_one(),
            Msg::Add(n) => next.get().ok_or("the ring is open")?.send(Msg::Add(n - 1))?,
            Msg::Get(reply) => drop(reply.send(0)),
        }
    }
    Ok(())
}

fn start<F>(body: impl FnOnce(UnboundedReceiver<Msg>) -> F) -> Sender
where
    F: Future<Output: Send> + Send + 'static,
{
    let (sender, mailbox) = unbounded_channel();
    tokio::spawn(body(mailbox));
    sender
}

fn ask(target: &Sender) -> oneshot::Receiver<u64> {
    let (reply, answer) = oneshot::channel();
    // A target that is gone drops the reply, which is what the caller sees.
    drop(target.send(Msg::Get(reply)));
    answer
}

pub(crate) enum VictimMsg {
    Fail(Fault),
    Get(oneshot::Sender<u64>),
}

type Mailbox = Arc<Mutex<UnboundedReceiver<VictimMsg>>>;

async fn victim(mailbox: Mailbox) -> Result<(), &'static str> {
    let mut mailbox = mailbox.lock().await;
    while let Some(msg) = mailbox.recv().await {
        match msg {
            VictimMsg::Fail(Fault::Error) => return Err("as told"),
            VictimMsg::Fail(Fault::Panic) => panic!("as told"),
            VictimMsg::Get(reply) => drop(reply.send(0)),
        }
    }
    Ok(())
}

/// Starts the task again until it ends well. The mailbox outlives it.
async fn supervisor(mailbox: Mailbox) {
    while !matches!(tokio::spawn(victim(mailbox.clone())).await, Ok(Ok(()))) {}
}

impl Side for Tokio {
    type Counter = Sender;
    type Answer = Answer<oneshot::Receiver<u64>>;
    type Ring = (Sender, Arc<Notify>);
    type Supervised = UnboundedSender<VictimMsg>;

    async fn counter() -> Outcome<Self::Counter> {
        Ok(start(count))
    }

    fn get(counter: &Self::Counter) -> Self::Answer {
        Answer(ask(counter))
    }

    async fn source(targets: Vec<Self::Counter>, messages: u64) -> Outcome<()> {
        tokio::spawn(async move {
            for target in targets.iter().cycle().take(messages as usize) {
                target.send(Msg::Add(1))?;
            }
            Ok(())
        })
        .await?
    }

    async fn caller(target: Self::Counter, calls: u64) -> Outcome<()> {
        tokio::spawn(async move {
            for _ in 0..calls {
                ask(&target).await?;
            }
            Ok(())
        })
        .await?
    }

    async fn ring(members: u64) -> Outcome<Self::Ring> {
        closed_ring(members, |next, done| ready(Ok(start(|mailbox| hop(mailbox, next, done)))))
            .await
    }

    async fn pass((first, done): &Self::Ring, hops: u64) -> Outcome<()> {
        first.send(Msg::Add(hops))?;
        done.notified().await;
        Ok(())
    }

    async fn supervised(_: Fault, _: u32) -> Outcome<Option<Self::Supervised>> {
        let (sender, mailbox) = unbounded_channel();
        tokio::spawn(supervisor(Arc::new(Mutex::new(mailbox))));
        Ok(Some(sender))
    }

    async fn fail(supervised: &mut Self::Supervised, fault: Fault) -> Outcome<()> {
        let (reply, answer) = oneshot::channel();
        supervised.send(VictimMsg::Fail(fault))?;
        supervised.send(VictimMsg::Get(reply))?;
        answer.await?;
        Ok(())
    }
}
