//! Substreams of a connection: yamux, set up for lanes.
//!
//! The same on the wire as libp2p's own muxer, but for what that leaves at its defaults: the receive
//! windows of all streams together have a bound, and a poll drives the connection once, not twice.

use std::{
    collections::VecDeque,
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    UpgradeInfo,
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::limits::{MUXER_FRAME_BYTES, RECEIVE_WINDOW_BYTES_MAX, STREAMS_PER_CONNECTION_MAX};

/// Makes a connection one of substreams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yamux;

impl Yamux {
    fn over<S: AsyncRead + AsyncWrite + Unpin>(self, socket: S, mode: Mode) -> Muxer<S> {
        let mut config = Config::default();
        // In this order: the window must hold a default one for each stream.
        config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
        config.set_max_connection_receive_window(Some(RECEIVE_WINDOW_BYTES_MAX));
        config.set_split_send_size(MUXER_FRAME_BYTES);
        Muxer { connection: Connection::new(socket, config, mode), opened: VecDeque::new() }
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<S> for Yamux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<S>, io::Error>>;

    fn upgrade_inbound(self, socket: S, _: &'static str) -> Self::Future {
        ready(Ok(self.over(socket, Mode::Server)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<S> for Yamux {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<S>, io::Error>>;

    fn upgrade_outbound(self, socket: S, _: &'static str) -> Self::Future {
        ready(Ok(self.over(socket, Mode::Client)))
    }
}

/// A connection of substreams. Only `poll` drives it.
#[derive(Debug)]
pub(super) struct Muxer<S> {
    connection: Connection<S>,
    /// Substreams that the peer opened and nobody took yet.
    opened: VecDeque<Stream>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<S> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<Stream, io::Error>> {
        // Whoever polls this has polled `poll` before, and will again when that has more.
        self.opened.pop_front().map_or(Poll::Pending, |stream| Poll::Ready(Ok(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, io::Error>> {
        self.connection.poll_new_outbound(cx).map_err(broken)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.connection.poll_close(cx).map_err(broken)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, io::Error>> {
        loop {
            match self.connection.poll_next_inbound(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Err(broken(ConnectionError::Closed))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                // Dropping a stream resets it.
                Poll::Ready(Some(Ok(stream))) => {
                    if self.opened.len() < STREAMS_PER_CONNECTION_MAX {
                        self.opened.push_back(stream);
                    }
                }
            }
        }
    }
}

fn broken(error: ConnectionError) -> io::Error {
    match error {
        ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}
