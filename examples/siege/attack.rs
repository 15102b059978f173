//! The strangers: a process that dials from 127.1.0.0/16 at a steady pace.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mobula::actors::id::{NodeId, PeerKey};
use mobula::net::{Allowlist, DialOutcome, Identity, Inbound, Link, Message, Net, NetConfig};
use mobula::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::peer::say;

/// How long a stranger waits to be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);
/// Strangers with keys at a time: each is a small node, and they share a machine with what they
/// besiege.
const KEYS_AT_A_TIME: usize = 512;
/// The first bytes of a dial as libp2p makes it.
const HALF_A_GREETING: &[u8] = b"\x13/multistream/1.0.0\n";

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Sort {
    /// Garbage, plain HTTP, and nodes with keys that are no member's, in turn.
    Knock,
    /// Nothing, and half of a greeting, in turn.
    Idle,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Attack {
    pub sort: Sort,
    pub dials: u32,
    /// How many a second.
    pub rate: u32,
    pub at: SocketAddr,
    /// The node that is besieged.
    pub target: PeerKey,
}

/// What became of the strangers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Strangers {
    /// Those that were made.
    pub dials: u64,
    pub admitted: u64,
    /// Sockets that the other side closed.
    pub closed: u64,
    /// Those that it had not within `CLOSED_WITHIN`.
    pub left_open: u64,
    /// The longest time that it left one open.
    pub longest_ms: u64,
    /// Still open one second after the last dial.
    pub open: u64,
}

#[derive(Default)]
struct Counts {
    dials: AtomicU64,
    admitted: AtomicU64,
    closed: AtomicU64,
    left_open: AtomicU64,
    longest_ms: AtomicU64,
    open: AtomicU64,
}

pub async fn serve() -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let attack: Attack = serde_json::from_str(&lines.next_line().await?.unwrap_or_default())
        .map_err(|_| "`attack` is for the processes that this program starts itself")?;
    let counts = Arc::new(Counts::default());
    let open = attack.run(&counts).await?;
    // The order comes when the members have finished.
    lines.next_line().await?;
    let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
    say(&serde_json::to_string(&Strangers {
        dials: read(&counts.dials),
        admitted: read(&counts.admitted),
        closed: read(&counts.closed),
        left_open: read(&counts.left_open),
        longest_ms: read(&counts.longest_ms),
        open,
    })?)?;
    std::process::exit(0)
}

impl Attack {
    async fn run(self, counts: &Arc<Counts>) -> Result<u64, Box<dyn Error>> {
        let passage = passage(self.at).await?;
        let keys = Arc::new(Semaphore::new(KEYS_AT_A_TIME));
        let began = Instant::now();
        for number in 0..self.dials {
            let due = Duration::from_secs(1) * number / self.rate.max(1);
            tokio::time::sleep_until((began + due).into()).await;
            let counts = counts.clone();
            match (self.sort, number % 3) {
                (Sort::Knock, 2) => {
                    if let Ok(permit) = keys.clone().try_acquire_owned() {
                        counts.dials.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(async move {
                            let _ = keyed(passage, self.target, &counts).await;
                            drop(permit);
                        });
                    }
                }
                (sort, _) => drop(tokio::spawn(async move {
                    if let Ok(socket) = from(number, self.at).await {
                        counts.dials.fetch_add(1, Ordering::SeqCst);
                        stay(socket, greeting(sort, number), &counts).await;
                    }
                })),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(counts.open.load(Ordering::SeqCst))
    }
}

fn greeting(sort: Sort, number: u32) -> Vec<u8> {
    match (sort, number % 2) {
        (Sort::Knock, 0) => {
            (0..1_024_u32).map(|i| ((i ^ number).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
        }
        (Sort::Knock, _) => b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
        (Sort::Idle, 0) => Vec::new(),
        (Sort::Idle, _) => HALF_A_GREETING.to_vec(),
    }
}

/// A socket from an address of 127.1.0.0/16, another for each number.
async fn from(number: u32, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = Ipv4Addr::from_bits(0x7f01_0000 | (number.wrapping_mul(40_503) & 0xffff));
    socket.bind((host, 0).into())?;
    socket.connect(to).await
}

/// Says something, and waits until the other side closes.
async fn stay(mut socket: TcpStream, greeting: Vec<u8>, counts: &Counts) {
    let began = Instant::now();
    counts.open.fetch_add(1, Ordering::SeqCst);
    let _ = socket.write_all(&greeting).await;
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(CLOSED_WITHIN, socket.read_to_end(&mut rest)).await.is_ok();
    counts.open.fetch_sub(1, Ordering::SeqCst);
    let count = if closed { &counts.closed } else { &counts.left_open };
    count.fetch_add(1, Ordering::SeqCst);
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    counts.longest_ms.fetch_max(took, Ordering::SeqCst);
}

/// Where connections come out at `to` from an address of 127.1.0.0/16.
async fn passage(to: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    tokio::spawn(async move {
        let mut number = 1;
        while let Ok((mut near, _)) = listener.accept().await {
            number += 7;
            tokio::spawn(async move {
                if let Ok(mut far) = from(number, to).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    Ok(at)
}

/// A node with a key that is no member's, which dials once.
async fn keyed(
    passage: SocketAddr,
    target: PeerKey,
    counts: &Counts,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (told, mut outcome) = tokio::sync::mpsc::unbounded_channel();
    let list: Allowlist = [target].into_iter().collect();
    let net = Net::start(NetConfig::new(Identity::generate(), 1, list), Arc::new(Stranger(told)));
    let net = net.await?;
    net.dial(target, &format!("/ip4/{}/tcp/{}", passage.ip(), passage.port()))?;
    let admitted = tokio::time::timeout(CLOSED_WITHIN, outcome.recv()).await;
    counts.admitted.fetch_add(u64::from(admitted == Ok(Some(true))), Ordering::SeqCst);
    counts.closed.fetch_add(1, Ordering::SeqCst);
    net.stop().await;
    Ok(())
}

/// Tells whether it got in.
struct Stranger(tokio::sync::mpsc::UnboundedSender<bool>);

impl Inbound for Stranger {
    fn connected(&self, _: NodeId, _: Link, _: String) {
        let _ = self.0.send(true);
    }
    fn disconnected(&self, _: NodeId, _: bool, _: Vec<Message>) {}
    fn dial_outcome(&self, _: PeerKey, _: DialOutcome) {
        let _ = self.0.send(false);
    }
    fn message(&self, _: NodeId, _: &Link, _: Message) {}
}

impl fmt::Display for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} dials, {} admitted, {} closed, {} left open, the longest after {} ms, {} open 1 s after the last",
            self.dials, self.admitted, self.closed, self.left_open, self.longest_ms, self.open
        )
    }
}
