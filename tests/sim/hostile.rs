//! G-7, G-8, C-1: whatever an authenticated peer sends, a node stands.

use bytes::Bytes;
use mobula::gossip::{Config, Event, FRAME_BYTES_MAX, Gossip, Input, Output, Record};
use mobula::machine::{Machine, Rng, Time};
use proptest::prelude::*;

fn node_with_peer() -> Gossip<u32> {
    let mut gossip = Gossip::new(1, 1, 1, Config::default());
    let connected = Input::Connected { key: 2, boot: 1, address: "2".to_owned() };
    gossip.handle(Time(0), connected, &mut Vec::new());
    gossip
}

fn table(gossip: &Gossip<u32>) -> String {
    let rows: Vec<_> = gossip.rows(Time(0)).collect();
    format!("{:?} {rows:?}", gossip.members().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    // G-8: what does not decode changes nothing; C-1: nothing panics, decoded or not.
    #[test]
    fn random_bytes_never_panic_and_what_is_refused_changes_nothing(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 200)
    ) {
        let mut gossip = node_with_peer();
        for (step, frame) in frames.into_iter().enumerate() {
            let before = table(&gossip);
            let mut out = Vec::new();
            let bytes = Bytes::from(frame);
            gossip.handle(Time(1 + step as u64), Input::Frame { from: 2, bytes }, &mut out);
            if out.contains(&Output::Event(Event::Violation { from: 2 })) {
                prop_assert_eq!(before, table(&gossip));
            }
        }
        let mut end = Vec::new();
        gossip.handle(Time(60_000_000), Input::Tick, &mut end);
    }
}

/// Frames as a real cluster sends them, to be damaged.
fn real_frames() -> Vec<Bytes> {
    let mut nodes = [1, 2, 3].map(|key| Gossip::new(key, 1, key.into(), Config::default()));
    let mut frames = Vec::new();
    for step in 0..40 {
        for (at, node) in nodes.iter_mut().enumerate() {
            let mut out = Vec::new();
            let input = match (step, at) {
                (0, _) => Input::LocalRecord(Record::default()),
                (1 | 2, _) if step != at + 1 => {
                    Input::Connected { key: step as u32, boot: 1, address: "x".to_owned() }
                }
                (20, 0) => Input::ConnectionClosed { key: 2, bye: false },
                _ => Input::Tick,
            };
            node.handle(Time(step as u64 * 100_000), input, &mut out);
            frames.extend(out.into_iter().filter_map(|output| match output {
                Output::Send { bytes, .. } => Some(bytes),
                _ => None,
            }));
        }
    }
    frames
}

// C-1: what decodes but never made sense must not panic either, now or later.
#[test]
fn damaged_real_frames_never_panic() {
    let frames = real_frames();
    assert!(frames.len() > 50);
    let mut rng = Rng::new(1);
    for _ in 0..200 {
        let mut gossip = node_with_peer();
        let mut now = Time(0);
        let mut out = Vec::new();
        for _ in 0..200 {
            let mut bytes = frames[rng.below(frames.len() as u64) as usize].to_vec();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            now = Time(now.0 + rng.below(50_000));
            let input = Input::Frame { from: 2, bytes: Bytes::from(bytes) };
            gossip.handle(now, input, &mut out);
        }
        gossip.handle(Time(now.0 + 60_000_000), Input::Tick, &mut out);
        assert!(gossip.members().count() < Config::default().members_max);
    }
}

#[test]
fn frame_above_the_limit_is_a_violation_and_one_of_a_stranger_is_ignored() {
    let mut gossip = node_with_peer();
    let before = table(&gossip);
    let bytes = Bytes::from(vec![0; FRAME_BYTES_MAX + 1]);
    let mut out = Vec::new();
    gossip.handle(Time(1), Input::Frame { from: 2, bytes: bytes.clone() }, &mut out);
    assert!(out.contains(&Output::Event(Event::Violation { from: 2 })));
    out.clear();
    gossip.handle(Time(2), Input::Frame { from: 3, bytes }, &mut out);
    assert_eq!((out.len(), gossip.violations()), (0, 1));
    assert_eq!(before, table(&gossip));
}

// G-7
#[test]
fn newcomer_beyond_the_most_members_is_refused() {
    let config = Config { members_max: 3, ..Config::default() };
    let mut gossip = Gossip::new(1, 1, 1, config);
    let mut out = Vec::new();
    for key in 2..=4 {
        let connected = Input::Connected { key, boot: 1, address: String::new() };
        gossip.handle(Time(0), connected, &mut out);
    }
    assert!(out.contains(&Output::Event(Event::Full { key: 4 })));
    assert_eq!(gossip.members().count(), 2);
}
