//! The shape of a type: what two nodes compare before one reads what the other wrote.
//!
//! A shape is a tree: names of types, fields and variants, and the kinds of values, as serde sees
//! them. `trace` makes it from the type itself, so that a message needs no derive of ours.
//!
//! Invariants:
//! - **SH-1** Shapes fit if they are equal, or if an enum has more variants behind those of the
//!   other. Whatever else differs is named with both sides' view of it.
//! - **SH-2** A shape from outside is a bounded tree or none: to read and compare it never panics,
//!   and takes time in proportion to its bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest encoded shape. A type with a longer one is not compared.
pub const SHAPE_BYTES_MAX: usize = 32 << 10;
/// The deepest shape.
pub(super) const DEPTH_MAX: usize = 48;

/// What the values of a type consist of.
#[derive(Clone, PartialEq, Eq)]
pub struct Shape(Vec<Node>);

/// A place in the tree, which lies in preorder: its parts follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) what: What,
    /// Of the field or variant that it is in its parent.
    pub(super) label: String,
    /// Of its type.
    pub(super) name: String,
    pub(super) parts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// Not seen: it fits everything.
    Unknown,
    /// A number, a text: what is not made of parts.
    Value,
    Option,
    List,
    Map,
    Tuple,
    /// A tuple of equal parts; its name is their number.
    Array,
    Struct,
    Enum,
    Variant,
}

/// How two shapes fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// They are equal, as far as they are known.
    Equal,
    /// An enum of one side has variants more than the other knows.
    Appended,
}

/// The first place where two shapes do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The way there, from the root.
    pub place: String,
    /// What stands there on this side.
    pub ours: String,
    /// What stands there on the other.
    pub theirs: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} here and {} there", self.place, self.ours, self.theirs)
    }
}

impl Shape {
    pub(super) fn new(nodes: Vec<Node>) -> Self {
        Self(nodes)
    }

    #[cfg(test)]
    pub(super) fn nodes(&self) -> &[Node] {
        &self.0
    }

    /// A shape that fits everything.
    #[must_use]
    pub fn unknown() -> Self {
        let (label, name) = (String::new(), String::new());
        Self(vec![Node { what: What::Unknown, label, name, parts: 0 }])
    }

    /// Its bytes on the wire, at most [`SHAPE_BYTES_MAX`]; one that would be longer is unknown.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = postcard::to_allocvec(&self.0).ok();
        let encoded = encoded.filter(|bytes| bytes.len() <= SHAPE_BYTES_MAX);
        encoded.unwrap_or_else(|| Self::unknown().encode())
    }

    /// Reads a shape from outside; `None` if it is none (SH-2).
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > SHAPE_BYTES_MAX {
            return None;
        }
        let (nodes, rest) = postcard::take_from_bytes::<Vec<Node>>(bytes).ok()?;
        (rest.is_empty() && is_tree(&nodes)).then_some(Self(nodes))
    }

    /// Compares the shape of this side with that of the other.
    ///
    /// # Errors
    /// The first place where they do not fit.
    pub fn fit(&self, theirs: &Self) -> Result<Fit, Misfit> {
        let (mut ours, mut theirs) = (Walk(&self.0), Walk(&theirs.0));
        let root = ours.0.first().map_or_else(String::new, |root| root.name.clone());
        fit(&mut ours, &mut theirs, &mut vec![root])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.0.first().map_or("", |root| &root.name);
        write!(f, "Shape({root}, {} places)", self.0.len())
    }
}

/// Whether the nodes are one tree in preorder that is not too deep.
fn is_tree(nodes: &[Node]) -> bool {
    let mut open: Vec<u32> = vec![1];
    for node in nodes {
        while open.last() == Some(&0) {
            open.pop();
        }
        let Some(left) = open.last_mut() else { return false };
        *left -= 1;
        if open.len() > DEPTH_MAX {
            return false;
        }
        open.push(node.parts);
    }
    open.iter().all(|left| *left == 0)
}

/// The rest of a tree, from some place on.
struct Walk<'a>(&'a [Node]);

impl<'a> Walk<'a> {
    fn next(&mut self) -> Option<&'a Node> {
        let (node, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(node)
    }

    /// Passes over whole subtrees.
    fn skip(&mut self, subtrees: u32) {
        let mut left = u64::from(subtrees);
        while left > 0 {
            let Some(node) = self.next() else { return };
            left = left - 1 + u64::from(node.parts);
        }
    }
}

fn fit(ours: &mut Walk<'_>, theirs: &mut Walk<'_>, way: &mut Vec<String>) -> Result<Fit, Misfit> {
    let (Some(a), Some(b)) = (ours.next(), theirs.next()) else { return Ok(Fit::Equal) };
    if a.what == What::Unknown || b.what == What::Unknown {
        ours.skip(a.parts);
        theirs.skip(b.parts);
        return Ok(Fit::Equal);
    }
    let same_parts = a.parts == b.parts || a.what == What::Enum;
    if a.what != b.what || a.name != b.name || !same_parts {
        return Err(misfit(way, a.show(), b.show()));
    }
    let mut all = if a.parts == b.parts { Fit::Equal } else { Fit::Appended };
    let common = a.parts.min(b.parts);
    for number in 0..common {
        let (Some(a), Some(b)) = (ours.0.first(), theirs.0.first()) else { break };
        if a.label != b.label {
            return Err(misfit(way, quoted(&a.label), quoted(&b.label)));
        }
        way.push(if a.label.is_empty() { number.to_string() } else { a.label.clone() });
        if fit(ours, theirs, way)? == Fit::Appended {
            all = Fit::Appended;
        }
        way.pop();
    }
    ours.skip(a.parts - common);
    theirs.skip(b.parts - common);
    Ok(all)
}

