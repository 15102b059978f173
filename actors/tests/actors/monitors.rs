//! Watching a run.

use mobula_actors::id::Epoch;
use mobula_actors::{Down, Exit};

use crate::puppet::{Event, Msg, busy, down, engine, next, puppet, soon};

fn watch(target: mobula_actors::ActorRef<Msg>) -> Msg {
    Msg::act(move |puppet, ctx| {
        ctx.monitor(&target, Msg::Down);
        puppet.report(Event::Note(0));
        Ok(())
    })
}

#[tokio::test]
async fn a_monitor_gives_one_message_when_its_target_ends() {
    let engine = engine();
    let (target, _target_events) = puppet(&engine, 4).await;
    let (watcher, mut events) = puppet(&engine, 4).await;
    watcher.cast(watch(target.clone())).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(0));
    target.kill();
    let down = Down { actor: target.id(), epoch: Epoch(1), exit: Exit::Killed, restarting: false };
    assert_eq!(next(&mut events).await, Event::Down(down));
    target.kill();
    target.stop();
    watcher.cast(Msg::Note(1)).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(1));
}

#[tokio::test]
async fn a_monitor_of_an_actor_that_has_ended_answers_at_once() {
    let engine = engine();
    let (target, _target_events) = puppet(&engine, 4).await;
    let mut downs = down(&target);
    target.stop();
    next(&mut downs).await;
    let (watcher, mut events) = puppet(&engine, 4).await;
    watcher.cast(watch(target.clone())).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(0));
    let down = Down { actor: target.id(), epoch: Epoch(1), exit: Exit::NoProc, restarting: false };
    assert_eq!(next(&mut events).await, Event::Down(down));
    assert_eq!(soon(self::down(&target).recv()).await.unwrap().exit, Exit::NoProc);
}

// K-1
#[tokio::test]
async fn the_end_of_a_target_overtakes_a_full_mailbox() {
    let engine = engine();
    let (target, _target_events) = puppet(&engine, 4).await;
    let (watcher, mut events) = puppet(&engine, 2).await;
    watcher.cast(watch(target.clone())).unwrap();
    assert_eq!(next(&mut events).await, Event::Note(0));
    let over = busy(&watcher).await;
    watcher.cast(Msg::Note(1)).unwrap();
    watcher.cast(Msg::Note(2)).unwrap();
    let mut downs = down(&target);
    target.kill();
    next(&mut downs).await;
    drop(over);
    assert!(matches!(next(&mut events).await, Event::Down(_)));
    assert_eq!(next(&mut events).await, Event::Note(1));
}

// K-6
#[tokio::test]
async fn a_notice_that_panics_ends_its_watcher_and_not_its_target() {
    let engine = engine();
    let (target, _target_events) = puppet(&engine, 4).await;
    let (watcher, mut events) = puppet(&engine, 4).await;
    let mut ends = down(&watcher);
    let watched = target.clone();
    watcher
        .cast(Msg::act(move |puppet, ctx| {
            ctx.monitor(&watched, |_| panic!("bad notice"));
            puppet.report(Event::Note(0));
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut events).await, Event::Note(0));
    let mut target_ends = down(&target);
    target.stop();
    assert_eq!(next(&mut target_ends).await.exit, Exit::Shutdown);
    assert_eq!(next(&mut ends).await.exit, Exit::Panicked("bad notice".into()));
}

// K-6
#[tokio::test]
async fn a_callback_that_panics_keeps_no_other_from_hearing() {
    let (target, _events) = puppet(&engine(), 4).await;
    target.on_down(Box::new(|_| panic!("bad callback")));
    let mut downs = down(&target);
    target.stop();
    assert_eq!(next(&mut downs).await.exit, Exit::Shutdown);
}

#[tokio::test]
async fn monitors_of_watchers_that_have_gone_are_forgotten() {
    let engine = engine();
    let (target, _target_events) = puppet(&engine, 4).await;
    let token = std::sync::Arc::new(());
    for _ in 0..100 {
        let (watcher, mut events) = puppet(&engine, 4).await;
        let (watched, held) = (target.clone(), token.clone());
        watcher
            .cast(Msg::act(move |puppet, ctx| {
                ctx.monitor(&watched, move |down| {
                    drop(held);
                    Msg::Down(down)
                });
                puppet.report(Event::Note(0));
                Ok(())
            }))
            .unwrap();
        assert_eq!(next(&mut events).await, Event::Note(0));
        let mut ends = down(&watcher);
        watcher.stop();
        next(&mut ends).await;
    }
    let kept = std::sync::Arc::strong_count(&token) - 1;
    assert!(kept <= 8, "{kept} monitors are kept for watchers that have gone");
}
