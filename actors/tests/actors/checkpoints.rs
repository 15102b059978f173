//! State that outlives its run.

use std::time::Duration;

use bytes::Bytes;
use mobula_actors::id::Epoch;
use mobula_actors::limits::{CHECKPOINT_INTERVAL, CHECKPOINT_MESSAGES};
use mobula_actors::spawner::{Notice, Spawner};
use mobula_actors::{Exit, Fault, SpawnError};

use crate::puppet::{Event, Msg, Script, next};
use crate::runs::Nursery;

fn sum_in_postcard(sum: u32) -> Option<Result<Bytes, Fault>> {
    Some(postcard::to_allocvec(&sum).map(Bytes::from).map_err(Fault::from))
}

async fn keeper(checkpoint: fn(u32) -> Option<Result<Bytes, Fault>>) -> Nursery {
    let (mut script, events) = Script::new();
    script.checkpoint = checkpoint;
    Nursery::new(script, events).await
}

type Stored = Box<dyn FnOnce() + Send>;

async fn checkpoint(nursery: &mut Nursery) -> (Epoch, u64, Bytes, Stored) {
    match next(&mut nursery.notices).await {
        Notice::Checkpoint { actor, epoch, sequence, state, stored } => {
            assert_eq!(actor, nursery.target.id());
            (epoch, sequence, state, stored)
        }
        other => panic!("{other:?} instead of a checkpoint"),
    }
}

fn save() -> Msg {
    Msg::act(|puppet, ctx| {
        ctx.on_checkpoint_stored(Msg::Stored);
        let sequence = ctx.checkpoint_now();
        puppet.report(Event::Note(u32::try_from(sequence).unwrap()));
        Ok(())
    })
}

#[tokio::test]
async fn a_checkpoint_is_asked_for_after_a_thousand_messages() {
    let mut nursery = keeper(sum_in_postcard).await;
    for _ in 1..CHECKPOINT_MESSAGES {
        nursery.target.send(Msg::Note(1)).await.unwrap();
    }
    nursery.target.call(Msg::Ask).await.unwrap();
    let (epoch, sequence, state, _) = checkpoint(&mut nursery).await;
    assert_eq!((epoch, sequence), (Epoch(1), 1));
    assert_eq!(postcard::from_bytes::<u32>(&state).unwrap(), CHECKPOINT_MESSAGES - 1);
}

