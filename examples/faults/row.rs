//! One row of the matrix: a fault, some times over, on a fresh cluster.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::counts::Counts;
use crate::crew::Crew;
use crate::site::Site;

/// A promise: after the end of a fault all is well within this time.
const CONVERGED: Duration = Duration::from_secs(10);
/// How long is waited for what breaks it, to say by how much.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two faults.
const REST: Duration = Duration::from_secs(1);

/// What is done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of one side arrives at the other; which side is deaf alternates.
    OneWay,
    /// Nothing of either side arrives at the other.
    TwoWay,
    /// One process is stopped, and goes on.
    Freeze,
    /// One process is killed, and started again.
    Kill,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub nodes: usize,
    pub fault: Fault,
    pub lasts: Duration,
    pub rounds: usize,
}

/// What became of a row.
pub struct Outcome {
    row: Row,
    counts: Counts,
    /// Lives that the others held dead, of each host.
    lives: Vec<u64>,
    /// Until all was well after each round; nothing when it never was.
    converged: Vec<Option<Duration>>,
}

impl Row {
    pub fn of(nodes: usize, fault: Fault, seconds: u64, rounds: usize) -> Self {
        Self { nodes, fault, lasts: Duration::from_secs(seconds), rounds }
    }

    pub async fn run(self) -> io::Result<Outcome> {
        let mut site = Site::make(self.nodes).await?;
        let mut crew = Crew::start(&site, self.nodes).await?;
        if crew.settle(PATIENCE).await?.is_none() {
            return Err(io::Error::other("the nodes did not find each other"));
        }
        let mut converged = Vec::new();
        for round in 0..self.rounds {
            tokio::time::sleep(REST).await;
            self.round(round, &mut site, &mut crew).await?;
            let took = crew.settle(PATIENCE).await?;
            converged.push(took);
            if took.is_none() {
                for counts in crew.ask().await? {
                    println!(
                        "  not well: {} alive, {} answering; {counts}",
                        counts.alive, counts.answering
                    );
                }
                break;
            }
        }
        let lives = crew.ask().await?.iter().map(|counts| counts.lives).collect();
        Ok(Outcome { row: self, counts: crew.counts().await?, lives, converged })
    }

    /// The fault, from its beginning to its end.
    async fn round(self, round: usize, site: &mut Site, crew: &mut Crew) -> io::Result<()> {
        let (few, many) = self.sides(round);
        match self.fault {
            Fault::OneWay if round.is_multiple_of(2) => site.cut(&few, &many).await?,
            Fault::OneWay => site.cut(&many, &few).await?,
            Fault::TwoWay => {
                site.cut(&few, &many).await?;
                site.cut(&many, &few).await?;
            }
            Fault::Freeze => crew.signal(few[0], "STOP").await?,
            Fault::Kill => crew.kill(few[0]).await?,
        }
        tokio::time::sleep(self.lasts).await;
        match self.fault {
            Fault::OneWay | Fault::TwoWay => site.heal().await,
            Fault::Freeze => crew.signal(few[0], "CONT").await,
            Fault::Kill => crew.revive(site, few[0]).await,
        }
    }

    /// The smaller side, another in each round, and the rest.
    fn sides(self, round: usize) -> (Vec<usize>, Vec<usize>) {
        let few = (self.nodes.saturating_sub(1) / 2).max(1);
        let mut hosts: Vec<usize> = (0..self.nodes).collect();
        hosts.rotate_left((round + self.nodes - 1) % self.nodes);
        let many = hosts.split_off(few);
        (hosts, many)
    }
}

impl Outcome {
    fn pairs(&self) -> u64 {
        (self.row.nodes * (self.row.nodes - 1)) as u64
    }

    /// Promises that were broken.
    pub fn broken(&self) -> Vec<&'static str> {
        let mut broken = self.counts.broken();
        let slow = |took: &Option<Duration>| took.is_none_or(|took| took > CONVERGED);
        if self.converged.iter().any(slow) {
            broken.push("converged within 10 s");
        } else if self.counts.watching() != self.pairs() {
            // Each pair is watched, and nobody else: the others have fired.
            broken.push("every monitor fires");
        }
        broken
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { nodes, fault, lasts, rounds } = self.row;
        write!(f, "{nodes} nodes, {fault:?} {} s x {rounds}: {}", lasts.as_secs(), self.counts)?;
        write!(f, " by host {:?} converged s", self.lives)?;
        for took in &self.converged {
            match took {
                Some(took) => write!(f, " {:.1}", took.as_secs_f64())?,
                None => f.write_str(" never")?,
            }
        }
        match self.broken().as_slice() {
            [] => f.write_str(" KEPT"),
            broken => write!(f, " BROKEN: {}", broken.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_on_the_smaller_side_once_before_one_is_again() {
        let row = Row::of(3, Fault::TwoWay, 5, 3);
        let few: Vec<_> = (0..3).map(|round| row.sides(round).0).collect();
        assert_eq!(few, [[2], [0], [1]]);
        assert_eq!(Row::of(5, Fault::OneWay, 5, 1).sides(0), (vec![4, 0], vec![1, 2, 3]));
        assert_eq!(Row::of(2, Fault::OneWay, 5, 1).sides(0), (vec![1], vec![0]));
    }

    #[test]
    fn what_never_converges_or_too_late_is_broken() {
        let outcome = |took| Outcome {
            row: Row::of(3, Fault::TwoWay, 5, 1),
            counts: Counts { monitors: 9, fired: 2, abandoned: 1, ..Counts::default() },
            lives: Vec::new(),
            converged: vec![took],
        };
        assert!(outcome(Some(CONVERGED)).broken().is_empty());
        assert_eq!(outcome(Some(CONVERGED + REST)).broken(), ["converged within 10 s"]);
        assert!(outcome(None).to_string().ends_with("never BROKEN: converged within 10 s"));
    }
}
