//! Frames: how a message lies on a lane, and how it is put together again.
//!
//! A frame is a 16-byte header (little endian: `len u32`, `kind u8`, `flags u8`, `lane u16`,
//! `target u64`) and `len` bytes. A message that fits travels as `head_len u32, head, payload`; a
//! larger one is cut: its first frame begins with `total u32` (the payload's size), the others
//! carry payload only. The frames of one message follow each other, between them lie at most the
//! link's own frames (lane 0). So a lane puts together at most one message at a time.
//!
//! The high bit of a kind says that whoever does not know the kind may skip the frame: so a later
//! version can add what an earlier one need not understand.
//!
//! - **F-1** Every length is checked against its bound before anything is reserved for it.
//! - **F-2** Whatever bytes arrive, the answer is a message, a wait for more, or a `Violation`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::{
    limits::{FRAME_BYTES_MAX, HEAD_BYTES_MAX},
    message::Message,
};

/// Size of a frame's header.
pub(super) const HEADER: usize = 16;
/// The lane number of the link's own frames.
pub(super) const OWN: u16 = 0;
/// The bit of a kind that its receiver may skip.
pub(super) const MAY_SKIP: u8 = 1 << 7;
const FIRST: u8 = 1;
const LAST: u8 = 2;
const HEAD_LEN: usize = 4;
const TOTAL: usize = 4;
const _: () = assert!(HEADER + TOTAL + HEAD_LEN + HEAD_BYTES_MAX < FRAME_BYTES_MAX);

/// The first 16 bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) lane: u16,
    pub(super) target: u64,
}

impl Header {
    /// Reads a header, `None` while fewer than 16 bytes are there.
    pub(super) fn peek(mut bytes: &[u8]) -> Option<Self> {
        Some(Self {
            len: bytes.try_get_u32_le().ok()?,
            kind: bytes.try_get_u8().ok()?,
            flags: bytes.try_get_u8().ok()?,
            lane: bytes.try_get_u16_le().ok()?,
            target: bytes.try_get_u64_le().ok()?,
        })
    }

    /// Bytes of the whole frame, or the violation that its header alone proves.
    pub(super) fn frame_bytes(&self) -> Result<usize, Violation> {
        let bytes = usize::try_from(self.len).unwrap_or(usize::MAX).saturating_add(HEADER);
        if bytes > FRAME_BYTES_MAX {
            return Err(Violation::FrameTooLong { bytes });
        }
        if self.flags & !(FIRST | LAST) != 0 {
            return Err(Violation::Flags { flags: self.flags });
        }
        Ok(bytes)
    }

    fn put(&self, out: &mut BytesMut) {
        out.put_u32_le(self.len);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u16_le(self.lane);
        out.put_u64_le(self.target);
    }
}

/// What a peer did that no correct peer does. The connection it came on is closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame beyond the bound that is part of the protocol.
    #[error("a frame of {bytes} bytes")]
    FrameTooLong {
        /// As announced.
        bytes: usize,
    },
    /// A frame that ends inside its own fields.
    #[error("a frame too short for its fields")]
    FrameTooShort,
    /// Flags that this version does not know.
    #[error("unknown frame flags {flags:#04x}")]
    Flags {
        /// As received.
        flags: u8,
    },
    /// A frame of one lane on the substream of another.
    #[error("a frame of lane {lane} on another lane")]
    Lane {
        /// As received.
        lane: u16,
    },
    /// A head beyond the bound that is part of the protocol.
    #[error("a message head of {bytes} bytes")]
    HeadTooLong {
        /// As announced.
        bytes: usize,
    },
    /// A payload beyond this node's bound.
    #[error("a message of {bytes} bytes where {max} are allowed")]
    MessageTooLong {
        /// As announced.
        bytes: usize,
        /// What this node allows.
        max: usize,
    },
    /// A part of a message that does not continue the one before.
    #[error("a part of a message out of place")]
    PartOutOfPlace,
    /// Parts that do not add up to the announced size.
    #[error("{bytes} bytes of a message announced with {total}")]
    Total {
        /// What came.
        bytes: usize,
        /// What was announced.
        total: usize,
    },
    /// A frame before the hello, or a hello that cannot be read.
    #[error("no proper hello")]
    Hello,
    /// A kind of frame that this version does not have and must not skip.
    #[error("a frame of kind {kind}, which this version does not know and must not skip")]
    Kind {
        /// As received.
        kind: u8,
    },
    /// A frame that has no place at this moment of the protocol.
    #[error("a frame or substream that is not expected now")]
    Unexpected,
}

/// Whether a frame of a kind that is not known may be skipped.
#[must_use]
pub fn may_skip(kind: u8) -> bool {
    kind & MAY_SKIP != 0
}

