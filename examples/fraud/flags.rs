//! The command line.
//!
//! A value that cannot be used ends the process with exit code 2 and a message that names the flag.

use std::{num::NonZeroU64, path::PathBuf};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::input::EVENTS_MAX;

/// A run has to survive losing a node that is not the first, twice.
const NODES_MIN_WITH_KILLS: u16 = 3;
const NODES_MAX: i64 = 16;
const CHAOS_S_MAX: u64 = 86_400;
/// Events a second under chaos, when nothing else is said: what is missed is made up for.
const CHAOS_RATE: u64 = 5_000;
const PARTITIONS_MAX: i64 = 1_024;

/// Finds fraudsters in a stream of ratings on a cluster of nodes, killing some of them on the way.
#[derive(Clone, Debug, Parser)]
#[command(name = "fraud")]
pub struct Flags {
    /// Ratings to read: a csv file with the header `source,target,rating,time`; without it they are
    /// generated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "events"])]
    pub input: Option<PathBuf>,
    /// Seed of the generated ratings
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// How many ratings are generated
    #[arg(long, value_name = "N", default_value_t = 200_000,
          value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    pub events: u64,
    /// Replay the input this many times, each time with other trader ids
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX))]
    pub repeat: u64,
    /// Offer this many events a second instead of as many as possible
    #[arg(long, value_name = "R")]
    pub rate: Option<NonZeroU64>,
    /// Node processes, 1 to 16; 1 and 2 only with `--no-kill`
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    pub nodes: u16,
    /// Partition actors that share the traders, 1 to 1024
    #[arg(long, value_name = "N", default_value_t = 12,
          value_parser = clap::value_parser!(u16).range(1..=PARTITIONS_MAX))]
    pub partitions: u16,
    /// Port of the first node on loopback; any free one without it
    #[arg(long, value_name = "PORT")]
    pub listen: Option<u16>,
    /// Draws both points of the stream at which a node is killed; without it they are 40 % and 70 %
    #[arg(long, value_name = "S", conflicts_with = "no_kill")]
    pub kill_seed: Option<u64>,
    /// Kill no node
    #[arg(long)]
    pub no_kill: bool,
    /// Kill, stop and bring back nodes at random for so many seconds, 1 to 86400, never the first one;
    /// the input repeats until then, at `--rate` or 5,000 events a second. `--kill-seed` draws what
    /// happens
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["no_kill", "repeat"],
          value_parser = clap::value_parser!(u64).range(1..=CHAOS_S_MAX))]
    pub chaos: Option<u64>,
    /// Print the result as one JSON object on the last line
    #[arg(long)]
    pub json: bool,
    /// What this process is; the example itself when it is not told
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// What a process that the example started is.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Role {
    /// One more node of the cluster.
    #[command(hide = true)]
    Node,
}

impl Flags {
    /// The flags of this process; ends it with exit code 2 when they cannot be used.
    pub fn from_command_line() -> Self {
        Self::parsed(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit())
    }

    fn parsed<A>(args: impl IntoIterator<Item = A>) -> Result<Self, clap::Error>
    where
        A: Into<std::ffi::OsString> + Clone,
    {
        let flags = Self::try_parse_from(args)?;
        if flags.nodes < NODES_MIN_WITH_KILLS && !flags.no_kill {
            let message = format!(
                "--nodes {} leaves nobody to take over from a killed node; use at least \
                 {NODES_MIN_WITH_KILLS}, or add --no-kill",
                flags.nodes
            );
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(flags)
    }

    /// Events a second that are offered; as many as possible without it.
    pub fn rate(&self) -> Option<u64> {
        let chaotic = self.chaos.map(|_| CHAOS_RATE);
        self.rate.map(NonZeroU64::get).or(chaotic)
    }

    /// How many events a run under chaos takes.
    pub fn chaos_events(&self) -> Option<u64> {
        Some(self.chaos?.saturating_mul(self.rate()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, clap::Error> {
        Flags::parsed(std::iter::once("fraud").chain(line.split_whitespace()))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        Flags::command().debug_assert();
        let flags = parsed("").unwrap();
        assert_eq!((flags.seed, flags.events, flags.repeat), (7, 200_000, 1));
        assert_eq!((flags.nodes, flags.partitions, flags.role), (3, 12, None));
        assert!(flags.input.is_none() && flags.rate.is_none() && flags.listen.is_none());
        assert!(flags.chaos.is_none());
        assert!(flags.kill_seed.is_none() && !flags.no_kill && !flags.json);
    }

    #[test]
    fn values_out_of_range_end_with_exit_code_2_and_name_the_flag() {
        for (line, flag) in [
            ("--nodes 0", "--nodes"),
            ("--nodes 17", "--nodes"),
            ("--nodes 2", "--nodes 2"),
            ("--nodes 1", "--no-kill"),
            ("--partitions 0", "--partitions"),
            ("--partitions 1025", "--partitions"),
            ("--events 0", "--events"),
            ("--events 100000001", "--events"),
            ("--repeat 0", "--repeat"),
            ("--rate 0", "--rate"),
            ("--rate fast", "--rate"),
            ("--listen 65536", "--listen"),
            ("--seed -1", "-1"),
            ("--input x.csv --events 5", "--events"),
            ("--kill-seed 3 --no-kill", "--no-kill"),
            ("--chaos 0", "--chaos"),
            ("--chaos 86401", "--chaos"),
            ("--chaos 9 --no-kill", "--no-kill"),
            ("--chaos 9 --repeat 2", "--repeat"),
            ("--chaos 9 --nodes 2", "--nodes 2"),
            ("--fast", "--fast"),
        ] {
            let refusal = parsed(line).unwrap_err();
            assert_eq!(refusal.exit_code(), 2, "{line}");
            assert!(refusal.to_string().contains(flag), "{line}: {refusal}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_accepted() {
        for line in [
            "--nodes 1 --no-kill",
            "--nodes 2 --no-kill",
            "--nodes 16 --partitions 1024 --kill-seed 0",
            "--partitions 1 --events 1 --repeat 1 --rate 1 --listen 0",
            "--input x.csv --repeat 3 --json",
        ] {
            assert!(parsed(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn chaos_takes_as_many_events_as_its_rate_offers() {
        assert_eq!(parsed("--nodes 8 --chaos 60").unwrap().chaos_events(), Some(300_000));
        assert_eq!(parsed("--chaos 60 --rate 10").unwrap().chaos_events(), Some(600));
        assert_eq!(parsed("--rate 10").unwrap().chaos_events(), None);
        assert_eq!(parsed("").unwrap().rate(), None);
    }

    #[test]
    fn the_role_of_a_child_is_understood_and_not_advertised() {
        assert_eq!(parsed("node").unwrap().role, Some(Role::Node));
        let help = Flags::command().render_help().to_string();
        assert!(!help.contains("One more node"), "{help}");
    }
}
