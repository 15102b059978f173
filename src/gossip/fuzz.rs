//! The decoder of this room, and what follows from what it decodes, for the fuzz target.

use bytes::Bytes;
use mobula_actors::id::PeerKey;

use super::{Config, Gossip, Input, Output, Record};
use crate::machine::{Machine, Time};

const ME: PeerKey = PeerKey([1; 32]);
const PEER: PeerKey = PeerKey([2; 32]);
const MINUTE: Time = Time(60_000_000);

/// A frame of a connected member, and a minute of what follows.
pub(crate) fn frame(bytes: &[u8]) {
    let (mut gossip, mut out) = (node(ME, PEER), Vec::new());
    let bytes = Bytes::copy_from_slice(bytes);
    gossip.handle(Time(1), Input::Frame { from: PEER, bytes }, &mut out);
    gossip.handle(MINUTE, Input::Tick, &mut out);
    assert!(gossip.members().count() <= Config::default().members_max, "more members than allowed");
}

fn node(me: PeerKey, peer: PeerKey) -> Gossip<PeerKey> {
    let mut gossip = Gossip::new(me, 1, 1, Config::default());
    let connected = Input::Connected { key: peer, boot: 1, address: "/ip4".to_owned() };
    gossip.handle(Time(0), connected, &mut Vec::new());
    gossip
}

/// Frames that two nodes say to each other in some seconds, one of which then goes silent.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (mut a, mut b) = (node(ME, PEER), node(PEER, ME));
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
    for step in 0..80 {
        let now = Time(step * 100_000);
        let silent = step > 30;
        let said_a = say(&mut a, now, if silent { &[] } else { &to_a }, PEER);
        let said_b = say(&mut b, now, &to_b, ME);
        frames.extend(said_a.iter().chain(&said_b).map(|bytes| bytes.to_vec()));
        (to_a, to_b) = (said_b, said_a);
    }
    frames.sort();
    frames.dedup_by_key(|frame| frame.len());
    frames
}

fn say(gossip: &mut Gossip<PeerKey>, now: Time, heard: &[Bytes], from: PeerKey) -> Vec<Bytes> {
    let mut out = Vec::new();
    gossip.handle(now, Input::LocalRecord(Record::default()), &mut out);
    for bytes in heard {
        gossip.handle(now, Input::Frame { from, bytes: bytes.clone() }, &mut out);
    }
    let sent = |output| match output {
        Output::Send { bytes, .. } => Some(bytes),
        _ => None,
    };
    out.into_iter().filter_map(sent).collect()
}
