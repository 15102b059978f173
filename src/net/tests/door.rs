//! Who comes in, and what happens to everybody else.

use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// A bare libp2p node, which opens no substream.
pub(super) fn mute(identity: &Identity) -> libp2p::Swarm<libp2p::swarm::dummy::Behaviour> {
    libp2p::SwarmBuilder::with_existing_identity(identity.keypair())
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_behaviour(|_| libp2p::swarm::dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(4 * PATIENCE))
        .build()
}

pub(super) async fn until_established(mute: &mut libp2p::Swarm<libp2p::swarm::dummy::Behaviour>) {
    loop {
        let event = tokio::time::timeout(PATIENCE, mute.select_next_some()).await.unwrap();
        if matches!(event, SwarmEvent::ConnectionEstablished { .. }) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_denied_and_members_talk_on() {
    // N-1
    let (mut a, mut b) = pair_with(|config| config.limits.heartbeat = 2 * PATIENCE).await;
    a.dial(&b);
    let (to_b, _) = (a.up().await, b.up().await);
    // The hello and the choice of a, whose key is the smaller one; counted when all is delivered.
    while b.net.counts().frames < 2 {
        tokio::task::yield_now().await;
    }
    let before = b.net.counts();
    let stranger = Identity::generate();
    // The stranger trusts b; b does not know the stranger.
    let mut config = config(&stranger, &[]);
    config.membership = Allowlist::from_iter([b.key()]).into();
    let mut stranger = Node::start(config).await;
    for round in 1..=5 {
        stranger.dial(&b);
        assert_eq!(stranger.outcome().await, DialOutcome::Denied);
        let counts = b.net.counts();
        assert_eq!((counts.denied, counts.frames), (round, before.frames), "nothing decoded");
    }
    to_b.push(Lane::Call, message(1, 10)).unwrap();
    assert_eq!(b.got().await, message(1, 10));
    // Nor does b answer a key that it does not list, and it does not dial it either.
    let refused = b.net.dial(stranger.key(), &stranger.address());
    assert!(matches!(refused, Err(NetError::NotMember(_))));
    a.net.stop().await;
    assert!(b.down().await.0);
    a.events.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_http_and_half_open_sockets_change_nothing() {
    // N-1, N-6
    let (_a, to_b, mut b, _) = linked().await;
    let before = b.net.counts();
    let port: u16 = b.address().split('/').nth(4).unwrap().parse().unwrap();
    let mut idle = Vec::new();
    for n in 0..60_u8 {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let garbage = vec![n.wrapping_mul(37).wrapping_add(1); 4096];
        let bytes: &[u8] = match n % 3 {
            0 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            1 => &garbage,
            _ => b"",
        };
        // The node may close before all is written.
        let _ = socket.write_all(bytes).await;
        idle.push(socket);
    }
    // At most `pending_max` of them wait; the others are closed without an answer.
    let mut closed = 0;
    for socket in &mut idle {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "each socket is closed within the handshake timeout");
        closed += 1;
    }
    assert_eq!(closed, 60);
    let counts = b.net.counts();
    assert_eq!(counts.denied, before.denied);
    assert!(counts.frames - before.frames <= 16, "heartbeats only");
    to_b.push(Lane::Call, message(1, 10)).unwrap();
    assert_eq!(b.got().await, message(1, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_sockets_beyond_the_cap_are_refused_and_slots_come_back() {
    // N-6
    let (mut a, mut b) = pair_with(|config| {
        config.limits.pending_max = 4;
        config.limits.handshake_timeout = Duration::from_millis(300);
    })
    .await;
    let port: u16 = b.address().split('/').nth(4).unwrap().parse().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..12 {
        sockets.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    for socket in &mut sockets {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the node ends it");
    }
    assert_eq!(b.net.counts().crowded, 9, "one place is kept");
    a.dial(&b);
    a.up().await;
    b.up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_sit_at_the_door_do_not_keep_out_who_came_before() {
    // PE-1
    let (mut a, mut b) = pair_with(|config| {
        config.limits.pending_max = 4;
        config.limits.handshake_timeout = PATIENCE;
    })
    .await;
    a.dial(&b);
    a.up().await;
    b.up().await;
    a.net.close(&b.key(), true);
    a.down().await;
    b.down().await;
    let port: u16 = b.address().split('/').nth(4).unwrap().parse().unwrap();
    let mut strangers = Vec::new();
    for n in 2..8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, n], 0).into()).unwrap();
        strangers.push(socket.connect(([127, 0, 0, 1], port).into()).await.unwrap());
    }
    while b.net.counts().crowded < 3 {
        tokio::task::yield_now().await;
    }
    a.dial(&b);
    a.up().await;
    b.up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_knocks_too_often_is_cut_off_before_any_cryptography() {
    // RT-1
    let (_a, b) = pair().await;
    let port: u16 = b.address().split('/').nth(4).unwrap().parse().unwrap();
    let knocks = tokio::time::timeout(PATIENCE, async {
        while b.net.counts().throttled == 0 {
            drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
    });
    assert!(knocks.await.is_ok());
    assert_eq!(b.net.counts().frames, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_protocol_versions_are_refused_with_both_named() {
    // N-2
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut newer = config(&first, &[&second]);
    newer.versions = 7..=9;
    let mut a = Node::start(newer).await;
    let mut b = Node::start(config(&second, &[&first])).await;
    b.dial(&a);
    let DialOutcome::Other(why) = b.outcome().await else { panic!("a reason") };
    assert!(why.contains("7-9") && why.contains("1-1"), "{why}");
    a.dial(&b);
    let DialOutcome::Other(why) = a.outcome().await else { panic!("a reason") };
    assert!(why.contains("7-9") && why.contains("1-1"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_life_replaces_the_earlier_and_never_the_reverse() {
    // N-3
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut a = Node::start(config(&first, &[&second])).await;
    let mut lives = Vec::new();
    for boot in [5, 6] {
        let mut config = config(&second, &[&first]);
        config.boot = boot;
        lives.push(Node::start(config).await);
    }
    let mut later = lives.pop().unwrap();
    let mut earlier = lives.pop().unwrap();
    earlier.dial(&a);
    assert_eq!(a.up().await.node().boot, 5);
    earlier.up().await;
    later.dial(&a);
    assert!(!a.down().await.0);
    assert_eq!(a.up().await.node().boot, 6);
    later.up().await;
    assert!(!earlier.down().await.0);
    // Refused by whoever of the two is to choose.
    earlier.dial(&a);
    match earlier.event().await {
        Event::Dialed(outcome) => assert_eq!(outcome, DialOutcome::Denied),
        Event::Up(..) => assert!(!earlier.down().await.0),
        other => panic!("{other:?}"),
    }
    assert_eq!(a.net.link(&second.peer_key()).unwrap().node().boot, 6);
    later.net.stop().await;
    assert!(a.down().await.0, "nothing came between");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dials_that_fail_say_why() {
    let (first, second, third) = (Identity::generate(), Identity::generate(), Identity::generate());
    let mut config_a = config(&first, &[&second, &third]);
    config_a.limits.dial_timeout = Duration::from_millis(200);
    let mut a = Node::start(config_a).await;
    let b = Node::start(config(&second, &[&first])).await;
    // Another key answers.
    let bare = b.address().split("/p2p/").next().unwrap().to_owned();
    a.net.dial(third.peer_key(), &bare).unwrap();
    assert_eq!(a.outcome().await, DialOutcome::WrongKey);
    // Nobody listens.
    b.net.stop().await;
    a.net.dial(second.peer_key(), &bare).unwrap();
    assert_eq!(a.outcome().await, DialOutcome::Refused);
    // A listener whose backlog is full answers nothing.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mute = socket.listen(1).unwrap();
    let at = mute.local_addr().unwrap();
    let mut crowd = Vec::new();
    while let Ok(Ok(guest)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(at)).await
    {
        crowd.push(guest);
    }
    a.net.dial(second.peer_key(), &format!("/ip4/127.0.0.1/tcp/{}", at.port())).unwrap();
    assert_eq!(a.outcome().await, DialOutcome::TimedOut);
    for wrong in ["", "localhost:80", "/ip4/127.0.0.1/udp/9", "/dns4/a/tcp/1", &a.address()] {
        let refused = a.net.dial(second.peer_key(), wrong);
        assert!(matches!(refused, Err(NetError::Address { .. })), "{wrong}");
    }
    assert!(matches!(a.net.dial(a.key(), &bare), Err(NetError::Myself)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_breaks_a_bound_loses_its_connection_and_is_counted() {
    // N-7: the sender allows itself more than the receiver does.
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut loud = config(&first, &[&second]);
    loud.limits.message_bytes_max = 2 << 20;
    let mut a = Node::start(loud).await;
    let mut b = Node::start(config(&second, &[&first])).await;
    a.dial(&b);
    let (to_b, _) = (a.up().await, b.up().await);
    to_b.push(Lane::Call, message(1, 2 << 20)).unwrap();
    assert!(!b.down().await.0);
    assert!(!a.down().await.0);
    assert_eq!(b.net.counts().violations, 1);
    // Nothing else happened: it may come again.
    a.dial(&b);
    let (to_b, _) = (a.up().await, b.up().await);
    to_b.push(Lane::Call, message(2, 1 << 20)).unwrap();
    assert!(b.got().await == message(2, 1 << 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_says_nothing_is_closed_and_never_becomes_a_link() {
    // N-2: a bare libp2p node with a member's key, which opens no substream.
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut config = config(&first, &[&second]);
    config.limits.handshake_timeout = Duration::from_millis(200);
    let mut a = Node::start(config).await;
    let mut mute = mute(&second);
    mute.dial(a.address().parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    let (mut established, mut closed) = (false, false);
    while !closed {
        let event = tokio::time::timeout(PATIENCE, mute.select_next_some()).await.unwrap();
        established |= matches!(event, SwarmEvent::ConnectionEstablished { .. });
        closed = matches!(event, SwarmEvent::ConnectionClosed { .. });
    }
    assert!(established && a.net.link(&second.peer_key()).is_none());
    assert_eq!(a.net.counts(), Counts::default());
    a.net.stop().await;
    assert!(a.events.recv().await.is_none(), "its owner heard nothing of it");
}

#[tokio::test]
async fn an_open_door_needs_an_allowlist() {
    let mut config = config(&Identity::generate(), &[]);
    config.listen = Some("/ip4/0.0.0.0/tcp/0".into());
    let (sender, _events) = mpsc::unbounded_channel();
    let refused = Net::start(config.clone(), Arc::new(Recorder(sender.clone()))).await;
    assert!(matches!(refused, Err(NetError::Open { .. })), "{refused:?}");
    config.listen = Some("/ip4/127.0.0.1/tcp/0".into());
    let node = Net::start(config.clone(), Arc::new(Recorder(sender.clone()))).await.unwrap();
    // A taken port is an error, not a panic.
    config.listen = node.addresses()[0].split("/p2p/").next().map(str::to_owned);
    let refused = Net::start(config.clone(), Arc::new(Recorder(sender.clone()))).await;
    assert!(matches!(refused, Err(NetError::Listen { .. })), "{refused:?}");
    config.announce = Some("localhost:7000".into());
    let refused = Net::start(config.clone(), Arc::new(Recorder(sender.clone()))).await;
    assert!(matches!(refused, Err(NetError::Address { .. })), "{refused:?}");
    config.announce = None;
    config.limits.message_bytes_max = 17 << 20;
    let refused = Net::start(config.clone(), Arc::new(Recorder(sender.clone()))).await;
    assert!(matches!(refused, Err(NetError::Limit { name: "message_bytes_max", .. })));
    config.limits = Limits { heartbeat: Duration::ZERO, ..Limits::default() };
    let refused = Net::start(config, Arc::new(Recorder(sender))).await;
    assert!(matches!(refused, Err(NetError::Limit { name: "heartbeat in ms", .. })));
}
