//! Counts: the area under the curve, the digest and the latencies of all events, each once.

use std::time::Instant;

use hdrhistogram::Histogram;
use mobula::prelude::*;

use crate::auc::Auc;
use crate::digest::Digest;
use crate::messages::{Counted, ScorerMsg, SinkMsg, SourceMsg, Window};
use crate::verdict::Verdict;

/// Windows between two confirmations to the scorer.
const WINDOWS_PER_CONFIRMATION: u64 = 16;
/// Windows between two looks at the latency.
const WINDOWS_PER_SHOW: u64 = 256;
/// The longest latency the histogram tells apart.
const LATENCY_US_MAX: u64 = 600_000_000;

pub struct Args {
    pub events: u64,
    pub source: ActorRef<SourceMsg>,
    /// When the run began, as the stamps on events have it.
    pub began: Instant,
}

pub struct Sink {
    args: Args,
    scorer: Option<ActorRef<ScorerMsg>>,
    /// All events below are counted.
    next: u64,
    windows: u64,
    auc: Auc,
    digest: Digest,
    latency: Histogram<u64>,
    finish: Option<Reply<Counted>>,
}

impl Actor for Sink {
    type Args = Args;
    type Msg = SinkMsg;

    async fn start(args: Args, _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self {
            args,
            scorer: None,
            next: 0,
            windows: 0,
            auc: Auc::default(),
            digest: Digest::default(),
            latency: Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?,
            finish: None,
        })
    }

    async fn handle(&mut self, msg: SinkMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            SinkMsg::Begin(scorer) => self.scorer = Some(scorer),
            SinkMsg::Window(window) if window.first > self.next => self.confirm(true),
            // One that came again.
            SinkMsg::Window(window) if window.first < self.next => self.confirm(false),
            SinkMsg::Window(window) => self.count(&window),
            SinkMsg::Finish(reply) => self.finish = Some(reply),
        }
        if self.next == self.args.events {
            self.finish();
        }
        Ok(())
    }
}

impl Sink {
    fn count(&mut self, window: &Window) {
        let now_us = u64::try_from(self.args.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        for (index, (prediction, label, sent_us)) in (window.first..).zip(&window.verdicts) {
            let verdict = Verdict { index, prediction: *prediction, label: *label };
            self.auc.record(&verdict);
            self.digest.record(&verdict);
            self.latency.saturating_record(now_us.saturating_sub(*sent_us).max(1));
            self.next = index + 1;
        }
        self.windows += 1;
        let shows = self.windows.is_multiple_of(WINDOWS_PER_SHOW);
        let p99_us = if shows { self.latency.value_at_quantile(0.99) } else { 0 };
        // One that finds no room is followed by others: the source's events in flight see to it.
        let _ = self.args.source.cast(SourceMsg::Reached { index: self.next, p99_us });
        if self.windows.is_multiple_of(WINDOWS_PER_CONFIRMATION) || self.next == self.args.events {
            self.confirm(false);
        }
    }

    fn confirm(&self, again: bool) {
        if let Some(scorer) = &self.scorer {
            // A confirmation that is lost is followed by others.
            let _ = scorer.cast(ScorerMsg::Reached { index: self.next, again });
        }
    }

    fn finish(&mut self) {
        let Some(reply) = self.finish.take() else { return };
        reply.send(Counted {
            events: self.next,
            auc: std::mem::take(&mut self.auc).area(),
            digest: self.digest.hex(),
            latency: self.latency.clone(),
        });
    }
}
