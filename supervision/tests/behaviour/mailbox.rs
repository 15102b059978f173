//! What becomes of the messages that wait for a restart.

use mobula_actors::{CallError, Lost, OnRestart, Why};
use mobula_supervision::Event;

use crate::probe::{Begin, Bench, ProbeMsg, child, secs};

// deviation e
#[tokio::test(start_paused = true)]
async fn a_dropped_mailbox_rejects_its_calls_and_counts_its_messages() {
    let mut bench = Bench::new();
    let begin = |epoch| if epoch == 1 { Begin::Up } else { Begin::Slow(secs(1)) };
    let probe = bench.beginning("a", begin).on_restart(OnRestart::Drop);
    let spec = bench.spec().child("a", probe);
    let tree = bench.supervise(spec).await.unwrap();
    let a = child(&tree, "a");
    a.cast(ProbeMsg::Panic).unwrap();
    a.cast(ProbeMsg::Add(1)).unwrap();
    a.cast(ProbeMsg::Add(2)).unwrap();
    let call = a.call(ProbeMsg::Get).await;
    assert_eq!(call, Err(CallError::Rejected(Why::Restarted)));
    let dropped = |event: &Event| match event {
        Event::Dropped { id, epoch, messages } => Some((id.clone(), epoch.0, *messages)),
        _ => None,
    };
    assert_eq!(bench.event(dropped).await, ("a".into(), 2, 3));
    // What comes afterwards is the new run's, also while it starts.
    assert_eq!(a.call(ProbeMsg::Get).await.unwrap(), (2, 0));
    tree.stop(secs(60)).await;
}

// deviation e
#[tokio::test(start_paused = true)]
async fn a_call_in_hand_at_the_fault_is_unknown_and_those_behind_it_are_kept() {
    let bench = Bench::new();
    let tree = bench.supervise(bench.spec().child("a", bench.probe("a"))).await.unwrap();
    let a = child(&tree, "a");
    let (fatal, behind) = tokio::join!(a.call(ProbeMsg::Fatal), a.call(ProbeMsg::Get));
    assert_eq!(fatal, Err(CallError::Unknown(Lost::Dropped)));
    assert_eq!(behind.unwrap().0, 2);
    tree.stop(secs(60)).await;
}
