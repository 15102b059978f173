//! Actors are looked at without their help.

use std::time::Duration;

use mobula_actors::id::{ActorId, Epoch};
use mobula_actors::spawner::{IntoSeed, Order, Request, Spawner};
use mobula_actors::{
    Actor, ActorRef, Engine, Exit, Fault, Inspection, Restart, RunState, SpawnError,
};

use crate::puppet::{
    Ear, Event, Msg, Puppet, Script, busy, down, engine, next, note_port, puppet, soon,
};

fn look(engine: &Engine, actor: &ActorRef<Msg>) -> Inspection {
    engine.inspect(actor).unwrap()
}

// IN-1
#[tokio::test]
async fn an_actor_that_is_busy_is_looked_at_all_the_same() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    let over = busy(&target).await;
    for number in 0..3 {
        target.cast(Msg::Note(number)).unwrap();
    }
    let seen = look(&engine, &target);
    assert_eq!((seen.id, seen.epoch, seen.state), (target.id(), Epoch(1), RunState::Running));
    assert!(seen.kind.ends_with("puppet::Puppet"), "{}", seen.kind);
    assert_eq!((seen.mailbox_messages, seen.mailbox_capacity), (3, Some(4)));
    assert_eq!((seen.handled, seen.restarts, seen.last_exit), (1, 0, None));
    drop(over);
}

// IN-2
#[tokio::test]
async fn what_was_answered_has_been_counted() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    for calls in 1..=200 {
        target.call(Msg::Ask).await.unwrap();
        assert_eq!(look(&engine, &target).handled, calls);
    }
}

#[tokio::test]
async fn busy_time_is_what_the_handlers_took_and_not_what_they_waited() {
    const TIME: Duration = Duration::from_millis(20);
    let engine = engine();
    let (target, mut events) = puppet(&engine, 4).await;
    let idle = look(&engine, &target).busy;
    let works = Msg::act(|puppet, _| {
        let clock = std::time::Instant::now();
        while clock.elapsed() < TIME {
            std::hint::spin_loop();
        }
        puppet.report(Event::Note(1));
        Ok(())
    });
    target.cast(works).unwrap();
    next(&mut events).await;
    let over = busy(&target).await;
    let worked = look(&engine, &target).busy;
    assert!(worked >= idle + TIME, "{worked:?} after {idle:?}");
    tokio::time::sleep(15 * TIME).await;
    drop(over);
    target.call(Msg::Ask).await.unwrap();
    tokio::task::yield_now().await;
    let waited = look(&engine, &target).busy;
    assert!(waited < worked + 12 * TIME, "{waited:?} after {worked:?}");
}

#[tokio::test]
async fn names_are_seen_until_they_go() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    engine.register("one", &target).unwrap();
    engine.register("two", &target).unwrap();
    assert_eq!(look(&engine, &target).names, ["one", "two"]);
    let mut ends = down(&target);
    target.stop();
    next(&mut ends).await;
    assert!(target.inspect().unwrap().names.is_empty());
}

#[tokio::test]
async fn an_actor_that_starts_is_seen_as_starting() {
    let engine = engine();
    let (mut script, mut events) = Script::new();
    script.waits_in_start = true;
    let start = tokio::spawn({
        let engine = engine.clone();
        async move { engine.spawn(Puppet::spec(script)).await.map(drop) }
    });
    next(&mut events).await;
    let seen: Vec<_> = engine.actors().map(|actor| actor.state).collect();
    assert_eq!(seen, [RunState::Starting]);
    start.abort();
    assert!(soon(start).await.unwrap_err().is_cancelled());
}

// LI-1
#[tokio::test]
async fn all_actors_are_listed_and_no_others() {
    let engine = engine();
    let beside = engine.beside(tokio::runtime::Handle::current());
    let mut actors = Vec::new();
    for number in 0..100 {
        let engine = if number % 2 == 0 { &engine } else { &beside };
        actors.push(puppet(engine, 4).await);
    }
    let ids: Vec<ActorId> = actors.iter().map(|(actor, _)| actor.id()).collect();
    assert_eq!(engine.actors().map(|actor| actor.id).collect::<Vec<_>>(), ids);
    for (actor, _) in actors.iter().skip(1) {
        let mut ends = down(actor);
        actor.stop();
        next(&mut ends).await;
        assert_eq!(engine.inspect(actor), None);
        assert_eq!(actor.inspect().unwrap().state, RunState::Ended);
    }
    assert_eq!(engine.actors().map(|actor| actor.id).collect::<Vec<_>>(), ids[..1]);
}

#[tokio::test]
async fn a_port_is_listed_as_a_child() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    let port = note_port(&target).await;
    let seen = engine.inspect(&port).unwrap();
    assert_eq!(seen.parent, Some(target.id()));
    assert_eq!(seen.mailbox_capacity, Some(mobula_actors::limits::PORT_MESSAGES));
}

#[tokio::test]
async fn a_restarted_actor_tells_of_its_last_end() {
    let engine = engine();
    let (script, mut events) = Script::new();
    let (ear, _heard) = Ear::new();
    let (seed, settings) = Puppet::spec(script).into_seed();
    let parent = ActorId { origin: 9, number: 9 };
    let order = Order {
        id: engine.next_id(),
        watch: Some(ear),
        parent: Some(parent),
        restart: Restart::Permanent,
        ..Order::new(&settings)
    };
    let first = Request { seed, settings, order, previous: None, avoid: Vec::new() };
    let started = engine.start(first.clone()).await.unwrap();
    next(&mut events).await;
    let target = *started.reference.unwrap().downcast::<ActorRef<Msg>>().unwrap();
    let mut ends = down(&target);
    target.cast(Msg::act(|_, _| Err(Fault::new("as told")))).unwrap();
    next(&mut ends).await;
    let failed = Some(Exit::Failed(Fault::new("as told")));
    let between = look(&engine, &target);
    assert_eq!((between.state, &between.last_exit), (RunState::Between, &failed));
    let order = Order { epoch: Epoch(2), ..first.order.clone() };
    engine.start(Request { order, previous: Some(started.child), ..first }).await.unwrap();
    let again = look(&engine, &target);
    assert_eq!((again.state, again.epoch, again.restarts), (RunState::Running, Epoch(2), 1));
    assert_eq!((again.handled, again.parent), (1, Some(parent)));
    assert_eq!(again.last_exit, failed);
    let line = again.to_string();
    for part in [
        "e2 ",
        "puppet::Puppet",
        "running",
        "mailbox 0/1024",
        "handled 1",
        "restarts 1",
        "last end: failed: as told",
        "child of 00000000.9",
    ] {
        assert!(line.contains(part), "{line} has no {part:?}");
    }
}

// NA-3
#[tokio::test]
async fn an_engine_that_stops_ends_all_its_actors() {
    let engine = engine();
    let mut ends = Vec::new();
    let mut actors = Vec::new();
    for _ in 0..40 {
        let (actor, events) = puppet(&engine, 4).await;
        ends.push(down(&actor));
        actors.push((actor, events));
    }
    engine.stop();
    for end in &mut ends {
        assert_eq!(next(end).await.exit, Exit::Shutdown);
    }
    assert_eq!(engine.actors().count(), 0);
    let (script, _events) = Script::new();
    assert_eq!(engine.spawn(Puppet::spec(script)).await.err(), Some(SpawnError::Stopping));
    assert_eq!(engine.actors().count(), 0, "what was refused is not listed");
}
