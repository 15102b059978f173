//! Reads the input and feeds the partitions, each at its own pace.
//!
//! The source holds no copy of what it sent: it can read the input again from anywhere, as one can
//! from a log. Per partition it keeps the halves that are due and not yet taken; nothing that
//! happens to one partition stops the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mobula::prelude::*;
use tokio::sync::mpsc;

use crate::input::Input;
use crate::messages::{PartitionMsg, SourceMsg, halves, owner, trader};

/// Events between the last one that was counted and the last one that was sent.
pub const EVENTS_IN_FLIGHT_MAX: u64 = 4_096;
/// How often a source that could not send tries again.
const TICK: Duration = Duration::from_millis(1);

/// What the source tells whoever runs the pipeline.
#[derive(Debug)]
pub enum News {
    /// It stands before the event that it was told to hold at, or at the end of the input.
    Holding,
    /// The first event that was processed by a run of an actor.
    Working { actor: String, epoch: Epoch },
    /// So many events have been counted, with this latency so far.
    Reached { index: u64, p99_us: u64 },
}

pub struct Args {
    pub input: Arc<Input>,
    pub partitions: u16,
    /// Events per second; as many as possible without it.
    pub rate: Option<f64>,
    pub hold_at: u64,
    /// When the run began, for the stamps on events.
    pub began: Instant,
    pub news: mpsc::UnboundedSender<News>,
}

pub struct Source {
    args: Args,
    lines: Vec<Line>,
    /// The next event that was never sent.
    next: u64,
    /// All events below are counted.
    reached: u64,
    /// All events below are in the scorer's checkpoint.
    covered: u64,
    /// When the events in flight were sent first; a ring by index.
    sent_us: Vec<u64>,
    begun: Option<Instant>,
    holding: bool,
    ticking: bool,
    replayed: u64,
}

/// The way to one partition.
struct Line {
    to: ActorRef<PartitionMsg>,
    /// Halves that are due, in order.
    due: VecDeque<u64>,
    /// What the partition has been sent everything below of, as far as is known.
    after: Option<u64>,
    /// Below this, halves have been sent before.
    sent: u64,
    waiting: bool,
}

impl Actor for Source {
    type Args = Args;
    type Msg = SourceMsg;

    async fn start(args: Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self {
            args,
            lines: Vec::new(),
            next: 0,
            reached: 0,
            covered: 0,
            sent_us: vec![0; EVENTS_IN_FLIGHT_MAX as usize],
            begun: None,
            holding: false,
            ticking: false,
            replayed: 0,
        })
    }

    async fn handle(&mut self, msg: SourceMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            SourceMsg::Begin(partitions) => self.begin(partitions),
            SourceMsg::Resume { partition, next } => self.resume(partition, next),
            SourceMsg::Wait { partition } => {
                if let Some(line) = self.lines.get_mut(usize::from(partition)) {
                    line.waiting = true;
                }
            }
            SourceMsg::Covered { index } => self.cover(index),
            SourceMsg::Replay { index } => self.replay(index),
            SourceMsg::Reached { index, p99_us } => {
                self.reached = self.reached.max(index);
                if p99_us != 0 {
                    self.tell(News::Reached { index, p99_us });
                }
            }
            SourceMsg::Working { actor, epoch } => self.tell(News::Working { actor, epoch }),
            SourceMsg::HoldAt(index) => (self.args.hold_at, self.holding) = (index, false),
            SourceMsg::Replayed(reply) => reply.send(self.replayed),
            SourceMsg::Tick => self.ticking = false,
        }
        if self.begun.is_some() {
            self.draw();
            let blocked = self.push();
            self.keep_going(blocked, ctx);
        }
        Ok(())
    }
}

impl Source {
    fn begin(&mut self, partitions: Vec<ActorRef<PartitionMsg>>) {
        let line = |to| Line { to, due: VecDeque::new(), after: Some(0), sent: 0, waiting: false };
        self.lines = partitions.into_iter().map(line).collect();
        self.begun = Some(Instant::now());
    }

    fn tell(&self, news: News) {
        // Whoever ran the pipeline may have gone; the process ends then.
        let _ = self.args.news.send(news);
    }

