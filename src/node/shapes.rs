//! Whether this node and another mean the same by a protocol.
//!
//! Before its first message of a protocol to another node, a node says the protocol's number, name
//! and shape (`SHAPE`). The number stands in the frames of the messages until the receiver has
//! compared the shape with that of the actor they are for, and has told what it found (`FITS`). From
//! then on the messages carry no number, and nobody looks anything up: what does not fit is refused
//! by its sender.
//!
//! Invariants:
//! - **SP-1** Of a peer that compares shapes, no message is decoded before its shape fits that of
//!   its actor's protocol.
//! - **SP-2** What does not fit is refused with the protocol, the place, and what stands there on
//!   both sides; it has not run.
//! - **SP-3** For each node at most [`PROTOCOLS_MAX`] protocols are remembered, and
//!   [`SHAPES_BYTES_MAX`] of shapes that are not compared yet, until the connection ends.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mobula_actors::Engine;
use mobula_actors::id::NodeId;
use mobula_actors::wire::{Fit, SHAPE_BYTES_MAX, Schema, Shape};

use super::directory::NAME_BYTES_MAX;

/// The bit in the hello of nodes that compare shapes.
pub(super) const SHAPES: u64 = 1;
/// Protocols that one node speaks with another.
pub const PROTOCOLS_MAX: usize = 1_024;
/// Shapes of one node that wait for their first message.
pub const SHAPES_BYTES_MAX: usize = 4 << 20;
/// The longest text about what does not fit.
const TEXT_CHARS_MAX: usize = 400;

/// The protocols of a node, and what it and others found of them.
#[derive(Default)]
pub(super) struct Shapes {
    table: Mutex<Table>,
    /// Messages of others that were refused for their shape.
    refused: AtomicU64,
}

#[derive(Default)]
struct Table {
    own: HashMap<TypeId, Arc<Own>>,
    told: HashMap<NodeId, HashMap<u32, Told>>,
    heard: HashMap<NodeId, HashMap<u32, Heard>>,
}

/// A protocol of this node.
pub(super) struct Own {
    pub(super) number: u32,
    pub(super) name: &'static str,
    shape: Shape,
    pub(super) encoded: Bytes,
}

/// What another node was told, and answered.
enum Told {
    Said,
    Fits,
    /// Why not.
    Misfits(String),
}

/// How a protocol stands with another node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The messages carry its number.
    Said,
    Fits,
    Misfits(String),
}

/// What another node said.
enum Heard {
    Said { name: String, shape: Bytes },
    Fits { name: String, appended: bool },
    Misfits { name: String, why: String },
}

/// Whether messages under a number may be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Result<(), String>,
    /// It is to be told.
    pub(super) is_news: bool,
}

impl Shapes {
    /// What this node knows of one of its protocols.
    pub(super) fn own(&self, schema: &Schema, engine: &Engine) -> Arc<Own> {
        if let Some(own) = self.table().own.get(&schema.message()) {
            return own.clone();
        }
        // Runs code of the type: not under the lock.
        let shape = schema.shape(engine);
        let encoded = shape.encode().into();
        let mut table = self.table();
        let number = u32::try_from(table.own.len() + 1).unwrap_or(u32::MAX);
        let own = || Arc::new(Own { number, name: schema.name(), shape, encoded });
        table.own.entry(schema.message()).or_insert_with(own).clone()
    }

    /// How `own` stands with `node`. `say` is called to tell it where it was not told yet, and when
    /// `again` says that it may not have heard; nobody else's message goes in between.
    pub(super) fn introduce<E>(
        &self,
        node: NodeId,
        own: &Own,
        again: bool,
        say: impl FnOnce() -> Result<(), E>,
    ) -> Result<Standing, E> {
        let mut table = self.table();
        let told = table.told.entry(node).or_default();
        match told.get(&own.number) {
            Some(Told::Fits) => return Ok(Standing::Fits),
            Some(Told::Misfits(why)) => return Ok(Standing::Misfits(why.clone())),
            Some(Told::Said) if !again => return Ok(Standing::Said),
            Some(Told::Said) => {}
            None if told.len() >= PROTOCOLS_MAX => {
                let why = format!("{}: one protocol more than {PROTOCOLS_MAX}", own.name);
                return Ok(Standing::Misfits(why));
            }
            None => {}
        }
        say()?;
        told.insert(own.number, Told::Said);
        Ok(Standing::Said)
    }

    /// Whether `node` has said that `own` fits.
    pub(super) fn fits(&self, node: NodeId, own: &Own) -> bool {
        let table = self.table();
        let told = table.told.get(&node).and_then(|told| told.get(&own.number));
        matches!(told, Some(Told::Fits))
    }