fn misfit(way: &[String], ours: String, theirs: String) -> Misfit {
    let named = way.iter().filter(|part| !part.is_empty()).map(|part| shown(part));
    Misfit { place: named.collect::<Vec<_>>().join("."), ours, theirs }
}

fn quoted(label: &str) -> String {
    format!("`{}`", shown(label))
}

/// A name that may come from outside, for a human.
fn shown(name: &str) -> String {
    name.escape_debug().take(64).collect()
}

impl Node {
    fn show(&self) -> String {
        let (name, parts) = (shown(&self.name), self.parts);
        match self.what {
            What::Unknown => "unknown".into(),
            What::Value => name,
            What::Option => "an option".into(),
            What::List => "a list".into(),
            What::Map => "a map".into(),
            What::Tuple => format!("a tuple of {parts}"),
            What::Array => format!("an array of {name}"),
            What::Struct => format!("struct {name} with {parts} fields"),
            What::Enum => format!("enum {name}"),
            What::Variant => format!("a variant with {parts} fields"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(what: What, name: &str, label: &str, parts: u32) -> Node {
        Node { what, label: label.into(), name: name.into(), parts }
    }

    /// An enum with these variants, each with one field of this kind.
    fn choice(variants: &[(&str, &str)]) -> Shape {
        let mut nodes = vec![node(What::Enum, "Msg", "", variants.len() as u32)];
        for (variant, kind) in variants {
            nodes.push(node(What::Variant, "", variant, 1));
            nodes.push(node(What::Value, kind, "0", 0));
        }
        Shape::new(nodes)
    }

    /// SH-1.
    #[test]
    fn equal_and_appended_fit_and_what_differs_is_named() {
        let old = choice(&[("Add", "i64"), ("Get", "u8")]);
        let new = choice(&[("Add", "i64"), ("Get", "u8"), ("Sub", "i64")]);
        assert_eq!(old.fit(&old), Ok(Fit::Equal));
        assert_eq!(old.fit(&new), Ok(Fit::Appended));
        assert_eq!(new.fit(&old), Ok(Fit::Appended));
        assert_eq!(old.fit(&Shape::unknown()), Ok(Fit::Equal));
        let said = |theirs: &Shape| old.fit(theirs).unwrap_err().to_string();
        let other = choice(&[("Add", "u64"), ("Get", "u8")]);
        assert_eq!(said(&other), "Msg.Add.0 is i64 here and u64 there");
        let swapped = choice(&[("Get", "u8"), ("Add", "i64")]);
        assert_eq!(said(&swapped), "Msg is `Add` here and `Get` there");
        let mut named = other;
        named.0[0].name = "Message".into();
        assert_eq!(said(&named), "Msg is enum Msg here and enum Message there");
    }

    #[test]
    fn a_shape_survives_the_wire_and_one_that_is_too_long_is_unknown() {
        let shape = choice(&[("Add", "i64"), ("Get", "u8")]);
        assert_eq!(Shape::decode(&shape.encode()), Some(shape));
        let long = choice(&[("x".repeat(SHAPE_BYTES_MAX).as_str(), "i64")]);
        assert_eq!(Shape::decode(&long.encode()), Some(Shape::unknown()));
    }

    /// SH-2.
    #[test]
    fn what_is_no_tree_is_no_shape() {
        let leaf = || node(What::Value, "u8", "", 0);
        let deep = |depth: usize| {
            let list = || node(What::List, "", "", 1);
            std::iter::repeat_with(list).take(depth - 1).chain([leaf()]).collect::<Vec<_>>()
        };
        let none = [
            vec![],
            vec![leaf(), leaf()],
            vec![node(What::Tuple, "", "", 2), leaf()],
            vec![node(What::Tuple, "", "", u32::MAX)],
            deep(DEPTH_MAX + 1),
        ];
        for nodes in none {
            assert_eq!(Shape::decode(&postcard::to_allocvec(&nodes).unwrap()), None, "{nodes:?}");
        }
        assert!(Shape::decode(&postcard::to_allocvec(&deep(DEPTH_MAX)).unwrap()).is_some());
        let mut padded = Shape::unknown().encode();
        padded.push(0);
        assert_eq!(Shape::decode(&padded), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// SH-2.
        #[test]
        fn damaged_shapes_are_read_and_compared_without_a_panic(
            places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let ours = choice(&[("Add", "i64"), ("Get", "u8"), ("Sub", "u32")]);
            let mut bytes = ours.encode();
            for (place, value) in places {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if let Some(theirs) = Shape::decode(&bytes) {
                let _ = ours.fit(&theirs);
                let _ = theirs.fit(&ours);
            }
        }
    }
}
