//! A guest's mailbox is bounded, and a guest that does not yield costs nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mobula_actors::{CallError, Engine, Exit, Lost, Why};
use tokio::runtime::Handle;

use super::subject::{Event, Message, Msg, busy, inside, subject};
use crate::puppet::{down, engine, next, soon, stuck_for};

// GU-1
#[tokio::test]
async fn a_guest_that_is_busy_takes_what_its_mailbox_holds_and_no_more() {
    let (guest, mut events) = subject(&engine(), 2).await;
    let over = busy(&guest).await;
    guest.cast(Msg::Note(1)).unwrap();
    guest.cast(Msg::Note(2)).unwrap();
    let refused = guest.cast(Msg::Note(3)).unwrap_err();
    assert_eq!(refused.why, Why::Full);
    assert!(matches!(refused.message, Msg::Note(3)));
    let sent = tokio::spawn({
        let guest = guest.clone();
        async move { guest.send(Msg::Note(4)).await }
    });
    drop(over);
    soon(sent).await.unwrap().unwrap();
    for number in [1, 2, 4] {
        assert_eq!(next(&mut events).await, Event::Note(number));
    }
}

// GU-1: what comes by ractor's own ways opens the door for nobody.
#[tokio::test]
async fn messages_inside_ractor_do_not_make_room_for_others() {
    let (guest, mut events) = subject(&engine(), 2).await;
    let me = inside(&guest).await;
    // Many are handled before any comes by the mailbox.
    for number in 0..100 {
        me.send_message(Message::Note(number)).unwrap();
        assert_eq!(next(&mut events).await, Event::Note(number));
    }
    let over = busy(&guest).await;
    let mut taken = 0;
    while guest.cast(Msg::Note(1_000 + taken)).is_ok() {
        taken += 1;
        // What can be moved on is.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(taken, 2);
    drop(over);
    for number in 0..taken {
        assert_eq!(next(&mut events).await, Event::Note(1_000 + number));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_expire_in_the_mailbox_of_a_guest_are_not_run() {
    let (guest, mut events) = subject(&engine(), 4).await;
    let over = busy(&guest).await;
    let call = guest.call(|reply| Msg::NoteAsk(1, reply)).within(Duration::from_millis(20));
    assert_eq!(call.await, Err(CallError::Unknown(Lost::Deadline)));
    tokio::time::advance(Duration::from_millis(10)).await;
    drop(over);
    assert_eq!(guest.call(|reply| Msg::NoteAsk(2, reply)).await, Ok(2));
    assert_eq!(next(&mut events).await, Event::Note(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_yield_is_reported_and_stalls_nobody_and_ends_when_it_yields() {
    let engine = Engine::new(1, Handle::current());
    let limit = Duration::from_millis(20);
    let mut reports = stuck_for(&engine, limit);
    let (guest, mut events) = subject(&engine, 4).await;
    let (other, _other_events) = subject(&engine, 4).await;
    let release = Arc::new(AtomicBool::new(false));
    let released = release.clone();
    let spin = move |_: &_| {
        while !released.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    guest.cast(Msg::As(Message::act(spin))).unwrap();
    assert_eq!(next(&mut reports).await.actor, guest.id());
    assert_eq!(soon(other.call(Msg::Ask)).await, Ok(0));
    let mut downs = down(&guest);
    guest.kill();
    assert_eq!(soon(other.call(Msg::Ask)).await, Ok(0));
    // Its state lives, so its end is not told.
    assert!(downs.try_recv().is_err() && events.try_recv().is_err());
    release.store(true, Ordering::Release);
    assert_eq!(next(&mut downs).await.exit, Exit::Killed);
    assert_eq!(events.try_recv(), Ok(Event::Dropped));
}
