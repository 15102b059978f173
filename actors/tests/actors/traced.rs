//! Spans that follow messages, as a subscriber sees them.
//!
//! The subscriber is that of the test's own thread, where all of the test runs.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use mobula_actors::{ActorRef, CallError, Rejected, Why};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, info_span};

use tracing_core::span::Current;

use crate::puppet::{Msg, busy, engine, note_port, puppet, soon};

/// Remembers spans and how they hang together.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Spans>>);

#[derive(Default)]
struct Spans {
    spans: Vec<Seeing>,
    inside: Vec<u64>,
}

#[derive(Clone, Default)]
struct Seeing {
    name: &'static str,
    metadata: Option<&'static Metadata<'static>>,
    fields: BTreeMap<&'static str, String>,
    parent: Option<u64>,
    follows: Vec<u64>,
    handles: u32,
}

impl Visit for Seeing {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Seen {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, new: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().unwrap();
        let parent = match new.parent() {
            None if new.is_contextual() => seen.inside.last().copied(),
            parent => parent.map(Id::into_u64),
        };
        let metadata = new.metadata();
        let mut span = Seeing {
            name: metadata.name(),
            metadata: Some(metadata),
            parent,
            handles: 1,
            ..Seeing::default()
        };
        new.record(&mut span);
        seen.spans.push(span);
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.at(span, |span| span.follows.push(follows.into_u64()));
    }

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().inside.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        assert_eq!(self.0.lock().unwrap().inside.pop(), Some(span.into_u64()));
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.at(span, |span| span.handles += 1);
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        self.at(&span, |span| {
            span.handles -= 1;
            span.handles == 0
        })
    }

    fn current_span(&self) -> Current {
        let seen = self.0.lock().unwrap();
        let Some(&span) = seen.inside.last() else { return Current::none() };
        let metadata = seen.spans[span as usize - 1].metadata.unwrap();
        Current::new(Id::from_u64(span), metadata)
    }
}

impl Seen {
    fn at<T>(&self, span: &Id, act: impl FnOnce(&mut Seeing) -> T) -> T {
        act(&mut self.0.lock().unwrap().spans[span.into_u64() as usize - 1])
    }

    /// The spans `handle`, in the order they were made.
    fn handled(&self) -> Vec<(u64, Seeing)> {
        let seen = self.0.lock().unwrap();
        let numbered = (1..).zip(seen.spans.iter().cloned());
        numbered.filter(|(_, span)| span.name == "handle").collect()
    }

    fn open(&self) -> Vec<&'static str> {
        let seen = self.0.lock().unwrap();
        seen.spans.iter().filter(|span| span.handles > 0).map(|span| span.name).collect()
    }
}

fn forward(to: &ActorRef<Msg>) -> Msg {
    let to = to.clone();
    Msg::act(move |_, _| {
        to.cast(Msg::Note(1)).map_err(|_| mobula_actors::Fault::new("not forwarded"))
    })
}

// TR-2
#[tokio::test]
async fn a_span_follows_a_message_from_actor_to_actor() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (first, _events) = puppet(&engine, 4).await;
    let (second, mut events) = puppet(&engine, 4).await;
    info_span!("request").in_scope(|| first.cast(forward(&second)).unwrap());
    crate::puppet::next(&mut events).await;
    let handled = seen.handled();
    let [(one, at_first), (_, at_second)] = &handled[..] else { panic!("{}", handled.len()) };
    assert_eq!((at_first.parent, &at_first.follows), (None, &vec![1]));
    assert_eq!((at_second.parent, &at_second.follows), (None, &vec![*one]));
    assert_eq!(at_second.fields["actor"], second.id().to_string());
    assert!(at_second.fields["kind"].contains("Puppet"));
    second.call(Msg::Ask).await.unwrap();
    assert_eq!(seen.open(), [""; 0], "nothing keeps them open");
}

// TR-2
#[tokio::test]
async fn the_handler_of_a_call_is_inside_the_callers_span() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    // A call leaves when it is first awaited; here the span is entered for all of its polls.
    let span = info_span!("request");
    let answer = tracing::Instrument::instrument(target.call(Msg::Ask).into_future(), span).await;
    assert_eq!(answer, Ok(0));
    let handled = seen.handled();
    assert_eq!(handled.len(), 1);
    assert_eq!((handled[0].1.parent, &handled[0].1.follows), (Some(1), &vec![]));
}

// TR-2
#[tokio::test]
async fn a_message_from_outside_of_spans_is_handled_outside_of_them() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    target.cast(Msg::Note(1)).unwrap();
    target.call(Msg::Ask).await.unwrap();
    assert_eq!(seen.handled().len(), 0);
}

// TR-2
#[tokio::test]
async fn a_handler_that_waits_leaves_its_span_meanwhile() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (target, _events) = puppet(&engine, 4).await;
    let over = {
        let _inside = info_span!("request").entered();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (over, is_over) = tokio::sync::oneshot::channel();
        target.cast(Msg::Wait(begun, is_over)).unwrap();
        (over, has_begun)
    };
    soon(over.1).await.unwrap();
    assert!(tracing::Span::current().is_none());
    assert_eq!(seen.open(), ["handle"]);
    drop(over.0);
    target.call(Msg::Ask).await.unwrap();
    assert_eq!(seen.open(), [""; 0]);
}

// TR-1
#[tokio::test]
async fn a_message_that_is_not_handled_keeps_no_span_open() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (target, _events) = puppet(&engine, 1).await;
    let over = busy(&target).await;
    {
        let _inside = info_span!("request").entered();
        target.cast(Msg::Note(1)).unwrap();
        let Err(Rejected { why: Why::Full, .. }) = target.cast(Msg::Note(2)) else {
            panic!("there is room for one")
        };
    }
    assert_eq!(seen.open(), ["request"], "kept by the one that waits");
    let late = tracing::Instrument::instrument(
        target.call(Msg::Ask).within(std::time::Duration::from_millis(20)).into_future(),
        info_span!("late"),
    );
    assert_eq!(late.await, Err(CallError::Rejected(Why::Expired)));
    assert_eq!(seen.open(), ["request"]);
    target.kill();
    drop(over);
    soon(async {
        while !seen.open().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_span_follows_through_a_port() {
    let seen = Seen::default();
    let _here = tracing::subscriber::set_default(seen.clone());
    let engine = engine();
    let (target, mut events) = puppet(&engine, 4).await;
    let port = note_port(&target).await;
    info_span!("request").in_scope(|| port.cast(5).unwrap());
    crate::puppet::next(&mut events).await;
    let handled = seen.handled();
    let [(through, at_port), (_, at_target)] = &handled[..] else { panic!("{}", handled.len()) };
    assert_eq!((&at_port.follows, &at_target.follows), (&vec![1], &vec![*through]));
    assert_eq!(at_target.fields["actor"], target.id().to_string());
}
