//! Starts that fail or are given up leave nothing behind: no run, no cell, no task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use mobula_actors::spawner::{IntoSeed, Notice, Order, Request, Spawner, Watch, start_here};
use mobula_actors::{Actor, Context, Engine, Exit, Fault, Settings, SpawnError};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Counts its starts, which take for ever, or fail.
struct Stillborn;

#[derive(Clone)]
struct Birth {
    begun: Arc<AtomicU32>,
    fails: bool,
}

impl Actor for Stillborn {
    type Args = Birth;
    type Msg = ();

    async fn start(birth: Birth, _: &mut Context<Self>) -> Result<Self, Fault> {
        birth.begun.fetch_add(1, Ordering::SeqCst);
        if birth.fails {
            return Err(Fault::new("told to fail"));
        }
        std::future::pending().await
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// The cell holds its watch; when the watch goes, the cell and its task have gone.
struct Held {
    _gone: oneshot::Sender<()>,
}

impl Watch for Held {
    fn notice(&self, notice: Notice) {
        panic!("a start is not reported to the watch: {notice:?}");
    }
}

fn request(engine: &Engine, fails: bool) -> (Request, Arc<AtomicU32>, oneshot::Receiver<()>) {
    let begun = Arc::new(AtomicU32::new(0));
    let (seed, settings) = Stillborn::spec(Birth { begun: begun.clone(), fails }).into_seed();
    let settings = Settings { start_timeout: Duration::from_secs(1), ..settings };
    let (held, gone) = oneshot::channel();
    let order = Order {
        id: Spawner::next_id(engine),
        watch: Some(Arc::new(Held { _gone: held })),
        ..Order::new(&settings)
    };
    (Request { seed, settings, order, previous: None, avoid: Vec::new() }, begun, gone)
}

fn engine() -> Engine {
    Engine::new(1, tokio::runtime::Handle::current())
}

async fn has_gone(gone: oneshot::Receiver<()>) {
    let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
    assert!(gone.expect("the cell is still there").is_err());
}

#[tokio::test]
async fn a_start_that_is_dropped_before_it_began_never_begins() {
    // Nobody drives its runtime yet.
    let elsewhere = Builder::new_current_thread().enable_all().build().unwrap();
    let engine = Engine::new(1, elsewhere.handle().clone());
    let (request, begun, gone) = request(&engine, false);
    {
        let mut start = pin!(start_here(&engine, &request));
        let pending = poll_fn(|cx| Poll::Ready(start.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
    }
    drop(request);
    std::thread::spawn(move || elsewhere.block_on(has_gone(gone))).join().unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_ended_with_its_cell() {
    let engine = engine();
    let (request, begun, gone) = request(&engine, false);
    let request = Request {
        settings: Settings { start_timeout: Duration::from_millis(1), ..request.settings },
        ..request
    };
    let error = start_here(&engine, &request).await.unwrap_err();
    assert_eq!(error, SpawnError::Deadline { timeout_ms: 1 });
    drop(request);
    has_gone(gone).await;
    assert!(begun.load(Ordering::SeqCst) <= 1);
}

#[tokio::test]
async fn a_start_that_fails_ends_its_cell() {
    let engine = engine();
    let (request, begun, gone) = request(&engine, true);
    let error = start_here(&engine, &request).await.unwrap_err();
    assert!(matches!(error, SpawnError::Start(Exit::InitFailed(_))), "{error}");
    drop(request);
    has_gone(gone).await;
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}
