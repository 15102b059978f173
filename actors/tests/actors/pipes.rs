//! Timers and pipes.

use std::time::Duration;

use mobula_actors::Exit;
use tokio::sync::oneshot;

use crate::puppet::{Event, Msg, busy, down, engine, next, puppet, soon};

#[tokio::test(start_paused = true)]
async fn a_timer_delivers_its_message_after_its_delay() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let begun = tokio::time::Instant::now();
    target
        .cast(Msg::act(|_, ctx| {
            ctx.after(Duration::from_millis(500), Msg::Note(5));
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut events).await, Event::Note(5));
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_pipe_delivers_what_its_future_gives_while_others_are_handled() {
    let engine = engine();
    let (slow, _slow_events) = puppet(&engine, 4).await;
    let over = busy(&slow).await;
    let (target, mut events) = puppet(&engine, 4).await;
    target
        .cast(Msg::act(move |_, ctx| {
            ctx.pipe(slow.call(Msg::Ask), |answer| Msg::Note(answer.unwrap() + 40));
            Ok(())
        }))
        .unwrap();
    target.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(40));
}

// K-2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_dropped_before_the_end_is_told() {
    struct Held(Option<oneshot::Sender<()>>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let (target, _events) = puppet(&engine(), 4).await;
    let (gone, mut is_gone) = oneshot::channel();
    let (polled, is_polled) = oneshot::channel();
    let held = Held(Some(gone));
    target
        .cast(Msg::act(move |_, ctx| {
            let waiting = async move {
                let _held = held;
                let _ = polled.send(());
                std::future::pending::<()>().await;
            };
            ctx.pipe(waiting, |()| Msg::Note(0));
            Ok(())
        }))
        .unwrap();
    soon(is_polled).await.unwrap();
    let mut downs = down(&target);
    target.stop();
    next(&mut downs).await;
    assert_eq!(is_gone.try_recv(), Ok(()));
}

#[tokio::test]
async fn a_pipe_that_panics_ends_the_run() {
    let (target, _events) = puppet(&engine(), 4).await;
    let mut downs = down(&target);
    target
        .cast(Msg::act(|_, ctx| {
            ctx.pipe(async { panic!("burst") }, |()| Msg::Note(0));
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut downs).await.exit, Exit::Panicked("burst".into()));
}

#[tokio::test]
async fn what_a_pipe_gives_reaches_a_full_mailbox() {
    let (target, mut events) = puppet(&engine(), 1).await;
    let (give, given) = oneshot::channel::<u32>();
    target
        .cast(Msg::act(move |_, ctx| {
            ctx.pipe(given, |given| Msg::Note(given.unwrap()));
            Ok(())
        }))
        .unwrap();
    target.call(Msg::Ask).await.unwrap();
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    give.send(2).unwrap();
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert_eq!(next(&mut events).await, Event::Note(2));
}
