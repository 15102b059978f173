//! The decoders of this room, for the fuzz targets.

use std::{
    str,
    task::{Context, Waker},
};

use bytes::{Bytes, BytesMut};
use mobula_actors::id::PeerKey;

use super::{
    Allowlist, Certificate, Grant, Identity, Lane, Message, Revocations, certificate,
    cluster_key::ClusterKey,
    frame::{self, Violation},
    hello::{Class, Hello, VERSIONS, kind},
    lane::{Incoming, Reader},
    limits::{FRAME_BYTES_MAX, GREETING_BYTES_MAX},
    parse_key, revocations, split_address,
};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What a peer that is not admitted may send: its certificate and its hello.
pub(crate) fn greeting(bytes: &[u8]) {
    let _ = read(bytes, Lane::Control, false, |incoming| match incoming {
        Incoming::Own(header, body) => {
            assert!(body.len() <= GREETING_BYTES_MAX, "a stranger's long frame was decoded");
            match header.kind {
                kind::HELLO => hello(&body),
                kind::CERTIFICATE => certificate::read_body(&body),
                _ => {}
            }
        }
        Incoming::Message(message) => panic!("a stranger's message was decoded: {message:?}"),
    });
}

/// What a member sends on a lane.
pub(crate) fn frame(bytes: &[u8]) {
    let _ = read(bytes, Lane::Call, true, |incoming| {
        if let Incoming::Message(message) = incoming {
            assert!(message.payload.len() <= MESSAGE_BYTES_MAX, "a message beyond the bound");
        }
    });
}

fn read(
    mut bytes: &[u8],
    lane: Lane,
    admitted: bool,
    mut each: impl FnMut(Incoming),
) -> Result<(), Violation> {
    let mut reader = Reader::new(lane, MESSAGE_BYTES_MAX);
    reader.admitted = admitted;
    let mut context = Context::from_waker(Waker::noop());
    loop {
        while let Some(incoming) = reader.next()? {
            each(incoming);
        }
        let filled = reader.poll_fill(&mut bytes, &mut context);
        if !matches!(filled, std::task::Poll::Ready(Ok(1..))) {
            return Ok(());
        }
    }
}

pub(crate) fn hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes, &VERSIONS) {
        assert_eq!(Hello::decode(&hello.encode(), &VERSIONS), Ok(hello), "not what it says");
    }
}

/// What the cluster's key signed, as if the signature were right.
pub(crate) fn body(bytes: &[u8]) {
    certificate::read_body(bytes);
    revocations::read_body(bytes);
}

pub(crate) fn text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = Certificate::parse(text);
    let _ = Grant::parse(text);
    let _ = Revocations::parse(text);
    let _ = Allowlist::parse(text);
    let _ = Identity::from_secret(text);
    let _ = parse_key(text);
}

pub(crate) fn address(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = split_address(text);
    let _ = super::is_loopback(text);
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let key = ClusterKey::generate();
    let node = Identity::generate();
    let certificate = key.admit(node.peer_key(), std::time::Duration::from_secs(60));
    let list = key.revoke_nobody().revoke(&key, PeerKey([7; 32]), 9).map(|list| list.to_text());
    let hello = |class| Hello {
        versions: VERSIONS,
        features: 0,
        class,
        boot: 7,
        address: "/ip4/::/tcp/1".into(),
    };
    let mut greeting = BytesMut::new();
    frame::own(&mut greeting, kind::CERTIFICATE, 0, certificate.signed());
    frame::own(&mut greeting, kind::HELLO, 0, &hello(Class::Control).encode());
    let address = node.keypair().public().to_peer_id();
    let mut seeds = vec![
        ("hello", hello(Class::Control).encode().to_vec()),
        ("hello", hello(Class::Bulk).encode().to_vec()),
        ("greeting", greeting.to_vec()),
        ("body", certificate.signed().to_vec()),
        ("text", certificate.to_text().into_bytes()),
        ("text", list.unwrap_or_default().into_bytes()),
        ("text", format!("# members\n{:#}\n{address}\n", node.peer_key()).into_bytes()),
        ("address", format!("/ip4/127.0.0.1/tcp/7000/p2p/{address}").into_bytes()),
        ("address", format!("/ip6/::1/tcp/7000/p2p/{address}").into_bytes()),
    ];
    for payload in [0, 40, FRAME_BYTES_MAX, 2 * FRAME_BYTES_MAX] {
        seeds.push(("frame", frames(payload)));
    }
    seeds
}

/// The frames of one message, with one of the link's own between them.
fn frames(payload: usize) -> Vec<u8> {
    let payload = Bytes::from(vec![7; payload]);
    let message = Message { kind: 2, target: 0, head: Bytes::from_static(b"head"), payload };
    let (mut out, mut at) = (BytesMut::new(), 0);
    loop {
        let part = frame::begin(&mut out, Lane::Call.wire(), &message, at);
        let end = at.saturating_add(part);
        out.extend_from_slice(message.payload.get(at..end).unwrap_or_default());
        frame::own(&mut out, kind::PING, 7, &[]);
        at = end;
        if at >= message.payload.len() {
            return out.to_vec();
        }
    }
}
