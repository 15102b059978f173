//! Finds the shape of a type by reading made-up values of it.
//!
//! A value is read by a deserializer that writes down what it is asked for. One reading sees one
//! variant of each enum, so the type is read again until every variant has been seen. What does not
//! accept a made-up value, as a text that must be a date, ends a reading; what stands behind it may
//! stay unknown.
//!
//! Invariants:
//! - **TC-1** The same types have the same shape: nothing but the type decides what is read.
//! - **TC-2** Tracing ends, and does not panic, whatever the code of a type does.

#[cfg(test)]
mod tests;
mod walker;

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::{self, DeserializeOwned};

use self::walker::Walker;
use super::Scope;
use super::shape::{DEPTH_MAX, Node, Shape, What};
use crate::cell::Cell;
use crate::engine::Engine;
use crate::id::ActorId;
use crate::reference::{ActorRef, Route};

/// How a `Reply` is named to a deserializer.
pub(crate) const REPLY: &str = "$Reply";
/// How an `ActorRef` is named to a deserializer.
pub(crate) const ACTOR_REF: &str = "$ActorRef";
/// How a `Payload` is named to a deserializer.
pub(crate) const PAYLOAD: &str = "$Payload";

/// Places that are kept of one type.
const PLACES_MAX: usize = 16_384;
/// Readings of one type.
const READINGS_MAX: usize = 16_384;
/// How often a type is looked into inside itself: a type that holds its like has no end.
const NESTED_MAX: usize = 2;

thread_local! {
    static TRACING: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

impl Shape {
    /// The shape of `T`. `engine` is what made-up references belong to; nothing of it changes.
    #[must_use]
    pub fn of<T: DeserializeOwned>(engine: &Engine) -> Self {
        let scope = Scope::enter(&TRACING, engine.clone());
        let mut trace = Trace::default();
        trace.add(None, "");
        for _ in 0..READINGS_MAX {
            trace.begin();
            // Also the value's own `Drop` is code of its type (TC-2).
            let read = || T::deserialize(Walker { trace: &mut trace, at: 0 }).map(drop);
            let ended = catch_unwind(AssertUnwindSafe(read));
            let failed = !matches!(ended, Ok(Ok(())));
            if trace.is_complete(0) || !trace.goes_on(failed) {
                break;
            }
        }
        drop(scope);
        trace.shape()
    }
}

/// A reference for a type that is being traced: to an actor that has ended.
pub(crate) fn made_up_reference<M: Send + 'static>() -> Option<ActorRef<M>> {
    let engine = TRACING.with_borrow(Clone::clone)?;
    let nobody = ActorId { origin: 0, number: 0 };
    Some(ActorRef(Route::Here(Cell::ended(engine, nobody))))
}

#[derive(Default)]
struct Trace {
    places: Vec<Place>,
    /// This reading has seen something new.
    news: bool,
    /// Where this reading went by its own choice.
    chosen: Vec<usize>,
    /// The innermost of these whose value was refused.
    refused: Option<usize>,
}

struct Place {
    what: What,
    label: &'static str,
    name: String,
    parts: Vec<usize>,
    parent: Option<usize>,
    depth: usize,
    /// A value of it was made.
    made: bool,
    /// There is nothing more to be seen in it, or no way to see it.
    closed: bool,
}

/// Why a reading ended early.
#[derive(Debug)]
struct Ended;

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reading of a made-up value has ended")
    }
}

impl std::error::Error for Ended {}

impl de::Error for Ended {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Trace {
    fn begin(&mut self) {
        self.news = false;
        self.chosen.clear();
        self.refused = None;
    }

    /// Whether another reading can see more. If this one saw nothing new, the next goes another way.
    fn goes_on(&mut self, failed: bool) -> bool {
        if self.news {
            return true;
        }
        let refused = self.refused.filter(|_| failed);
        let last = |trace: &mut Self| {
            let chosen = std::mem::take(&mut trace.chosen);
            chosen.into_iter().rev().find(|&at| !trace.is_complete(at))
        };
        match refused.filter(|&at| !self.is_complete(at)).or_else(|| last(self)) {
            Some(at) => {
                self.places[at].closed = true;
                true
            }
            None => false,
        }
    }

