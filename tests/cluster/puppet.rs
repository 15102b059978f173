//! An actor that does what it is told, a gate that keeps it waiting, and what is left of the dead.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};

use mobula::actors::Fault;
use mobula::prelude::*;

use crate::support::PATIENCE;

#[derive(Serialize, Deserialize)]
pub enum Msg {
    /// Writes it down.
    Note(u64),
    /// Writes it down, and says so.
    NoteAsk(u64, Reply<()>),
    Notes(Reply<Vec<u64>>),
    Echo(Payload, Reply<Payload>),
    /// Waits at the gate, and keeps everybody else waiting.
    Enter(ActorRef<GateMsg>),
    /// Keeps the right to answer.
    Keep(Reply<u64>),
    /// Drops it.
    Drop(Reply<u64>),
    /// Has somebody else say what is in his notes.
    Ask(ActorRef<Self>, Reply<Vec<u64>>),
    /// Gives somebody else a right to answer, to be kept.
    HandOn(ActorRef<Self>, Reply<u64>),
    /// Whether it keeps any.
    Keeps(Reply<bool>),
    /// Answers what it kept.
    Answer(u64, Reply<()>),
    /// Its process and its run.
    Where(Reply<(u32, Epoch)>),
    /// The number of its device.
    Device(Reply<Option<u32>>),
    /// Takes a checkpoint.
    Save(Reply<()>),
    /// The number of the last checkpoint that its supervisor holds.
    Stored(Reply<u64>),
    Panic,
    End,
    #[serde(skip)]
    IsStored(u64),
}
protocol!(Msg = "test.puppet/1");

/// How a puppet is made.
#[derive(Clone, Serialize, Deserialize)]
pub enum Make {
    Plain,
    /// Does not come to life.
    Stillborn,
    /// Leaves this number among the dead.
    Mortal(u64),
    /// Comes to life when the gate lets it.
    Late(ActorRef<GateMsg>),
}

pub struct Puppet {
    notes: Vec<u64>,
    kept: Vec<Reply<u64>>,
    stored: u64,
    make: Make,
}
kind!(Puppet = "test.puppet");

/// Numbers of the mortals of this process whose state is gone.
static DEAD: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

pub fn is_dead(mortal: u64) -> bool {
    DEAD.lock().unwrap().contains(&mortal)
}

impl Drop for Puppet {
    fn drop(&mut self) {
        if let Make::Mortal(number) = self.make {
            DEAD.lock().unwrap().insert(number);
        }
    }
}

impl Actor for Puppet {
    type Args = Make;
    type Msg = Msg;

    async fn start(make: Make, ctx: &mut Context<Self>) -> Result<Self, Fault> {
        if matches!(make, Make::Stillborn) {
            return Err(Fault::new("stillborn"));
        }
        if let Make::Late(gate) = &make {
            let pid = std::process::id();
            gate.call(|go| GateMsg::Start { pid, go }).within(PATIENCE).await?;
        }
        let notes = ctx.restored::<Vec<u64>>()?.unwrap_or_default();
        ctx.on_checkpoint_stored(Msg::IsStored);
        Ok(Self { notes, kept: Vec::new(), stored: 0, make })
    }

