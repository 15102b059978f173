//! How a cell tells that a run is over, and how it ends itself (K-2, K-3, K-6).

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::task::JoinHandle;

use crate::carrier::Monitor;
use crate::cell::{Cell, Control, Envelope, KILLED, Phase, SIGNALLED, STOPPING};
use crate::error::Why;
use crate::exit::{Down, Exit};
use crate::mailbox::sync::Ordering;
use crate::mailbox::{Consumer, Pop};
use crate::spawner::Notice;
use crate::wire::discarding_by;

impl<M: Send + 'static> Cell<M> {
    /// Takes over the pipes of a run that ends.
    pub(crate) fn leave_pipes(&self, pipes: Vec<JoinHandle<()>>) {
        self.inner().rare().pipes = pipes;
    }

    /// Waits until the pipes of the run that ended are dropped (K-2). They were aborted, so this
    /// takes until each next waits.
    pub(crate) async fn pipes_gone(&self) {
        let pipes = self.inner().take(|rare| &mut rare.pipes);
        for pipe in pipes {
            // An error says that it was aborted.
            let _ = pipe.await;
        }
    }

    /// Tells everybody that the run is over. Its state is gone by now (K-2). Of a run that never
    /// came to life, its spawner is told instead of the supervisor.
    pub(crate) fn end_run(&self, exit: &Exit) {
        let epoch = self.epoch();
        let (signals, monitors, names, supervision, restarting, alive, began, birth) = {
            let mut inner = self.inner();
            if !matches!(inner.phase, Phase::Running | Phase::Starting) {
                return;
            }
            let supervision = inner.supervision().cloned();
            let restarting = supervision.as_ref().is_some_and(|s| s.restart.after(exit));
            let began = inner.phase == Phase::Running;
            inner.phase = Phase::Between { restarting };
            inner.take(|rare| &mut rare.kill);
            if exit.is_abnormal() {
                inner.rare().last_exit = Some(Box::new(exit.clone()));
            }
            self.flags.fetch_and(!(KILLED | STOPPING | SIGNALLED), Ordering::SeqCst);
            let signals = inner.take(|rare| &mut rare.signals);
            let monitors = inner.take(|rare| &mut rare.monitors);
            let names = inner.take(|rare| &mut rare.names);
            let birth = inner.birth.take();
            (signals, monitors, names, supervision, restarting, inner.alive, began, birth)
        };
        self.discard(signals, || Why::Stopped);
        if let (Some(meter), true) = (&self.breed.meter, began) {
            meter.run_ended(exit);
        }
        self.engine().forget_names(self.id, names);
        if supervision.is_none() {
            self.close();
        }
        for monitor in monitors {
            monitor.tell(Down { actor: self.id, epoch, exit: exit.clone(), restarting });
        }
        if let (Some(supervision), true) = (supervision, alive) {
            supervision.watch.notice(Notice::Ended { actor: self.id, epoch, exit: exit.clone() });
        }
        if let Some(birth) = birth {
            // Whoever asked for the start has gone if this fails; the end is known all the same.
            let _ = birth.send(Err(exit.clone()));
        }
    }

    /// Ends the cell for good (K-3). Idempotent.
    pub(crate) fn close(&self) {
        // Its consumer is the task that closes it: nobody is to be woken.
        let _ = self.queue.close();
        let signals = {
            let mut inner = self.inner();
            inner.phase = Phase::Ended;
            self.flags.fetch_and(!SIGNALLED, Ordering::SeqCst);
            inner.take(|rare| &mut rare.signals)
        };
        self.discard(signals, || Why::Stopped);
        if let Some(mut consumer) = self.queue.consumer() {
            self.drain(&mut consumer, usize::MAX, || Why::Stopped);
        }
        self.engine().unexport(self);
        self.engine().core().actors.leave(self.id, std::ptr::from_ref(self).cast());
    }

    /// Drops the messages that wait for the next run, and counts them. Those that come meanwhile
    /// are the next run's.
    pub(crate) fn drop_waiting(&self) -> u64 {
        let waiting = self.queue.len();
        let consumer = self.queue.consumer();
        consumer.map_or(0, |mut consumer| self.drain(&mut consumer, waiting, || Why::Restarted))
    }

    fn drain(
        &self,
        consumer: &mut Consumer<'_, Envelope<M>>,
        messages_max: usize,
        why: fn() -> Why,
    ) -> u64 {
        let mut dropped = 0;
        while dropped < messages_max as u64 {
            match consumer.pop() {
                Pop::Value(mut envelope) => {
                    envelope.return_credit(self.engine());
                    self.discard(envelope, why);
                    dropped += 1;
                }
                Pop::Busy => std::thread::yield_now(),
                Pop::Empty => break,
            }
        }
        dropped
    }

    /// Drops what did not run. A destructor that panics is of no concern to the runtime (K-6).
    pub(crate) fn discard<T>(&self, dropped: T, why: fn() -> Why) {
        let drop_it = || discarding_by(Some(self.id), why, || drop(dropped));
        if catch_unwind(AssertUnwindSafe(drop_it)).is_err() {
            tracing::warn!(actor = %self.id, "a message panicked when it was dropped");
        }
    }

    /// Tells `monitor` of the end of the present run, or at once that there is none.
    pub(crate) fn watch(&self, monitor: Monitor) {
        let mut inner = self.inner();
        let restarting = match inner.phase {
            Phase::Starting | Phase::Running => {
                let rare = inner.rare();
                let forgotten = monitor.join(&mut rare.monitors);
                drop(inner);
                drop(forgotten);
                return;
            }
            Phase::Between { restarting } => restarting,
            Phase::Ended => false,
        };
        drop(inner);
        let exit = Exit::NoProc;
        monitor.tell(Down { actor: self.id, epoch: self.epoch(), exit, restarting });
    }
}
