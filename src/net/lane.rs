//! One substream with its two halves: the writer that batches and the reader that cuts frames.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncRead, AsyncWrite};

use super::{
    frame::{self, Assembler, Header, Violation},
    limits::{
        BATCH_BYTES_MAX, DIRECT_BYTES_MIN, FRAME_BYTES_MAX, GREETING_BYTES_MAX, MUXER_FRAME_BYTES,
        OWN_BYTES_MAX,
    },
    message::{Lane, Message},
    queue::{Batch, Queue, Waiting},
};

impl Lane {
    /// Its number in a frame.
    pub(super) fn wire(self) -> u16 {
        match self {
            Self::Control => 1,
            Self::Call => 2,
            Self::Bulk => 3,
        }
    }

    /// Its name when a substream is negotiated.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Control => "/mobula/control",
            Self::Call => "/mobula/call",
            Self::Bulk => "/mobula/bulk",
        }
    }
}

/// Collects messages into batches and writes each with as few calls as possible.
#[derive(Debug)]
pub(super) struct Writer {
    lane: u16,
    own: BytesMut,
    out: BytesMut,
    at: usize,
    /// The rest of a large payload part, written after `out` from where it lies.
    tail: Bytes,
    /// A message that is cut into frames, and how much of it went into frames.
    current: Option<(Message, usize)>,
    taken: VecDeque<Waiting>,
    /// A buffer that was written.
    spare: BytesMut,
    /// What lies in `out` and is not all handed to the socket yet, in order.
    unwritten: VecDeque<Unwritten>,
}

/// Messages in a batch.
#[derive(Debug)]
enum Unwritten {
    /// One whose first frame begins at `start`.
    Message { start: usize, message: Message },
    /// Small ones, whose frames lie between the two places.
    Frames { start: usize, end: usize, messages: usize, bytes: usize },
}

impl Writer {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane: lane.wire(),
            own: BytesMut::new(),
            out: BytesMut::new(),
            at: 0,
            tail: Bytes::new(),
            current: None,
            taken: VecDeque::new(),
            spare: BytesMut::new(),
            unwritten: VecDeque::new(),
        }
    }

    /// Puts one of the link's own frames in front of what waits. Dropped when too many wait.
    pub(super) fn own(&mut self, kind: u8, target: u64, body: &[u8]) {
        if self.own.len() < OWN_BYTES_MAX {
            frame::own(&mut self.own, kind, target, body);
        }
    }

    /// Writes until nothing waits (`Ready`), the socket is full, or `budget` is spent (both
    /// `Pending`, with a wake to come).
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        queue: Option<&Queue>,
        budget: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.at == self.out.len() && self.tail.is_empty() {
                self.fill(queue, cx.waker());
                if self.out.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            if *budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let rest = self.out.get(self.at..).filter(|rest| !rest.is_empty());
            let written =
                ready!(Pin::new(&mut *stream).poll_write(cx, rest.unwrap_or(&self.tail)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *budget = budget.saturating_sub(written);
            self.advance(written, queue);
        }
    }

    /// Starts the next batch.
    fn fill(&mut self, queue: Option<&Queue>, waker: &Waker) {
        self.out.clear();
        self.at = 0;
        self.out.extend_from_slice(&self.own);
        self.own.clear();
        while self.out.len() < BATCH_BYTES_MAX && self.tail.is_empty() {
            if let Some((message, offset)) = self.current.take() {
                self.put(message, offset);
                continue;
            }
            match self.next(queue, waker) {
                Some(Waiting::Message(message)) => self.put(message, 0),
                Some(Waiting::Batch(batch)) => self.put_batch(batch),
                None => return,
            }
        }
    }

    fn next(&mut self, queue: Option<&Queue>, waker: &Waker) -> Option<Waiting> {
        if self.taken.is_empty() {
            queue?.take(&mut self.taken, &mut self.spare, waker);
        }
        self.taken.pop_front()
    }

    /// Writes from the frames where they lie, if nothing stands before them.
    fn put_batch(&mut self, batch: Batch) {
        let Batch { mut frames, messages, bytes } = batch;
        let start = self.out.len();
        if start == 0 {
            std::mem::swap(&mut self.out, &mut frames);
        } else {
            self.out.extend_from_slice(&frames);
        }
        frames.clear();
        self.spare = frames;
        self.unwritten.push_back(Unwritten::Frames { start, end: self.out.len(), messages, bytes });
    }

    /// Puts one frame into the batch.
    fn put(&mut self, message: Message, offset: usize) {
        let start = self.out.len();
        let part = frame::begin(&mut self.out, self.lane, &message, offset);
        let end = offset.saturating_add(part);
        // A large part is copied up to the muxer's next cut only, so that no cut is short.
        let cut = self.out.len().checked_rem(MUXER_FRAME_BYTES).unwrap_or(0);
        let lead = if part < DIRECT_BYTES_MIN {
            part
        } else {
            MUXER_FRAME_BYTES.saturating_sub(cut).min(part)
        };
        let copied = offset.saturating_add(lead);
        self.out.extend_from_slice(message.payload.get(offset..copied).unwrap_or_default());
        if copied < end {
            self.tail = message.payload.slice(copied..end);
        }
        let more = end < message.payload.len();
        if more {
            self.current = Some((message.clone(), end));
        }
        if offset == 0 {
            self.unwritten.push_back(Unwritten::Message { start, message });
        }
    }

    fn advance(&mut self, written: usize, queue: Option<&Queue>) {
        if self.at == self.out.len() {
            self.tail.advance(written);
            return;
        }
        self.at = self.at.saturating_add(written);
        let (mut messages, mut bytes) = (0_usize, 0_usize);
        while let Some((more_messages, more_bytes)) =
            self.unwritten.front().and_then(|first| first.written(self.at))
        {
            self.unwritten.pop_front();
            messages = messages.saturating_add(more_messages);
            bytes = bytes.saturating_add(more_bytes);
        }
        if let Some(queue) = queue.filter(|_| messages > 0) {
            queue.release(messages, bytes);
        }
    }

    /// The messages of which no byte was handed to the socket, in order.
    pub(super) fn into_unwritten(self) -> Vec<Message> {
        let Self { lane, out, at, unwritten, taken, .. } = self;
        let out = out.freeze();
        let begun =
            unwritten.into_iter().flat_map(|unwritten| unwritten.into_messages(&out, at, lane));
        begun.chain(taken.into_iter().flat_map(|waiting| waiting.into_messages(lane))).collect()
    }
}

