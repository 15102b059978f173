//! Members by certificate: who is one, and until when.

use std::path::PathBuf;

use super::*;
use crate::net::certificate::now_s;

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn certified(identity: &Identity, membership: impl Into<Membership>) -> NetConfig {
    let mut config = NetConfig::new(identity.clone(), 1, membership);
    config.listen = Some("/ip4/127.0.0.1/tcp/0".into());
    config.limits.heartbeat = Duration::from_millis(100);
    config
}

async fn member(key: &ClusterKey, lifetime: Duration) -> Node {
    let identity = Identity::generate();
    let certificate = key.admit(identity.peer_key(), lifetime);
    Node::start(certified(&identity, certificate)).await
}

/// A folder that goes away with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mobula-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes as an administrator should: a whole file takes the place of the one before.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join("new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_cluster_need_not_know_each_other_and_nobody_else_gets_in() {
    // N-1, CE-1
    let key = ClusterKey::generate();
    let (mut a, mut b) = (member(&key, HOUR).await, member(&key, HOUR).await);
    a.dial(&b);
    let (to_b, to_a) = (a.up().await, b.up().await);
    to_b.push(Lane::Bulk, message(1, 100_000)).unwrap();
    assert_eq!(b.got().await, message(1, 100_000));
    to_a.push(Lane::Call, message(2, 10)).unwrap();
    assert_eq!(a.got().await, message(2, 10));
    // Of another cluster; and one that knows b by a list.
    let other = member(&ClusterKey::generate(), HOUR).await;
    let listed = Identity::generate();
    let listed = Node::start(config_of(&listed, b.key())).await;
    for (round, mut stranger) in (1..).zip([other, listed]) {
        stranger.dial(&b);
        assert_eq!(stranger.outcome().await, DialOutcome::Denied);
        let counts = b.net.counts();
        assert_eq!((counts.denied, counts.violations), (round, 0));
        // Nor does b let in whom it dials itself.
        b.dial(&stranger);
        assert!(matches!(b.outcome().await, DialOutcome::Other(_) | DialOutcome::Denied));
        assert!(stranger.net.link(&b.key()).is_none());
    }
    to_b.push(Lane::Call, message(3, 10)).unwrap();
    assert_eq!(b.got().await, message(3, 10));
}

fn config_of(identity: &Identity, knows: PeerKey) -> NetConfig {
    let mut listed = config(identity, &[]);
    listed.membership = Allowlist::from_iter([knows]).into();
    listed
}

#[tokio::test]
async fn a_node_does_not_start_with_a_certificate_that_does_not_hold() {
    // CE-1
    let (key, me) = (ClusterKey::generate(), Identity::generate());
    let start = async |certificate: Certificate| {
        let (sender, _) = mpsc::unbounded_channel();
        let config = certified(&me, certificate);
        Net::start(config, Arc::new(Recorder(sender))).await.map(|_| ()).unwrap_err()
    };
    let of_another = key.admit(Identity::generate().peer_key(), HOUR);
    let refused = start(of_another).await;
    assert!(matches!(refused, NetError::Certificate(CertificateError::Holder { .. })));
    let expired = start(key.admit(me.peer_key(), Duration::ZERO)).await;
    assert!(matches!(expired, NetError::Certificate(CertificateError::Expired { .. })));
    assert_eq!(expired.to_string().lines().count(), 1);
}

