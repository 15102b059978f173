//! Bytes as they lie on a lane, for the recorded corpus: see `tests/corpus/README.md`.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use crate::net::{
    Lane, Message,
    frame::{self, Assembler, HEADER, Header, OWN},
    hello::{Class, Hello, VERSIONS, kind},
    limits::Limits,
};

/// The folder of one version, and all those that this version reads.
pub(crate) fn folders() -> (PathBuf, Vec<PathBuf>) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let folder = |version: u16| root.join(version.to_string());
    (folder(*VERSIONS.end()), VERSIONS.map(folder).collect())
}

/// A message as its frames lie on a lane.
pub(crate) fn lay(lane: Lane, message: &Message) -> Vec<u8> {
    let (mut out, mut offset) = (BytesMut::new(), 0);
    loop {
        let part = frame::begin(&mut out, lane.wire(), message, offset);
        out.extend_from_slice(&message.payload[offset..offset + part]);
        offset += part;
        if offset == message.payload.len() {
            return out.into();
        }
    }
}

/// The message whose frames these are; `None` for one of the link's own frames that is read.
pub(crate) fn take(mut bytes: &[u8]) -> Option<(Lane, Message)> {
    let first = Header::peek(bytes).unwrap();
    if first.lane == OWN {
        assert!(own_is_read(first.kind, &bytes[HEADER..]), "kind {}", first.kind);
        return None;
    }
    let lane = Lane::ALL.into_iter().find(|lane| lane.wire() == first.lane).unwrap();
    let mut assembler = Assembler::new(first.lane, Limits::default().bulk_message_bytes_max);
    loop {
        let header = Header::peek(bytes).unwrap();
        let end = header.frame_bytes().unwrap();
        let body = Bytes::copy_from_slice(&bytes[HEADER..end]);
        bytes = &bytes[end..];
        if let Some(message) = assembler.frame(&header, body).unwrap() {
            assert!(bytes.is_empty(), "one message");
            return Some((lane, message));
        }
    }
}

/// The link's own frames, apart from certificates, which `certificate` keeps.
pub(crate) fn own_frames() -> Vec<(String, Vec<u8>)> {
    let own = |name: &str, kind: u8, target: u64, body: &[u8]| {
        let mut out = BytesMut::new();
        frame::own(&mut out, kind, target, body);
        (format!("own-{name}"), out.to_vec())
    };
    let hello = |class, address: &str| {
        Hello { versions: 1..=1, features: 1, class, boot: 77, address: address.into() }.encode()
    };
    vec![
        own("hello-control", kind::HELLO, 0, &hello(Class::Control, "/ip4/127.0.0.1/tcp/7000")),
        own("hello-bulk", kind::HELLO, 0, &hello(Class::Bulk, "")),
        own("hello-observer", kind::HELLO, 0, &hello(Class::Observer, "")),
        own("open", kind::OPEN, 0, &[]),
        own("spare", kind::SPARE, 0, &[]),
        own("bye", kind::BYE, 0, &[]),
        own("ping", kind::PING, 9, &[]),
        own("pong", kind::PONG, 9, &[]),
    ]
}

fn own_is_read(number: u8, body: &[u8]) -> bool {
    match number {
        kind::HELLO => Hello::decode(body, &VERSIONS).is_ok_and(|hello| hello.encode() == body),
        kind::OPEN | kind::SPARE | kind::BYE | kind::PING | kind::PONG => body.is_empty(),
        _ => false,
    }
}
