//! Timers that tick once or again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mobula_actors::{Context, Exit, Timer};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use crate::puppet::{Event, Msg, Puppet, busy, down, engine, next, puppet};

const PERIOD: Duration = Duration::from_millis(100);

/// Ticks `1, 2, 3 ...` from now on.
fn ticking(ctx: &mut Context<Puppet>) -> Timer {
    let mut tick = 0;
    ctx.every(PERIOD, move || {
        tick += 1;
        Msg::Note(tick)
    })
}

fn start_ticking() -> Msg {
    Msg::act(|_, ctx| {
        drop(ticking(ctx));
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn a_repeated_timer_ticks_first_after_one_period_and_keeps_the_beat() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let begun = Instant::now();
    target.cast(start_ticking()).unwrap();
    for tick in 1..=5 {
        assert_eq!(next(&mut events).await, Event::Note(tick));
        let due = PERIOD * tick;
        assert!((due..due + PERIOD / 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

// T-2
#[tokio::test(start_paused = true)]
async fn an_actor_that_lags_misses_ticks_and_keeps_its_other_messages() {
    let (target, mut events) = puppet(&engine(), 64).await;
    target.cast(start_ticking()).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
    let over = busy(&target).await;
    for _ in 0..20 {
        advance(PERIOD).await;
        tokio::task::yield_now().await;
    }
    target.cast(Msg::Note(100)).unwrap();
    drop(over);
    // Of twenty ticks one waited.
    assert_eq!(next(&mut events).await, Event::Note(2));
    assert_eq!(next(&mut events).await, Event::Note(100));
    assert_eq!(next(&mut events).await, Event::Note(3));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_is_silent() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let (give, mut given) = mpsc::unbounded_channel();
    target
        .cast(Msg::act(move |_, ctx| {
            let _ = give.send((ticking(ctx), ctx.after(PERIOD / 2, Msg::Note(77))));
            Ok(())
        }))
        .unwrap();
    let (ticks, once) = next(&mut given).await;
    once.cancel();
    assert_eq!(next(&mut events).await, Event::Note(1));
    assert!(!ticks.is_over());
    ticks.cancel();
    tokio::time::sleep(PERIOD * 5).await;
    assert!(ticks.is_over() && once.is_over());
    target.cast(Msg::Note(50)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(50));
}

// T-1
#[tokio::test(start_paused = true)]
async fn a_timer_ends_with_its_run() {
    let (target, _events) = puppet(&engine(), 4).await;
    let held = Arc::new(());
    let token = held.clone();
    target
        .cast(Msg::act(move |_, ctx| {
            ctx.every(PERIOD, move || {
                let _held = &token;
                Msg::Note(1)
            });
            Ok(())
        }))
        .unwrap();
    let mut downs = down(&target);
    target.stop();
    next(&mut downs).await;
    assert_eq!(Arc::strong_count(&held), 1);
}

// T-3
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_timer_callback_ends_the_run() {
    let (target, _events) = puppet(&engine(), 4).await;
    let mut downs = down(&target);
    target
        .cast(Msg::act(|_, ctx| {
            ctx.every(PERIOD, || panic!("bad tick"));
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut downs).await.exit, Exit::Panicked("bad tick".into()));
}

#[tokio::test(start_paused = true)]
async fn periods_of_any_length_are_allowed() {
    let (target, mut events) = puppet(&engine(), 4).await;
    let never = Arc::new(Mutex::new(0));
    let count = never.clone();
    target
        .cast(Msg::act(move |_, ctx| {
            ctx.every(Duration::MAX, move || {
                *count.lock().unwrap() += 1;
                Msg::Note(9)
            });
            ctx.every(Duration::ZERO, || Msg::Note(1));
            Ok(())
        }))
        .unwrap();
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(next(&mut events).await, Event::Note(1));
    }
    assert!(begun.elapsed() >= Duration::from_millis(2));
    assert_eq!(*never.lock().unwrap(), 0);
}
