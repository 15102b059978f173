//! How guests end: as the table in the module says, each with one notice, after its state is gone.

use std::sync::Arc;

use mobula_actors::{ActorRef, CallError, Exit, Fault, Why};

use super::subject::{Event, Events, Me, Message, Msg, Subject, busy, inside, subject};
use crate::puppet::{Event as PuppetEvent, Msg as PuppetMsg, down, engine, next, puppet, soon};

/// Ends a guest by `deed`, and checks the notice and what came before it. Says whether `post_stop`
/// ran.
async fn ends(
    guest: &ActorRef<Msg>,
    events: &mut Events,
    deed: impl AsyncFnOnce(),
    exit: Exit,
) -> bool {
    let mut downs = down(guest);
    deed().await;
    let notice = next(&mut downs).await;
    assert_eq!(notice.exit, exit);
    assert_eq!((notice.actor, notice.restarting), (guest.id(), false));
    // GU-2: the state was gone, once, before the notice.
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    assert_eq!(seen.pop(), Some(Event::Dropped), "the state outlived the notice");
    assert!(!seen.contains(&Event::Dropped));
    assert_eq!(soon(downs.recv()).await, None);
    // A dead guest refuses.
    assert_eq!(guest.cast(Msg::Note(1)).unwrap_err().why, Why::Stopped);
    assert_eq!(guest.call(Msg::Ask).await, Err(CallError::Rejected(Why::Stopped)));
    seen.contains(&Event::PostStop)
}

type Deed = fn(&Me);

// GU-2
#[tokio::test]
async fn a_guest_that_ractor_ends_ends_as_ractor_says() {
    let with = |reason: &str| Exit::ShutdownWith(reason.into());
    let cases: [(Deed, Exit, bool); 6] = [
        (|me| me.stop(None), Exit::Normal, true),
        (|me| me.stop(Some("moved".into())), with("moved"), true),
        // Which is what ractor says of a kill, and is none.
        (|me| me.stop(Some("killed".into())), with("killed"), true),
        (|me| me.drain().unwrap(), with("Drained"), true),
        (|me| me.kill(), Exit::Killed, false),
        // The one who would tell of the end.
        (|me| me.try_get_supervisor().unwrap().kill(), Exit::Killed, false),
    ];
    for (deed, exit, orderly) in cases {
        // From within a handler.
        let (guest, mut events) = subject(&engine(), 4).await;
        let told = async || guest.cast(does(deed)).unwrap();
        assert_eq!(ends(&guest, &mut events, told, exit.clone()).await, orderly, "{exit}");
        // By others, while no handler runs.
        let (guest, mut events) = subject(&engine(), 4).await;
        let me = inside(&guest).await;
        let told = async || deed(&me);
        assert_eq!(ends(&guest, &mut events, told, exit.clone()).await, orderly, "{exit}");
    }
}

fn does(deed: Deed) -> Msg {
    Msg::As(Message::act(move |me| {
        deed(me);
        Ok(())
    }))
}

// GU-2
#[tokio::test]
async fn a_guest_that_panics_ends_by_a_panic_and_one_that_errs_by_a_fault() {
    let (guest, mut events) = subject(&engine(), 4).await;
    let told = async || guest.cast(does(|_| panic!("boom"))).unwrap();
    assert!(!ends(&guest, &mut events, told, Exit::Panicked("boom".into())).await);
    let (guest, mut events) = subject(&engine(), 4).await;
    let told = async || guest.cast(Msg::As(Message::act(|_| Err("no disk".into())))).unwrap();
    assert!(!ends(&guest, &mut events, told, Exit::Failed(Fault::new("no disk"))).await);
}

// GU-2
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_is_told_after_a_state_that_is_slow_to_drop() {
    let ends_by: [(Deed, Exit); 3] = [
        (|_| panic!("boom"), Exit::Panicked("boom".into())),
        (|me| me.stop(None), Exit::Normal),
        (|me| me.kill(), Exit::Killed),
    ];
    for (deed, exit) in ends_by {
        let (mut slow, mut events) = Subject::new();
        slow.is_slow_to_drop = true;
        let guest = engine().spawn(slow.spec()).await.unwrap();
        let told = async || guest.cast(does(deed)).unwrap();
        ends(&guest, &mut events, told, exit).await;
    }
}

#[tokio::test]
async fn the_causes_of_an_error_are_told() {
    let (guest, mut events) = subject(&engine(), 4).await;
    let error = || Err(std::io::Error::other(std::io::Error::other("disk on fire")).into());
    let told = async || guest.cast(Msg::As(Message::act(move |_| error()))).unwrap();
    let exit =
        Exit::Failed(Fault::from(std::io::Error::other(std::io::Error::other("disk on fire"))));
    ends(&guest, &mut events, told, exit).await;
}

#[tokio::test]
async fn a_stop_from_outside_runs_post_stop_after_the_message_in_hand() {
    let (guest, mut events) = subject(&engine(), 4).await;
    let over = busy(&guest).await;
    guest.cast(Msg::Note(1)).unwrap();
    let stopped = async || {
        guest.stop();
        drop(over);
    };
    assert!(ends(&guest, &mut events, stopped, Exit::Shutdown).await);
}

#[tokio::test]
async fn a_kill_from_outside_ends_a_guest_where_it_waits_without_post_stop() {
    let (guest, mut events) = subject(&engine(), 4).await;
    let _never_over = busy(&guest).await;
    assert!(!ends(&guest, &mut events, async || guest.kill(), Exit::Killed).await);
    let (guest, mut events) = subject(&engine(), 4).await;
    assert!(!ends(&guest, &mut events, async || guest.kill(), Exit::Killed).await);
}

