//! Frames that no correct member sends: each is refused as a whole, and changes nothing.

use bytes::Bytes;

use super::digest::{Age, Digest, Known, RowId};
use super::message::{Body, CLAIMS_MAX, Claim, Frame, Outcome, Versioned, What};
use super::table::BUCKETS;
use super::*;

const MOST: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
const BEYOND: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
const ENDLESS: &[u8] = &[0x80; 12];
const HUGE: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];

fn age() -> Age {
    Age::new(Time(0), Time(5_000))
}

fn digest(keys: impl IntoIterator<Item = u32>) -> Digest {
    let mut rows: Vec<_> = keys.into_iter().map(|key| RowId::new(key, 1)).collect();
    rows.sort();
    rows.into_iter().map(|row| Known { row, seq: 300, age: age() }).collect()
}

fn row(key: u32, record: Record) -> Versioned<u32> {
    Versioned { key, boot: 1, seq: 300, age: age(), record }
}

fn delta(rows: Vec<Versioned<u32>>, digest: Digest) -> Body<u32> {
    Body::Delta { rows, digest, answer: true }
}

fn bodies() -> Vec<Body<u32>> {
    let named = Record { kinds: vec!["a".into()], labels: vec!["b".into()], ..Record::default() };
    vec![
        Body::Claims,
        Body::Sums(vec![300; BUCKETS]),
        Body::Compared { buckets: 300, more: true, answer: true },
        Body::Ping { nonce: 300 },
        Body::Ack { nonce: 300 },
        Body::Nack { nonce: 300 },
        Body::PingFor { nonce: 300, target: 3 },
        Body::AskDial { key: 3, boot: 300 },
        Body::Dialled { key: 3, boot: 300, outcome: Outcome::Failed },
        Body::Fenced { boot: 300, alive: 300 },
        Body::Digest(digest([3, 4])),
        delta(vec![row(3, named)], digest([3])),
    ]
}

fn claim(key: u32, what: What<u32>) -> Claim<u32> {
    Claim { key, boot: 300, what }
}

fn frame(claims: Vec<Claim<u32>>, body: Body<u32>) -> Vec<u8> {
    Frame { claims, body }.encode().to_vec()
}

/// Valid frames, cut and padded; numbers that do not end or mean nothing; more than is allowed.
fn vectors() -> Vec<Vec<u8>> {
    let mut vectors = Vec::new();
    let claims = || {
        let alive = What::Alive { incarnation: 300, address: "here".into() };
        let suspect = What::Suspect { incarnation: 300, accuser: 9 };
        vec![claim(3, alive), claim(4, suspect), claim(5, What::Dead), claim(6, What::Left)]
    };
    for body in bodies() {
        let whole = frame(claims(), body);
        vectors.extend((0..whole.len()).map(|cut| whole[..cut].to_vec()));
        vectors.push([&whole[..], &[0]].concat());
    }
    // How many claims there are; the kind of a claim; the kind of a body; an outcome; a boolean.
    for number in [MOST, BEYOND, ENDLESS, HUGE, &[1], &[0xff, 0x7f]] {
        vectors.push(number.to_vec());
        vectors.push([number, &[0]].concat());
        vectors.push([&[1, 3, 1][..], number].concat());
        vectors.push([&[0, 10][..], number].concat());
        vectors.push([&[0, 11][..], number].concat());
    }
    for kind in [&[12][..], &[0x7f], MOST, HUGE] {
        vectors.push([&[0][..], kind].concat());
    }
    vectors.push(vec![0, 8, 3, 1, 3]);
    vectors.push(vec![0, 2, 1, 2, 0]);
    vectors.extend(beyond_bounds());
    vectors
}

fn beyond_bounds() -> Vec<Vec<u8>> {
    let members = Config::default().members_max as u32;
    let record = |change: fn(&mut Record)| {
        let mut record = Record::default();
        change(&mut record);
        frame(Vec::new(), delta(vec![row(3, record)], Digest::default()))
    };
    let long = What::Alive { incarnation: 0, address: "a".repeat(ADDRESS_BYTES_MAX + 1) };
    let rows = (0..=members).map(|key| row(key, Record::default())).collect();
    let all = || digest(0..=members);
    vec![
        vec![0; FRAME_BYTES_MAX + 1],
        frame(vec![claim(3, What::Dead); CLAIMS_MAX + 1], Body::Claims),
        frame(vec![claim(3, long)], Body::Claims),
        frame(Vec::new(), Body::Sums(vec![0; BUCKETS - 1])),
        frame(Vec::new(), Body::Digest(all())),
        frame(Vec::new(), delta(rows, Digest::default())),
        frame(Vec::new(), delta(Vec::new(), all())),
        record(|record| record.kinds = vec!["a".into(); KINDS_MAX + 1]),
        record(|record| record.labels = vec!["a".into(); LABELS_MAX + 1]),
        record(|record| record.kinds = vec!["a".repeat(NAME_BYTES_MAX + 1)]),
        record(|record| record.labels = vec!["a".repeat(NAME_BYTES_MAX + 1)]),
        record(|record| record.address = "a".repeat(ADDRESS_BYTES_MAX + 1)),
    ]
}

#[test]
fn frames_that_are_none_are_violations_and_change_nothing() {
    // G-8
    let mut gossip = Gossip::new(1_u32, 1, 1, Config::default());
    let connected = Input::Connected { key: 2, boot: 1, address: "2".to_owned() };
    gossip.handle(Time(0), connected, &mut Vec::new());
    let table = |gossip: &Gossip<u32>| format!("{:?}", gossip.members().collect::<Vec<_>>());
    let before = table(&gossip);
    let vectors = vectors();
    assert!(vectors.len() >= 200);
    for (counted, vector) in (1..).zip(vectors) {
        let shown = format!("{:02x?}", &vector[..vector.len().min(80)]);
        let bytes = Bytes::from(vector);
        gossip.handle(Time(1), Input::Frame { from: 2, bytes }, &mut Vec::new());
        assert_eq!(gossip.violations(), counted, "{shown}");
        assert_eq!(table(&gossip), before, "{shown}");
    }
}

#[test]
fn valid_frames_of_every_body_are_none_of_these() {
    for body in bodies() {
        let sent = Frame { claims: Vec::new(), body };
        assert_eq!(Frame::decode(&sent.encode(), &Config::default()), Some(sent));
    }
}
