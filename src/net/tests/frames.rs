//! The frame decoder against bytes that no correct peer sends.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use proptest::prelude::*;

use super::*;
use crate::net::{
    lane::{Incoming, Reader, Writer},
    limits::POLL_BYTES_MAX,
    queue::Queue,
};

const MESSAGE_BYTES_MAX: usize = 200_000;

/// A socket in memory: what is written can be read, in steps of at most `step` bytes.
pub(super) struct Pipe {
    pub(super) bytes: Vec<u8>,
    pub(super) step: usize,
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let some = bytes.len().min(self.step);
        self.bytes.extend_from_slice(&bytes[..some]);
        Poll::Ready(Ok(some))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let some = out.len().min(self.step).min(self.bytes.len());
        out[..some].copy_from_slice(&self.bytes[..some]);
        self.bytes.drain(..some);
        Poll::Ready(Ok(some))
    }
}

/// Everything the bytes decode to, up to the first violation.
fn decode(bytes: Vec<u8>, step: usize) -> Result<Vec<Message>, Violation> {
    let mut reader = Reader::new(Lane::Call, MESSAGE_BYTES_MAX);
    reader.admitted = true;
    let mut pipe = Pipe { bytes, step };
    let mut context = Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    loop {
        match reader.next()? {
            Some(Incoming::Message(message)) => messages.push(message),
            Some(Incoming::Own(..)) => {}
            None => match reader.poll_fill(&mut pipe, &mut context) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                _ => return Ok(messages),
            },
        }
    }
}

fn encode(messages: &[Message], step: usize) -> Vec<u8> {
    let queue = Queue::new(Lane::Call, usize::MAX, usize::MAX);
    for message in messages {
        queue.push(message.clone()).unwrap();
    }
    let mut writer = Writer::new(Lane::Call);
    let mut pipe = Pipe { bytes: Vec::new(), step };
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let mut budget = POLL_BYTES_MAX;
        match writer.poll(&mut pipe, Some(&queue), &mut budget, &mut context) {
            Poll::Ready(done) => return done.map(|()| pipe.bytes).unwrap(),
            Poll::Pending => assert!(budget == 0),
        }
    }
}

