//! The table of members and the view, claim by claim. Whole clusters are in `tests/sim`.

use super::message::{Claim, What};
use super::*;

const BOOT: u64 = 1;

/// Node 1, connected to 2 and 3, whose records it has.
fn node() -> Gossip<u32> {
    let mut gossip = Gossip::new(1, BOOT, 1, Config::default());
    for key in [2, 3] {
        let address = key.to_string();
        step(&mut gossip, 0, Input::Connected { key, boot: BOOT, address });
        frame(&mut gossip, 0, key, Vec::new(), record(key, 1, Record::default()));
    }
    gossip
}

fn record(key: u32, seq: u64, record: Record) -> Body<u32> {
    let age = digest::Age::new(Time(0), Time(0));
    let rows = vec![message::Versioned { key, boot: BOOT, seq, age, record }];
    Body::Delta { rows, digest: digest::Digest::default(), answer: false }
}

fn step(gossip: &mut Gossip<u32>, at_ms: u64, input: Input<u32>) -> Vec<Event<u32>> {
    let mut out = Vec::new();
    gossip.handle(Time(at_ms * 1_000), input, &mut out);
    let event = |output| match output {
        Output::Event(event) => Some(event),
        _ => None,
    };
    out.into_iter().filter_map(event).collect()
}

fn frame(
    gossip: &mut Gossip<u32>,
    at_ms: u64,
    from: u32,
    claims: Vec<Claim<u32>>,
    body: Body<u32>,
) -> Vec<Event<u32>> {
    step(gossip, at_ms, Input::Frame { from, bytes: Frame { claims, body }.encode() })
}

fn claim(key: u32, what: What<u32>) -> Claim<u32> {
    Claim { key, boot: BOOT, what }
}

/// Lets time pass while 2 is heard and 3 is silent, and node 1 accuses nobody itself.
fn wait(gossip: &mut Gossip<u32>, from_ms: u64, to_ms: u64) -> Vec<(u64, Event<u32>)> {
    let mut events = Vec::new();
    for at in (from_ms..to_ms).step_by(100) {
        gossip.membership.probes.open.clear();
        let seen = frame(gossip, at, 2, Vec::new(), Body::Claims);
        events.extend(seen.into_iter().map(|event| (at, event)));
    }
    events
}

fn accuse(gossip: &mut Gossip<u32>, accuser: u32) -> Vec<Event<u32>> {
    let what = What::Suspect { incarnation: 0, accuser };
    frame(gossip, 0, 2, vec![claim(3, what)], Body::Claims)
}

// G-3
#[test]
fn one_accuser_where_two_could_accuse_kills_nobody() {
    let mut gossip = node();
    assert_eq!(accuse(&mut gossip, 2), [Event::Suspect { key: 3, boot: BOOT }]);
    assert_eq!(accuse(&mut gossip, 2), [], "an accuser counts once");
    let events = wait(&mut gossip, 100, 30_000);
    assert_eq!(events, [(24_000, Event::Reachable { key: 3, boot: BOOT })]);
}

// G-3
#[test]
fn two_accusers_make_unreachable_at_once_and_dead_when_the_suspicion_expires() {
    let mut gossip = node();
    accuse(&mut gossip, 2);
    assert_eq!(accuse(&mut gossip, 7), [Event::Unreachable { key: 3, boot: BOOT }]);
    let events = wait(&mut gossip, 100, 30_000);
    assert_eq!(events, [(4_000, Event::Dead { key: 3, boot: BOOT })]);
    assert_eq!(gossip.view.rows(Time(0)).filter(|row| row.key == 3).count(), 0);
}

// G-2
#[test]
fn higher_incarnation_refutes_and_the_same_one_does_not() {
    let mut gossip = node();
    accuse(&mut gossip, 2);
    let alive = |incarnation| What::Alive { incarnation, address: String::new() };
    assert_eq!(frame(&mut gossip, 1, 2, vec![claim(3, alive(0))], Body::Claims), []);
    let refuted = frame(&mut gossip, 2, 2, vec![claim(3, alive(1))], Body::Claims);
    assert_eq!(refuted, [Event::Reachable { key: 3, boot: BOOT }]);
    assert_eq!(accuse(&mut gossip, 2), [], "an accusation of the old incarnation is stale");
}

/// What node 1 tells `to` of `about`, alone and not by the way.
fn told(outputs: &[Output<u32>], to: u32, about: u32) -> Vec<What<u32>> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send { to: receiver, bytes } if *receiver == to => {
            Frame::<u32>::decode(bytes, &Config::default())
        }
        _ => None,
    });
    let claims = frames.filter(|frame| matches!(frame.body, Body::Claims)).flat_map(|f| f.claims);
    claims.filter(|claim| claim.key == about).map(|claim| claim.what).collect()
}

// G-2: the refutation may have passed this peer by.
#[test]
fn whoever_still_suspects_this_node_is_answered_though_it_was_refuted_before() {
    let mut gossip = node();
    let doubt = || vec![claim(1, What::Suspect { incarnation: 0, accuser: 3 })];
    frame(&mut gossip, 1, 2, doubt(), Body::Claims);
    for at in 10..40 {
        step(&mut gossip, at * 1_000, Input::Tick);
    }
    let mut out = Vec::new();
    let bytes = Frame { claims: doubt(), body: Body::Claims }.encode();
    gossip.handle(Time(40_000_000), Input::Frame { from: 3, bytes }, &mut out);
    let refuted = What::Alive { incarnation: 1, address: String::new() };
    assert!(told(&out, 3, 1).contains(&refuted), "{out:?}");
}

