//! The end of a wait.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::Sleep;

use crate::alarm::wakes_by;
use crate::clock::{LAG_MAX, Moment};

/// Shorter waits have a timer of their own: an alarm goes off by the coarse clock.
const ALARM_MIN: Duration = Duration::from_millis(100);

/// A deadline that costs next to nothing until a wait lasts.
pub(crate) struct Deadline {
    pub(crate) timeout: Duration,
    /// When the alarm of the actor that waits goes off at the latest.
    at: Option<Moment>,
    /// In place of an alarm.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// This long after the first wait.
    #[inline(always)]
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { timeout, at: None, timer: None }
    }

    /// Whether it has passed; if not, the task is woken when it has.
    #[inline]
    pub(crate) fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() && self.timeout >= ALARM_MIN {
            let now = Moment::now();
            let at = *self.at.get_or_insert_with(|| now + self.timeout + LAG_MAX);
            if now >= at {
                return true;
            }
            if wakes_by(cx.waker(), at) {
                return false;
            }
        }
        self.poll_timer(cx)
    }

    #[cold]
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| {
            let rest = self.at.map_or(self.timeout, |at| at.since(Moment::now()));
            Box::pin(tokio::time::sleep(rest))
        });
        timer.as_mut().poll(cx).is_ready()
    }
}
