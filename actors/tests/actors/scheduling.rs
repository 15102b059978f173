//! Which thread polls which actor: what the scheduler promises.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, Context, Engine, Fault, Reply};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::puppet::{engine, soon};

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Does what it is told, on the thread that polls it.
struct Doer;

type Deed = Box<dyn FnOnce() + Send>;

impl Actor for Doer {
    type Args = ();
    type Msg = Deed;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(&mut self, deed: Deed, _: &mut Context<Self>) -> Result<(), Fault> {
        deed();
        Ok(())
    }
}

async fn doer(engine: &Engine) -> ActorRef<Deed> {
    engine.spawn(Doer::spec(())).await.unwrap()
}

/// Hands a ball on for ever.
struct Player;

enum Ball {
    To(ActorRef<Self>),
    Asked(Reply<()>),
}

impl Actor for Player {
    type Args = ();
    type Msg = Ball;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn handle(&mut self, ball: Ball, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match ball {
            Ball::To(other) => other.cast(Ball::To(ctx.me()))?,
            Ball::Asked(reply) => reply.send(()),
        }
        Ok(())
    }
}

/// Two actors that wake each other without end.
async fn rally(engine: &Engine) -> ActorRef<Ball> {
    let (one, two) = (
        engine.spawn(Player::spec(())).await.unwrap(),
        engine.spawn(Player::spec(())).await.unwrap(),
    );
    one.cast(Ball::To(two)).unwrap();
    one
}

// SC-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wake_from_any_thread_is_heeded() {
    let engine = engine();
    let mut doers = Vec::new();
    for _ in 0..8 {
        doers.push(doer(&engine).await);
    }
    let (told, mut done) = mpsc::unbounded_channel();
    let threads = [(); 3].map(|()| {
        let (doers, told) = (doers.clone(), told.clone());
        std::thread::spawn(move || {
            for target in doers.iter().cycle().take(4_000) {
                let told = told.clone();
                let deed: Deed = Box::new(move || told.send(()).unwrap());
                // At times it is full; most often it sleeps when the next one comes.
                let mut deed = Some(deed);
                while let Some(again) = deed.take() {
                    deed = target.cast(again).err().map(|refused| refused.message);
                }
            }
        })
    });
    for _ in 0..3 * 4_000 {
        soon(done.recv()).await.unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

// SC-2: neither ends before the other has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_are_ready_have_two_threads() {
    let engine = engine();
    let (one, two) = (doer(&engine).await, doer(&engine).await);
    let (told, mut done) = mpsc::unbounded_channel();
    for _ in 0..100 {
        let both = Arc::new(Barrier::new(2));
        for target in [&one, &two] {
            let (both, told) = (both.clone(), told.clone());
            let deed = move || {
                both.wait();
                told.send(()).unwrap();
            };
            target.cast(Box::new(deed)).unwrap();
        }
        soon(done.recv()).await.unwrap();
        soon(done.recv()).await.unwrap();
    }
}

// SC-3
#[test]
fn those_that_wake_each_other_leave_room_for_those_in_line() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let engine = Engine::new(1, Handle::current());
        let rallies = [rally(&engine).await, rally(&engine).await];
        let quiet = engine.spawn(Player::spec(())).await.unwrap();
        for player in rallies.iter().chain([&quiet]).cycle().take(30) {
            soon(player.call(Ball::Asked)).await.unwrap();
        }
    });
}

// SC-4
#[test]
fn actors_leave_the_runtime_time_for_other_tasks() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let engine = Engine::new(1, Handle::current());
        let _rally = rally(&engine).await;
        for _ in 0..10 {
            let task = tokio::spawn(tokio::time::sleep(Duration::from_millis(1)));
            soon(task).await.unwrap();
        }
    });
}

/// Has `target` do something, and blocks the thread until it has been done.
fn have_done(target: ActorRef<Deed>) -> impl FnOnce() + Send {
    let (told, done): (Sender<()>, Receiver<()>) = channel();
    move || {
        target.cast(Box::new(move || told.send(()).unwrap())).unwrap();
        done.recv().unwrap();
    }
}

// SC-4: the one that it waits for would be next on its own thread.
#[test]
fn an_actor_that_blocks_does_not_keep_those_behind_it() {
    let runtime = runtime(2);
    runtime.block_on(async {
        let engine = Engine::new(1, Handle::current());
        let (one, two) = (doer(&engine).await, doer(&engine).await);
        let (told, mut done) = mpsc::unbounded_channel();
        let wait = have_done(two);
        let deed = move || {
            wait();
            told.send(()).unwrap();
        };
        one.cast(Box::new(deed)).unwrap();
        soon(done.recv()).await.unwrap();
    });
}

// SC-4: every worker is taken, but the runtime has threads.
#[test]
fn actors_that_block_in_place_do_not_keep_the_others() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let engine = Engine::new(1, Handle::current());
        let doers = [doer(&engine).await, doer(&engine).await, doer(&engine).await];
        let (told, mut done) = mpsc::unbounded_channel();
        // The first waits for the second, and that for the third.
        let inner = have_done(doers[2].clone());
        let second = Mutex::new(Some(inner));
        let (told_inner, done_inner) = channel();
        let (middle, last) = (doers[1].clone(), told);
        let deed = move || {
            let middle_deed = move || {
                let inner = second.lock().unwrap().take().unwrap();
                tokio::task::block_in_place(inner);
                told_inner.send(()).unwrap();
            };
            middle.cast(Box::new(middle_deed)).unwrap();
            tokio::task::block_in_place(|| done_inner.recv().unwrap());
            last.send(()).unwrap();
        };
        doers[0].cast(Box::new(deed)).unwrap();
        soon(done.recv()).await.unwrap();
    });
}

/// Says when it is dropped.
struct Told(mpsc::UnboundedSender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

struct Sleeper(#[expect(dead_code, reason = "for its drop")] Told);

impl Actor for Sleeper {
    type Args = Told;
    type Msg = Deed;

    async fn start(told: Told, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(told))
    }

    async fn handle(&mut self, deed: Deed, _: &mut Context<Self>) -> Result<(), Fault> {
        deed();
        std::future::pending().await
    }
}

// SC-5: one sleeps, one waits in its handler, one is ready.
#[test]
fn actors_end_with_their_runtime_whatever_they_do() {
    let runtime = runtime(1);
    let (told, mut ends) = mpsc::unbounded_channel();
    let (begun, has_begun) = channel();
    runtime.block_on(async {
        let engine = Engine::new(1, Handle::current());
        let mut sleepers = Vec::new();
        for _ in 0..3 {
            sleepers.push(engine.spawn(Sleeper::spec(Told(told.clone()))).await.unwrap());
        }
        sleepers[1].cast(Box::new(move || begun.send(()).unwrap())).unwrap();
        has_begun.recv().unwrap();
        // The only worker is kept until the runtime ends, so that what follows stays ready.
        let (go, gone) = channel::<()>();
        let blocker = doer(&engine).await;
        let block = move || assert!(gone.recv_timeout(Duration::from_millis(50)).is_err());
        blocker.cast(Box::new(block)).unwrap();
        sleepers[2].cast(Box::new(|| ())).unwrap();
        drop((told, go));
    });
    drop(runtime);
    let mut count = 0;
    while ends.blocking_recv().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
}
