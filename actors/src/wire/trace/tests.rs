//! What is seen of types, of those that refuse, and of those without end.

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
    y: Option<Box<bool>>,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    One,
    Two(String, char),
    Three { deep: Vec<BTreeMap<u8, Point>>, all: Box<[u64; 32]> },
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
    // What a stream grants are rights to answer with more of the same: that has no end.
    assert_eq!(places(&shape, What::Unknown).len(), 1, "{:?}", shape.nodes());
    for variant in ["Go", "Ask", "Refer", "Stream", "Bytes", "One", "Two", "Three", "Ok", "Err"] {
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
