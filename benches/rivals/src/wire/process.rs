//! Who runs where: a measuring process and the one it measures against, on cores of their own where
//! a bench asks for it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use clap::ValueEnum;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::bench::{Bench, FULL, Scale, TINY, measure};
use super::peer::Peer;
use super::{Who, erlang, lanes, layers, mobula, nodes, ractor_cluster};
use crate::bench::Sample;
use crate::rounds::name;
use crate::side::{Outcome, a_worker_per_core};
use crate::sides::erlang::Erlang;

/// One side, once, at one bench.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Turn {
    pub(crate) who: Who,
    pub(crate) bench: Bench,
    #[arg(long)]
    pub(crate) tiny: bool,
}

/// What a process is in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Measure,
    Serve,
}

impl Turn {
    pub(super) fn scale(self) -> Scale {
        if self.tiny { TINY } else { FULL }
    }

    /// Takes the turn, in processes of its own.
    pub(crate) fn take(self, erlang: Option<&Erlang>) -> Outcome<Vec<Sample>> {
        match erlang {
            Some(erlang) if self.who == Who::Erlang => erlang::measure(erlang, self),
            _ => self.start(Role::Measure)?.samples(),
        }
    }

    /// Plays one of the two parts in this process.
    pub(crate) fn play(self, role: Role) -> Outcome<()> {
        match self.who {
            Who::Mobula => self.play_with::<mobula::Mobula>(role),
            Who::Lanes => self.play_with::<lanes::Lanes>(role),
            Who::Tcp => self.play_with::<layers::Tcp>(role),
            Who::Noise => self.play_with::<layers::Noise>(role),
            Who::Yamux => self.play_with::<layers::Yamux>(role),
            Who::Libp2pStream => self.play_with::<layers::Libp2pStream>(role),
            Who::RactorCluster => self.play_with::<ractor_cluster::RactorCluster>(role),
            Who::Erlang => Err("Erlang plays in its own virtual machines".into()),
        }
    }

    fn play_with<P: Peer>(self, role: Role) -> Outcome<()> {
        let runtime = a_worker_per_core()?;
        if role == Role::Serve {
            std::thread::spawn(end_with_parent);
            return runtime.block_on(runtime.spawn(P::serve(|address| println!("{address}"))))?;
        }
        let measured = if (self.who, self.bench) == (Who::Mobula, Bench::BulkLane) {
            // Its actors' messages keep to the lane of their pair.
            Vec::new()
        } else if self.bench == Bench::NodesInProcess {
            runtime.block_on(runtime.spawn(nodes::measure(self.who, self.scale())))??
        } else {
            let mut serving = self.start(Role::Serve)?;
            let (address, bench, scale) = (serving.said()?, self.bench, self.scale());
            let measuring = async move { measure::<P>(bench, &address, &scale).await };
            let measured = runtime.block_on(runtime.spawn(measuring))??;
            serving.end()?;
            measured
        };
        println!("{}", serde_json::to_string(&measured)?);
        // Nobody waits for connections to be taken down.
        std::process::exit(0);
    }

    fn start(self, role: Role) -> Outcome<Started> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["play", &name(role), &name(self.who), &name(self.bench)]);
        command.args(self.tiny.then_some("--tiny"));
        Started::start(command, role, self.bench)
    }
}

/// The other process keeps the far end of standard input.
fn end_with_parent() {
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

/// A process that ends when its standard input does.
pub(super) struct Started(Child);

impl Started {
    /// On a core of its own if the bench wants it.
    pub(super) fn start(mut command: Command, role: Role, bench: Bench) -> Outcome<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A process may run where the thread that starts it may.
        let starting = std::thread::spawn(move || {
            if bench.is_pinned() {
                pin(role)?;
            }
            Outcome::Ok(Self(command.spawn()?))
        });
        starting.join().map_err(|_| "the starting thread panicked")?
    }

    /// Waits for its first line.
    pub(super) fn said(&mut self) -> Outcome<String> {
        let output = self.0.stdout.as_mut().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() { Err("it ended".into()) } else { Ok(line.trim_end().to_owned()) }
    }

    /// What it measured, when it has ended.
    pub(super) fn samples(self) -> Outcome<Vec<Sample>> {
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("ended with {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(super) fn end(mut self) -> Outcome<()> {
        drop(self.0.stdin.take());
        self.0.wait()?;
        Ok(())
    }
}

/// Lets this thread run on one core only: who measures on the first, who serves on the last.
fn pin(role: Role) -> Outcome<()> {
    // The process that starts the serving one is pinned itself: first all cores, then one.
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    sched_setaffinity(None, &all)?;
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let core = match role {
        Role::Measure => cores.next(),
        Role::Serve => cores.next_back(),
    };
    let mut only = CpuSet::new();
    only.set(core.ok_or("no core to run on")?);
    Ok(sched_setaffinity(None, &only)?)
}
