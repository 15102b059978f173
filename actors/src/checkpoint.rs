//! When a run is asked for its state, and how that reaches its supervisor.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::Actor;
use crate::alarm::wake_by;
use crate::cell::Signal;
use crate::clock::{LAG_MAX, Moment};
use crate::context::Context;
use crate::spawner::Notice;

/// Messages between two checkpoints.
pub const CHECKPOINT_MESSAGES: u32 = 1_000;
/// How long after the first message since a checkpoint the next is due.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// The largest checkpoint: bigger states belong into objects.
pub const CHECKPOINT_BYTES_MAX: usize = 16 << 20;

/// When a run is next asked.
pub(crate) struct Checkpointing {
    messages: u32,
    pub(crate) wanted: bool,
    /// The message in hand is none that a checkpoint is due for.
    pub(crate) skipped: bool,
    /// Somebody keeps the checkpoints.
    pub(crate) kept: bool,
    /// When the next is due, on the engine's clock; 0 while nothing has happened since the last.
    pub(crate) due_ms: u32,
}

impl Checkpointing {
    pub(crate) fn new(kept: bool) -> Self {
        Self { messages: 0, wanted: false, skipped: false, kept, due_ms: 0 }
    }

    /// Counts messages besides the one in hand.
    pub(crate) fn count(&mut self, messages: u32) {
        self.messages = self.messages.saturating_add(messages);
    }
}

/// Counts the message in hand, and takes a checkpoint if it is time.
pub(crate) fn after_message<A: Actor>(actor: &A, ctx: &mut Context<A>) {
    let skipped = std::mem::take(&mut ctx.checkpoint.skipped);
    if !skipped {
        ctx.checkpoint.messages += 1;
    }
    if ctx.checkpoint.wanted || ctx.checkpoint.messages >= CHECKPOINT_MESSAGES {
        take_checkpoint(actor, ctx);
    } else if ctx.checkpoint.due_ms == 0 && !skipped {
        let due = Moment::now() + CHECKPOINT_INTERVAL + LAG_MAX;
        ctx.checkpoint.due_ms = ctx.cell.engine().expiry_ms(due);
        wake_by(due);
    }
}

/// Takes the checkpoint that is due by time, or waits on for it.
pub(crate) fn checkpoint_if_due<A: Actor>(actor: &A, ctx: &mut Context<A>) {
    let rest = ctx.cell.engine().until(ctx.checkpoint.due_ms);
    if !rest.is_zero() {
        // The alarm may have gone off for something else.
        return wake_by(Moment::now() + rest);
    }
    ctx.checkpoint.due_ms = 0;
    if ctx.checkpoint.messages > 0 {
        take_checkpoint(actor, ctx);
    }
}

/// Hands the state to the supervisor.
pub(crate) fn take_checkpoint<A: Actor>(actor: &A, ctx: &mut Context<A>) {
    ctx.checkpoint.wanted = false;
    ctx.checkpoint.messages = 0;
    let Some(supervision) = ctx.cell.supervision() else { return };
    let state = match actor.checkpoint() {
        None => return,
        Some(Ok(state)) if state.len() <= CHECKPOINT_BYTES_MAX => state,
        Some(Ok(state)) => {
            tracing::warn!(actor = %ctx.id(), bytes = state.len(), "checkpoint too large, not kept");
            return;
        }
        Some(Err(fault)) => {
            tracing::warn!(actor = %ctx.id(), %fault, "checkpoint failed, the last one stays");
            return;
        }
    };
    let sequence = ctx.rare().checkpoints + 1;
    ctx.rare().checkpoints = sequence;
    let cell = Arc::downgrade(&ctx.cell);
    let epoch = ctx.epoch();
    supervision.watch.notice(Notice::Checkpoint {
        actor: ctx.id(),
        epoch,
        sequence,
        state,
        stored: Box::new(move || {
            if let Some(cell) = cell.upgrade() {
                cell.signal_run(epoch, Signal::Stored(sequence));
            }
        }),
    });
}
