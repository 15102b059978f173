//! Micro-batches.

use std::future::{Future, IntoFuture};
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use mobula_actors::{Actor, ActorRef, CallError, Context, Exit, Fault, Lost, Reply, Why};
use tokio::sync::{mpsc, oneshot};

use crate::puppet::{down, engine, next, soon};

/// Reports its batches.
struct Batcher {
    most: usize,
    least: Option<(usize, Duration)>,
    batches: mpsc::UnboundedSender<Vec<u32>>,
}

enum Job {
    Number(u32),
    Ask(Reply<u32>),
    Wait(oneshot::Sender<()>, oneshot::Receiver<()>),
}

impl Actor for Batcher {
    type Args = Self;
    type Msg = Job;

    async fn start(batcher: Self, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(batcher)
    }

    async fn handle(&mut self, first: Job, ctx: &mut Context<Self>) -> Result<(), Fault> {
        if let Job::Wait(begun, over) = first {
            let _ = begun.send(());
            let _ = over.await;
            return Ok(());
        }
        let mut fill = ctx.fill(first, self.most);
        if let Some((least, within)) = self.least {
            fill = fill.at_least(least, within);
        }
        let batch = fill.await.into_iter().map(|job| match job {
            Job::Number(number) => number,
            Job::Ask(reply) => {
                reply.send(0);
                1_000
            }
            Job::Wait(..) => 2_000,
        });
        let _ = self.batches.send(batch.collect());
        Ok(())
    }
}

type Batches = mpsc::UnboundedReceiver<Vec<u32>>;

async fn batcher(most: usize, least: Option<(usize, Duration)>) -> (ActorRef<Job>, Batches) {
    let (batches, seen) = mpsc::unbounded_channel();
    let spec = Batcher::spec(Batcher { most, least, batches });
    (engine().spawn(spec.mailbox(256)).await.unwrap(), seen)
}

async fn busy(target: &ActorRef<Job>) -> oneshot::Sender<()> {
    let ((begun, has_begun), (over, is_over)) = (oneshot::channel(), oneshot::channel());
    target.cast(Job::Wait(begun, is_over)).unwrap();
    soon(has_begun).await.unwrap();
    over
}

// MB-1
#[tokio::test]
async fn a_batch_takes_what_waits_in_order_up_to_its_bound() {
    let (target, mut batches) = batcher(64, None).await;
    let over = busy(&target).await;
    for number in 0..150 {
        target.cast(Job::Number(number)).unwrap();
    }
    drop(over);
    assert_eq!(next(&mut batches).await, (0..64).collect::<Vec<_>>());
    assert!(target.inspect().unwrap().handled >= 65, "the wait and the batch");
    assert_eq!(next(&mut batches).await, (64..128).collect::<Vec<_>>());
    assert_eq!(next(&mut batches).await, (128..150).collect::<Vec<_>>());
    target.cast(Job::Number(7)).unwrap();
    assert_eq!(next(&mut batches).await, [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_lose_and_repeat_nothing_while_many_send() {
    const EACH: u32 = 3_000;
    let (target, mut batches) = batcher(16, Some((8, Duration::from_micros(200)))).await;
    for sender in 0..4 {
        let target = target.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                target.send(Job::Number(sender * EACH + number)).await.unwrap();
            }
        });
    }
    let (mut expected, mut seen) = ([0; 4], 0);
    while seen < 4 * EACH {
        for number in next(&mut batches).await {
            let sender = (number / EACH) as usize;
            assert_eq!(number % EACH, expected[sender]);
            expected[sender] += 1;
            seen += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_its_least_and_no_longer() {
    let (target, mut batches) = batcher(64, Some((3, Duration::from_secs(1)))).await;
    let begun = tokio::time::Instant::now();
    for number in 0..3 {
        tokio::task::yield_now().await;
        target.cast(Job::Number(number)).unwrap();
    }
    assert_eq!(next(&mut batches).await, [0, 1, 2]);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    target.cast(Job::Number(3)).unwrap();
    assert_eq!(next(&mut batches).await, [3]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

// MB-1, X-3
#[tokio::test(start_paused = true)]
async fn a_batch_leaves_out_what_expired() {
    let (target, mut batches) = batcher(64, None).await;
    let over = busy(&target).await;
    target.cast(Job::Number(1)).unwrap();
    let call = target.call(Job::Ask).within(Duration::from_millis(10)).into_future();
    let mut call = Box::pin(call);
    assert!(call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
    target.cast(Job::Number(2)).unwrap();
    tokio::time::advance(Duration::from_millis(20)).await;
    drop(over);
    assert_eq!(next(&mut batches).await, [1, 2]);
    let refused = soon(call).await.unwrap_err();
    assert!(matches!(
        refused,
        CallError::Rejected(Why::Expired) | CallError::Unknown(Lost::Deadline)
    ));
}

// MB-2
#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_for_a_batch() {
    let (target, mut batches) = batcher(64, Some((3, Duration::from_secs(3_600)))).await;
    let begun = tokio::time::Instant::now();
    let mut downs = down(&target);
    target.cast(Job::Number(1)).unwrap();
    tokio::task::yield_now().await;
    target.stop();
    assert_eq!(next(&mut batches).await, [1]);
    assert_eq!(next(&mut downs).await.exit, Exit::Shutdown);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

// MB-2
#[tokio::test]
async fn a_batch_takes_nothing_that_a_stop_overtook() {
    let (target, mut batches) = batcher(64, None).await;
    let over = busy(&target).await;
    target.cast(Job::Number(1)).unwrap();
    target.stop();
    let mut downs = down(&target);
    drop(over);
    next(&mut downs).await;
    assert!(batches.try_recv().is_err());
}
