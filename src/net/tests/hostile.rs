//! What strangers and broken files hold, for every decoder that reads it before it trusts it.

use std::task::{Context, Waker};

use proptest::prelude::*;

use super::*;
use crate::net::{
    armor,
    frame::{self, Violation},
    hello::{Class, Hello},
    lane::{Incoming, Reader},
    limits::{ADDRESS_BYTES_MAX, CERTIFICATE_BYTES_MAX},
};

const CERTIFICATE: &str = "mobula certificate 1";
const REVOCATIONS: &str = "mobula revocations 1";
const MOST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
const BEYOND: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];

/// Bytes that are encoded as they are.
struct Raw(Vec<u8>);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut tuple = to.serialize_tuple(self.0.len())?;
        for byte in &self.0 {
            serde::ser::SerializeTuple::serialize_element(&mut tuple, byte)?;
        }
        serde::ser::SerializeTuple::end(tuple)
    }
}

/// Signed by the right key, and nonsense all the same.
fn signed_nonsense(key: &ClusterKey, title: &str, peer: &PeerKey) -> Vec<Vec<u8>> {
    let cluster = key.id().0;
    let named = |rest: &[u8]| [&cluster[..], rest].concat();
    let of_peer = |rest: &[u8]| [&cluster[..], &peer.0, rest].concat();
    let bodies = [
        vec![],
        vec![0],
        cluster[..31].to_vec(),
        named(&[]),
        named(&peer.0[..31]),
        of_peer(&[]),
        of_peer(&[0x80]),
        of_peer(&BEYOND),
        of_peer(&MOST),
        of_peer(&[&[1][..], &BEYOND].concat()),
        of_peer(&[1, 0x80]),
        of_peer(&[1, 2, 3]),
        of_peer(&[0; 1_000]),
        named(&MOST),
        named(&[&[1][..], &MOST].concat()),
        named(&[&[1][..], &BEYOND].concat()),
        named(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        named(&[1, 1]),
        [&[9; 32][..], &peer.0, &[1, 0xff, 0xff, 0xff, 0x0f]].concat(),
    ];
    bodies.into_iter().map(|body| key.sign(title, &Raw(body))).collect()
}

#[test]
fn certificates_and_revocations_that_are_none_are_refused() {
    // CE-1, CK-1
    let (key, peer) = (ClusterKey::generate(), PeerKey([3; 32]));
    let valid = key.admit(peer, Duration::from_secs(60));
    let mut vectors = signed_nonsense(&key, CERTIFICATE, &peer);
    // Right for something else.
    vectors.push(key.sign(REVOCATIONS, &Raw(valid.signed()[64..].to_vec())));
    vectors.push(valid.signed()[..64].to_vec());
    vectors.push(valid.signed()[64..].to_vec());
    vectors.push([valid.signed(), &[0][..]].concat());
    vectors.push(vec![0; CERTIFICATE_BYTES_MAX]);
    vectors.push(vec![0xff; CERTIFICATE_BYTES_MAX + 1]);
    let mut lists = signed_nonsense(&key, REVOCATIONS, &peer);
    // Signed when they were whole, and cut; cut, and signed so.
    let revoked = key.revoke_nobody().revoke(&key, peer, 300).unwrap();
    let revoked = armor::read(REVOCATIONS, &revoked.to_text()).unwrap();
    for (title, signed, vectors) in
        [(CERTIFICATE, &valid.signed()[..], &mut vectors), (REVOCATIONS, &revoked[..], &mut lists)]
    {
        for cut in 64..signed.len() {
            vectors.push(signed[..cut].to_vec());
            vectors.push(key.sign(title, &Raw(signed[64..cut].to_vec())));
        }
    }
    // One peer more than there is, a serial beyond 64 bits, a byte too many.
    for (count, rest) in [(2, &[1][..]), (1, &BEYOND), (1, &[1, 0])] {
        let body = [&key.id().0[..], &[1, count], &peer.0, rest].concat();
        lists.push(key.sign(REVOCATIONS, &Raw(body)));
    }
    assert!(vectors.len() >= 40 && lists.len() >= 40);
    for signed in vectors {
        assert!(Certificate::received(&signed, &key.id()).is_err(), "{signed:02x?}");
        let text = armor::write(CERTIFICATE, &signed);
        assert!(Certificate::parse(&text).is_err(), "{text}");
    }
    for signed in lists {
        let text = armor::write(REVOCATIONS, &signed);
        assert!(Revocations::parse(&text).is_err(), "{text}");
    }
}

#[test]
fn texts_that_are_none_are_refused() {
    let digits = "ab".repeat(100);
    let bodies = ["", "a", "abc", "xy", "ab cd e", "é", "\0", &digits, "-1", "0x12", "ab\u{2028}"];
    let mut texts: Vec<String> = bodies.iter().map(|body| (*body).to_owned()).collect();
    for title in
        [CERTIFICATE, REVOCATIONS, "mobula cluster key 1", "mobula certificate 2", "MOBULA"]
    {
        texts.extend(bodies.iter().map(|body| format!("{title}\n{body}")));
        texts.extend(bodies.iter().map(|body| format!("{title}{body}")));
    }
    assert!(texts.len() >= 40);
    for text in &texts {
        assert!(Certificate::parse(text).is_err(), "{text:?}");
        assert!(Revocations::parse(text).is_err(), "{text:?}");
        assert!(Identity::from_secret(text).is_err(), "{text:?}");
        assert!(parse_key(text).is_none(), "{text:?}");
        assert!(split_address(text).is_err(), "{text:?}");
    }
    let key = Identity::generate().peer_key();
    let peer = crate::net::identity::peer_id(&key).unwrap();
    for address in [
        format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}/p2p/{peer}"),
        format!("/ip4/127.0.0.1/udp/1/p2p/{peer}"),
        format!("/ip4/127.0.0.1/tcp/65536/p2p/{peer}"),
        format!("/ip4/127.0.0.256/tcp/1/p2p/{peer}"),
        format!("/dns4/localhost/tcp/1/p2p/{peer}"),
        format!("/ip4/127.0.0.1/tcp/1/ws/p2p/{peer}"),
        format!("/p2p/{peer}"),
        "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(),
    ] {
        assert!(split_address(&address).is_err(), "{address}");
    }
}

