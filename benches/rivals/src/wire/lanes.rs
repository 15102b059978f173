//! `mobula::net` alone: messages on the lanes of a link, and a receiver that answers in place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use mobula::actors::id::{NodeId, PeerKey};
use mobula::net::{
    Allowlist, DialOutcome, Identity, Inbound, Lane, Link, Message, Net, NetConfig, Why,
    split_address,
};
use tokio::sync::{Notify, oneshot};

use super::peer::{CALL_BYTES, Caller, Peer, Road, Sender};
use crate::side::Outcome;

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const CAST: u8 = 3;
/// Asks how many casts came on this lane since it was asked last.
const COUNT: u8 = 4;

/// The keys of the two processes. They are no secrets: nothing but these benches trusts them.
pub(super) fn identities() -> Outcome<[Identity; 2]> {
    Ok([Identity::from_secret(&"51".repeat(32))?, Identity::from_secret(&"52".repeat(32))?])
}

/// Both of them and nobody else.
pub(super) fn members() -> Outcome<Allowlist> {
    Ok(identities()?.iter().map(Identity::peer_key).collect())
}

async fn start(of: usize, inbound: Arc<Desk>) -> Outcome<Net> {
    let identity = identities()?[of].clone();
    let mut config = NetConfig::new(identity, 1, members()?);
    config.listen = Some("/ip4/127.0.0.1/tcp/0".into());
    Ok(Net::start(config, inbound).await?)
}

/// Answers calls, counts casts, and hands answers to those who wait for them.
#[derive(Default)]
struct Desk {
    casts: AtomicU64,
    link: OnceLock<Link>,
    linked: Notify,
    last_call: AtomicU64,
    calls: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

impl Inbound for Desk {
    fn connected(&self, _: NodeId, link: Link, _: String) {
        drop(self.link.set(link));
        self.linked.notify_one();
    }

    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {}

    fn dial_outcome(&self, _: PeerKey, outcome: DialOutcome) {
        eprintln!("rivals: lanes: the dial failed: {outcome:?}");
        std::process::exit(1);
    }

    fn message(&self, _: NodeId, link: &Link, message: Message) {
        let payload = match message.kind {
            CALL => message.payload,
            COUNT => Bytes::copy_from_slice(&self.casts.swap(0, Ordering::Relaxed).to_le_bytes()),
            ANSWER => {
                if let Some(call) = self.calls().remove(&message.target) {
                    drop(call.send(message.payload));
                }
                return;
            }
            _ => {
                self.casts.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let answer = Message { kind: ANSWER, target: message.target, head: Bytes::new(), payload };
        if let Err(refused) = link.push(Lane::Call, answer) {
            eprintln!("rivals: lanes: no answer: {refused}");
        }
    }
}

impl Desk {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, link: &Link, lane: Lane, kind: u8, payload: Bytes) -> Outcome<Bytes> {
        let target = self.last_call.fetch_add(1, Ordering::Relaxed);
        let (call, answer) = oneshot::channel();
        self.calls().insert(target, call);
        push(link, lane, Message { kind, target, head: Bytes::new(), payload }).await?;
        Ok(answer.await?)
    }
}

async fn push(link: &Link, lane: Lane, mut message: Message) -> Outcome<()> {
    while let Err(refused) = link.push(lane, message) {
        if refused.why != Why::Full {
            return Err(refused.into());
        }
        message = refused.message;
        link.room(lane).await;
    }
    Ok(())
}

pub(super) struct Lanes {
    desk: Arc<Desk>,
    link: Link,
    _net: Arc<Net>,
}

/// One who calls, or casts on a lane.
pub(super) struct Clerk {
    desk: Arc<Desk>,
    link: Link,
    lane: Lane,
    payload: Bytes,
    _net: Arc<Net>,
}

impl Lanes {
    fn clerk(&self, lane: Lane, bytes: usize) -> Clerk {
        let (desk, link, net) = (self.desk.clone(), self.link.clone(), self._net.clone());
        Clerk { desk, link, lane, payload: vec![7; bytes].into(), _net: net }
    }
}

impl Peer for Lanes {
    type Caller = Clerk;
    type Sender = Clerk;

    async fn serve(ready: impl FnOnce(&str) + Send) -> Outcome<()> {
        let net = start(0, Arc::default()).await?;
        ready(net.addresses().first().ok_or("no address")?);
        std::future::pending().await
    }

    async fn connect(address: &str) -> Outcome<Self> {
        let desk = Arc::<Desk>::default();
        let net = start(1, desk.clone()).await?;
        let (peer, address) = split_address(address)?;
        net.dial(peer, &address)?;
        desk.linked.notified().await;
        let link = desk.link.get().ok_or("no link")?.clone();
        Ok(Self { desk, link, _net: Arc::new(net) })
    }

    async fn caller(&mut self) -> Outcome<Clerk> {
        Ok(self.clerk(Lane::Call, CALL_BYTES))
    }

    async fn sender(&mut self, road: Road, bytes: usize) -> Outcome<Clerk> {
        Ok(self.clerk(if road == Road::Bulk { Lane::Bulk } else { Lane::Call }, bytes))
    }
}

impl Caller for Clerk {
    async fn call(&mut self) -> Outcome<()> {
        let payload = self.payload.clone();
        self.desk.ask(&self.link, self.lane, CALL, payload).await.map(drop)
    }
}

impl Sender for Clerk {
    async fn cast(&mut self) -> Outcome<()> {
        let (payload, head) = (self.payload.clone(), Bytes::new());
        push(&self.link, self.lane, Message { kind: CAST, target: 0, head, payload }).await
    }

    async fn arrived(&mut self) -> Outcome<u64> {
        let count = self.desk.ask(&self.link, self.lane, COUNT, Bytes::new()).await?;
        Ok(u64::from_le_bytes(count.as_ref().try_into()?))
    }
}