#[test]
fn a_certificate_of_somebody_else_admits_nobody() {
    // CE-1
    let (key, me, thief) = (ClusterKey::generate(), Identity::generate(), Identity::generate());
    let membership = Membership::from(key.admit(Identity::generate().peer_key(), HOUR));
    let stolen = key.admit(me.peer_key(), HOUR);
    assert!(membership.verify(&me.peer_key(), stolen.signed()).is_ok());
    let refused = membership.verify(&thief.peer_key(), stolen.signed());
    assert!(matches!(refused, Err(CertificateError::Holder { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_when_a_certificate_expires_and_does_not_come_back() {
    // WM-1
    let key = ClusterKey::generate();
    let mut a = member(&key, HOUR).await;
    let mut b = member(&key, Duration::from_secs(2)).await;
    a.dial(&b);
    a.up().await;
    b.up().await;
    assert!(!a.down().await.0);
    assert!(!b.down().await.0);
    assert_eq!(a.net.counts().denied, 1);
    b.dial(&a);
    assert_eq!(b.outcome().await, DialOutcome::Denied);
}

/// Takes as long to hear of the end of a link as the next dial takes to fail.
struct Sluggish {
    told: mpsc::UnboundedSender<()>,
    failed: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    fail: std::sync::mpsc::Sender<()>,
}

impl Inbound for Sluggish {
    fn connected(&self, _: NodeId, _: Link, _: String) {}
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {
        let _ = self.told.send(());
        if self.failed.lock().unwrap().recv_timeout(PATIENCE).is_ok() {
            let _ = self.told.send(());
        }
    }
    fn dial_outcome(&self, _: PeerKey, _: DialOutcome) {
        let _ = self.fail.send(());
    }
    fn message(&self, _: NodeId, _: &Link, _: Message) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dial_that_fails_while_the_end_of_the_link_before_is_reported_is_told_too() {
    let key = ClusterKey::generate();
    let mut a = member(&key, HOUR).await;
    let me = Identity::generate();
    let config = certified(&me, key.admit(me.peer_key(), Duration::from_secs(2)));
    let (told, mut news) = mpsc::unbounded_channel();
    let (fail, failed) = std::sync::mpsc::channel();
    let inbound = Sluggish { told, failed: failed.into(), fail };
    let b = Net::start(config, Arc::new(inbound)).await.unwrap();
    b.dial(a.key(), &a.address()).unwrap();
    a.up().await;
    a.down().await;
    news.recv().await.unwrap();
    b.dial(a.key(), &a.address()).unwrap();
    let outcome = tokio::time::timeout(2 * PATIENCE, news.recv()).await;
    assert!(matches!(outcome, Ok(Some(()))), "the outcome came in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_carries_a_link_over_the_end_of_the_one_before() {
    // WM-1
    let (key, folder) = (ClusterKey::generate(), Folder::new("renewed"));
    let mut a = member(&key, HOUR).await;
    let me = Identity::generate();
    let short = key.admit(me.peer_key(), Duration::from_secs(4));
    let file = folder.write("certificate", &short.to_text());
    let mut b = Node::start(certified(&me, Membership::certificate(&file).unwrap())).await;
    a.dial(&b);
    let (_, to_a) = (a.up().await, b.up().await);
    let renewed = key.admit(me.peer_key(), HOUR);
    assert!(renewed.serial() > short.serial());
    folder.write("certificate", &renewed.to_text());
    let mut beats = tokio::time::interval(Duration::from_millis(100));
    let mut number = 0;
    while now_s() < short.expires_s() + 1 {
        beats.tick().await;
        number += 1;
        to_a.push(Lane::Call, message(number, 10)).unwrap();
        assert_eq!(a.got().await, message(number, 10), "the link lives on");
    }
    assert_eq!(a.net.counts().denied, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_member_loses_its_links_and_does_not_come_back() {
    // WM-1, WM-2
    let (key, folder) = (ClusterKey::generate(), Folder::new("revoked"));
    let me = Identity::generate();
    let file = folder.write("certificate", &key.admit(me.peer_key(), HOUR).to_text());
    let membership = Membership::certificate(file).unwrap();
    let membership = membership.revocations(folder.0.join("revoked")).unwrap();
    let mut a = Node::start(certified(&me, membership.clone())).await;
    let (mut b, mut c) = (member(&key, HOUR).await, member(&key, HOUR).await);
    b.dial(&a);
    c.dial(&a);
    a.up().await;
    a.up().await;
    b.up().await;
    c.up().await;
    // A list of another cluster and one that is none change nothing.
    let other = ClusterKey::generate();
    let forged = other.revoke_nobody().revoke(&other, c.key(), u64::MAX).unwrap();
    for text in [forged.to_text(), "nonsense".into()] {
        folder.write("revoked", &text);
        assert!(membership.reload().is_err());
    }
    let first = key.revoke_nobody().revoke(&key, b.key(), u64::MAX).unwrap();
    folder.write("revoked", &first.to_text());
    assert!(!b.down().await.0);
    assert!(!a.down().await.0);
    b.dial(&a);
    assert_eq!(b.outcome().await, DialOutcome::Denied);
    assert!(matches!(a.net.dial(b.key(), &b.address()), Err(NetError::NotMember(_))));
    // An older list does not bring it back.
    folder.write("revoked", &key.revoke_nobody().to_text());
    assert!(!membership.reload().unwrap());
    b.dial(&a);
    assert_eq!(b.outcome().await, DialOutcome::Denied);
    assert!(c.net.link(&a.key()).is_some() && a.net.link(&c.key()).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_no_certificate_holds_a_pending_place_and_no_more() {
    // N-6: the keys are proved, the membership is not.
    let (key, me) = (ClusterKey::generate(), Identity::generate());
    let mut config = certified(&me, key.admit(me.peer_key(), HOUR));
    config.limits.pending_max = 4;
    config.limits.handshake_timeout = PATIENCE;
    let a = Node::start(config).await;
    let mut mute = Vec::new();
    for _ in 0..3 {
        let mut swarm = door::mute(&Identity::generate());
        swarm.dial(a.address().parse::<libp2p::Multiaddr>().unwrap()).unwrap();
        door::until_established(&mut swarm).await;
        mute.push(tokio::spawn(async move {
            loop {
                futures::StreamExt::select_next_some(&mut swarm).await;
            }
        }));
    }
    let mut b = member(&key, HOUR).await;
    b.dial(&a);
    assert!(matches!(b.event().await, Event::Dialed(_)));
    assert_eq!(a.net.counts().crowded, 1);
    mute.iter().for_each(tokio::task::JoinHandle::abort);
    // The places come back.
    loop {
        b.dial(&a);
        if let Event::Up(..) = b.event().await {
            break;
        }
    }
}
