//! What was recorded of each version of the wire is still read, and written, byte for byte: see
//! `tests/corpus/README.md`.

use std::fs;

use mobula_actors::id::PeerKey;
use mobula_actors::wire::{Schema, Shape};
use mobula_actors::{Engine, Lost, Why};
use tokio::runtime::Handle;

use super::*;
use crate::net::Lane;
use crate::net::tests::corpus::{folders, lay, own_frames, take};
use crate::node::service::NodeMsg;

/// The name of the recorded shape of what nodes ask each other.
const QUESTIONS: &str = "shape-mobula.node.bin";

fn node(number: u8) -> NodeId {
    NodeId { key: PeerKey([number; 32]), boot: 1_700_000_000_000 }
}

fn actor() -> ActorId {
    ActorId { origin: 0x0123_4567_89ab_cdef, number: 300 }
}

fn message(head: &MessageHead, target: u64, behind: &[u8], payload: Vec<u8>) -> Message {
    let head = [&encode(head, 0)[..], behind].concat().into();
    Message { kind: MESSAGE, target, head, payload: payload.into() }
}

fn messages() -> Vec<(&'static str, Lane, Message)> {
    let head = |body_behind, sizes: &[u32]| MessageHead {
        actor: actor(),
        epoch: Epoch(3),
        rest_us: None,
        calls: Vec::new(),
        parts: Parts { body_behind, sizes: sizes.to_vec() },
    };
    let call = MessageHead {
        rest_us: Some(4_999_000),
        calls: vec![(None, 7), (Some(node(9)), 8)],
        ..head(false, &[3, 2])
    };
    let pattern = |bytes: usize| (0..bytes).map(|at| at as u8).collect::<Vec<u8>>();
    let whole = message(&head(true, &[10_000]), 0, b"", pattern(10_000));
    let cut = message(&head(false, &[70_000]), 0, b"body", pattern(70_000));
    vec![
        ("message-cast", Lane::Call, message(&head(false, &[]), 0, b"body", vec![])),
        ("message-call", Lane::Call, message(&call, 5, b"body", b"abcde".to_vec())),
        ("message-large-body", Lane::Call, whole),
        ("message-in-parts", Lane::Bulk, cut),
    ]
}

fn replies() -> Vec<(&'static str, Lane, Message)> {
    let refused = |outcome| {
        bare(REPLY, &ReplyHead { number: 7, outcome: Err(outcome), parts: Parts::default() })
    };
    let answer = ReplyHead {
        number: 7,
        outcome: Ok(()),
        parts: Parts { body_behind: false, sizes: vec![3] },
    };
    let head = [&encode(&answer, 0)[..], b"answer"].concat().into();
    let answer = Message { kind: REPLY, target: 0, head, payload: Bytes::from_static(b"abc") };
    let large = Why::TooLarge { bytes: 2 << 20, max: 1 << 20 };
    let text = || "text".to_owned();
    vec![
        ("reply-answer", Lane::Call, answer),
        ("reply-rejected", Lane::Call, refused(CallError::Rejected(Why::NoRoute))),
        ("reply-too-large", Lane::Call, refused(CallError::Rejected(large))),
        ("reply-misfit", Lane::Call, refused(CallError::Rejected(Why::Incompatible(text())))),
        ("reply-restarted", Lane::Call, refused(CallError::Rejected(Why::Restarted))),
        ("reply-unknown", Lane::Call, refused(CallError::Unknown(Lost::Dropped))),
        ("reply-undecodable", Lane::Call, refused(CallError::Unknown(Lost::Undecodable(text())))),
    ]
}

fn others() -> Vec<(&'static str, Lane, Message)> {
    let shape = ShapeHead { number: 5, name: "shop.counter/1".into() };
    let payload = Bytes::from(Shape::unknown().encode());
    let fits = |misfit: Option<&str>| FitsHead { number: 5, misfit: misfit.map(str::to_owned) };
    vec![
        ("credit", Lane::Control, bare(CREDIT, &CreditHead { actor: actor(), messages: 16 })),
        ("gone", Lane::Control, bare(GONE, &GoneHead { actor: actor() })),
        ("handed", Lane::Call, bare(HANDED, &HandedHead { number: 7, to: node(4) })),
        ("shape", Lane::Call, Message { payload, ..bare(SHAPE, &shape) }),
        ("fits", Lane::Control, bare(FITS, &fits(None))),
        ("fits-not", Lane::Control, bare(FITS, &fits(Some("why")))),
    ]
}

/// Name and bytes of one frame or message of each kind, as this version writes them.
fn samples() -> Vec<(String, Vec<u8>)> {
    let all = messages().into_iter().chain(replies()).chain(others());
    let laid = all.map(|(name, lane, message)| (name.to_owned(), lay(lane, &message)));
    laid.chain(own_frames()).map(|(name, bytes)| (format!("{name}.bin"), bytes)).collect()
}

/// Reads a frame, and writes it again.
fn again(message: &Message) -> Option<Message> {
    fn head<T: Serialize + DeserializeOwned>(message: &Message) -> Option<Bytes> {
        let (head, behind) = split::<T>(&message.head)?;
        Some([&encode(&head, 0)[..], &behind].concat().into())
    }
    let head = match message.kind {
        MESSAGE => head::<MessageHead>(message),
        REPLY => head::<ReplyHead>(message),
        CREDIT => whole::<CreditHead>(message).and_then(|_| head::<CreditHead>(message)),
        GONE => whole::<GoneHead>(message).and_then(|_| head::<GoneHead>(message)),
        HANDED => whole::<HandedHead>(message).and_then(|_| head::<HandedHead>(message)),
        SHAPE => Shape::decode(&message.payload).and_then(|_| head::<ShapeHead>(message)),
        FITS => whole::<FitsHead>(message).and_then(|_| head::<FitsHead>(message)),
        _ => None,
    };
    head.map(|head| Message { head, ..message.clone() })
}

#[tokio::test]
async fn what_was_recorded_is_read_and_written_as_it_was() {
    let (newest, all) = folders();
    let questions = Schema::of::<NodeMsg>().shape(&Engine::new(1, Handle::current()));
    if std::env::var_os("MOBULA_RECORD").is_some() {
        fs::create_dir_all(&newest).unwrap();
        for (name, bytes) in samples() {
            fs::write(newest.join(name), bytes).unwrap();
        }
        fs::write(newest.join(QUESTIONS), questions.encode()).unwrap();
    }
    for (name, bytes) in samples() {
        let recorded = fs::read(newest.join(&name)).unwrap_or_else(|_| panic!("{name} is missing"));
        assert_eq!(recorded, bytes, "{name} is written otherwise: raise the version");
    }
    for folder in all {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            if path.ends_with(QUESTIONS) {
                let recorded = Shape::decode(&bytes).unwrap();
                let fits = questions.fit(&recorded);
                assert!(fits.is_ok(), "{}: {}", path.display(), fits.unwrap_err());
                continue;
            }
            let Some((lane, message)) = take(&bytes) else { continue };
            let written =
                again(&message).unwrap_or_else(|| panic!("{} is not read", path.display()));
            assert_eq!(lay(lane, &written), bytes, "{}", path.display());
        }
    }
}
