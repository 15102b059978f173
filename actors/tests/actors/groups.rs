//! Groups of actors.

use std::collections::HashSet;

use mobula_actors::limits::GROUP_MEMBERS_MAX;
use mobula_actors::{
    ActorRef, ByKey, CallError, Engine, Exit, Group, GroupChange, GroupError, LeastLoaded, Lost,
    NameError, RoundRobin, Why,
};
use tokio::sync::mpsc;

use crate::puppet::{Event, Events, Msg, busy, down, engine, next, puppet, soon};

/// A group and its members, with what they report.
async fn group(engine: &Engine, members: usize) -> (Group<Msg>, Vec<(ActorRef<Msg>, Events)>) {
    let group = engine.group("pool").unwrap();
    let mut all = Vec::new();
    for _ in 0..members {
        let (member, events) = puppet(engine, 8).await;
        group.join(&member).unwrap();
        all.push((member, events));
    }
    (group, all)
}

fn references(members: &[(ActorRef<Msg>, Events)]) -> Vec<ActorRef<Msg>> {
    members.iter().map(|(member, _)| member.clone()).collect()
}

// PG-1
#[tokio::test]
async fn a_member_leaves_when_its_run_ends() {
    let engine = engine();
    let (group, members) = group(&engine, 3).await;
    assert_eq!(group.members(), references(&members));
    let mut ends = down(&members[1].0);
    members[1].0.kill();
    next(&mut ends).await;
    assert_eq!(group.members(), [members[0].0.clone(), members[2].0.clone()]);
    assert_eq!(group.join(&members[1].0), Err(GroupError::Ended));
    assert_eq!(group.members().len(), 2);
}

#[tokio::test]
async fn to_join_twice_or_leave_twice_changes_nothing() {
    let engine = engine();
    let (group, members) = group(&engine, 2).await;
    group.join(&members[0].0).unwrap();
    assert_eq!(group.members(), references(&members));
    group.leave(&members[0].0);
    group.leave(&members[0].0);
    assert_eq!(group.members(), [members[1].0.clone()]);
    group.join(&members[0].0).unwrap();
    assert_eq!(group.members(), [members[1].0.clone(), members[0].0.clone()]);
}

#[tokio::test]
async fn a_group_is_found_by_name_and_protocol() {
    let engine = engine();
    let (group, members) = group(&engine, 1).await;
    drop(group);
    assert_eq!(engine.group::<Msg>("pool").unwrap().members(), references(&members));
    assert!(matches!(engine.group::<u32>("pool"), Err(NameError::OtherProtocol(_))));
    let mut ends = down(&members[0].0);
    members[0].0.stop();
    next(&mut ends).await;
    // Nobody is in it and nobody holds it: the name is free.
    assert!(engine.group::<u32>("pool").unwrap().members().is_empty());
}

#[tokio::test]
async fn the_address_of_a_group_is_an_address_for_every_verb() {
    let engine = engine();
    let (group, mut members) = group(&engine, 3).await;
    let pool = group.balance(RoundRobin);
    for number in 0..3 {
        pool.cast(Msg::Note(number)).unwrap();
    }
    for number in 3..6 {
        pool.send(Msg::Note(number)).await.unwrap();
    }
    for (place, (_, events)) in members.iter_mut().enumerate() {
        assert_eq!(next(events).await, Event::Note(place as u32));
        assert_eq!(next(events).await, Event::Note(place as u32 + 3));
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(soon(pool.call(Msg::Ask)).await.unwrap());
    }
    assert_eq!(answers, [3, 5, 7]);
}

#[tokio::test]
async fn the_least_loaded_member_gets_the_message() {
    let engine = engine();
    let (group, members) = group(&engine, 3).await;
    let mut over = Vec::new();
    for (member, _) in &members {
        over.push(busy(member).await);
    }
    for member in [0, 0, 1, 2, 2] {
        members[member].0.cast(Msg::Note(member as u32)).unwrap();
    }
    let pool = group.balance(LeastLoaded);
    // Backlogs 2, 1, 2; then 2, 2, 2 and each gets one more; all are full with 8.
    pool.cast(Msg::Note(10)).unwrap();
    for _ in 0..18 {
        pool.cast(Msg::Note(11)).unwrap();
    }
    let refused = pool.cast(Msg::Note(12)).unwrap_err();
    assert_eq!(refused.why, Why::Full);
    drop(over);
    let mut sums = Vec::new();
    for (member, _) in &members {
        sums.push(soon(member.call(Msg::Ask)).await.unwrap());
    }
    assert_eq!(sums, [66, 1 + 10 + 66, 4 + 66]);
}

fn key(message: &Msg) -> u64 {
    match message {
        Msg::Note(number) => u64::from(*number),
        _ => 0,
    }
}

#[tokio::test]
async fn a_key_keeps_its_member_when_others_leave() {
    let engine = engine();
    let (group, mut members) = group(&engine, 4).await;
    let pool = group.balance(ByKey(key));
    let mut of = vec![HashSet::new(); 4];
    for round in 0..2 {
        for number in 1_000..1_100 {
            pool.send(Msg::Note(number)).await.unwrap();
        }
        for (place, (member, events)) in members.iter_mut().enumerate() {
            soon(member.call(Msg::Ask)).await.unwrap();
            while let Ok(Event::Note(number)) = events.try_recv() {
                let is_new = of[place].insert(number);
                assert_eq!(is_new, round == 0 || of[3].contains(&number), "{number}");
            }
        }
        if round == 0 {
            assert!(of.iter().all(|keys| keys.len() > 5), "{of:?}");
            group.leave(&members[3].0);
        }
    }
}

