//! What the network between two nodes may do, as a test says: a TCP relay that delays, slows down,
//! stalls one way, resets, takes connections without forwarding, and damages.
//!
//! A node behind a relay announces the relay's address, so that whoever dials it comes through here.
//! TCP cannot lose or swap bytes; what is lost on a real network shows as delay, stall and reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mobula::machine::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pieces of a stream under way in one direction; a slow receiver slows its sender beyond them.
const PIECES_MAX: usize = 64;
const PIECE_BYTES_MAX: usize = 16 << 10;

/// What happens to all connections of a relay from now on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Every piece of a stream takes so long…
    pub delay: Duration,
    /// …and up to so much more, drawn for each; pieces keep their order.
    pub jitter: Duration,
    /// The most that passes in each direction of each connection.
    pub bytes_per_second: Option<u64>,
    /// Nothing arrives at the node behind the relay.
    pub stall_to: bool,
    /// Nothing arrives from the node behind the relay.
    pub stall_from: bool,
    /// New connections are taken, and nothing is forwarded.
    pub half_open: bool,
}

impl Weather {
    /// Nothing arrives in either direction, and nobody is told.
    pub fn silence() -> Self {
        Self { stall_to: true, stall_from: true, half_open: true, ..Self::default() }
    }
}

/// A relay in front of one node. It ends with this value.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: watch::Sender<Option<SocketAddr>>,
    weather: watch::Sender<Weather>,
    resets: watch::Sender<u64>,
    damage: AtomicBool,
    accepted: AtomicU64,
}

/// Which way a stream goes.
#[derive(Clone, Copy)]
enum Way {
    To,
    From,
}

impl Relay {
    /// A relay in fine weather, whose jitter is drawn from `seed`.
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: watch::Sender::new(None),
            weather: watch::Sender::new(Weather::default()),
            resets: watch::Sender::new(0),
            damage: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone(), Rng::new(seed)));
        Self { address, shared, accepting }
    }

    /// What the node behind it announces.
    pub fn address(&self) -> String {
        format!("/ip4/{}/tcp/{}", self.address.ip(), self.address.port())
    }

    /// The node behind it listens at `/ip4/…/tcp/…`; connections made before wait for this.
    pub fn leads_to(&self, address: &str) {
        let parts: Vec<&str> = address.split('/').collect();
        let target = format!("{}:{}", parts[2], parts[4]).parse().unwrap();
        self.shared.target.send_replace(Some(target));
    }

    pub fn turn(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|count| *count += 1);
    }

    /// Changes one bit of the next piece of a stream to the node behind it.
    pub fn damage(&self) {
        self.shared.damage.store(true, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub fn has_damaged(&self) -> bool {
        !self.shared.damage.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut rng: Rng) {
    while let Ok((near, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let seed = rng.next_u64();
        let resets = shared.resets.subscribe();
        tokio::spawn(carry(near, shared.clone(), resets, seed));
    }
}

/// One connection, until a side closes it or it is reset.
async fn carry(
    mut near: TcpStream,
    shared: Arc<Shared>,
    mut resets: watch::Receiver<u64>,
    seed: u64,
) {
    let forwarding = async {
        let mut weather = shared.weather.subscribe();
        weather.wait_for(|weather| !weather.half_open).await.ok()?;
        let target = *shared.target.subscribe().wait_for(Option::is_some).await.ok()?;
        TcpStream::connect(target?).await.ok()
    };
    let far = tokio::select! {
        far = forwarding => far,
        _ = resets.changed() => None,
    };
    let Some(mut far) = far else { return };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (near_in, near_out) = near.split();
    let (far_in, far_out) = far.split();
    let reset = tokio::select! {
        () = pump(Way::To, near_in, far_out, &shared, Rng::new(seed)) => false,
        () = pump(Way::From, far_in, near_out, &shared, Rng::new(!seed)) => false,
        _ = resets.changed() => true,
    };
    for stream in [&near, &far].into_iter().filter(|_| reset) {
        let _ = stream.set_zero_linger();
    }
}

/// Carries one direction: what is read now is written when its time has come.
async fn pump(way: Way, from: ReadHalf<'_>, to: WriteHalf<'_>, shared: &Shared, rng: Rng) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    tokio::join!(take(way, from, sender, shared, rng), give(way, to, pieces, shared));
}

async fn take(
    way: Way,
    mut from: ReadHalf<'_>,
    to: mpsc::Sender<(Instant, Vec<u8>)>,
    shared: &Shared,
    mut rng: Rng,
) {
    let mut last = Instant::now();
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let mut piece = buffer[..bytes].to_vec();
        if matches!(way, Way::To) && shared.damage.swap(false, Ordering::SeqCst) {
            piece[bytes / 2] ^= 1;
        }
        let weather = *shared.weather.borrow();
        let jitter = weather.jitter.mul_f64(rng.unit());
        last = last.max(Instant::now() + weather.delay + jitter);
        if to.send((last, piece)).await.is_err() {
            return;
        }
    }
}

async fn give(
    way: Way,
    mut to: WriteHalf<'_>,
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    shared: &Shared,
) {
    let mut weather = shared.weather.subscribe();
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        let flows = |weather: &Weather| match way {
            Way::To => !weather.stall_to,
            Way::From => !weather.stall_from,
        };
        let Ok(now) = weather.wait_for(flows).await.map(|now| *now) else { return };
        if let Some(rate) = now.bytes_per_second {
            let share = piece.len() as f64 / rate.max(1) as f64;
            tokio::time::sleep(Duration::from_secs_f64(share)).await;
        }
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}