/// A frame of the call lane, `len` as given.
fn raw(len: u32, kind: u8, flags: u8, lane: u16, target: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(lane.to_le_bytes());
    bytes.extend(target.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    raw(u32::try_from(body.len()).unwrap(), 7, flags, 2, 1, body)
}

/// The first frame of a cut message.
fn first(total: u32, head_len: u32, rest: &[u8]) -> Vec<u8> {
    let body = [&total.to_le_bytes(), &head_len.to_le_bytes(), rest].concat();
    frame(FIRST, &body)
}

fn whole(head_len: u32, rest: &[u8]) -> Vec<u8> {
    frame(FIRST | LAST, &[&head_len.to_le_bytes(), rest].concat())
}

const FIRST: u8 = 1;
const LAST: u8 = 2;

#[test]
fn hostile_frames_are_violations_and_nothing_else() {
    // F-1, F-2
    use Violation as V;
    let max = MESSAGE_BYTES_MAX;
    let over = u32::try_from(max + 1).unwrap();
    let other_target = raw(1, 7, LAST, 2, 2, b"x");
    let other_kind = raw(1, 8, LAST, 2, 1, b"x");
    let own = raw(0, 5, FIRST | LAST, 0, 9, b"");
    let cases: Vec<(&str, Vec<u8>, V)> = vec![
        (
            "largest length",
            raw(u32::MAX, 7, 3, 2, 1, b""),
            V::FrameTooLong { bytes: 4_294_967_311 },
        ),
        ("one byte over", raw(65_521, 7, 3, 2, 1, b""), V::FrameTooLong { bytes: 65_537 }),
        ("long own frame", raw(1 << 24, 7, 3, 0, 1, b""), V::FrameTooLong { bytes: 16_777_232 }),
        ("flag 4", frame(4 | FIRST | LAST, b""), V::Flags { flags: 7 }),
        ("all flags", frame(0xff, b""), V::Flags { flags: 0xff }),
        ("flag 8 alone", frame(8, b""), V::Flags { flags: 8 }),
        (
            "a negative length",
            raw(1 << 31, 7, 3, 2, 1, b""),
            V::FrameTooLong { bytes: 2_147_483_664 },
        ),
        ("lane 4", raw(4, 7, 3, 4, 1, &[0; 4]), V::Lane { lane: 4 }),
        ("control's lane", raw(4, 7, 3, 1, 1, &[0; 4]), V::Lane { lane: 1 }),
        ("bulk's lane", raw(4, 7, 3, 3, 1, &[0; 4]), V::Lane { lane: 3 }),
        ("no lane", raw(4, 7, 3, u16::MAX, 1, &[0; 4]), V::Lane { lane: u16::MAX }),
        ("no body", frame(FIRST | LAST, b""), V::FrameTooShort),
        ("half a head length", frame(FIRST | LAST, &[0, 0, 0]), V::FrameTooShort),
        ("first without lengths", frame(FIRST, b""), V::FrameTooShort),
        ("first with one length", frame(FIRST, &[1, 0, 0, 0]), V::FrameTooShort),
        ("head beyond the frame", whole(5, b"head"), V::FrameTooShort),
        ("head of 4 GiB", whole(u32::MAX, b"head"), V::HeadTooLong { bytes: 4_294_967_295 }),
        ("head over its bound", whole(32_769, &[0; 40_000]), V::HeadTooLong { bytes: 32_769 }),
        ("head of one byte, and none", whole(1, b""), V::FrameTooShort),
        (
            "head over its bound in a first frame",
            first(9, 32_769, &[0; 40_000]),
            V::HeadTooLong { bytes: 32_769 },
        ),
        (
            "head of 4 GiB in a first frame",
            first(9, u32::MAX, b""),
            V::HeadTooLong { bytes: 4_294_967_295 },
        ),
        (
            "a part on another lane",
            [first(9, 0, b"a"), raw(1, 7, 0, 1, 1, b"b")].concat(),
            V::Lane { lane: 1 },
        ),
        ("head beyond a first frame", first(9, 8, b"head"), V::FrameTooShort),
        (
            "total of 4 GiB",
            first(u32::MAX, 0, b"x"),
            V::MessageTooLong { bytes: 4_294_967_295, max },
        ),
        ("total over the bound", first(over, 0, b"x"), V::MessageTooLong { bytes: max + 1, max }),
        ("total of nothing", first(0, 0, b""), V::Total { bytes: 0, total: 0 }),
        ("first frame is all", first(3, 0, b"abc"), V::Total { bytes: 3, total: 3 }),
        ("first frame is more", first(3, 0, b"abcd"), V::Total { bytes: 4, total: 3 }),
        ("first frame is empty", first(3, 0, b""), V::Total { bytes: 0, total: 3 }),
        ("middle without first", frame(0, b"abc"), V::PartOutOfPlace),
        ("last without first", frame(LAST, b"abc"), V::PartOutOfPlace),
        ("first in a message", [first(9, 0, b"a"), first(9, 0, b"a")].concat(), V::PartOutOfPlace),
        ("whole in a message", [first(9, 0, b"a"), whole(0, b"a")].concat(), V::PartOutOfPlace),
        ("empty part", [first(9, 0, b"a"), frame(0, b"")].concat(), V::PartOutOfPlace),
        ("another target", [first(2, 0, b"a"), other_target].concat(), V::PartOutOfPlace),
        ("another kind", [first(2, 0, b"a"), other_kind].concat(), V::PartOutOfPlace),
        (
            "parts beyond the total",
            [first(3, 0, b"a"), frame(LAST, b"bcd")].concat(),
            V::Total { bytes: 4, total: 3 },
        ),
        (
            "last too early",
            [first(9, 0, b"a"), frame(LAST, b"b")].concat(),
            V::Total { bytes: 2, total: 9 },
        ),
        ("no last", [first(2, 0, b"a"), frame(0, b"b")].concat(), V::Total { bytes: 2, total: 2 }),
        (
            "after an own frame",
            [first(2, 0, b"a"), own, frame(0, b"b")].concat(),
            V::Total { bytes: 2, total: 2 },
        ),
    ];
    assert!(cases.len() >= 40);
    for (name, bytes, violation) in cases {
        for step in [1, 7, usize::MAX] {
            assert_eq!(decode(bytes.clone(), step), Err(violation.clone()), "{name}");
        }
    }
}

#[test]
fn a_message_before_admission_is_not_decoded() {
    // N-1, N-2: even the header alone is enough to refuse it.
    let mut reader = Reader::new(Lane::Call, MESSAGE_BYTES_MAX);
    let mut pipe = Pipe { bytes: whole(0, b"")[..16].to_vec(), step: usize::MAX };
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(reader.poll_fill(&mut pipe, &mut context), Poll::Ready(Ok(16))));
    assert_eq!(reader.next().unwrap_err(), Violation::Hello);
    assert_eq!(reader.frames, 0);
}

