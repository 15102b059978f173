//! The end of a wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Sleep;

use crate::alarm::{Alarm, of_turn};
use crate::clock::{LAG_MAX, Moment};

/// Shorter waits have a timer of their own: an alarm goes off by the coarse clock.
const ALARM_MIN: Duration = Duration::from_millis(100);

/// A deadline that costs nothing until a wait lasts.
pub(crate) enum Deadline {
    /// This long after the first wait.
    After(Duration),
    /// In the turn of an actor, whose alarm it uses.
    Alarm(Arc<Alarm>, Moment),
    Timer(Pin<Box<Sleep>>),
}

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        Self::After(timeout)
    }

    /// Whether it has passed; if not, the task is woken when it has.
    pub(crate) fn has_passed(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let rest = match self {
                Self::Timer(timer) => return timer.as_mut().poll(cx).is_ready(),
                Self::Alarm(alarm, at) => {
                    let rest = at.since(Moment::now());
                    if rest.is_zero() {
                        return true;
                    }
                    if alarm.wakes(cx.waker()) {
                        alarm.set(*at);
                        return false;
                    }
                    // It was moved out of its actor, which shall not be woken for it.
                    rest
                }
                Self::After(timeout) => *timeout,
            };
            let alarm = if rest < ALARM_MIN { None } else { of_turn(cx.waker()) };
            *self = match alarm {
                Some(alarm) => Self::Alarm(alarm, Moment::now() + rest + LAG_MAX),
                None => Self::Timer(Box::pin(tokio::time::sleep(rest))),
            };
        }
    }
}
