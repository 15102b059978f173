//! How an actor begins: on the thread of its spawner, where that is one of its runtime.

use std::sync::mpsc as blocking;
use std::thread::{self, ThreadId};
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, CallError, Context, Engine, Fault, Lost, Reply};
use tokio::runtime::{Builder, Runtime};

use crate::puppet::{engine, next, soon, stuck_for};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Says on which thread it began.
struct Born(ThreadId);

impl Actor for Born {
    type Args = ();
    type Msg = Reply<ThreadId>;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(thread::current().id()))
    }

    async fn handle(&mut self, asked: Reply<ThreadId>, _: &mut Context<Self>) -> Result<(), Fault> {
        asked.send(self.0);
        Ok(())
    }
}

// SC-1
#[test]
fn an_actor_begins_where_its_spawner_is_if_that_is_its_runtime() {
    let (here, there) = (runtime(), runtime());
    let engine = Engine::new(1, here.handle().clone());
    let spawning = async || {
        let spawner = thread::current().id();
        let born = engine.spawn(Born::spec(())).await.unwrap();
        // Nothing has made this task wait, and so move, before the actor was there.
        soon(born.call(|asked| asked)).await.unwrap() == spawner
    };
    assert!(here.block_on(spawning()));
    assert!(!there.block_on(spawning()));
}

/// Starts the rest of its line before it is alive itself.
struct Heir;

impl Actor for Heir {
    type Args = u32;
    type Msg = ();

    async fn start(after: u32, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        if after > 0 {
            Box::pin(ctx.spawn(Self::spec(after - 1))).await?;
        }
        Ok(Self)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

// SC-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_line_of_starts_takes_no_deep_stack() {
    let engine = engine();
    soon(engine.spawn(Heir::spec(20_000))).await.unwrap();
}

/// Never answers.
struct Mute(Vec<Reply<()>>);

impl Actor for Mute {
    type Args = ();
    type Msg = Reply<()>;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(Vec::new()))
    }

    async fn handle(&mut self, asked: Reply<()>, _: &mut Context<Self>) -> Result<(), Fault> {
        self.0.push(asked);
        Ok(())
    }
}

/// Waits in `start` for somebody who does not answer.
struct Late;

impl Actor for Late {
    type Args = (ActorRef<Reply<()>>, Duration);
    type Msg = Reply<Result<(), CallError>>;

    async fn start((mute, timeout): Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        let waited = mute.call(|asked| asked).within(timeout).await;
        assert_eq!(waited, Err(CallError::Unknown(Lost::Deadline)));
        Ok(Self)
    }

    async fn handle(&mut self, _: Self::Msg, _: &mut Context<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Asks somebody who does not answer, and starts an actor, in one turn.
struct Asker(ActorRef<Reply<()>>);

impl Actor for Asker {
    type Args = ActorRef<Reply<()>>;
    type Msg = Reply<Result<(), CallError>>;

    async fn start(mute: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(mute))
    }

    async fn handle(&mut self, told: Self::Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        let waiting = self.0.call(|asked| asked).within(Duration::from_secs(1));
        let spec = Late::spec((self.0.clone(), Duration::from_secs(20)));
        let (answer, _late) = tokio::join!(waiting, ctx.spawn(spec));
        told.send(answer);
        Ok(())
    }
}

//
#[tokio::test(start_paused = true)]
async fn a_start_inside_a_turn_leaves_that_turns_deadlines_alone() {
    let engine = engine();
    let mute = engine.spawn(Mute::spec(())).await.unwrap();
    let asker = engine.spawn(Asker::spec(mute)).await.unwrap();
    let begun = tokio::time::Instant::now();
    let told = asker.call(|told| told).within(Duration::from_secs(60)).await.unwrap();
    assert_eq!(told, Err(CallError::Unknown(Lost::Deadline)));
    assert!(begun.elapsed() < Duration::from_secs(21), "{:?}", begun.elapsed());
}

/// Keeps its thread until it is told, in its start.
struct Slow;

impl Actor for Slow {
    type Args = blocking::Receiver<()>;
    type Msg = ();

    async fn start(over: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        assert!(over.recv().is_err(), "nothing is sent");
        Ok(Self)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Starts one that keeps the thread, and keeps it then itself.
struct Parent;

impl Actor for Parent {
    type Args = ();
    type Msg = [blocking::Receiver<()>; 2];

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(
        &mut self,
        [child, mine]: Self::Msg,
        ctx: &mut Context<Self>,
    ) -> Result<(), Fault> {
        ctx.spawn(Slow::spec(child)).await?;
        assert!(mine.recv().is_err(), "nothing is sent");
        Ok(())
    }
}

// WD-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_never_yields_is_reported_and_after_it_its_spawner() {
    let engine = engine();
    let mut stuck = stuck_for(&engine, Duration::from_millis(20));
    let parent = engine.spawn(Parent::spec(())).await.unwrap();
    let ((child_over, child), (over, mine)) = (blocking::channel(), blocking::channel());
    parent.cast([child, mine]).unwrap();
    assert!(next(&mut stuck).await.kind.ends_with("Slow"));
    drop(child_over);
    loop {
        let seen = next(&mut stuck).await;
        if seen.actor == parent.id() {
            break;
        }
        assert!(seen.kind.ends_with("Slow"), "{}", seen.kind);
    }
    drop(over);
}