// G-2: its answer comes here, whoever else hears of it.
#[test]
fn a_member_is_told_at_once_that_it_is_suspected() {
    let mut gossip = node();
    let what = What::Suspect { incarnation: 0, accuser: 2 };
    let bytes = Frame { claims: vec![claim(3, what.clone())], body: Body::Claims }.encode();
    let mut out = Vec::new();
    gossip.handle(Time(1), Input::Frame { from: 2, bytes }, &mut out);
    assert!(told(&out, 3, 3).contains(&what), "{out:?}");
}

// G-1
#[test]
fn dead_life_stays_dead_whatever_is_claimed_and_a_larger_boot_lives() {
    let mut gossip = node();
    frame(&mut gossip, 1, 2, vec![claim(3, What::Dead)], Body::Claims);
    let alive = What::Alive { incarnation: 9, address: String::new() };
    frame(&mut gossip, 2, 2, vec![claim(3, alive.clone())], Body::Claims);
    frame(&mut gossip, 2, 3, Vec::new(), Body::Claims);
    assert_eq!(gossip.member(3).map(|member| member.state), Some(State::Dead));
    let newer = Claim { key: 3, boot: BOOT + 1, what: alive };
    let born = frame(&mut gossip, 3, 2, vec![newer], Body::Claims);
    assert_eq!(born, [Event::Alive { key: 3, boot: BOOT + 1, address: String::new() }]);
}

// G-3: whoever was not running has no word on the silence of others.
#[test]
fn node_that_did_not_run_for_a_while_accuses_nobody() {
    let mut gossip = node();
    let probing = |gossip: &Gossip<u32>| !gossip.membership.probes.open.is_empty();
    let started = (1..2_000).find(|&at| {
        step(&mut gossip, at, Input::Tick);
        probing(&gossip)
    });
    let started = started.expect("a probe within two periods");
    assert_eq!(step(&mut gossip, started + 10_000, Input::Tick), []);
    assert!(!probing(&gossip));
}

// G-5
#[test]
fn node_told_of_its_death_by_enough_says_so_once_and_falls_silent() {
    let mut gossip = node();
    let fenced = Body::Fenced { boot: BOOT, alive: 2 };
    assert_eq!(frame(&mut gossip, 1_000, 2, Vec::new(), fenced), [], "one of two");
    let ping = Body::Ping { nonce: 1 };
    let told = frame(&mut gossip, 1_001, 3, vec![claim(1, What::Dead)], ping);
    assert_eq!(told, [Event::SelfDeclaredDead { boot: BOOT }]);
    assert_eq!(step(&mut gossip, 60_000, Input::Tick), []);
    assert_eq!(gossip.poll_timeout(), None);
}

// G-5: also when it says so again and again, and of a life to come; it is told the same.
#[test]
fn one_member_alone_ends_nobody() {
    let mut gossip = node();
    for at in 1..50 {
        let claims = vec![Claim { key: 1, boot: BOOT + at, what: What::Dead }];
        assert_eq!(frame(&mut gossip, at * 300, 2, claims, Body::Claims), []);
        let mut out = Vec::new();
        let accusation: Frame<u32> =
            Frame { claims: Vec::new(), body: Body::Fenced { boot: BOOT, alive: 99 } };
        let bytes = accusation.encode();
        let now = Time((at * 300 + 250) * 1_000);
        gossip.handle(now, Input::Frame { from: 2, bytes }, &mut out);
        let answer = message::plain(2, Body::Fenced { boot: BOOT, alive: 3 });
        assert!(out.contains(&answer), "{out:?}");
    }
}

// G-5: and does not make the word of another enough.
#[test]
fn the_weaker_side_of_a_partition_is_no_accuser() {
    let mut gossip = node();
    frame(&mut gossip, 1, 2, vec![claim(3, What::Dead)], Body::Claims);
    let fenced = || Body::Fenced { boot: BOOT, alive: 1 };
    assert_eq!(frame(&mut gossip, 2, 3, Vec::new(), fenced()), []);
    assert_eq!(frame(&mut gossip, 3, 2, Vec::new(), fenced()), [], "one of two");
}

// G-5: as long as it hears the life that a newcomer's table holds dead.
#[test]
fn verdict_that_comes_with_a_table_gives_way_to_what_is_heard() {
    let mut gossip = node();
    let table = || Body::Compared { buckets: 0, more: false, answer: false };
    assert_eq!(frame(&mut gossip, 1, 2, vec![claim(3, What::Dead)], table()), []);
    assert_eq!(gossip.member(3).map(|member| member.state), Some(State::Alive));
    step(&mut gossip, 2, Input::ConnectionClosed { key: 3, bye: false });
    let died = frame(&mut gossip, 3, 2, vec![claim(3, What::Dead)], table());
    assert_eq!(died, [Event::Dead { key: 3, boot: BOOT }]);
}

// G-6
#[test]
fn older_version_of_a_record_and_one_of_an_unknown_node_are_not_taken() {
    let mut gossip = node();
    let rows =
        |key, seq, cpu_milli_free| record(key, seq, Record { cpu_milli_free, ..Record::default() });
    let changed = frame(&mut gossip, 1, 2, Vec::new(), rows(3, 5, 50));
    assert_eq!(changed, [Event::RecordChanged { key: 3, boot: BOOT }]);
    assert_eq!(frame(&mut gossip, 2, 2, Vec::new(), rows(3, 4, 40)), []);
    assert_eq!(frame(&mut gossip, 2, 2, Vec::new(), rows(9, 1, 10)), []);
    assert_eq!(frame(&mut gossip, 2, 2, Vec::new(), rows(1, 9, 10)), [], "its own is its own");
    let free: Vec<u64> = gossip.rows(Time(0)).map(|row| row.record.cpu_milli_free).collect();
    assert_eq!(free, [0, 50]);
}