#[tokio::test]
async fn an_actor_may_ask_for_a_checkpoint_and_hears_when_it_is_safe() {
    let mut nursery = keeper(sum_in_postcard).await;
    nursery.target.cast(Msg::Note(7)).unwrap();
    nursery.target.cast(save()).unwrap();
    let (_, sequence, state, stored) = checkpoint(&mut nursery).await;
    assert_eq!((sequence, postcard::from_bytes::<u32>(&state).unwrap()), (1, 7));
    nursery.target.cast(Msg::Note(8)).unwrap();
    for event in [Event::Note(7), Event::Note(1), Event::Note(8)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
    stored();
    assert_eq!(next(&mut nursery.events).await, Event::Stored(1));
}

#[tokio::test]
async fn a_checkpoint_may_be_asked_for_while_the_actor_starts() {
    let (mut script, events) = Script::new();
    script.checkpoint = sum_in_postcard;
    let script = script.opening(|ctx| {
        ctx.checkpoint_now();
        Ok(())
    });
    let mut nursery = Nursery::new(script, events).await;
    let (_, sequence, state, _) = checkpoint(&mut nursery).await;
    assert_eq!((sequence, postcard::from_bytes::<u32>(&state).unwrap()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_asked_for_ten_seconds_after_a_message() {
    let mut nursery = keeper(sum_in_postcard).await;
    for sum in [3, 6] {
        let begun = tokio::time::Instant::now();
        nursery.target.cast(Msg::Note(3)).unwrap();
        // No message comes for a while, and time passes by itself while nothing else happens.
        let heard = tokio::time::timeout(Duration::from_secs(60), nursery.notices.recv()).await;
        let Some(Notice::Checkpoint { state, .. }) = heard.unwrap() else {
            panic!("no checkpoint")
        };
        assert_eq!(postcard::from_bytes::<u32>(&state).unwrap(), sum);
        assert!(begun.elapsed() >= CHECKPOINT_INTERVAL);
    }
    // Nothing has happened since: nothing is asked for.
    let idle = tokio::time::timeout(Duration::from_secs(60), nursery.notices.recv()).await;
    assert!(idle.is_err(), "{idle:?}");
}

#[tokio::test]
async fn the_next_run_starts_from_the_state_it_is_given() {
    let mut nursery = keeper(sum_in_postcard).await;
    nursery.target.cast(Msg::Note(7)).unwrap();
    nursery.target.cast(save()).unwrap();
    let (_, _, state, _) = checkpoint(&mut nursery).await;
    nursery.child.kill();
    nursery.ended().await;
    nursery.request.order.checkpoint = Some(state);
    nursery.start_again().await;
    for event in [Event::Note(7), Event::Note(1), Event::Dropped] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
    assert_eq!(next(&mut nursery.events).await, Event::Started(Epoch(2), Some(7)));
    assert_eq!(nursery.target.call(Msg::Ask).await, Ok(7));
}

#[tokio::test]
async fn a_state_of_another_type_fails_the_start() {
    let mut nursery = keeper(sum_in_postcard).await;
    for bytes in [&b"\xff\xff"[..], b"\x07\x07"] {
        nursery.child.kill();
        if nursery.request.order.epoch == Epoch(1) {
            nursery.ended().await;
        }
        nursery.request.order.checkpoint = Some(Bytes::copy_from_slice(bytes));
        let request = nursery.again();
        let refused = nursery.engine.start(request).await.unwrap_err();
        assert!(matches!(refused, SpawnError::Start(Exit::InitFailed(_))), "{refused}");
    }
}

// K-5
#[tokio::test]
async fn news_of_a_checkpoint_of_the_last_run_does_not_reach_the_next() {
    let mut nursery = keeper(sum_in_postcard).await;
    nursery.target.cast(save()).unwrap();
    let (_, _, _, stored) = checkpoint(&mut nursery).await;
    nursery.child.kill();
    nursery.ended().await;
    nursery.start_again().await;
    nursery
        .target
        .cast(Msg::act(|puppet, ctx| {
            ctx.on_checkpoint_stored(Msg::Stored);
            puppet.report(Event::Note(20));
            Ok(())
        }))
        .unwrap();
    for event in [Event::Note(1), Event::Dropped, Event::Started(Epoch(2), None), Event::Note(20)] {
        assert_eq!(next(&mut nursery.events).await, event);
    }
    stored();
    nursery.target.cast(Msg::Note(2)).unwrap();
    assert_eq!(next(&mut nursery.events).await, Event::Note(2));
}

//
#[tokio::test]
async fn a_panic_in_a_checkpoint_ends_the_run() {
    let mut nursery = keeper(|_| panic!("no bytes")).await;
    nursery.target.cast(save()).unwrap();
    assert_eq!(nursery.ended().await, (Epoch(1), Exit::Panicked("no bytes".into())));
}

#[tokio::test]
async fn a_checkpoint_that_fails_is_skipped() {
    let mut nursery = keeper(|_| Some(Err(Fault::new("not now")))).await;
    nursery.target.cast(save()).unwrap();
    nursery.target.cast(Msg::Note(5)).unwrap();
    assert_eq!(next(&mut nursery.events).await, Event::Note(1));
    assert_eq!(next(&mut nursery.events).await, Event::Note(5));
    nursery.child.stop(Exit::Shutdown);
    assert_eq!(nursery.ended().await, (Epoch(1), Exit::Shutdown));
}
