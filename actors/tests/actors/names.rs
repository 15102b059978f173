//! The registry of one node.

use mobula_actors::{Engine, NameError};

use crate::puppet::{Msg, down, engine, next, puppet};

async fn ended(engine: &Engine) -> mobula_actors::ActorRef<Msg> {
    let (target, _events) = puppet(engine, 4).await;
    let mut ends = down(&target);
    target.stop();
    next(&mut ends).await;
    target
}

// NA-1
#[tokio::test]
async fn a_name_belongs_to_one_actor() {
    let engine = engine();
    let (first, _events) = puppet(&engine, 4).await;
    let (second, _more_events) = puppet(&engine, 4).await;
    engine.register("name", &first).unwrap();
    assert_eq!(engine.register("name", &second), Err(NameError::Taken("name".into())));
    assert_eq!(engine.lookup::<Msg>("name"), Ok(first));
}

#[tokio::test]
async fn a_name_is_looked_up_by_its_protocol() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    engine.register("name", &target).unwrap();
    assert_eq!(engine.lookup::<u32>("name"), Err(NameError::OtherProtocol("name".into())));
    assert_eq!(engine.lookup::<Msg>("other"), Err(NameError::Unknown("other".into())));
}

// K-2
#[tokio::test]
async fn a_name_is_free_when_the_end_is_told() {
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    engine.register("name", &target).unwrap();
    let (told, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let table = engine.clone();
    target.on_down(Box::new(move |_| {
        let _ = told.send(table.lookup::<Msg>("name"));
    }));
    target.stop();
    assert_eq!(next(&mut seen).await, Err(NameError::Unknown("name".into())));
    let (heir, _more_events) = puppet(&engine, 4).await;
    engine.register("name", &heir).unwrap();
}

// NA-1
#[tokio::test]
async fn an_actor_that_has_ended_gets_no_name() {
    let engine = engine();
    let target = ended(&engine).await;
    assert_eq!(engine.register("name", &target), Err(NameError::Ended("name".into())));
    assert_eq!(engine.lookup::<Msg>("name"), Err(NameError::Unknown("name".into())));
}
