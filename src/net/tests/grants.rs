//! What a member may ask, as the other end of its link sees it.

use super::certificates::{Folder, HOUR, certified};
use super::*;

/// Waits until a peer may or may not ask something.
async fn until(link: &Link, verb: Verb, granted: bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let changed = tokio::time::timeout(PATIENCE, async {
        while link.may(verb).is_ok() != granted {
            looks.tick().await;
        }
    });
    assert!(changed.await.is_ok(), "{verb}: {granted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_may_what_its_certificate_and_its_grant_say_as_long_as_they_hold() {
    let (key, folder) = (ClusterKey::generate(), Folder::new("granted"));
    let [giver, me, judge] = std::array::from_fn(|_| Identity::generate());
    let own = key.admit_with(me.peer_key(), HOUR, Rights::of([Verb::Message])).unwrap();
    let file = folder.write("certificate", &own.to_text());
    let rich = key.admit(giver.peer_key(), HOUR);
    let some = Rights::of([Verb::Find, Verb::Start]).kinds(["test.kind"]);
    let grant = Grant::issue(&giver, &rich, me.peer_key(), HOUR, some).unwrap();
    let membership = Membership::certificate(file).unwrap();
    let membership = membership.grant(folder.write("grant", &grant.to_text())).unwrap();
    let mut b = Node::start(certified(&me, membership)).await;
    let judging = Membership::from(key.admit(judge.peer_key(), HOUR));
    let mut a = Node::start(certified(&judge, judging)).await;
    b.dial(&a);
    let (link, back) = (a.up().await, b.up().await);
    until(&link, Verb::Find, true).await;
    assert!(link.may(Verb::Message).is_ok() && link.may(Verb::Watch).is_err());
    assert!(link.may_start("test.kind", || [1; 5]).is_ok());
    let refused = link.may_start("test.other", || [1; 5]).unwrap_err();
    assert_eq!(refused, Denied::Kind("test.other".into()));
    assert!(Verb::ALL.into_iter().all(|verb| back.may(verb).is_ok()), "the judge may all");
    // What the giver had is gone, and what it gave with it; the link goes on.
    let list = key.revoke_nobody().revoke(&key, giver.peer_key(), u64::MAX).unwrap();
    assert!(a.net.learn_revocations(list.signed()).unwrap());
    until(&link, Verb::Find, false).await;
    assert!(link.may(Verb::Message).is_ok() && link.is_open());
    // A renewed certificate counts from when it is shown.
    let renewed = key.admit_with(me.peer_key(), HOUR, Rights::of([Verb::Watch])).unwrap();
    assert!(renewed.serial() > own.serial());
    folder.write("certificate", &renewed.to_text());
    until(&link, Verb::Watch, true).await;
    until(&link, Verb::Message, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_a_peer_brought_is_written_down_and_never_in_the_place_of_a_newer_one() {
    // WM-2
    let (key, folder) = (ClusterKey::generate(), Folder::new("learned"));
    let me = Identity::generate();
    let certificate = folder.write("certificate", &key.admit(me.peer_key(), HOUR).to_text());
    let file = folder.path("revoked");
    let membership = Membership::certificate(certificate).unwrap().revocations(&file).unwrap();
    let lists: Vec<Revocations> = std::iter::successors(Some(key.revoke_nobody()), |list| {
        list.revoke(&key, Identity::generate().peer_key(), 1).ok()
    })
    .take(4)
    .collect();
    assert!(membership.learn(lists[2].signed()).unwrap());
    assert_eq!(Revocations::load(&file).unwrap(), lists[2]);
    assert!(!membership.learn(lists[1].signed()).unwrap());
    assert!(!membership.learn(lists[2].signed()).unwrap());
    let other = ClusterKey::generate();
    let forged = |list: Revocations| list.revoke(&other, me.peer_key(), 1).unwrap();
    let forged = (0..3).fold(other.revoke_nobody(), |list, _| forged(list));
    assert!(membership.learn(forged.signed()).is_err());
    assert!(membership.learn(b"nonsense").is_err());
    // Somebody copied a newer one there a moment ago.
    folder.write("revoked", &lists[3].to_text());
    let next = lists[2].revoke(&key, me.peer_key(), 1).unwrap();
    assert!(membership.learn(next.signed()).unwrap());
    assert_eq!(Revocations::load(&file).unwrap(), lists[3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_breaks_the_protocol_three_times_is_kept_out() {
    // ST-1
    let (mut a, mut b) = pair().await;
    for n in 1..=3 {
        b.dial(&a);
        a.up().await;
        b.up().await;
        a.net.accuse(&b.key());
        // What else it had sent is the same offence.
        a.net.accuse(&b.key());
        a.down().await;
        b.down().await;
        assert_eq!((a.net.counts().violations, a.net.counts().quarantined), (2 * n, n / 3));
    }
    assert_eq!(a.net.quarantined(), [b.key()]);
    b.dial(&a);
    assert_eq!(b.outcome().await, DialOutcome::Denied);
    assert!(matches!(a.net.dial(b.key(), &b.address()), Err(NetError::Quarantined(_))));
}
