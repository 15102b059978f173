//! G-3, G-4: what a closed connection and the end of a dial do to one machine.

use mobula::gossip::{Config, Event, Gossip, Input, Output, State};
use mobula::machine::{Machine, Time};

fn connected(key: u32, boot: u64) -> Input<u32> {
    Input::Connected { key, boot, address: format!("{key}@{boot}") }
}

/// Node 1, connected to `peers`.
fn node(peers: &[u32]) -> Gossip<u32> {
    let mut gossip = Gossip::new(1, 1, 1, Config::default());
    for &key in peers {
        step(&mut gossip, connected(key, 1));
    }
    gossip
}

fn step(gossip: &mut Gossip<u32>, input: Input<u32>) -> Vec<Output<u32>> {
    let mut out = Vec::new();
    gossip.handle(Time(1_000), input, &mut out);
    out
}

fn dials(out: &[Output<u32>]) -> Vec<(u32, &str)> {
    let dial = out.iter().filter_map(|output| match output {
        Output::Dial { key, address } => Some((*key, address.as_str())),
        _ => None,
    });
    dial.collect()
}

#[test]
fn closed_connection_is_dialled_and_one_closed_with_bye_is_not() {
    let mut gossip = node(&[2, 3]);
    let out = step(&mut gossip, Input::ConnectionClosed { key: 2, bye: true });
    assert_eq!(dials(&out), []);
    let out = step(&mut gossip, Input::ConnectionClosed { key: 3, bye: false });
    assert_eq!(dials(&out), [(3, "3@1")]);
}

#[test]
fn own_refused_dial_is_enough_where_nobody_else_can_be_asked() {
    let mut gossip = node(&[2]);
    step(&mut gossip, Input::ConnectionClosed { key: 2, bye: false });
    let out = step(&mut gossip, Input::DialRefused { key: 2 });
    assert!(out.contains(&Output::Event(Event::Dead { key: 2, boot: 1 })));
}

#[test]
fn own_refused_dial_is_not_enough_while_another_member_did_not_answer() {
    let mut gossip = node(&[2, 3]);
    step(&mut gossip, Input::ConnectionClosed { key: 2, bye: false });
    step(&mut gossip, Input::DialRefused { key: 2 });
    assert_eq!(gossip.member(2).map(|member| member.state), Some(State::Alive));
    // The only one who could still know is gone as well: nobody is left to ask.
    let out = step(&mut gossip, Input::ConnectionClosed { key: 3, bye: false });
    assert!(out.contains(&Output::Event(Event::Dead { key: 2, boot: 1 })));
}

#[test]
fn refused_dial_that_nobody_asked_for_and_a_failed_one_prove_nothing() {
    let mut gossip = node(&[2]);
    step(&mut gossip, Input::ConnectionClosed { key: 2, bye: true });
    step(&mut gossip, Input::DialRefused { key: 2 });
    assert_eq!(gossip.member(2).map(|member| member.state), Some(State::Alive));
    step(&mut gossip, connected(2, 1));
    step(&mut gossip, Input::ConnectionClosed { key: 2, bye: false });
    step(&mut gossip, Input::DialFailed { key: 2 });
    assert_eq!(gossip.member(2).map(|member| member.state), Some(State::Alive));
}

#[test]
fn refused_dial_to_an_old_life_is_no_word_against_the_new_one() {
    let mut gossip = node(&[2]);
    step(&mut gossip, Input::ConnectionClosed { key: 2, bye: false });
    // Another node has met the new life and says so; the dial to the old one is still under way.
    step(&mut gossip, connected(3, 1));
    let mut other = Gossip::new(3, 1, 3, Config::default());
    step(&mut other, connected(2, 2));
    for output in step(&mut other, connected(1, 1)) {
        if let Output::Send { to: 1, bytes } = output {
            step(&mut gossip, Input::Frame { from: 3, bytes });
        }
    }
    assert_eq!(gossip.member(2).map(|member| member.boot), Some(2));
    let out = step(&mut gossip, Input::DialRefused { key: 2 });
    assert_eq!(dials(&out), [(2, "2@2")], "the new life is dialled instead");
    assert_eq!(gossip.member(2).map(|member| member.state), Some(State::Alive));
}
