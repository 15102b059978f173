//! A socket that lets others have their turn.
//!
//! A muxer goes on as long as its socket does. On a busy connection that is a long time, in which
//! every other connection of the same worker waits.
//!
//! - **PC-1** After `TURN_BYTES_MAX` in one direction a socket has nothing to give or take until its
//!   task has run again.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

use super::limits::TURN_BYTES_MAX;

/// A socket in turns.
#[derive(Debug)]
pub(super) struct Paced<S> {
    socket: S,
    read: Turn,
    written: Turn,
}

impl<S> Paced<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, read: Turn::default(), written: Turn::default() }
    }
}

/// The bytes moved since the last pause.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// `Pending`, with a wake to come, when the turn is over; the next one begins.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 < TURN_BYTES_MAX {
            return Poll::Ready(());
        }
        self.0 = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A socket that has no more ends the turn as well.
    fn count(&mut self, moved: &Poll<io::Result<usize>>) {
        match moved {
            Poll::Ready(Ok(bytes)) => self.0 = self.0.saturating_add(*bytes),
            _ => self.0 = 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.read.poll(cx));
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        self.read.count(&read);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.written.poll(cx));
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.written.count(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.written.poll(cx));
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.written.count(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::task::{ArcWake, waker_ref};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl ArcWake for Wakes {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A socket that never runs dry and never fills up.
    struct Endless;

    impl AsyncRead for Endless {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buffer.len()))
        }
    }

    impl AsyncWrite for Endless {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// PC-1, in both directions, and the pause is one only: a wake follows and the next turn begins.
    #[test]
    fn a_socket_that_could_go_on_pauses_after_its_turn() {
        let wakes = Arc::<Wakes>::default();
        let waker = waker_ref(&wakes);
        let mut cx = Context::from_waker(&waker);
        let mut socket = Paced::new(Endless);
        let mut chunk = vec![0; TURN_BYTES_MAX / 4];
        let mut turn = || {
            (0..100)
                .take_while(|_| Pin::new(&mut socket).poll_read(&mut cx, &mut chunk).is_ready())
                .count()
        };
        assert_eq!((turn(), turn()), (4, 4));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        let mut turn = || {
            (0..100)
                .take_while(|_| Pin::new(&mut socket).poll_write(&mut cx, &chunk).is_ready())
                .count()
        };
        assert_eq!((turn(), turn()), (4, 4));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 4);
    }
}