    async fn handle(&mut self, msg: Msg, ctx: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            Msg::Note(number) => self.notes.push(number),
            Msg::NoteAsk(number, reply) => {
                self.notes.push(number);
                reply.send(());
            }
            Msg::Notes(reply) => reply.send(self.notes.clone()),
            Msg::Echo(payload, reply) => reply.send(payload),
            Msg::Enter(gate) => gate.call(GateMsg::Enter).within(PATIENCE).await?,
            Msg::Keep(reply) => self.kept.push(reply),
            Msg::Drop(reply) => drop(reply),
            // A refusal drops the reply, which tells the caller.
            Msg::Ask(other, reply) => drop(other.send(Msg::Notes(reply)).await),
            Msg::HandOn(other, reply) => drop(other.send(Msg::Keep(reply)).await),
            Msg::Keeps(reply) => reply.send(!self.kept.is_empty()),
            Msg::Answer(number, done) => {
                self.kept.drain(..).for_each(|reply| reply.send(number));
                done.send(());
            }
            Msg::Where(reply) => reply.send((std::process::id(), ctx.epoch())),
            Msg::Device(reply) => reply.send(ctx.device()),
            Msg::Save(reply) => {
                ctx.checkpoint_now();
                reply.send(());
            }
            Msg::Stored(reply) => reply.send(self.stored),
            Msg::IsStored(sequence) => self.stored = sequence,
            Msg::Panic => panic!("told to"),
            Msg::End => ctx.stop(),
        }
        Ok(())
    }

    fn checkpoint(&self) -> Option<Result<bytes::Bytes, Fault>> {
        Some(postcard::to_allocvec(&self.notes).map(Into::into).map_err(Fault::from))
    }
}

/// A gate that is shut until it is opened.
#[derive(Default)]
pub struct Gate {
    open: bool,
    waiting: Vec<Reply<()>>,
    looking: Vec<Reply<()>>,
    starting: Vec<(u32, Reply<()>)>,
    asking: Vec<(u32, Reply<u32>)>,
}

#[derive(Serialize, Deserialize)]
pub enum GateMsg {
    /// Answers when the gate is open.
    Enter(Reply<()>),
    /// Answers when somebody waits.
    Entered(Reply<()>),
    Open,
    Shut,
    /// Answers this process when the gate is open.
    Start {
        pid: u32,
        go: Reply<()>,
    },
    /// Answers with a process that waits so, when there is another than `known`.
    Starting {
        known: u32,
        pid: Reply<u32>,
    },
}
protocol!(GateMsg = "test.gate/1");

impl Actor for Gate {
    type Args = ();
    type Msg = GateMsg;

    async fn start((): (), _: &mut Context<Self>) -> Result<Self, Fault> {
        Ok(Self::default())
    }

    async fn handle(&mut self, msg: GateMsg, _: &mut Context<Self>) -> Result<(), Fault> {
        match msg {
            GateMsg::Enter(reply) => self.waiting.push(reply),
            GateMsg::Entered(reply) => self.looking.push(reply),
            GateMsg::Open => self.open = true,
            GateMsg::Shut => self.open = false,
            GateMsg::Start { pid, go } => self.starting.push((pid, go)),
            GateMsg::Starting { known, pid } => self.asking.push((known, pid)),
        }
        if !self.waiting.is_empty() {
            self.looking.drain(..).for_each(|reply| reply.send(()));
        }
        if self.open {
            self.waiting.drain(..).for_each(|reply| reply.send(()));
            self.starting.drain(..).for_each(|(_, go)| go.send(()));
        }
        for (known, reply) in std::mem::take(&mut self.asking) {
            match self.starting.iter().find(|(pid, _)| *pid != known) {
                Some((pid, _)) => reply.send(*pid),
                None => self.asking.push((known, reply)),
            }
        }
        Ok(())
    }
}

/// A gate on `node` at which `puppet` waits.
pub async fn shut_in(node: &Node, puppet: &ActorRef<Msg>) -> ActorRef<GateMsg> {
    let gate = node.spawn(Gate::spec(())).await.unwrap();
    puppet.send(Msg::Enter(gate.clone())).await.unwrap();
    gate.call(GateMsg::Entered).within(PATIENCE).await.unwrap();
    gate
}

/// What is in its notes.
pub async fn notes(puppet: &ActorRef<Msg>) -> Vec<u64> {
    puppet.call(Msg::Notes).within(PATIENCE).await.unwrap()
}

/// A puppet on `there`.
pub async fn puppet(node: &Node, there: &Node) -> ActorRef<Msg> {
    node.spawn(Puppet::spec(Make::Plain).on(there.id().unwrap())).await.unwrap()
}
