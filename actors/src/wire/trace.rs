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

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::value::U32Deserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::Scope;
use super::shape::{DEPTH_MAX, Node, Shape, What};
use crate::cell::Cell;
use crate::engine::Engine;
use crate::id::ActorId;
use crate::reference::{ActorRef, Route};

/// How a `Reply` is named to a deserializer.
pub(crate) const REPLY: &str = "mobula.Reply";
/// How an `ActorRef` is named to a deserializer.
pub(crate) const ACTOR_REF: &str = "mobula.ActorRef";
/// How a `Payload` is named to a deserializer.
pub(crate) const PAYLOAD: &str = "mobula.Payload";

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

/// Reads what stands at one place.
struct Walker<'t> {
    trace: &'t mut Trace,
    at: usize,
}

/// Labels of parts that have no name.
const UNNAMED: [&str; 64] = [""; 64];
/// What has more parts than tuples have is an array.
const TUPLE_MAX: usize = 16;

impl<'t> Walker<'t> {
    fn again(&mut self, at: usize) -> Walker<'_> {
        Walker { trace: self.trace, at }
    }

    fn value(&mut self, name: &str) -> Seen<()> {
        self.trace.set(self.at, What::Value, name, &[])?;
        self.trace.made(self.at);
        Ok(())
    }

    /// Reads all parts, one after the other.
    fn product<'de, V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        let Walker { trace, at } = self;
        let count = trace.places[at].parts.len();
        let value = visitor.visit_seq(Parts { trace, at, left: 0..count, count })?;
        trace.made(at);
        Ok(value)
    }

    /// Reads an array: its one part, again and again.
    fn array<'de, V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        let Walker { trace, at } = self;
        trace.set(at, What::Array, &len.to_string(), &UNNAMED[..1])?;
        let value = visitor.visit_seq(Parts { trace, at, left: 0..len, count: 1 })?;
        trace.made(at);
        Ok(value)
    }

    /// Reads one element, if there is something to be seen in it, else none.
    fn elements<'de, T>(self, read: impl FnOnce(Parts<'_>) -> Seen<T>) -> Seen<T> {
        let Walker { trace, at } = self;
        let parts = trace.places[at].parts.clone();
        let unseen = parts.iter().copied().find(|&part| !trace.is_complete(part));
        let count = parts.len();
        let left = if unseen.is_some() { 0..count } else { 0..0 };
        if let Some(part) = unseen {
            trace.chosen.push(part);
        }
        let value = read(Parts { trace: &mut *trace, at, left, count });
        if let (Err(_), Some(part)) = (&value, unseen) {
            trace.refuse(part);
        }
        let value = value?;
        trace.made(at);
        Ok(value)
    }
}

/// What is read of the parts of one place.
struct Parts<'t> {
    trace: &'t mut Trace,
    at: usize,
    left: Range<usize>,
    /// How many parts there are; after the last one the first comes again.
    count: usize,
}

impl Parts<'_> {
    fn next<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        let Some(number) = self.left.next() else { return Ok(None) };
        let at = self.trace.part(self.at, number % self.count)?;
        seed.deserialize(Walker { trace: self.trace, at }).map(Some)
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Ended;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        self.next(seed)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Ended;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<Option<S::Value>> {
        self.next(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Seen<S::Value> {
        self.next(seed)?.ok_or(Ended)
    }
}

/// The variant that this reading goes into.
struct Chosen<'t> {
    walker: Walker<'t>,
    number: usize,
}

impl<'de, 't> EnumAccess<'de> for Chosen<'t> {
    type Error = Ended;
    type Variant = Walker<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Seen<(S::Value, Walker<'t>)> {
        let number = u32::try_from(self.number).map_err(|_| Ended)?;
        let variant: U32Deserializer<Ended> = number.into_deserializer();
        Ok((seed.deserialize(variant)?, self.walker))
    }
}

impl<'de> VariantAccess<'de> for Walker<'_> {
    type Error = Ended;

    fn unit_variant(self) -> Seen<()> {
        self.trace.set(self.at, What::Variant, "", &[])?;
        self.trace.made(self.at);
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Seen<S::Value> {
        self.trace.set(self.at, What::Variant, "", &UNNAMED[..1])?;
        let (at, part) = (self.at, self.trace.part(self.at, 0)?);
        let value = seed.deserialize(self.again(part))?;
        self.trace.made(at);
        Ok(value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Variant, "", UNNAMED.get(..len).ok_or(Ended)?)?;
        self.product(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Variant, "", fields)?;
        self.product(visitor)
    }
}