// GU-2: the failure of `post_stop` is the run's, whoever asked for the end.
#[tokio::test]
async fn a_post_stop_that_fails_ends_the_run_so() {
    for from_outside in [true, false] {
        let (mut failing, mut events) = Subject::new();
        failing.post_stop = Arc::new(|_| Err("no disk".into()));
        let guest = engine().spawn(failing.spec()).await.unwrap();
        let exit = Exit::Failed(Fault::new("no disk"));
        assert!(ends(&guest, &mut events, stop_by(&guest, from_outside), exit).await);

        let (mut failing, mut events) = Subject::new();
        failing.post_stop = Arc::new(|_| panic!("boom"));
        let guest = engine().spawn(failing.spec()).await.unwrap();
        let exit = Exit::Panicked("boom".into());
        assert!(ends(&guest, &mut events, stop_by(&guest, from_outside), exit).await);
    }
}

fn stop_by(guest: &ActorRef<Msg>, from_outside: bool) -> impl AsyncFnOnce() {
    let guest = guest.clone();
    async move || match from_outside {
        true => guest.stop(),
        false => inside(&guest).await.stop(None),
    }
}

#[tokio::test]
async fn a_panic_in_the_drop_of_the_state_ends_the_run_unless_it_had_another_cause() {
    let (mut failing, mut events) = Subject::new();
    failing.panics_in_drop = true;
    let guest = engine().spawn(failing.clone().spec()).await.unwrap();
    let exit = Exit::Panicked("panic in drop".into());
    ends(&guest, &mut events, async || guest.stop(), exit).await;

    let (mut failing, mut events) = Subject::new();
    failing.panics_in_drop = true;
    let guest = engine().spawn(failing.spec()).await.unwrap();
    let told = async || guest.cast(does(|_| panic!("cause"))).unwrap();
    ends(&guest, &mut events, told, Exit::Panicked("cause".into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_post_start_ends_the_run() {
    let (mut failing, mut events) = Subject::new();
    let (watched, is_watched) = std::sync::mpsc::channel::<()>();
    let is_watched = std::sync::Mutex::new(is_watched);
    failing.post_start = Arc::new(move |_| {
        is_watched.lock().unwrap().recv()?;
        panic!("boom")
    });
    let guest = engine().spawn(failing.spec()).await.unwrap();
    let go = async || watched.send(()).unwrap();
    ends(&guest, &mut events, go, Exit::Panicked("boom".into())).await;
}

#[tokio::test]
async fn an_error_about_a_child_ends_the_run() {
    let (mut failing, mut events) = Subject::new();
    failing.on_event = Arc::new(|_| Err("a child".into()));
    let guest = engine().spawn(failing.spec()).await.unwrap();
    let me = inside(&guest).await;
    let (told, _told) = tokio::sync::mpsc::unbounded_channel();
    let born = async || drop(super::subject::child(&me, &told, "child").await);
    ends(&guest, &mut events, born, Exit::Failed(Fault::new("a child"))).await;
}

// GU-2: ractor tells the end to somebody else then.
#[tokio::test]
async fn the_end_of_a_guest_that_was_linked_to_another_supervisor_is_told_all_the_same() {
    let engine = engine();
    let (other, _other_events) = subject(&engine, 4).await;
    let other = inside(&other).await.get_cell();
    let (guest, mut events) = subject(&engine, 4).await;
    let me = inside(&guest).await;
    me.link(other.clone());
    ends(&guest, &mut events, async || me.stop(None), Exit::Normal).await;

    let (guest, mut events) = subject(&engine, 4).await;
    inside(&guest).await.link(other);
    let told = async || guest.cast(does(|me| me.kill())).unwrap();
    ends(&guest, &mut events, told, Exit::Killed).await;
}

#[tokio::test]
async fn a_guest_is_monitored_and_linked_like_any_other_actor() {
    let engine = engine();
    let (watcher, mut seen) = puppet(&engine, 4).await;
    let (partner, mut partners) = puppet(&engine, 4).await;
    let (guest, _events) = subject(&engine, 4).await;
    let (watched, linked) = (guest.clone(), guest.clone());
    let watch = PuppetMsg::act(move |_, ctx| {
        ctx.monitor(&watched, PuppetMsg::Down);
        Ok(())
    });
    let link = PuppetMsg::act(move |_, ctx| {
        ctx.link(&linked);
        Ok(())
    });
    watcher.cast(watch).unwrap();
    partner.cast(link).unwrap();
    soon(watcher.call(PuppetMsg::Ask)).await.unwrap();
    soon(partner.call(PuppetMsg::Ask)).await.unwrap();
    let mut ended = down(&partner);
    guest.cast(does(|_| panic!("boom"))).unwrap();
    let exit = Exit::Panicked("boom".into());
    let PuppetEvent::Down(notice) = next(&mut seen).await else { panic!("no notice") };
    assert_eq!((notice.actor, &notice.exit), (guest.id(), &exit));
    assert_eq!(next(&mut ended).await.exit, exit);
    assert_eq!(next(&mut partners).await, PuppetEvent::Dropped);
}

// GU-4
#[tokio::test]
async fn guests_have_names_of_their_node_and_none_in_ractor() {
    let engine = engine();
    let (guest, _events) = subject(&engine, 4).await;
    engine.register("subject", &guest).unwrap();
    let named: ActorRef<Msg> = engine.lookup("subject").unwrap();
    assert_eq!(named.call(Msg::Ask).await, Ok(0));
    assert_eq!(inside(&guest).await.get_name(), None);
    assert_eq!(mobula_actors::guest::ractor::registry::registered(), Vec::<String>::new());
    let mut ended = down(&guest);
    guest.stop();
    next(&mut ended).await;
    assert!(engine.lookup::<Msg>("subject").is_err());
}
