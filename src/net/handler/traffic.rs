//! Messages in and out of the substreams.

use std::iter;
use std::task::{Context, Poll};

use mobula_actors::together;

use super::{LaneHandler, Origin, Phase, leave::Reason};
use crate::net::{
    frame::Violation,
    hello::{Class, kind},
    hub::count,
    lane::Incoming,
    limits::{POLL_BYTES_MAX, TURN_BYTES_MAX},
    link::End,
    message::Lane,
};

impl LaneHandler {
    /// Takes in what arrived, `budget` bytes at most; if there is more, a wake follows. The end of
    /// one lane is reported when the others are read too.
    pub(super) fn read(&mut self, mut budget: usize, cx: &mut Context<'_>) -> Result<(), Reason> {
        let mut ended = false;
        for lane in Lane::ALL {
            loop {
                together(|| self.deliver(lane))?;
                if matches!(self.phase, Phase::Joining { .. }) {
                    break;
                }
                let Some(io) = self.lanes.slot(lane) else { break };
                if budget == 0 {
                    cx.waker().wake_by_ref();
                    break;
                }
                match io.reader.poll_fill(&mut io.stream, cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(bytes)) if bytes > 0 => {
                        budget = budget.saturating_sub(bytes);
                        self.moved = self.moved.saturating_add(bytes);
                        self.clock.heard();
                    }
                    Poll::Ready(_) => {
                        ended = true;
                        break;
                    }
                }
            }
        }
        if ended { Err(Reason::Lost) } else { Ok(()) }
    }

    /// Hands over what was read, until the link is to be joined first.
    fn deliver(&mut self, lane: Lane) -> Result<(), Reason> {
        while !matches!(self.phase, Phase::Joining { .. })
            && let Some(incoming) = self.next(lane)?
        {
            self.incoming(lane, incoming)?;
        }
        Ok(())
    }

    /// The next that is no message to hand over: those before it are handed over.
    fn next(&mut self, lane: Lane) -> Result<Option<Incoming>, Reason> {
        let Some(io) = self.lanes.slot(lane) else { return Ok(None) };
        let sends_only = lane == Lane::Bulk && matches!(self.origin, Origin::Dialed { .. });
        let Phase::Carrying(link) = &self.phase else { return Ok(io.reader.next()?) };
        if sends_only {
            return Ok(io.reader.next()?);
        }
        let mut other = None;
        let mut messages = iter::from_fn(|| match io.reader.next() {
            Ok(Some(Incoming::Message(message))) => Some(message),
            next => {
                other = Some(next);
                None
            }
        })
        .fuse();
        self.hub.inbound.messages(link.node(), link, &mut messages);
        messages.for_each(drop);
        Ok(other.transpose()?.flatten())
    }

    pub(super) fn incoming(&mut self, lane: Lane, incoming: Incoming) -> Result<(), Reason> {
        match (incoming, &self.phase) {
            // The dialer of a bulk connection only sends there.
            (Incoming::Message(_), Phase::Carrying(_)) => Err(Violation::Unexpected.into()),
            (Incoming::Own(header, _), Phase::Lingering(Some(_))) if header.kind == kind::BYE => {
                self.bye()
            }
            (_, Phase::Lingering(_)) => Ok(()),
            (Incoming::Message(_), _) => Err(Violation::Hello.into()),
            (Incoming::Own(header, body), _) => self.own(lane, &header, &body),
        }
    }

    /// Hands to the sockets what waits in the lanes, control first.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let link = match &self.phase {
            Phase::Carrying(link) => Some(link.clone()),
            _ => None,
        };
        // The receiver of a bulk connection has nothing to send on it.
        let receives = self.class == Some(Class::Bulk) && matches!(self.origin, Origin::Accepted);
        let source = link.as_ref().filter(|_| !receives);
        let mut budget = POLL_BYTES_MAX;
        let mut all_written = true;
        for lane in Lane::ALL {
            let Some(io) = self.lanes.slot(lane) else { continue };
            let queue = source.map(|link| link.queue(lane));
            match io.writer.poll(&mut io.stream, queue, &mut budget, cx) {
                Poll::Pending => all_written = false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Reason::Lost),
            }
        }
        self.moved = self.moved.saturating_add(POLL_BYTES_MAX.saturating_sub(budget));
        match link {
            Some(link) if all_written && link.end() == End::Leave => self.leave(link, cx),
            _ => Ok(()),
        }
    }

    /// Lets other threads have the core after each turn of a transfer. The system lets a thread that
    /// has work without end keep it for milliseconds, while a call waits.
    pub(super) fn give_way(&mut self) {
        if self.class == Some(Class::Bulk) && self.moved >= TURN_BYTES_MAX {
            self.moved = 0;
            std::thread::yield_now();
        }
    }

    pub(super) fn count_frames(&mut self) {
        let frames = self.lanes.each().map(|io| std::mem::take(&mut io.reader.frames)).sum();
        if frames > 0 {
            count(&self.hub.counters.frames, frames);
        }
    }
}