macro_rules! values {
    ($($read:ident $visit:ident $name:literal $made_up:expr),* $(,)?) => {$(
        fn $read<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
            self.value($name)?;
            visitor.$visit($made_up)
        }
    )*};
}

impl<'de> Deserializer<'de> for Walker<'_> {
    type Error = Ended;

    values! {
        deserialize_bool visit_bool "bool" true,
        deserialize_i8 visit_i8 "i8" 1,
        deserialize_i16 visit_i16 "i16" 1,
        deserialize_i32 visit_i32 "i32" 1,
        deserialize_i64 visit_i64 "i64" 1,
        deserialize_i128 visit_i128 "i128" 1,
        deserialize_u8 visit_u8 "u8" 1,
        deserialize_u16 visit_u16 "u16" 1,
        deserialize_u32 visit_u32 "u32" 1,
        deserialize_u64 visit_u64 "u64" 1,
        deserialize_u128 visit_u128 "u128" 1,
        deserialize_f32 visit_f32 "f32" 1.0,
        deserialize_f64 visit_f64 "f64" 1.0,
        deserialize_char visit_char "char" 'a',
        deserialize_str visit_str "text" "a",
        deserialize_string visit_str "text" "a",
        // As many as an UUID has.
        deserialize_bytes visit_bytes "bytes" &[0; 16],
        deserialize_byte_buf visit_bytes "bytes" &[0; 16],
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
        self.value("unit")?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, &[])?;
        self.trace.made(self.at);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Seen<V::Value> {
        if name == PAYLOAD {
            self.value(name)?;
            return visitor.visit_unit();
        }
        self.trace.set(self.at, What::Struct, name, &UNNAMED[..1])?;
        if name == REPLY || name == ACTOR_REF {
            return self.product(visitor);
        }
        let (at, part) = (self.at, self.trace.part(self.at, 0)?);
        let value = visitor.visit_newtype_struct(self.again(part))?;
        self.trace.made(at);
        Ok(value)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Option, "", &[""])?;
        let (at, some) = (self.at, self.trace.part(self.at, 0)?);
        let value = if self.trace.is_complete(some) {
            visitor.visit_none()?
        } else {
            self.trace.chosen.push(some);
            let value = visitor.visit_some(self.again(some));
            value.inspect_err(|_| self.trace.refuse(some))?
        };
        self.trace.made(at);
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::List, "", &[""])?;
        self.elements(|parts| visitor.visit_seq(parts))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Seen<V::Value> {
        self.trace.set(self.at, What::Map, "", &["key", "value"])?;
        self.elements(|parts| visitor.visit_map(parts))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Seen<V::Value> {
        if len > TUPLE_MAX {
            return self.array(len, visitor);
        }
        self.trace.set(self.at, What::Tuple, "", &UNNAMED[..len])?;
        self.product(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, UNNAMED.get(..len).ok_or(Ended)?)?;
        self.product(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Struct, name, fields)?;
        self.product(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Seen<V::Value> {
        self.trace.set(self.at, What::Enum, name, variants)?;
        let Walker { trace, at } = self;
        let parts = trace.places[at].parts.clone();
        let unseen = parts.iter().position(|&part| !trace.is_complete(part));
        let known = || parts.iter().position(|&part| trace.places[part].made);
        let number = unseen.or_else(known).ok_or(Ended)?;
        let variant = parts[number];
        trace.chosen.push(variant);
        let chosen = Chosen { walker: Walker { trace, at: variant }, number };
        let value = visitor.visit_enum(chosen);
        value.inspect_err(|_| trace.refuse(variant))
    }

    /// The wire's format does not describe itself: nothing that needs this travels.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Seen<V::Value> {
        self.trace.places[self.at].closed = true;
        Err(Ended)
    }

    forward_to_deserialize_any! { identifier ignored_any }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU8;

    use serde::{Deserialize, Serialize};

    use super::super::shape::Fit;
    use super::*;
    use crate::{Payload, Reply, StreamSender, protocol};

    fn shape<T: DeserializeOwned>() -> Shape {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Shape::of::<T>(&Engine::new(1, runtime.handle().clone()))
    }

    fn places(shape: &Shape, what: What) -> Vec<String> {
        let found = shape.nodes().iter().filter(|node| node.what == what);
        found.map(|node| format!("{}{}", node.label, node.name)).collect()
    }

    #[derive(Serialize, Deserialize)]
    struct Point {
        x: u16,
        y: Option<Box<Kind>>,
    }

    #[derive(Serialize, Deserialize)]
    enum Kind {
        One,
        Two(String, char),
        Three { deep: Vec<BTreeMap<u8, Point>>, all: [u64; 32] },
    }

    #[derive(Serialize, Deserialize)]
    enum Msg {
        Go(Point, NonZeroU8),
        Ask(Reply<Result<Kind, u8>>),
        Refer(ActorRef<Self>),
        Stream(StreamSender<i8>),
        Bytes(Payload),
    }
    protocol!(Msg = "test.msg/1");

    mod other {
        use super::{ActorRef, Deserialize, Kind, NonZeroU8, Payload, Point, Reply, StreamSender};

        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its shape is looked at")]
        pub(super) enum Msg {
            Go(Point, NonZeroU8),
            Ask(Reply<Result<Kind, i8>>),
            Refer(ActorRef<super::Msg>),
            Stream(StreamSender<i8>),
            Bytes(Payload),
        }

        pub(super) mod newer {
            use super::*;
            #[derive(Deserialize)]
            #[expect(dead_code, reason = "only its shape is looked at")]
            pub(in super::super) enum Msg {
                Go(Point, NonZeroU8),
                Ask(Reply<Result<Kind, u8>>),
                Refer(ActorRef<super::super::Msg>),
                Stream(StreamSender<i8>),
                Bytes(Payload),
                More(u8),
            }
        }
    }

    /// TC-1.
    #[test]
    fn every_variant_field_and_answer_is_seen() {
        let shape = shape::<Msg>();
        assert_eq!(shape, self::shape::<Msg>());
        assert_eq!(places(&shape, What::Unknown), Vec::<String>::new(), "{:?}", shape.nodes());
        for variant in ["Go", "Ask", "Refer", "Stream", "Bytes", "One", "Two", "Three", "Ok", "Err"]
        {
            assert!(places(&shape, What::Variant).contains(&variant.to_owned()), "{variant}");
        }
        assert!(places(&shape, What::Struct).contains(&"test.msg/1".to_owned()));
        assert!(places(&shape, What::Array).contains(&"all32".to_owned()));
        assert!(shape.encode().len() > 100, "it is short enough to be sent");
    }

    #[test]
    fn a_change_far_inside_is_found_and_a_new_variant_fits() {
        let misfit = shape::<Msg>().fit(&shape::<other::Msg>()).unwrap_err();
        assert_eq!(misfit.to_string(), "Msg.Ask.0.0.Err.0 is u8 here and i8 there");
        assert_eq!(shape::<Msg>().fit(&shape::<other::newer::Msg>()), Ok(Fit::Appended));
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    enum Endless {
        Both(Box<Self>, u8),
        Many(Vec<Self>, u16),
        Last(u32),
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Circle(Box<Self>);

    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Never;
    impl TryFrom<String> for Never {
        type Error = &'static str;
        fn try_from(_: String) -> Result<Self, Self::Error> {
            Err("never")
        }
    }

    #[derive(Deserialize)]
    #[serde(from = "u8")]
    struct Panics;
    impl From<u8> for Panics {
        fn from(_: u8) -> Self {
            panic!("made up")
        }
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    enum Difficult {
        Never(Never, u8),
        Panics(Panics),
        Fine(Vec<Never>, Option<Panics>, u16),
    }

    /// TC-2.
    #[test]
    fn types_without_end_and_types_that_refuse_are_traced_as_far_as_possible() {
        let endless = shape::<Endless>();
        assert!(places(&endless, What::Value).contains(&"u32".to_owned()));
        assert!(places(&endless, What::Value).contains(&"u16".to_owned()));
        assert_eq!(endless, shape::<Endless>());
        let _ = shape::<Circle>();
        let difficult = shape::<Difficult>();
        assert!(places(&difficult, What::Value).contains(&"u16".to_owned()), "{difficult:?}");
        assert_eq!(places(&difficult, What::Variant), ["Never", "Panics", "Fine"]);
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Huge(Many<Many<Many<Many<u8>>>>);
    type Many<T> = Box<(T, T, T, T, T, T, T, T, T, T, T, T, T, T, T, T)>;

    /// TC-2.
    #[test]
    fn a_huge_type_is_traced_in_bounds() {
        assert!(shape::<Huge>().nodes().len() <= PLACES_MAX);
    }
}
