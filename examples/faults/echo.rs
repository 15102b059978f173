//! The actor at the other end: answers, and looks at the order in which it is sent to.

use std::sync::atomic::{AtomicU64, Ordering};

use mobula::prelude::*;

#[derive(Serialize, Deserialize)]
pub enum EchoMsg {
    /// Numbers of one sender grow.
    Note(u64),
    Ask(u64, Reply<()>),
}
protocol!(EchoMsg = "faults.echo/1");

/// What the echoes of this process have seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub received: AtomicU64,
    pub duplicates: AtomicU64,
    pub swaps: AtomicU64,
}

/// Echoes are started from elsewhere, which can hand them nothing of this process.
pub static SEEN: Seen =
    Seen { received: AtomicU64::new(0), duplicates: AtomicU64::new(0), swaps: AtomicU64::new(0) };

/// Has one sender.
pub struct Echo {
    last: u64,
}
kind!(Echo = "faults.echo");

impl Actor for Echo {
    type Args = ();
    type Msg = EchoMsg;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self { last: 0 })
    }

    async fn handle(&mut self, msg: EchoMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        let (EchoMsg::Note(number) | EchoMsg::Ask(number, _)) = &msg;
        SEEN.received.fetch_add(1, Ordering::Relaxed);
        if *number == self.last {
            SEEN.duplicates.fetch_add(1, Ordering::Relaxed);
        } else if *number < self.last {
            SEEN.swaps.fetch_add(1, Ordering::Relaxed);
        }
        self.last = self.last.max(*number);
        if let EchoMsg::Ask(_, reply) = msg {
            reply.send(());
        }
        Ok(())
    }
}
