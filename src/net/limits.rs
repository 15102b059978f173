//! Every bound of the net room, in one table.

use std::time::Duration;

use super::rate::Refill;

/// The bounds that a node may set. The defaults suit a cluster on one fast network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Payload of one message on the control and call lanes. Default 1 MiB, at most 16 MiB.
    pub message_bytes_max: usize,
    /// Payload of one message on the bulk lane. Default 16 MiB and 64 KiB.
    pub bulk_message_bytes_max: usize,
    /// Bytes waiting in one lane; a push is taken while fewer wait. Default 8 MiB.
    pub lane_bytes_max: usize,
    /// Messages waiting in one lane. Default 4,096.
    pub lane_messages_max: usize,
    /// Inbound connections that are not admitted yet. Default 32.
    pub pending_max: usize,
    /// Connections with one peer: control, two of bulk, and one for a simultaneous dial. Default 4.
    pub connections_per_peer_max: usize,
    /// How long a TCP connect may take. Default 1 s.
    pub dial_timeout: Duration,
    /// From the TCP connection to the keys, and from there to the admission. Default 3 s each.
    pub handshake_timeout: Duration,
    /// How often each side of a control connection pings. Default 1 s.
    pub heartbeat: Duration,
    /// A control connection from which nothing came for so long is closed. Default 5 s.
    pub heartbeat_timeout: Duration,
    /// How long an orderly close may take to write what waits. Default 1 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            bulk_message_bytes_max: (16 << 20) + (64 << 10),
            lane_bytes_max: 8 << 20,
            lane_messages_max: 4096,
            pending_max: 32,
            connections_per_peer_max: 4,
            dial_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(3),
            heartbeat: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(1),
        }
    }
}

/// A frame with its header. Part of the wire: both sides must agree.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 10;
/// The head of a message, which must fit into its first frame.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;
/// What one write batch collects before it is handed to the socket.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 10;
/// A message up to this size, with its header, is made a frame by its sender.
pub(super) const FRAMED_BYTES_MAX: usize = 4 << 10;
/// What one poll of a connection writes, and what it reads, before it yields.
pub(super) const POLL_BYTES_MAX: usize = 256 << 10;
/// The receive windows of all substreams of a connection together.
pub(super) const RECEIVE_WINDOW_BYTES_MAX: usize = 16 << 20;
/// What a socket gives or takes before other connections have their turn.
pub(super) const TURN_BYTES_MAX: usize = 64 << 10;
/// What is still read from a connection that failed, more than a muxer holds back.
pub(super) const LAST_READ_BYTES_MAX: usize = 16 << 20;
/// Payload parts of at least this size are written from where they lie.
pub(super) const DIRECT_BYTES_MIN: usize = 32 << 10;
/// The muxer cuts what it writes into frames of this size.
pub(super) const MUXER_FRAME_BYTES: usize = 16 << 10;
/// Answers to pings that wait behind a slow socket; more are dropped.
pub(super) const OWN_BYTES_MAX: usize = 1 << 10;
/// Substreams of one connection: at most two lanes, the rest is room for refusals.
pub(super) const STREAMS_PER_CONNECTION_MAX: usize = 16;
/// Inbound substreams of one connection that are being negotiated.
pub(super) const NEGOTIATING_STREAMS_MAX: usize = 8;
/// The address in a hello.
pub(super) const ADDRESS_BYTES_MAX: usize = 256;
/// Dials that wait for the connection task.
pub(super) const COMMANDS_MAX: usize = 1024;
/// Keys of an allowlist.
pub(super) const MEMBERS_MAX: usize = 4096;
/// The text of an allowlist.
pub(super) const ALLOWLIST_BYTES_MAX: u64 = 1 << 20;
/// The text of a key file.
pub(super) const KEY_FILE_BYTES_MAX: u64 = 256;
/// Kinds that a certificate or a grant names, so that it fits into a greeting.
pub(super) const GRANT_KINDS_MAX: usize = 8;
/// The name of each.
pub(super) const KIND_BYTES_MAX: usize = 64;
/// A certificate and the grants that were made from it, one from the other.
pub(super) const CHAIN_LINKS_MAX: usize = 4;
/// The text of such a chain.
pub(super) const CHAIN_FILE_BYTES_MAX: u64 = 16 << 10;
/// A certificate, or one grant, on the wire.
pub(super) const CERTIFICATE_BYTES_MAX: usize = 960;
/// The text of a certificate.
pub(super) const CERTIFICATE_FILE_BYTES_MAX: u64 = 4 << 10;
/// Peers on a list of revocations.
pub(super) const REVOKED_MAX: usize = 4096;
/// The text of a list of revocations.
pub(super) const REVOCATIONS_FILE_BYTES_MAX: u64 = 1 << 20;
/// How often the files of certificate and revocations are looked at.
pub(super) const REREAD_INTERVAL: Duration = Duration::from_secs(1);
/// A frame of a peer that is not admitted, with its header.
pub(super) const GREETING_BYTES_MAX: usize = 1 << 10;
/// Of the places of `pending_max`, one in so many is kept for addresses that members came from.
pub(super) const KEPT_PLACES: usize = 4;
/// Addresses that members came from.
pub(super) const KNOWN_ADDRESSES_MAX: usize = 1024;
/// Connections from one IPv4 address or IPv6 /64 before any cryptography: 128, then 32 a second.
pub(super) const ADDRESS_RATE: Refill =
    Refill { burst: 128, every: Duration::from_micros(1_000_000 / 32) };
/// The same from an IPv4 /24 or an IPv6 /56 of strangers: 256, then 64 a second.
pub(super) const NETWORK_RATE: Refill =
    Refill { burst: 256, every: Duration::from_micros(1_000_000 / 64) };
/// The same from an IPv4 /16 or an IPv6 /48 of strangers: 512, then 128 a second.
pub(super) const REGION_RATE: Refill =
    Refill { burst: 512, every: Duration::from_micros(1_000_000 / 128) };
/// Addresses and networks that knocked lately.
pub(super) const BUCKETS_MAX: usize = 4096;
/// Certificates and grants that are looked at on one connection after the first.
pub(super) const PAPERS_MAX: usize = 1024;
/// How often a member may break the protocol before it is kept out.
pub(super) const STRIKES_MAX: usize = 3;
/// The time in which these are counted.
pub(super) const STRIKES_WITHIN: Duration = Duration::from_secs(600);
/// How long it is kept out.
pub(super) const QUARANTINE: Duration = Duration::from_secs(600);
