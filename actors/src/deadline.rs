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
    /// The clock has not moved on since it was set, or so little that nobody need look.
    is_fresh: bool,
    /// In place of an alarm.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// This long after the first wait.
    #[inline(always)]
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { timeout, at: None, is_fresh: false, timer: None }
    }

    /// Begins the wait, and says when it ends; within the same poll [`Deadline::has_passed`] follows.
    #[inline]
    pub(crate) fn begin(&mut self) -> Moment {
        let end = Moment::now() + self.timeout + LAG_MAX;
        // What has a timer of its own ends by that.
        if self.timeout >= ALARM_MIN {
            (self.at, self.is_fresh) = (Some(end), true);
        }
        end
    }

    /// Whether it has passed; if not, the task is woken when it has.
    #[inline]
    pub(crate) fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() && self.timeout >= ALARM_MIN {
            let at = match self.at {
                Some(at) => at,
                None => self.begin(),
            };
            if !std::mem::take(&mut self.is_fresh) && Moment::now() >= at {
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