#[test]
fn hellos_that_are_none_are_violations() {
    // N-2
    let head = |low: u16, high: u16, class: u8| {
        [&low.to_le_bytes()[..], &high.to_le_bytes(), &[0; 8], &[class], &[0; 8]].concat()
    };
    let with = |address: &[u8]| [&head(1, 1, 0)[..], address].concat();
    let mut vectors: Vec<Vec<u8>> = (0..21).map(|cut| head(1, 1, 0)[..cut].to_vec()).collect();
    vectors.extend((3..=20).map(|class| head(1, 1, class)));
    vectors.extend([
        head(2, 1, 0),
        head(1, 1, 255),
        head(u16::MAX, 0, 0),
        with(b" "),
        with(b"\n"),
        with(b"\0"),
        with(b"/ip4/127.0.0.1/tcp/1\x1b[2J"),
        with("/ip4/１２７".as_bytes()),
        with(&[0xff; 4]),
        with(&[0x7f]),
        with(&[b'a'; ADDRESS_BYTES_MAX + 1]),
    ]);
    assert!(vectors.len() >= 40);
    for vector in vectors {
        let refused = Hello::decode(&vector, &(1..=1));
        assert_eq!(refused, Err(Violation::Hello.into()), "{vector:02x?}");
    }
}

#[test]
fn a_stranger_gets_no_buffer_for_a_long_frame() {
    // N-6: the header alone is refused.
    let mut reader = Reader::new(Lane::Control, 1 << 20);
    for (len, refused) in [(1_008_u32, false), (1_009, true), (60_000, true)] {
        let header = [&len.to_le_bytes()[..], &[1, 3, 0, 0], &[0; 8]].concat();
        let mut pipe = frames::Pipe { bytes: header, step: usize::MAX };
        let mut context = Context::from_waker(Waker::noop());
        assert!(reader.poll_fill(&mut pipe, &mut context).is_ready());
        assert_eq!(reader.next().is_err(), refused, "{len}");
        reader = Reader::new(Lane::Control, 1 << 20);
    }
}

