//! Around a run: what its panics become, and how long its turns take.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::alarm::{OwnAlarm, in_turn};
use crate::cell::Cell;
use crate::exit::Exit;
use crate::observe::Turns;
use crate::run::panic_text;

/// A run whose panics end it: the future that panicked is dropped before the exit is seen.
pub(crate) struct Guarded<'a, F, M> {
    run: Pin<&'a mut Option<F>>,
    cell: &'a Cell<M>,
    turns: Turns,
    alarm: OwnAlarm,
}

impl<'a, F, M> Guarded<'a, F, M> {
    pub(crate) fn new(run: Pin<&'a mut Option<F>>, cell: &'a Cell<M>) -> Self {
        Self { run, cell, turns: Turns::new(), alarm: OwnAlarm::default() }
    }
}

impl<F: Future<Output = Box<Exit>>, M: Send + 'static> Future for Guarded<'_, F, M> {
    type Output = Box<Exit>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Box<Exit>> {
        let cell = self.cell;
        let this = &mut *self;
        let Some(run) = this.run.as_mut().as_pin_mut() else { return Poll::Pending };
        let turn = this.turns.begin(cell);
        let polled = in_turn(&mut this.alarm, cell.engine().alarms(), cx, |cx| {
            catch_unwind(AssertUnwindSafe(|| run.poll(cx)))
        });
        if let Some(turn) = turn {
            turn.end(cell);
        }
        let exit = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(exit)) => exit,
            Err(panic) => Box::new(Exit::Panicked(panic_text(&*panic))),
        };
        // What is left of the state may panic once more when it is dropped.
        let dropped = catch_unwind(AssertUnwindSafe(|| self.run.set(None)));
        Poll::Ready(match dropped {
            Ok(()) => exit,
            Err(panic) => Box::new(Exit::Panicked(panic_text(&*panic))),
        })
    }
}
