//! What a recorder of metrics is told.
//!
//! The recorder is that of the test's own thread, where all of the test runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use mobula_actors::{Actor, Engine, Exit, Fault};

use crate::puppet::{Event, Msg, Puppet, Script, busy, down, engine, next, puppet};

/// Adds up what it is told; of a histogram it keeps sum and number.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);

struct Sum(Sums, String);

impl Sums {
    fn sum(&self, key: &Key) -> Arc<Sum> {
        let labels = key.labels().filter(|label| label.key() != "kind");
        let labels: String = labels.map(|label| format!(" {}", label.value())).collect();
        Arc::new(Sum(self.clone(), format!("{}{labels}", key.name())))
    }

    fn of(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl Sum {
    fn add(&self, suffix: &str, value: f64) {
        *self.0.0.lock().unwrap().entry(format!("{}{suffix}", self.1)).or_default() += value;
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.add("", value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("a counter only grows")
    }
}

impl GaugeFn for Sum {
    fn increment(&self, value: f64) {
        self.add("", value);
    }

    fn decrement(&self, value: f64) {
        self.add("", -value);
    }

    fn set(&self, _: f64) {
        unreachable!("the gauge goes up and down")
    }
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.add(" sum", value);
        self.add(" count", 1.0);
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.sum(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.sum(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.sum(key))
    }
}

/// Lets the actors of this thread finish their turns.
async fn turns() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

// OB-1
#[tokio::test]
async fn messages_and_turns_add_up() {
    let sums = Sums::default();
    let _here = metrics::set_default_local_recorder(&sums);
    let engine = engine();
    let (target, mut events) = puppet(&engine, 512).await;
    turns().await;
    let turns_before = sums.of("mobula_turn_seconds count");
    let over = busy(&target).await;
    for number in 0..300 {
        target.cast(Msg::Note(number)).unwrap();
    }
    turns().await;
    assert_eq!(sums.of("mobula_messages_handled_total"), 1.0);
    drop(over);
    for _ in 0..300 {
        next(&mut events).await;
    }
    turns().await;
    assert_eq!(sums.of("mobula_messages_handled_total"), 301.0);
    // 300 messages are three turns, and the one that began with the wait.
    assert_eq!(sums.of("mobula_turn_seconds count") - turns_before, 4.0);
    let waited = f64::from(1 + 300 + (300 - 127) + (300 - 127 - 128));
    // A mailbox counts up to 31 messages too many while some are handled.
    let seen = sums.of("mobula_mailbox_messages sum");
    assert!((waited..=waited + 62.0).contains(&seen), "{seen} and not {waited}");
    assert!(sums.of("mobula_turn_seconds sum") > 0.0);
    let busy = engine.inspect(&target).unwrap().busy.as_secs_f64();
    assert!((busy - sums.of("mobula_turn_seconds sum")).abs() < 1e-6, "measured exactly");
}

// OB-1
#[tokio::test]
async fn runs_add_up_whatever_ends_them() {
    let sums = Sums::default();
    let _here = metrics::set_default_local_recorder(&sums);
    let engine = engine();
    let ends: [(&str, fn() -> Msg); 3] = [
        ("failed", || Msg::act(|_, _| Err(Fault::new("as told")))),
        ("panicked", || Msg::act(|_, _| panic!("as told"))),
        ("normal", || {
            Msg::act(|_, ctx| {
                ctx.stop();
                Ok(())
            })
        }),
    ];
    for (runs, (word, end)) in ends.into_iter().enumerate() {
        let (target, _events) = puppet(&engine, 4).await;
        assert_eq!(sums.of("mobula_actors"), 1.0);
        let mut told = down(&target);
        target.cast(end()).unwrap();
        next(&mut told).await;
        assert_eq!(sums.of(&format!("mobula_actors_ended_total {word}")), 1.0);
        assert_eq!(sums.of("mobula_actors_started_total"), (runs + 1) as f64);
        assert_eq!(sums.of("mobula_actors"), 0.0);
    }
    assert_eq!(sums.of("mobula_restarts_total"), 0.0);
}

// OB-2
#[tokio::test]
async fn a_kind_is_told_of_if_somebody_listened_when_its_first_actor_started() {
    let (sums, engine) = (Sums::default(), engine());
    let (early, _events) = puppet(&engine, 4).await;
    let _here = metrics::set_default_local_recorder(&sums);
    let (late, _more_events) = puppet(&engine, 4).await;
    turns().await;
    let names = sums.names();
    assert!(names.is_empty(), "{names:?}");
    for actor in [early, late] {
        let mut told = down(&actor);
        actor.stop();
        assert_eq!(next(&mut told).await.exit, Exit::Shutdown);
    }
    turns().await;
    let (_heard, _last_events) = puppet(&engine, 4).await;
    assert_eq!(sums.of("mobula_actors_started_total"), 1.0);
}

/// A recorder that wants nothing is told nothing.
#[tokio::test]
async fn a_recorder_that_wants_nothing_counts_as_none() {
    let _here = metrics::set_default_local_recorder(&metrics::NoopRecorder);
    let engine: Engine = engine();
    let (script, mut events) = Script::new();
    let target = engine.spawn(Puppet::spec(script)).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Started(..)));
    assert_eq!(target.call(Msg::Ask).await, Ok(0));
}