    fn add(&mut self, parent: Option<usize>, label: &'static str) -> usize {
        let depth = parent.map_or(1, |parent| self.places[parent].depth + 1);
        self.places.push(Place {
            what: What::Unknown,
            label,
            name: String::new(),
            parts: Vec::new(),
            parent,
            depth,
            made: false,
            closed: false,
        });
        self.news = true;
        self.places.len() - 1
    }

    /// Writes down what stands at `at`, and makes its parts.
    fn set(&mut self, at: usize, what: What, name: &str, labels: &[&'static str]) -> Seen<()> {
        if self.places[at].what != What::Unknown {
            return if self.places[at].parts.len() == labels.len() { Ok(()) } else { Err(Ended) };
        }
        let nested = matches!(what, What::Struct | What::Enum) && !name.is_empty();
        if nested && self.times_inside(at, what, name) >= NESTED_MAX {
            self.places[at].closed = true;
            return Err(Ended);
        }
        let fits = self.places.len() + labels.len() <= PLACES_MAX;
        if !fits || (self.places[at].depth >= DEPTH_MAX && !labels.is_empty()) {
            self.places[at].closed = true;
            return Err(Ended);
        }
        let parts = labels.iter().map(|label| self.add(Some(at), label)).collect();
        let place = &mut self.places[at];
        (place.what, place.name, place.parts) = (what, name.to_owned(), parts);
        self.news = true;
        Ok(())
    }

    fn times_inside(&self, at: usize, what: What, name: &str) -> usize {
        let around = std::iter::successors(self.places[at].parent, |&at| self.places[at].parent);
        around.filter(|&at| self.places[at].what == what && self.places[at].name == name).count()
    }

    fn part(&self, at: usize, number: usize) -> Seen<usize> {
        self.places[at].parts.get(number).copied().ok_or(Ended)
    }

    fn made(&mut self, at: usize) {
        self.news |= !std::mem::replace(&mut self.places[at].made, true);
    }

    fn refuse(&mut self, at: usize) {
        self.refused.get_or_insert(at);
    }

    fn is_complete(&mut self, at: usize) -> bool {
        if self.places[at].closed {
            return true;
        }
        let place = &self.places[at];
        let made = place.made || place.what == What::Enum;
        let known = place.what != What::Unknown && made;
        let parts = place.parts.clone();
        self.places[at].closed = known && parts.into_iter().all(|part| self.is_complete(part));
        self.places[at].closed
    }

    fn shape(&self) -> Shape {
        let mut nodes = Vec::new();
        self.put(0, &mut nodes);
        Shape::new(nodes)
    }

    /// Appends the subtree of `at`, in which equal parts of a tuple stand once.
    fn put(&self, at: usize, nodes: &mut Vec<Node>) {
        let place = &self.places[at];
        let (what, label, name) = (place.what, place.label.to_owned(), place.name.clone());
        let start = nodes.len();
        nodes.push(Node { what, label, name, parts: place.parts.len() as u32 });
        let mut begins = Vec::with_capacity(place.parts.len());
        for &part in &place.parts {
            begins.push(nodes.len());
            self.put(part, nodes);
        }
        begins.push(nodes.len());
        let parts: Vec<&[Node]> = begins.windows(2).map(|ends| &nodes[ends[0]..ends[1]]).collect();
        let equal = parts.windows(2).all(|pair| pair[0] == pair[1]);
        if what == What::Tuple && parts.len() > 1 && equal {
            let (count, end) = (parts.len(), begins[1]);
            nodes.truncate(end);
            nodes[start].what = What::Array;
            nodes[start].name = count.to_string();
            nodes[start].parts = 1;
        }
    }
}

type Seen<T> = Result<T, Ended>;