    /// Takes new events from the input as far as flight, rate and hold allow.
    fn draw(&mut self) {
        let end = self.limit();
        while self.next < end {
            let Some(event) = self.args.input.event(self.next) else { return };
            self.stamp();
            for half in halves(self.next) {
                let owner = owner(trader(&event, half), self.args.partitions);
                self.lines[usize::from(owner)].due.push_back(half);
            }
            self.next += 1;
        }
        if self.next == self.args.hold_at.min(self.args.input.len()) && !self.holding {
            self.holding = true;
            self.tell(News::Holding);
        }
    }

    fn limit(&self) -> u64 {
        let in_flight = self.reached.saturating_add(EVENTS_IN_FLIGHT_MAX);
        let mut end = in_flight.min(self.args.hold_at).min(self.args.input.len());
        if let (Some(rate), Some(begun)) = (self.args.rate, self.begun) {
            end = end.min((begun.elapsed().as_secs_f64() * rate) as u64);
        }
        end
    }

    /// The time an event was due: when its rate says, so that a late source counts as latency.
    fn stamp(&mut self) {
        let now = match (self.args.rate, self.begun) {
            (Some(rate), Some(begun)) => {
                begun.duration_since(self.args.began).as_secs_f64() + self.next as f64 / rate
            }
            _ => self.args.began.elapsed().as_secs_f64(),
        };
        self.sent_us[(self.next % EVENTS_IN_FLIGHT_MAX) as usize] = (now * 1e6) as u64;
    }

    /// Sends what is due; true if something has to wait.
    fn push(&mut self) -> bool {
        let mut blocked = false;
        for line in &mut self.lines {
            if line.waiting {
                blocked = true;
                // What its log may let go: it may have missed it.
                let _ = line.to.cast(PartitionMsg::Covered { index: self.covered });
            }
            while let (Some(&half), false) = (line.due.front(), line.waiting) {
                let index = half / 2;
                let Some(event) = self.args.input.event(index) else { break };
                let sent_us = self.sent_us[(index % EVENTS_IN_FLIGHT_MAX) as usize];
                let message = PartitionMsg::Half { half, after: line.after, event, sent_us };
                if line.to.cast(message).is_err() {
                    // Its mailbox is full or it is on the move: the others go on.
                    blocked = true;
                    break;
                }
                self.replayed += u64::from(half < line.sent);
                line.after = Some(half + 1);
                line.sent = line.sent.max(half + 1);
                line.due.pop_front();
            }
        }
        blocked
    }

    /// A partition says what it has: from there on everything is due again.
    fn resume(&mut self, partition: u16, next: u64) {
        if self.begun.is_none() {
            return;
        }
        self.due_from(next, |owner| owner == partition);
        if let Some(line) = self.lines.get_mut(usize::from(partition)) {
            (line.after, line.waiting) = (Some(next), false);
        }
    }

    /// Passes on what the scorer's checkpoint holds. A partition that misses it hears the next.
    fn cover(&mut self, index: u64) {
        self.covered = self.covered.max(index);
        for line in &self.lines {
            let _ = line.to.cast(PartitionMsg::Covered { index });
        }
    }

    /// The scorer lost the vectors from `index` on: the partitions answer them from their logs.
    fn replay(&mut self, index: u64) {
        if index >= self.next {
            return;
        }
        // A line that still has to send from before that point will come to it.
        let behind = |line: &Line| line.due.front().is_some_and(|due| *due <= 2 * index);
        let ahead: Vec<bool> = self.lines.iter().map(|line| !behind(line)).collect();
        self.due_from(2 * index, |partition| ahead[usize::from(partition)]);
        for (line, _) in self.lines.iter_mut().zip(&ahead).filter(|(_, ahead)| **ahead) {
            line.after = None;
        }
    }

    fn due_from(&mut self, first: u64, whose: impl Fn(u16) -> bool) {
        for (partition, line) in self.lines.iter_mut().enumerate() {
            if whose(partition as u16) {
                line.due.clear();
            }
        }
        for index in first / 2..self.next {
            let Some(event) = self.args.input.event(index) else { return };
            for half in halves(index).into_iter().filter(|half| *half >= first) {
                let owner = owner(trader(&event, half), self.args.partitions);
                if whose(owner) {
                    self.lines[usize::from(owner)].due.push_back(half);
                }
            }
        }
    }

    fn keep_going(&mut self, blocked: bool, ctx: &mut Context<Self>) {
        let paced = self.args.rate.is_some() && self.next < self.args.input.len();
        if (blocked || paced) && !self.ticking {
            self.ticking = true;
            ctx.after(TICK, SourceMsg::Tick);
        }
    }
}
