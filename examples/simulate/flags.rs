//! The command line.
//!
//! A value that cannot be used ends the process with exit code 2 and a message that names the flag.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use mobula::gossip::Config;

const NODES_MAX: i64 = 20_000;
const SEEDS_MAX: u64 = 1_000_000;
const MINUTES_MAX: f64 = 600.0;

/// Simulates a cluster, kills or cuts off some of its nodes, and measures what the others notice.
#[derive(Clone, Debug, Parser)]
#[command(name = "simulate")]
pub struct Flags {
    /// Nodes of the cluster, 2 to 20000
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(2..=NODES_MAX))]
    pub nodes: u32,
    /// Nodes whose processes die at once, as `10%` or as a number: their connections close, dials
    /// to them are refused
    #[arg(long, value_name = "SHARE", conflicts_with = "cut")]
    pub kill: Option<Share>,
    /// Nodes that fall silent at once, as `10%` or as a number: nothing closes, nothing answers
    #[arg(long, value_name = "SHARE")]
    pub cut: Option<Share>,
    /// Nodes that get the processor for moments only, as `25%` or as a number
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["kill", "cut"])]
    pub starve: Option<Share>,
    /// Run so many seeds of random faults, then 2 quiet minutes each, and look at the invariants
    #[arg(long, value_name = "SEEDS", conflicts_with_all = ["kill", "cut", "starve"],
          value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX))]
    pub chaos: Option<u64>,
    /// Place tasks at 85 % load with a view 1 s old instead, and measure their waits
    #[arg(long, conflicts_with_all = ["kill", "cut", "starve", "chaos"])]
    pub placement: bool,
    /// Place so many gangs of 2 to 64 members instead, and count those that deadlock
    #[arg(long, value_name = "GANGS", conflicts_with_all = ["kill", "cut", "starve", "chaos", "placement"],
          value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX))]
    pub gangs: Option<u64>,
    /// Simulated minutes after the cluster has settled, at most 600
    #[arg(long, value_name = "M", default_value_t = 5.0, value_parser = minutes)]
    pub minutes: f64,
    /// Seed of everything that is drawn
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// Periods of the failure detector
    #[arg(long, value_enum, default_value_t = Profile::Default)]
    pub profile: Profile,
    /// Print the figures as one JSON object on the last line; the table goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Directory of the plots
    #[arg(long, value_name = "DIR", default_value = "target/simulate")]
    pub plots: PathBuf,
}

/// Some of the nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    Nodes(u32),
    Percent(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Probes each second
    Default,
    /// Probes each 200 ms
    Fast,
}

/// What happens to the victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Kill(u32),
    Cut(u32),
    Starve(u32),
}

impl Flags {
    /// The flags of this process; ends it with exit code 2 when they cannot be used.
    pub fn from_command_line() -> Self {
        let flags = Self::parse();
        let left = flags.nodes.saturating_sub(flags.fault().victims());
        if flags.fault() != Fault::None && left < 2 {
            let message = "--kill, --cut and --starve must leave at least 2 nodes";
            Self::command().error(ErrorKind::ValueValidation, message).exit();
        }
        flags
    }

    pub fn fault(&self) -> Fault {
        let of = |share: Option<Share>, fault: fn(u32) -> Fault| {
            share.map(|share| fault(share.of(self.nodes)))
        };
        let kill = of(self.kill, Fault::Kill).or_else(|| of(self.cut, Fault::Cut));
        kill.or_else(|| of(self.starve, Fault::Starve)).unwrap_or(Fault::None)
    }

    pub fn config(&self) -> Config {
        let profile = match self.profile {
            Profile::Default => Config::default(),
            Profile::Fast => Config::fast(),
        };
        Config { members_max: 2 * self.nodes as usize, ..profile }
    }
}

impl Share {
    fn of(self, nodes: u32) -> u32 {
        match self {
            Self::Nodes(count) => count,
            Self::Percent(percent) => ((f64::from(nodes) * percent / 100.0).round() as u32).max(1),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is neither a share like 10% nor a number of nodes");
        let share = match text.strip_suffix('%') {
            Some(percent) => Self::Percent(percent.parse().map_err(|_| bad())?),
            None => Self::Nodes(text.parse().map_err(|_| bad())?),
        };
        match share {
            Self::Percent(percent) if percent > 0.0 && percent < 100.0 => Ok(share),
            Self::Nodes(1..) => Ok(share),
            _ => Err(bad()),
        }
    }
}

impl Fault {
    pub fn victims(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Kill(nodes) | Self::Cut(nodes) | Self::Starve(nodes) => nodes,
        }
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes > 0.0 && minutes <= MINUTES_MAX => Ok(minutes),
        _ => Err(format!("{text:?} is not a number of minutes above 0 and up to {MINUTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_number_and_nothing_else() {
        assert_eq!("10%".parse(), Ok(Share::Percent(10.0)));
        assert_eq!("3".parse(), Ok(Share::Nodes(3)));
        assert_eq!(Share::Percent(1.0).of(10), 1, "a fault hits somebody");
        for bad in ["", "0", "0%", "100%", "-1%", "nan%", "ten", "1.5"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_that_cannot_be_used_are_named() {
        for (flags, named) in [
            (["--nodes", "1"], "--nodes"),
            (["--minutes", "0"], "--minutes"),
            (["--kill", "all"], "--kill"),
            (["--profile", "slow"], "--profile"),
        ] {
            let error = Flags::try_parse_from(["simulate"].into_iter().chain(flags)).unwrap_err();
            assert!(error.to_string().contains(named), "{error}");
        }
        let both = ["simulate", "--kill", "1", "--cut", "1"];
        assert!(Flags::try_parse_from(both).is_err());
    }
}