#[test]
fn an_own_frame_between_the_parts_of_a_message_does_no_harm() {
    let bytes =
        [first(2, 1, b"ha"), raw(0, 5, FIRST | LAST, 0, 9, b""), frame(LAST, b"b")].concat();
    let message = Message { kind: 7, target: 1, head: "h".into(), payload: "ab".into() };
    assert_eq!(decode(bytes, 3), Ok(vec![message]));
}

#[test]
fn only_messages_of_which_no_byte_was_written_come_back() {
    // N-5, for messages whose frames lie in one batch, a large one behind them, and one that was
    // pushed when the batch was under way.
    let sent: Vec<Message> = [10, 20, 30, 100_000, 40].map(|bytes| message(9, bytes)).into();
    let frames = encode(&sent[..2], usize::MAX).len();
    for (written, back) in [(0, 0), (1, 1), (frames - 1, 2), (frames, 2), (frames + 1, 3)] {
        let queue = Queue::new(Lane::Call, usize::MAX, usize::MAX);
        sent[..4].iter().for_each(|message| queue.push(message.clone()).unwrap());
        let mut writer = Writer::new(Lane::Call);
        let mut pipe = Pipe { bytes: Vec::new(), step: 1 };
        let mut context = Context::from_waker(Waker::noop());
        let mut budget = written;
        let polled = writer.poll(&mut pipe, Some(&queue), &mut budget, &mut context);
        assert!(polled.is_pending() && pipe.bytes.len() == written);
        queue.push(sent[4].clone()).unwrap();
        let unwritten: Vec<Message> =
            writer.into_unwritten().into_iter().chain(queue.drain()).collect();
        assert_eq!(unwritten, sent[back..], "{written} bytes written");
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![
        8 => 0..300_usize,
        2 => 32_000..70_000_usize,
        1 => 0..=MESSAGE_BYTES_MAX,
    ];
    let head = prop_oneof![8 => 0..64_usize, 1 => 0..=32_768_usize];
    (any::<u8>(), any::<u64>(), head, payload, any::<u8>()).prop_map(
        |(kind, target, head, payload, fill)| Message {
            kind,
            target,
            head: vec![fill; head].into(),
            payload: vec![fill.wrapping_add(1); payload].into(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_is_written_is_read(
        messages in proptest::collection::vec(any_message(), 0..12),
        write_step in 1..100_000_usize,
        read_step in 100..100_000_usize,
    ) {
        prop_assert!(decode(encode(&messages, write_step), read_step) == Ok(messages));
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..4096),
        step in 1..5000_usize,
    ) {
        // F-2: no claim on the outcome but that there is one, the same in whatever steps.
        prop_assert!(decode(bytes.clone(), step) == decode(bytes, usize::MAX));
    }

    #[test]
    fn valid_frames_with_one_byte_changed_never_panic(
        messages in proptest::collection::vec(any_message(), 1..4),
        place in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = encode(&messages, usize::MAX);
        let place = place.index(bytes.len());
        bytes[place] = value;
        if let Ok(decoded) = decode(bytes, usize::MAX) {
            prop_assert!(decoded.iter().all(|message| message.payload.len() <= MESSAGE_BYTES_MAX));
        }
    }
}
