//! Guests that do not come to life.

use std::sync::Arc;
use std::time::Duration;

use mobula_actors::guest::ractor::ActorStatus;
use mobula_actors::{Exit, Fault, SpawnError};

use super::subject::{Event, Me, Subject};
use crate::puppet::{engine, soon};

/// Starts a subject in vain; its ractor side is gone then.
async fn refused(mut subject: Subject) -> SpawnError {
    let (told, heard) = std::sync::mpsc::channel::<Me>();
    let told = std::sync::Mutex::new(told);
    let inner = subject.pre_start.clone();
    subject.pre_start = Arc::new(move |me| {
        told.lock().unwrap().send(me.clone())?;
        inner(me)
    });
    let spec = subject.spec().start_within(Duration::from_millis(50));
    let error = engine().spawn(spec).await.unwrap_err();
    let me = heard.recv().unwrap();
    soon(me.wait(None)).await.unwrap();
    assert_eq!(me.get_status(), ActorStatus::Stopped);
    error
}

#[tokio::test]
async fn an_error_in_pre_start_is_told_to_the_spawner() {
    let (mut subject, _events) = Subject::new();
    subject.pre_start = Arc::new(|_| Err("no model".into()));
    let exit = Exit::InitFailed(Fault::new("no model"));
    assert_eq!(refused(subject).await, SpawnError::Start(exit));
}

#[tokio::test]
async fn a_panic_in_pre_start_is_told_to_the_spawner() {
    let (mut subject, mut events) = Subject::new();
    subject.pre_start = Arc::new(|_| panic!("no card"));
    assert_eq!(refused(subject).await, SpawnError::Start(Exit::Panicked("no card".into())));
    assert_eq!(events.try_recv(), Ok(Event::Started));
    assert_eq!(events.try_recv(), Ok(Event::Dropped));
}

#[tokio::test]
async fn a_guest_that_kills_itself_in_pre_start_does_not_start() {
    let (mut subject, _events) = Subject::new();
    subject.waits_in_start = true;
    subject.pre_start = Arc::new(|me| {
        me.kill();
        Ok(())
    });
    let error = refused(subject).await;
    assert!(matches!(error, SpawnError::Start(Exit::InitFailed(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_pre_start_that_takes_too_long_is_given_up() {
    let (mut subject, mut events) = Subject::new();
    subject.waits_in_start = true;
    assert_eq!(refused(subject).await, SpawnError::Deadline { timeout_ms: 50 });
    assert_eq!(soon(events.recv()).await, Some(Event::Started));
    assert_eq!(soon(events.recv()).await, Some(Event::Dropped));
}