    /// `node` has compared a protocol of this node with its own.
    pub(super) fn answered(&self, node: NodeId, number: u32, misfit: Option<String>) {
        let mut table = self.table();
        if let Some(told) = table.told.get_mut(&node).and_then(|told| told.get_mut(&number)) {
            let shown = |why: String| why.escape_debug().take(TEXT_CHARS_MAX).collect();
            *told = misfit.map_or(Told::Fits, |why| Told::Misfits(shown(why)));
        }
    }

    /// `node` has said what it means by a protocol. `None` if it may not say that.
    pub(super) fn said(&self, node: NodeId, number: u32, name: String, shape: &[u8]) -> Option<()> {
        if number == 0 || name.len() > NAME_BYTES_MAX || shape.len() > SHAPE_BYTES_MAX {
            return None;
        }
        let mut table = self.table();
        let heard = table.heard.entry(node).or_default();
        if heard.contains_key(&number) {
            return Some(());
        }
        let waiting: usize = heard.values().map(Heard::bytes).sum();
        if heard.len() >= PROTOCOLS_MAX || waiting + shape.len() > SHAPES_BYTES_MAX {
            return None;
        }
        // A copy: what was received shares a larger buffer.
        heard.insert(number, Heard::Said { name, shape: Bytes::copy_from_slice(shape) });
        Some(())
    }

    /// Whether a message that `node` sent under `number` may be decoded as one of `own` (SP-1).
    pub(super) fn judge(&self, node: NodeId, number: u32, own: &Own) -> Judged {
        let mut table = self.table();
        let known = |verdict| Judged { verdict, is_news: false };
        let heard = table.heard.get_mut(&node).and_then(|heard| heard.get_mut(&number));
        let Some(heard) = heard else {
            return known(Err(format!("{}: its sender has not said its shape", own.name)));
        };
        if heard.name() != own.name {
            let theirs: String = heard.name().escape_debug().take(NAME_BYTES_MAX).collect();
            let why = format!("it is one of {theirs}, and its receiver takes {}", own.name);
            return known(Err(why));
        }
        match heard {
            Heard::Fits { .. } => known(Ok(())),
            Heard::Misfits { why, .. } => known(Err(why.clone())),
            Heard::Said { name, shape } => {
                let (name, found) = (std::mem::take(name), compare(own, shape));
                let verdict = found.as_ref().map(|_| ()).map_err(Clone::clone);
                *heard = match found {
                    Ok(fit) => Heard::Fits { name, appended: fit == Fit::Appended },
                    Err(why) => Heard::Misfits { name, why },
                };
                Judged { verdict, is_news: true }
            }
        }
    }

    /// Whether `node` has variants in this protocol that this node does not know, or the reverse.
    pub(super) fn differs(&self, node: NodeId, protocol: &str) -> bool {
        let table = self.table();
        let mut heard = table.heard.get(&node).into_iter().flat_map(HashMap::values);
        heard.any(|heard| matches!(heard, Heard::Fits { name, appended: true } if name == protocol))
    }

    /// A message was refused for its shape.
    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The connection to `node` has ended: everything is said anew on the next one.
    pub(super) fn end(&self, node: NodeId) {
        let mut table = self.table();
        table.told.remove(&node);
        table.heard.remove(&node);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code of the user runs under this lock.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn name(&self) -> &str {
        match self {
            Self::Said { name, .. } | Self::Fits { name, .. } | Self::Misfits { name, .. } => name,
        }
    }

    /// Of the shape that waits to be compared.
    fn bytes(&self) -> usize {
        match self {
            Self::Said { shape, .. } => shape.len(),
            _ => 0,
        }
    }
}

/// The text is for both sides: each finds itself as sender or receiver.
fn compare(own: &Own, theirs: &[u8]) -> Result<Fit, String> {
    let name = own.name;
    let theirs = Shape::decode(theirs).ok_or_else(|| format!("{name}: no shape"))?;
    own.shape.fit(&theirs).map_err(|misfit| {
        let (place, ours, theirs) = (misfit.place, misfit.ours, misfit.theirs);
        let why = format!("{name}: {place} is {ours} for its receiver and {theirs} for its sender");
        why.chars().take(TEXT_CHARS_MAX).collect()
    })
}

#[cfg(test)]
mod tests {
    use mobula_actors::id::PeerKey;
    use mobula_actors::protocol;
    use serde::{Deserialize, Serialize};
    use tokio::runtime::Handle;

    use super::*;

    #[derive(Serialize, Deserialize)]
    enum Old {
        Add(i64),
    }
    protocol!(Old = "test.sum/1");

    mod other {
        use super::{Deserialize, Serialize, protocol};
        #[derive(Serialize, Deserialize)]
        pub(super) enum Old {
            Add(u64),
        }
        protocol!(Old = "test.sum/1");
    }

    mod newer {
        use super::{Deserialize, Serialize, protocol};
        #[derive(Serialize, Deserialize)]
        pub(super) enum Old {
            Add(i64),
            Sub(i64),
        }
        protocol!(Old = "test.sum/1");
    }

