//! What a guest has spawned in ractor ends with it.

use mobula_actors::Exit;
use tokio::sync::mpsc;

use super::subject::{Me, Message, Msg, child, inside, subject};
use crate::puppet::{down, engine, next};

// GU-3
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_children_of_a_guest_and_theirs_are_gone_before_its_end_is_told() {
    type End = fn(&mobula_actors::ActorRef<Msg>, &Me);
    let cases: [(End, Exit); 5] = [
        (|guest, _| guest.stop(), Exit::Shutdown),
        (|guest, _| guest.kill(), Exit::Killed),
        (|_, me| me.stop(None), Exit::Normal),
        (
            |guest, _| guest.cast(Msg::As(Message::act(|_| panic!("boom")))).unwrap(),
            Exit::Panicked("boom".into()),
        ),
        (
            |guest, _| guest.cast(Msg::As(Message::act(|_| Err("no".into())))).unwrap(),
            Exit::Failed(mobula_actors::Fault::new("no")),
        ),
    ];
    for (end, exit) in cases {
        let (guest, _events) = subject(&engine(), 4).await;
        let me = inside(&guest).await;
        let (told, mut gone) = mpsc::unbounded_channel();
        let first = child(&me, &told, "child").await;
        child(&first, &told, "grandchild").await;
        child(&me, &told, "sibling").await;
        let mut downs = down(&guest);
        end(&guest, &me);
        assert_eq!(next(&mut downs).await.exit, exit);
        let mut dead = Vec::new();
        while let Ok(name) = gone.try_recv() {
            dead.push(name);
        }
        dead.sort_unstable();
        assert_eq!(dead, ["child", "grandchild", "sibling"], "{exit}");
    }
}

#[tokio::test]
async fn the_children_of_a_guest_that_ractor_kills_end_too() {
    let (guest, _events) = subject(&engine(), 4).await;
    let me = inside(&guest).await;
    let (told, mut gone) = mpsc::unbounded_channel();
    child(&me, &told, "child").await;
    let mut downs = down(&guest);
    me.kill();
    assert_eq!(next(&mut downs).await.exit, Exit::Killed);
    assert_eq!(next(&mut gone).await, "child");
}

#[tokio::test]
async fn a_guest_hears_of_its_children_and_lives_on() {
    let (guest, _events) = subject(&engine(), 4).await;
    let me = inside(&guest).await;
    let (told, mut gone) = mpsc::unbounded_channel();
    child(&me, &told, "child").await.stop(None);
    assert_eq!(next(&mut gone).await, "child");
    assert_eq!(guest.call(Msg::Ask).await, Ok(0));
}
