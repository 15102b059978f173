//! Joins the two halves of each event, and predicts and learns window by window.
//!
//! Windows are cut by event index, so that no timing and no batch changes a bit. The checkpoint
//! holds the model, the next index, what waits to be joined, and the verdicts that the sink has not
//! confirmed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mobula::prelude::*;

use crate::features::{Features, Giver, Receiver};
use crate::messages::{ScorerMsg, Side, SinkMsg, SourceMsg, Vector, Window};
use crate::model::{Model, WINDOW};

/// Events between two checkpoints.
const EVENTS_PER_CHECKPOINT: u64 = 1_024;
/// How long the next window may be incomplete before its vectors are asked for again.
const PATIENCE: Duration = Duration::from_millis(250);
/// Windows that the sink has not confirmed; beyond it the scorer waits for the sink.
const UNCONFIRMED_MAX: usize = 1_024;

#[derive(Clone, Serialize, Deserialize)]
pub struct Args {
    pub events: u64,
    pub source: ActorRef<SourceMsg>,
    pub sink: ActorRef<SinkMsg>,
}

/// An event of which at least one half has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Joining {
    giver: Option<Giver>,
    receiver: Option<Receiver>,
    label: bool,
    sent_us: u64,
}

/// What a checkpoint holds.
#[derive(Default, Serialize, Deserialize)]
struct State {
    model: Model,
    /// All events below have been scored.
    next: u64,
    joining: BTreeMap<u64, Joining>,
    unconfirmed: VecDeque<Window>,
}

pub struct Scorer {
    args: Args,
    state: State,
    /// Where the last checkpoint was taken.
    kept: u64,
    /// Checkpoints on their way: sequence number, and the events they cover.
    underway: VecDeque<(u64, u64)>,
    /// `next` when the scorer last looked for a standstill.
    looked: u64,
    worked: bool,
}
kind!(Scorer = "fraud.scorer");

impl Actor for Scorer {
    type Args = Args;
    type Msg = ScorerMsg;

    async fn start(args: Args, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        let restored = ctx.restored::<State>()?;
        let again = restored.is_some() || ctx.epoch() > Epoch(1);
        let state = restored.unwrap_or_default();
        ctx.on_checkpoint_stored(ScorerMsg::Stored);
        ctx.after(PATIENCE, ScorerMsg::Look);
        let (kept, looked) = (state.next, state.next);
        let scorer = Self { args, state, kept, underway: VecDeque::new(), looked, worked: false };
        if again {
            scorer.tell(SourceMsg::Replay { index: scorer.state.next });
            scorer.send_again(0).await;
        }
        Ok(scorer)
    }

    async fn handle(&mut self, msg: ScorerMsg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            ScorerMsg::Vector(vector) => self.join(&vector),
            ScorerMsg::Reached { index, again } => self.reached(index, again).await,
            ScorerMsg::Stored(sequence) => self.stored(sequence),
            ScorerMsg::Look => self.look(ctx).await,
        }
        while self.state.unconfirmed.len() < UNCONFIRMED_MAX {
            let Some(rows) = self.next_rows() else { break };
            self.score(&rows, ctx).await;
        }
        if self.state.next - self.kept >= EVENTS_PER_CHECKPOINT {
            self.kept = self.state.next;
            self.underway.push_back((ctx.checkpoint_now(), self.kept));
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<Bytes, Fault>> {
        // The runtime asks by its own clock as well; what covers which events is known of ours.
        (self.kept == self.state.next)
            .then(|| Ok(postcard::to_allocvec(&self.state).map(Bytes::from)?))
    }
}

impl Scorer {
    fn join(&mut self, vector: &Vector) {
        let index = vector.half / 2;
        if index < self.state.next {
            return;
        }
        let joining = self.state.joining.entry(index).or_default();
        match vector.side {
            Side::Giver(features) => joining.giver = Some(features),
            Side::Receiver(features) => joining.receiver = Some(features),
        }
        (joining.label, joining.sent_us) = (vector.label, vector.sent_us);
    }

    /// The rows of the next window, when all of them are whole.
    fn next_rows(&self) -> Option<Vec<(Features, Joining)>> {
        let end = (self.state.next + WINDOW as u64).min(self.args.events);
        if self.state.next == end {
            return None;
        }
        (self.state.next..end)
            .map(|index| {
                let joining = self.state.joining.get(&index)?;
                let features = Features { giver: joining.giver?, receiver: joining.receiver? };
                Some((features, *joining))
            })
            .collect()
    }

    async fn score(&mut self, rows: &[(Features, Joining)], ctx: &Context<Self>) {
        let first = self.state.next;
        let labelled: Vec<_> = rows.iter().map(|(features, row)| (*features, row.label)).collect();
        let predictions = self.state.model.score_window(&labelled);
        let verdict = |(prediction, row): (f64, &(Features, Joining))| {
            (prediction, row.1.label, row.1.sent_us)
        };
        let verdicts = predictions.into_iter().zip(rows).map(verdict).collect();
        self.state.next += rows.len() as u64;
        self.state.joining = self.state.joining.split_off(&self.state.next);
        let window = Window { first, verdicts };
        self.state.unconfirmed.push_back(window.clone());
        self.send(window).await;
        if !std::mem::replace(&mut self.worked, true) {
            self.tell(SourceMsg::Working { actor: "scorer".into(), epoch: ctx.epoch() });
        }
    }

    async fn send(&self, window: Window) {
        // A sink that missed a window says so, and an unconfirmed one is sent again.
        let _ = self.args.sink.send(SinkMsg::Window(window)).await;
    }

    async fn send_again(&self, from: u64) {
        for window in self.state.unconfirmed.iter().filter(|window| window.first >= from) {
            self.send(window.clone()).await;
        }
    }

    async fn reached(&mut self, index: u64, again: bool) {
        let confirmed = self.state.unconfirmed.partition_point(|window| window.first < index);
        self.state.unconfirmed.drain(..confirmed);
        if again {
            self.send_again(index).await;
        }
    }

    fn stored(&mut self, sequence: u64) {
        while let Some((_, covered)) = self.underway.pop_front_if(|(taken, _)| *taken <= sequence) {
            self.tell(SourceMsg::Covered { index: covered });
        }
    }

    /// Asks for what is missing when nothing has moved for a while.
    async fn look(&mut self, ctx: &mut Context<Self>) {
        ctx.after(PATIENCE, ScorerMsg::Look);
        if std::mem::replace(&mut self.looked, self.state.next) == self.state.next {
            if self.state.next < self.args.events {
                self.tell(SourceMsg::Replay { index: self.state.next });
            }
            self.send_again(0).await;
        }
    }

    fn tell(&self, message: SourceMsg) {
        // What is lost here is asked for or told again.
        let _ = self.args.source.cast(message);
    }
}