/// Damaged greetings in a run of the tests; the variable `MOBULA_MUTATIONS` asks for more.
const MUTATIONS: u64 = 20_000;

fn hello() -> Hello {
    Hello { versions: 1..=1, features: 0, class: Class::Control, boot: 7, address: "/ip4".into() }
}

#[test]
fn of_damaged_greetings_no_message_is_ever_decoded() {
    // N-1: a stranger sends what members send, and all that is near it.
    let read = |name| std::env::var(name).ok().and_then(|n: String| n.parse().ok());
    let (mutations, seed) = (read("MOBULA_MUTATIONS").unwrap_or(MUTATIONS), read("MOBULA_SEED"));
    let seed = seed.unwrap_or(4);
    println!("REPRODUCE: MOBULA_MUTATIONS={mutations} MOBULA_SEED={seed}");
    let key = ClusterKey::generate();
    let certificate = key.admit(PeerKey([3; 32]), Duration::from_secs(60));
    let hello = hello();
    let mut valid = bytes::BytesMut::new();
    frame::own(&mut valid, 7, 0, certificate.signed());
    frame::own(&mut valid, 1, 0, &hello.encode());
    frame::own(&mut valid, 2, 0, &[]);
    let part = frame::begin(&mut valid, Lane::Call.wire(), &message(1, 40), 0);
    valid.extend_from_slice(&vec![7; part]);
    let mut rng = crate::machine::Rng::new(seed);
    let (mut refused, mut own) = (0_u64, 0_u64);
    for _ in 0..mutations {
        let mut bytes = valid.to_vec();
        for _ in 0..=rng.below(3) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            match rng.below(4) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][usize::try_from(rng.below(5)).unwrap()],
                2 => drop(bytes.drain(at / 2..at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let mut reader = Reader::new(Lane::Control, 1 << 20);
        let mut pipe = frames::Pipe { bytes, step: usize::MAX };
        let mut context = Context::from_waker(Waker::noop());
        assert!(reader.poll_fill(&mut pipe, &mut context).is_ready());
        loop {
            match reader.next() {
                Ok(Some(Incoming::Own(..))) => own += 1,
                Ok(Some(Incoming::Message(message))) => panic!("decoded {message:?}"),
                Ok(None) => break,
                Err(_) => break refused += 1,
            }
        }
    }
    println!("{mutations} damaged greetings, {refused} refused, {own} frames of the link's own");
    assert!(refused > mutations / 10 && own > 0, "the damage is of both kinds");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_certificates_and_hellos_are_refused_or_read_and_never_panic(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let key = ClusterKey::generate();
        let certificate = key.admit(PeerKey([3; 32]), Duration::from_secs(60));
        let hello = hello();
        for (bytes, signed) in
            [(certificate.signed().to_vec(), true), (hello.encode().to_vec(), false)]
        {
            let mut damaged = bytes.clone();
            for (place, value) in &places {
                let place = place.index(bytes.len());
                damaged[place] = *value;
            }
            if signed {
                let read = Certificate::received(&damaged, &key.id());
                prop_assert_eq!(read.is_ok(), damaged == bytes);
            } else {
                let _ = Hello::decode(&damaged, &(1..=1));
            }
            damaged.truncate(cut.index(bytes.len()));
            prop_assert!(Certificate::received(&damaged, &key.id()).is_err());
            let _ = Hello::decode(&damaged, &(1..=1));
        }
    }
}