impl Unwritten {
    /// How many messages and bytes they were, once nothing of them could come back.
    fn written(&self, at: usize) -> Option<(usize, usize)> {
        match self {
            Self::Message { start, message } => (*start < at).then(|| (1, message.bytes())),
            Self::Frames { end, messages, bytes, .. } => {
                (*end <= at).then_some((*messages, *bytes))
            }
        }
    }

    /// Those of which no byte was handed to the socket: none that begins before `at`.
    fn into_messages(self, out: &Bytes, at: usize, lane: u16) -> Vec<Message> {
        let (mut start, end) = match self {
            Self::Message { message, .. } => return vec![message],
            Self::Frames { start, end, .. } => (start, end),
        };
        while start < at {
            let header = out.get(start..).and_then(Header::peek);
            let Some(bytes) = header.and_then(|header| header.frame_bytes().ok()) else {
                return Vec::new();
            };
            start = start.saturating_add(bytes);
        }
        if start >= end { Vec::new() } else { frame::messages(out.slice(start..end), lane) }
    }
}

/// What the reader found.
#[derive(Debug)]
pub(super) enum Incoming {
    /// One of the link's own frames.
    Own(Header, Bytes),
    /// A whole message.
    Message(Message),
}

/// Cuts what arrives into frames. A payload shares the read buffer that it arrived in.
#[derive(Debug)]
pub(super) struct Reader {
    /// All of it is initialised; the first `filled` bytes are data.
    buffer: BytesMut,
    filled: usize,
    assembler: Assembler,
    /// Set when the peer is admitted: before, a message is a violation and is not decoded.
    pub(super) admitted: bool,
    /// Frames decoded since the last look.
    pub(super) frames: u64,
}

impl Reader {
    pub(super) fn new(lane: Lane, message_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            filled: 0,
            assembler: Assembler::new(lane.wire(), message_bytes_max),
            admitted: false,
            frames: 0,
        }
    }

    /// The next whole frame or message of what has arrived.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Violation> {
        while let Some(header) = self.buffer.get(..self.filled).and_then(Header::peek) {
            if header.lane != frame::OWN && !self.admitted {
                return Err(Violation::Hello);
            }
            let bytes = header.frame_bytes()?;
            if bytes > GREETING_BYTES_MAX && !self.admitted {
                return Err(Violation::Hello);
            }
            if bytes > self.filled {
                return Ok(None);
            }
            let mut body = self.buffer.split_to(bytes).freeze();
            body.advance(frame::HEADER);
            self.filled = self.filled.saturating_sub(bytes);
            self.frames = self.frames.saturating_add(1);
            if header.lane == frame::OWN {
                return Ok(Some(Incoming::Own(header, body)));
            }
            if let Some(message) = self.assembler.frame(&header, body)? {
                return Ok(Some(Incoming::Message(message)));
            }
        }
        Ok(None)
    }

    /// Reads what the socket has; 0 is the end of the stream. Call it when `next` has no more.
    pub(super) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let wanted = Header::peek(self.buffer.get(..self.filled).unwrap_or_default())
            .and_then(|header| header.frame_bytes().ok())
            .unwrap_or(frame::HEADER);
        if self.buffer.len() < wanted.max(self.filled.saturating_add(1)) {
            self.renew();
        }
        let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = ready!(Pin::new(stream).poll_read(cx, free))?;
        self.filled = self.filled.saturating_add(read);
        Poll::Ready(Ok(read))
    }

    /// Takes a fresh buffer and moves the begun frame to its front.
    fn renew(&mut self) {
        let mut fresh = BytesMut::zeroed(FRAME_BYTES_MAX);
        let begun = self.buffer.get(..self.filled).unwrap_or_default();
        if let Some(front) = fresh.get_mut(..begun.len()) {
            front.copy_from_slice(begun);
        }
        self.buffer = fresh;
    }
}

/// One lane of one connection.
#[derive(Debug)]
pub(super) struct Io<S> {
    pub(super) stream: S,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}
