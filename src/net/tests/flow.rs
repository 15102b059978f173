//! Messages between two nodes that know each other.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_sizes_arrive_in_order_both_ways() {
    // N-4
    let (mut a, to_b, mut b, to_a) = linked().await;
    let sizes = [0, 1, 64, 4096, 32 << 10, 65_491, 65_492, 65_493, 64 << 10, 200_000, 1 << 20];
    let sent: Vec<Message> = (0_u64..).zip(sizes).map(|(n, bytes)| message(n, bytes)).collect();
    for message in &sent {
        to_b.push(Lane::Call, message.clone()).unwrap();
        to_a.push(Lane::Call, message.clone()).unwrap();
    }
    for message in &sent {
        assert!(a.got().await == *message && b.got().await == *message, "{}", message.target);
    }
    a.net.stop().await;
    b.net.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_small_messages_arrive_in_order() {
    // N-4
    const COUNT: u64 = 100_000;
    let (_a, to_b, mut b, _to_a) = linked().await;
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            send(&to_b, Lane::Call, message(n, 64)).await;
        }
        to_b
    });
    for n in 0..COUNT {
        assert_eq!(b.got().await, message(n, 64));
    }
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lanes_of_a_link_keep_their_own_order_and_bulk_runs_beside_calls() {
    // N-4
    const BULK: usize = 16;
    const CALLS: usize = 2000;
    let (_a, to_b, mut b, to_a) = linked().await;
    let bulk_link = to_b.clone();
    let bulk = tokio::spawn(async move {
        for n in 0..BULK as u64 {
            send(&bulk_link, Lane::Bulk, Message { kind: 1, ..message(n, 4 << 20) }).await;
        }
    });
    let calls = tokio::spawn(async move {
        for n in 0..CALLS as u64 {
            send(&to_b, Lane::Call, message(n, 64)).await;
        }
        to_b
    });
    let (mut bulk_seen, mut calls_seen) = (0, 0);
    while bulk_seen < BULK || calls_seen < CALLS {
        let got = b.got().await;
        let seen = if got.kind == 1 { &mut bulk_seen } else { &mut calls_seen };
        assert_eq!(got.target, *seen as u64);
        *seen += 1;
    }
    bulk.await.unwrap();
    // The other direction dials a bulk connection of its own.
    let mut a = _a;
    to_a.push(Lane::Bulk, message(5, 16 << 20)).unwrap();
    assert!(a.got().await == message(5, 16 << 20));
    drop(calls.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_comes_back_with_the_bound() {
    let (_a, to_b, _b, _) = linked().await;
    let refused = to_b.push(Lane::Call, message(1, (1 << 20) + 1)).unwrap_err();
    assert_eq!(refused.why, Why::TooLarge { bytes: (1 << 20) + 1, max: 1 << 20 });
    assert!(refused.message == message(1, (1 << 20) + 1));
    let long_head = Message { head: vec![0; (32 << 10) + 1].into(), ..Message::default() };
    let refused = to_b.push(Lane::Call, long_head).unwrap_err();
    assert_eq!(refused.why, Why::TooLarge { bytes: (32 << 10) + 1, max: 32 << 10 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_listen_takes_calls_but_no_bulk() {
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut deaf = config(&first, &[&second]);
    deaf.listen = None;
    let (mut a, mut b) = (Node::start(deaf).await, Node::start(config(&second, &[&first])).await);
    a.dial(&b);
    let ((to_b, at), (to_a, nowhere)) = (a.up_at().await, b.up_at().await);
    assert_eq!((at, nowhere), (b.address(), String::new()));
    to_a.push(Lane::Call, message(1, 10)).unwrap();
    assert_eq!(a.got().await, message(1, 10));
    assert_eq!(to_a.push(Lane::Bulk, message(2, 10)).unwrap_err().why, Why::NoAddress);
    to_b.push(Lane::Bulk, message(3, 10)).unwrap();
    assert_eq!(b.got().await, message(3, 10));
}

/// A node that stops reading for as long as the gate is held.
struct Stalled {
    gate: std::sync::Mutex<()>,
    up: mpsc::UnboundedSender<Link>,
}

impl Inbound for Stalled {
    fn connected(&self, _: NodeId, link: Link, _: String) {
        let _ = self.up.send(link);
    }
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {}
    fn dial_outcome(&self, _: PeerKey, _: DialOutcome) {}
    fn message(&self, _: NodeId, _: &Link, _: Message) {
        drop(self.gate.lock().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_peer_fills_the_lane_and_the_unwritten_rest_comes_back_in_order() {
    // N-5, N-6
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut a = Node::start(config(&first, &[&second])).await;
    let (up, mut links) = mpsc::unbounded_channel();
    let stalled = Arc::new(Stalled { gate: std::sync::Mutex::new(()), up });
    let inbound = Arc::clone(&stalled) as Arc<dyn Inbound>;
    let b = Net::start(config(&second, &[&first]), inbound).await.unwrap();
    a.net.dial(b.node().key, &b.addresses()[0]).unwrap();
    let to_b = a.up().await;
    links.recv().await.unwrap();

    let (held, holding) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = {
        let stalled = Arc::clone(&stalled);
        std::thread::spawn(move || {
            let gate = stalled.gate.lock().unwrap();
            held.send(()).unwrap();
            let _ = released.recv();
            drop(gate);
        })
    };
    holding.recv().unwrap();
    let mut taken = 0;
    // Full for good: even after the writer had the time to take what the socket takes.
    let refused = loop {
        match to_b.push(Lane::Call, message(taken, 10_000)) {
            Ok(()) => taken += 1,
            Err(refused) => {
                let room = to_b.room(Lane::Call);
                if tokio::time::timeout(Duration::from_millis(500), room).await.is_err() {
                    break refused;
                }
            }
        }
    };
    assert_eq!(refused.why, Why::Full);
    assert!(refused.message == message(taken, 10_000));
    a.net.close(&b.node().key, false);
    let (bye, unwritten) = a.down().await;
    assert!(!bye);
    assert!(unwritten.len() >= 800, "the lane holds 8 MiB: {}", unwritten.len());
    let written = taken - unwritten.len() as u64;
    for (n, back) in (written..taken).zip(&unwritten) {
        assert!(*back == message(n, 10_000), "{n}");
    }
    assert_eq!(to_b.push(Lane::Call, message(0, 0)).unwrap_err().why, Why::Closed);
    release.send(()).unwrap();
    holder.join().unwrap();
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_delivers_what_was_queued_before_it() {
    let (a, to_b, mut b, _) = linked().await;
    for n in 0..500 {
        send(&to_b, Lane::Call, message(n, 10_000)).await;
    }
    a.net.stop().await;
    for n in 0..500 {
        assert!(b.got().await == message(n, 10_000));
    }
    assert_eq!(b.down().await, (true, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_may_say_goodbye_at_once() {
    let (mut a, mut b) = pair_with(|config| config.limits.close_timeout = 4 * PATIENCE).await;
    a.dial(&b);
    a.up().await;
    b.up().await;
    // Neither waits for the other until its close timeout.
    let both = async { tokio::join!(a.net.stop(), b.net.stop()) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_noticed_at_once_and_is_no_goodbye() {
    let (a, _, mut b, to_a) = linked().await;
    let cut = std::time::Instant::now();
    drop(a);
    let (bye, _) = b.down().await;
    assert!(!bye);
    // Milliseconds on an idle machine; in any case well before the heartbeat would tell.
    assert!(cut.elapsed() < Duration::from_secs(2), "{:?}", cut.elapsed());
    assert!(!to_a.is_open());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_link_ended_the_same_two_lives_can_link_again() {
    // N-3
    let (mut a, _, mut b, _) = linked().await;
    for round in 0..5 {
        a.net.close(&b.key(), round % 2 == 0);
        assert_eq!(a.down().await.0, round % 2 == 0);
        assert_eq!(b.down().await.0, round % 2 == 0);
        if round % 2 == 0 {
            a.dial(&b)
        } else {
            b.dial(&a)
        }
        let (to_b, to_a) = (a.up().await, b.up().await);
        to_b.push(Lane::Control, message(round, 10)).unwrap();
        to_a.push(Lane::Control, message(round, 20)).unwrap();
        assert_eq!(b.got().await, message(round, 10));
        assert_eq!(a.got().await, message(round, 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_dials_end_in_one_link_and_lose_nothing() {
    // N-3, N-4
    for _ in 0..20 {
        let (mut a, mut b) = pair().await;
        a.dial(&b);
        b.dial(&a);
        let (to_b, to_a) = (a.up().await, b.up().await);
        for n in 0..200 {
            send(&to_b, Lane::Call, message(n, 100)).await;
            send(&to_a, Lane::Call, message(n, 100)).await;
        }
        // Any other event, such as a second link or an end, fails `got`.
        for n in 0..200 {
            assert_eq!(a.got().await, message(n, 100));
            assert_eq!(b.got().await, message(n, 100));
        }
        a.net.stop().await;
        b.net.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_an_idle_link_and_measure_its_round_trip() {
    // N-8
    let (mut a, mut b) = pair_with(|config| {
        config.limits.heartbeat = Duration::from_millis(20);
        config.limits.heartbeat_timeout = Duration::from_millis(1000);
    })
    .await;
    a.dial(&b);
    let (to_b, _to_a) = (a.up().await, b.up().await);
    let measured = async {
        while to_b.rtt().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, measured).await.unwrap();
    assert!(to_b.is_open());
}

#[test]
fn a_silent_peer_is_given_up() {
    // N-8. The peer's runtime is not driven after the link is up: its socket stays open, mute.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (alive, frozen) = (runtime(), runtime());
    let (first, second) = (Identity::generate(), Identity::generate());
    let mut quick = config(&first, &[&second]);
    quick.limits.heartbeat = Duration::from_millis(50);
    quick.limits.heartbeat_timeout = Duration::from_millis(300);
    let (stop, stopped) = std::sync::mpsc::channel();
    let (address, addresses) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || {
        let b = frozen.block_on(async {
            let mut b = Node::start(config(&second, &[&first])).await;
            address.send((b.key(), b.address())).unwrap();
            b.up().await;
            b
        });
        stopped.recv().unwrap();
        drop(b);
    });
    let (key, at) = addresses.recv().unwrap();
    alive.block_on(async {
        let mut a = Node::start(quick).await;
        a.net.dial(key, &at).unwrap();
        a.up().await;
        let (bye, _) = a.down().await;
        assert!(!bye);
    });
    stop.send(()).unwrap();
    peer.join().unwrap();
}
