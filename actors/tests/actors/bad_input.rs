//! What is out of the ordinary has a defined outcome. The rest of the list stands with its subject:
//! taken names in `names`, messages to oneself while starting in `verbs`, panics in `stop` and
//! `Drop` and engines that have stopped in `exits`, timer callbacks in `timers`, handlers that
//! never yield in `threads`.

use mobula_actors::{Actor, Context, Fault, Reply, Why};

use crate::puppet::{Event, Msg, busy, engine, next, puppet, soon};

#[tokio::test]
async fn a_mailbox_of_none_holds_one() {
    let (target, mut events) = puppet(&engine(), 0).await;
    let over = busy(&target).await;
    target.cast(Msg::Note(1)).unwrap();
    assert_eq!(target.cast(Msg::Note(2)).unwrap_err().why, Why::Full);
    drop(over);
    assert_eq!(next(&mut events).await, Event::Note(1));
}

#[tokio::test]
async fn a_message_of_a_gigabyte_is_moved_and_not_copied() {
    struct Keeper;
    impl Actor for Keeper {
        type Args = ();
        type Msg = (Vec<u8>, Reply<usize>);
        async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
            Ok(Self)
        }
        async fn handle(&mut self, msg: Self::Msg, _: &mut Context<Self>) -> Result<(), Fault> {
            msg.1.send(msg.0.as_ptr() as usize);
            Ok(())
        }
    }
    let keeper = engine().spawn(Keeper::spec(())).await.unwrap();
    // Zeroed memory that nobody touches costs address space only.
    let much = vec![0; 1 << 30];
    let place = much.as_ptr() as usize;
    assert_eq!(soon(keeper.call(|reply| (much, reply))).await, Ok(place));
}