/// Appends the header and head of the message's next frame, the one whose payload begins at
/// `offset`. Returns how many payload bytes belong into it: the caller appends them.
pub(super) fn begin(out: &mut BytesMut, lane: u16, message: &Message, offset: usize) -> usize {
    let left = message.payload.len().saturating_sub(offset);
    let first = offset == 0;
    let fields = if first { HEAD_LEN.saturating_add(message.head.len()) } else { 0 };
    let room = FRAME_BYTES_MAX.saturating_sub(HEADER).saturating_sub(fields);
    let last = left <= room;
    let fields = if first && !last { fields.saturating_add(TOTAL) } else { fields };
    let part = left.min(FRAME_BYTES_MAX.saturating_sub(HEADER).saturating_sub(fields));
    let flags = if first { FIRST } else { 0 } | if last { LAST } else { 0 };
    let header = Header {
        len: wire_len(fields.saturating_add(part)),
        kind: message.kind,
        flags,
        lane,
        target: message.target,
    };
    header.put(out);
    if first {
        if !last {
            out.put_u32_le(wire_len(message.payload.len()));
        }
        out.put_u32_le(wire_len(message.head.len()));
        out.put_slice(&message.head);
    }
    part
}

/// The messages in whole frames that this side made, each of one frame.
pub(super) fn messages(mut frames: Bytes, lane: u16) -> Vec<Message> {
    let mut assembler = Assembler::new(lane, FRAME_BYTES_MAX);
    let mut messages = Vec::new();
    while let Some(header) = Header::peek(&frames) {
        let Some(bytes) = header.frame_bytes().ok().filter(|bytes| *bytes <= frames.len()) else {
            break;
        };
        let body = frames.split_to(bytes).slice(HEADER..);
        messages.extend(assembler.frame(&header, body).ok().flatten());
    }
    messages
}

/// Appends one of the link's own frames.
pub(super) fn own(out: &mut BytesMut, kind: u8, target: u64, body: &[u8]) {
    let flags = FIRST | LAST;
    Header { len: wire_len(body.len()), kind, flags, lane: OWN, target }.put(out);
    out.put_slice(body);
}

/// The senders' bounds lie far below 4 GiB.
fn wire_len(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Puts the messages of one lane together.
#[derive(Debug)]
pub(super) struct Assembler {
    lane: u16,
    message_bytes_max: usize,
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    kind: u8,
    target: u64,
    head: Bytes,
    body: BytesMut,
    total: usize,
}

impl Assembler {
    pub(super) fn new(lane: u16, message_bytes_max: usize) -> Self {
        Self { lane, message_bytes_max, partial: None }
    }

    /// Takes the next frame of the lane. `Some` with the last frame of a message.
    pub(super) fn frame(
        &mut self,
        header: &Header,
        body: Bytes,
    ) -> Result<Option<Message>, Violation> {
        if header.lane != self.lane {
            return Err(Violation::Lane { lane: header.lane });
        }
        match (self.partial.take(), header.flags & FIRST != 0) {
            (None, true) => self.begin(header, body),
            (Some(partial), false) => self.resume(partial, header, &body),
            _ => Err(Violation::PartOutOfPlace),
        }
    }

    fn begin(&mut self, header: &Header, mut body: Bytes) -> Result<Option<Message>, Violation> {
        let whole = header.flags & LAST != 0;
        let announced = if whole { None } else { Some(take_len(&mut body)?) };
        let head_bytes = take_len(&mut body)?;
        if head_bytes > HEAD_BYTES_MAX {
            return Err(Violation::HeadTooLong { bytes: head_bytes });
        }
        if head_bytes > body.len() {
            return Err(Violation::FrameTooShort);
        }
        let head = body.split_to(head_bytes);
        let total = announced.unwrap_or(body.len());
        if total > self.message_bytes_max {
            return Err(Violation::MessageTooLong { bytes: total, max: self.message_bytes_max });
        }
        let (kind, target) = (header.kind, header.target);
        if whole {
            return Ok(Some(Message { kind, target, head, payload: body }));
        }
        if body.is_empty() || body.len() >= total {
            return Err(Violation::Total { bytes: body.len(), total });
        }
        let mut joined = BytesMut::with_capacity(total);
        joined.put_slice(&body);
        self.partial = Some(Partial { kind, target, head, body: joined, total });
        Ok(None)
    }

    fn resume(
        &mut self,
        mut partial: Partial,
        header: &Header,
        part: &Bytes,
    ) -> Result<Option<Message>, Violation> {
        if header.kind != partial.kind || header.target != partial.target || part.is_empty() {
            return Err(Violation::PartOutOfPlace);
        }
        let (total, last) = (partial.total, header.flags & LAST != 0);
        let bytes = partial.body.len().saturating_add(part.len());
        if bytes > total || last != (bytes == total) {
            return Err(Violation::Total { bytes, total });
        }
        partial.body.put_slice(part);
        if !last {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { kind, target, head, body, .. } = partial;
        Ok(Some(Message { kind, target, head, payload: body.freeze() }))
    }
}

fn take_len(body: &mut Bytes) -> Result<usize, Violation> {
    let len = body.try_get_u32_le().map_err(|_| Violation::FrameTooShort)?;
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}