#[tokio::test]
async fn a_group_without_members_refuses() {
    let engine = engine();
    let (group, _members) = group(&engine, 0).await;
    let pool = group.balance(RoundRobin);
    let refused = pool.cast(Msg::Note(1)).unwrap_err();
    assert_eq!(refused.why, Why::Stopped);
    assert!(matches!(refused.message, Msg::Note(1)));
    assert_eq!(pool.send(Msg::Note(1)).await.unwrap_err().why, Why::Stopped);
    assert_eq!(pool.call(Msg::Ask).await, Err(CallError::Rejected(Why::Stopped)));
}

#[tokio::test]
async fn the_address_of_a_group_is_no_actor() {
    let engine = engine();
    let (group, members) = group(&engine, 1).await;
    let pool = group.balance(RoundRobin);
    pool.stop();
    pool.kill();
    assert_eq!(next(&mut down(&pool)).await.exit, Exit::NoProc);
    assert_eq!(group.join(&pool), Err(GroupError::Group));
    assert_eq!(engine.register("pool", &pool), Err(NameError::Ended("pool".into())));
    assert_eq!(soon(members[0].0.call(Msg::Ask)).await, Ok(0));
}

// W-3
#[tokio::test]
async fn a_call_through_a_group_tells_refused_from_unanswered() {
    let engine = engine();
    let (group, members) = group(&engine, 1).await;
    let pool = group.balance(RoundRobin);
    let over = busy(&members[0].0).await;
    let call = tokio::spawn(std::future::IntoFuture::into_future(pool.call(Msg::Ask)));
    tokio::task::yield_now().await;
    let kept = tokio::spawn(std::future::IntoFuture::into_future(pool.call(Msg::Keep)));
    tokio::task::yield_now().await;
    members[0].0.stop();
    drop(over);
    assert_eq!(soon(call).await.unwrap(), Err(CallError::Rejected(Why::Stopped)));
    assert_eq!(soon(kept).await.unwrap(), Err(CallError::Rejected(Why::Stopped)));
    let (last, _events) = puppet(&engine, 4).await;
    group.join(&last).unwrap();
    let kept = tokio::spawn(std::future::IntoFuture::into_future(pool.call(Msg::Keep)));
    tokio::task::yield_now().await;
    soon(last.call(Msg::Ask)).await.unwrap();
    last.stop();
    assert_eq!(soon(kept).await.unwrap(), Err(CallError::Unknown(Lost::Dropped)));
}

#[tokio::test]
async fn all_members_are_cast_and_called() {
    let engine = engine();
    let (group, mut members) = group(&engine, 3).await;
    let mut number = 0;
    let refused = group.cast_all(|| {
        number += 1;
        Msg::Note(number)
    });
    assert!(refused.is_empty());
    for (place, (_, events)) in members.iter_mut().enumerate() {
        assert_eq!(next(events).await, Event::Note(place as u32 + 1));
    }
    let over = busy(&members[1].0).await;
    members[1].0.kill();
    drop(over);
    let answers = soon(group.call_all(Msg::Ask)).await;
    let who: Vec<_> = answers.iter().map(|(id, _)| *id).collect();
    assert_eq!(who, references(&members).iter().map(ActorRef::id).collect::<Vec<_>>());
    let answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
    assert_eq!(answers, [Ok(1), Err(CallError::Rejected(Why::Stopped)), Ok(3)]);
}

// PG-2
#[tokio::test]
async fn a_watcher_hears_who_joins_and_leaves() {
    let engine = engine();
    let (group, members) = group(&engine, 2).await;
    let (watcher, _events) = puppet(&engine, 1).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let watched = group.clone();
    watcher
        .cast(Msg::act(move |_, ctx| {
            ctx.watch_group(&watched, move |GroupChange { joined, left }| {
                let _ = told.send((joined, left));
                Msg::Note(0)
            });
            Ok(())
        }))
        .unwrap();
    assert_eq!(next(&mut heard).await, (references(&members), vec![]));
    members[0].0.kill();
    assert_eq!(next(&mut heard).await, (vec![], vec![members[0].0.clone()]));
    // What happens while it is busy comes as one notice, and what came and went is not in it.
    let over = busy(&watcher).await;
    let (new, _new_events) = puppet(&engine, 4).await;
    let (brief, _brief_events) = puppet(&engine, 4).await;
    group.join(&brief).unwrap();
    group.join(&new).unwrap();
    group.leave(&brief);
    group.leave(&members[1].0);
    drop(over);
    assert_eq!(next(&mut heard).await, (vec![new], vec![members[1].0.clone()]));
}

#[tokio::test]
async fn a_group_is_bounded() {
    let engine = engine();
    let (group, _members) = group(&engine, GROUP_MEMBERS_MAX).await;
    let (late, _events) = puppet(&engine, 4).await;
    assert_eq!(group.join(&late), Err(GroupError::Full));
    assert_eq!(group.members().len(), GROUP_MEMBERS_MAX);
}
