//! Waits of an actor, one after the other: from the second on they share its alarm.

use std::sync::mpsc;
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, Context, Engine, Fault, Reply, Spec};
use tokio::runtime::{Builder, Handle};

/// Shorter waits do not use the alarm.
const WAIT: Duration = Duration::from_millis(110);
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps every question.
struct Silent(Vec<Reply<()>>);

impl Actor for Silent {
    type Args = ();
    type Msg = Reply<()>;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(Vec::new()))
    }

    async fn handle(&mut self, question: Reply<()>, _: &mut Context<Self>) -> Result<(), Fault> {
        self.0.push(question);
        Ok(())
    }
}

/// Asks in vain, as often as it is told.
struct Asker(ActorRef<Reply<()>>);

impl Actor for Asker {
    type Args = ActorRef<Reply<()>>;
    type Msg = (u32, Reply<()>);

    async fn start(silent: Self::Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self(silent))
    }

    async fn handle(
        &mut self,
        (times, done): Self::Msg,
        _: &mut Context<Self>,
    ) -> Result<(), Fault> {
        for _ in 0..times {
            assert!(self.0.call(|question| question).within(WAIT).await.is_err());
        }
        done.send(());
        Ok(())
    }
}

async fn asker(
    engine: &Engine,
    run: impl FnOnce(Spec<Asker>) -> Spec<Asker>,
) -> ActorRef<(u32, Reply<()>)> {
    let silent = engine.spawn(Silent::spec(())).await.unwrap();
    engine.spawn(run(Asker::spec(silent))).await.unwrap()
}

// AL-1: the last alarm of an engine goes off while its actor, on another thread, sets it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_on_a_thread_of_its_own_end_time_after_time() {
    let mut asked = Vec::new();
    for origin in 1..=24 {
        let engine = Engine::new(origin, Handle::current());
        let asker = asker(&engine, Spec::on_thread).await;
        asked
            .push(tokio::spawn(async move { asker.call(|done| (6, done)).within(PATIENCE).await }));
    }
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Ok(()));
    }
}

// AL-1: an engine beside another does not wait for the other's runtime.
#[test]
fn waits_beside_a_busy_runtime_end_in_time() {
    let busy = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let calm = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let engine = Engine::new(1, busy.handle().clone()).beside(calm.handle().clone());
    let asker = calm.block_on(asker(&engine, |spec| spec));
    let (release, released) = mpsc::channel::<()>();
    let (told, is_busy) = mpsc::channel();
    busy.spawn(async move {
        told.send(()).unwrap();
        // Keeps the only worker until the other side is done.
        released.recv().unwrap();
    });
    is_busy.recv().unwrap();
    let asked = calm.block_on(asker.call(|done| (3, done)).within(PATIENCE));
    release.send(()).unwrap();
    assert_eq!(asked, Ok(()));
}
