//! Keeps the histories of the traders it owns.
//!
//! A half is applied once. Its features stay in a log until the scorer's checkpoint covers them, so
//! that a half that comes again is answered from there, as it was the first time. The checkpoint
//! holds histories, log and the next half: a new run goes on as if nothing had happened.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mobula::prelude::*;

use crate::event::Event;
use crate::features::{giver_features, receiver_features};
use crate::history::{History, apply_given, apply_received};
use crate::messages::{PartitionMsg, ScorerMsg, Side, SourceMsg, Vector, trader};

/// Halves that the log holds; a partition whose log is full takes no more of them.
pub const LOG_MAX: usize = 16_384;
/// Halves between two checkpoints: what a new run may have to apply again.
const HALVES_PER_CHECKPOINT: u64 = 2_000;
/// How long an asked source may take before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Serialize, Deserialize)]
pub struct Args {
    pub number: u16,
    pub source: ActorRef<SourceMsg>,
    pub scorer: ActorRef<ScorerMsg>,
}

/// What a checkpoint holds.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Everything below has been applied.
    next: u64,
    applied: u64,
    histories: BTreeMap<u64, History>,
    log: VecDeque<Vector>,
}

pub struct Partition {
    args: Args,
    state: State,
    /// How many halves the last checkpoint had.
    kept: u64,
    /// When the source was last asked for what is missing.
    asked: Option<Instant>,
    full: bool,
    worked: bool,
}
kind!(Partition = "fraud.partition");

impl Actor for Partition {
    type Args = Args;
    type Msg = PartitionMsg;

    async fn start(args: Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let state = ctx.restored::<State>()?.unwrap_or_default();
        let kept = state.applied;
        let mut partition = Self { args, state, kept, asked: None, full: false, worked: false };
        partition.ask();
        Ok(partition)
    }

    async fn handle(&mut self, msg: PartitionMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            PartitionMsg::Half { half, after, event, sent_us } => {
                self.half(half, after, &event, sent_us, ctx).await;
            }
            PartitionMsg::Covered { index } => self.covered(index),
            PartitionMsg::Applied(reply) => reply.send(self.state.applied),
        }
        if self.state.applied - self.kept >= HALVES_PER_CHECKPOINT {
            self.kept = self.state.applied;
            ctx.checkpoint_now();
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        // The runtime asks by its own clock as well; between two of our own there is little new.
        (self.kept == self.state.applied)
            .then(|| Ok(postcard::to_allocvec(&self.state).map(Bytes::from)?))
    }
}

impl Partition {
    async fn half(
        &mut self,
        half: u64,
        after: Option<u64>,
        event: &Event,
        sent_us: u64,
        ctx: &Context<Self>,
    ) {
        if half < self.state.next {
            self.answer_again(half).await;
        } else if after != Some(self.state.next) {
            // Something before it is missing, or may be.
            self.ask();
            return;
        } else if self.state.log.len() >= LOG_MAX {
            self.refuse();
            return;
        } else {
            self.asked = None;
            let vector = self.apply(half, event, sent_us);
            self.send(vector).await;
        }
        if !std::mem::replace(&mut self.worked, true) {
            let actor = format!("p{}", self.args.number);
            self.tell(SourceMsg::Working { actor, epoch: ctx.epoch() });
        }
    }

    fn apply(&mut self, half: u64, event: &Event, sent_us: u64) -> Vector {
        let history = self.state.histories.entry(trader(event, half)).or_default();
        let side = if half.is_multiple_of(2) {
            let features = giver_features(history, event.time_s);
            apply_given(history, event);
            Side::Giver(features)
        } else {
            let features = receiver_features(history, event.time_s);
            apply_received(history, event);
            Side::Receiver(features)
        };
        let vector = Vector { half, side, label: event.is_fraud(), sent_us };
        self.state.next = half + 1;
        self.state.applied += 1;
        self.state.log.push_back(vector);
        vector
    }

    /// A half that was applied before: the same features once more. What is not in the log any more
    /// is in the scorer's checkpoint.
    async fn answer_again(&self, half: u64) {
        if let Ok(at) = self.state.log.binary_search_by_key(&half, |vector| vector.half) {
            self.send(self.state.log[at]).await;
        }
    }

    async fn send(&self, vector: Vector) {
        // A scorer that cannot be reached asks for what it missed when it is back.
        let _ = self.args.scorer.send(ScorerMsg::Vector(vector)).await;
    }

    fn covered(&mut self, index: u64) {
        let covered = self.state.log.partition_point(|vector| vector.half / 2 < index);
        self.state.log.drain(..covered);
        if self.full && self.state.log.len() < LOG_MAX / 2 {
            self.full = false;
            self.ask_from_source();
        }
    }

    fn refuse(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            self.tell(SourceMsg::Wait { partition: self.args.number });
        }
    }

    /// Asks the source for everything from the next half on, and again if nothing comes.
    fn ask(&mut self) {
        if self.asked.is_none_or(|asked| asked.elapsed() > ASK_AGAIN) {
            self.asked = Some(Instant::now());
            self.ask_from_source();
        }
    }

    fn ask_from_source(&self) {
        let (partition, next) = (self.args.number, self.state.next);
        self.tell(SourceMsg::Resume { partition, next });
    }

    fn tell(&self, message: SourceMsg) {
        // A request that finds no room is made again with the next half that does not fit.
        let _ = self.args.source.cast(message);
    }
}