    fn node(number: u8) -> NodeId {
        NodeId { key: PeerKey([number; 32]), boot: 1 }
    }

    fn own<M: mobula_actors::Protocol>(shapes: &Shapes) -> Arc<Own> {
        shapes.own(Schema::of::<M>(), &Engine::new(1, Handle::current()))
    }

    /// What `M` is found to be by a node that knows `Old`.
    async fn judged<M: mobula_actors::Protocol>() -> (Shapes, Judged) {
        let (sender, receiver) = (Shapes::default(), Shapes::default());
        let said = own::<M>(&sender);
        let shape = said.encoded.clone();
        receiver.said(node(1), said.number, said.name.into(), &shape).unwrap();
        let judged = receiver.judge(node(1), said.number, &own::<Old>(&receiver));
        (receiver, judged)
    }

    /// SP-1, SP-2.
    #[tokio::test]
    async fn what_fits_goes_on_and_what_does_not_is_refused_with_both_views() {
        let fits = Judged { verdict: Ok(()), is_news: true };
        let (receiver, equal) = judged::<Old>().await;
        assert_eq!(equal, fits);
        assert!(!receiver.differs(node(1), "test.sum/1"));
        assert!(!receiver.judge(node(1), 1, &own::<Old>(&receiver)).is_news, "told once");
        let (receiver, appended) = judged::<newer::Old>().await;
        assert_eq!(appended, fits);
        assert!(receiver.differs(node(1), "test.sum/1"));
        let (_, other) = judged::<other::Old>().await;
        let why = "test.sum/1: Old.Add.0 is i64 for its receiver and u64 for its sender";
        assert_eq!(other, Judged { verdict: Err(why.into()), is_news: true });
    }

    #[tokio::test]
    async fn a_number_that_was_not_said_is_refused_and_so_is_another_protocol() {
        let (receiver, _) = judged::<Old>().await;
        let mine = own::<Old>(&receiver);
        assert!(receiver.judge(node(1), 7, &mine).verdict.is_err());
        assert!(receiver.judge(node(2), 1, &mine).verdict.is_err());
        receiver.said(node(1), 2, "test.other/1".into(), &mine.encoded).unwrap();
        let why = receiver.judge(node(1), 2, &mine).verdict.unwrap_err();
        assert!(why.contains("test.other/1") && why.contains("test.sum/1"), "{why}");
        receiver.said(node(1), 3, "test.sum/1".into(), b"no shape").unwrap();
        assert!(receiver.judge(node(1), 3, &mine).verdict.is_err());
    }

    #[tokio::test]
    async fn a_protocol_is_said_once_and_anew_after_the_connection() {
        let shapes = Shapes::default();
        let mine = own::<Old>(&shapes);
        let mut said = 0;
        let mut introduce = |again| {
            shapes.introduce(node(1), &mine, again, || {
                said += 1;
                Ok::<_, ()>(())
            })
        };
        assert_eq!(introduce(false), Ok(Standing::Said));
        assert_eq!(introduce(false), Ok(Standing::Said));
        assert_eq!(introduce(true), Ok(Standing::Said));
        shapes.answered(node(1), mine.number, Some("no".into()));
        assert_eq!(introduce(true), Ok(Standing::Misfits("no".into())));
        shapes.end(node(1));
        assert_eq!(introduce(false), Ok(Standing::Said));
        shapes.answered(node(1), mine.number, None);
        assert_eq!(introduce(false), Ok(Standing::Fits));
        assert_eq!(said, 3);
        // What could not be said is said by the next.
        assert_eq!(shapes.introduce(node(2), &mine, false, || Err(1)), Err(1));
        assert_eq!(shapes.introduce(node(2), &mine, false, || Ok::<_, ()>(())), Ok(Standing::Said));
    }

    /// SP-3.
    #[tokio::test]
    async fn what_a_node_says_is_bounded() {
        let shapes = Shapes::default();
        let say = |number: u32, shape: &[u8]| shapes.said(node(1), number, "name".into(), shape);
        assert_eq!(say(0, b""), None);
        assert_eq!(say(1, &vec![0; SHAPE_BYTES_MAX + 1]), None);
        assert_eq!(shapes.said(node(1), 1, "n".repeat(NAME_BYTES_MAX + 1), b""), None);
        let most = (SHAPES_BYTES_MAX / SHAPE_BYTES_MAX) as u32;
        for number in 1..=most {
            assert_eq!(say(number, &vec![0; SHAPE_BYTES_MAX]), Some(()));
        }
        assert_eq!(say(most + 1, b"x"), None);
        shapes.end(node(1));
        for number in 1..=PROTOCOLS_MAX as u32 {
            assert_eq!(say(number, b"x"), Some(()));
        }
        assert_eq!(say(PROTOCOLS_MAX as u32 + 1, b"x"), None);
        assert_eq!(shapes.said(node(2), 1, "name".into(), b"x"), Some(()));
    }
}
