//! The command line.
//!
//! A value that cannot be used ends the process with exit code 2 and a message that names the flag.

use clap::{CommandFactory, Parser, error::ErrorKind};

/// A payment needs two.
const ACTORS_MIN: i64 = 2;
/// As many as a dynamic supervisor has.
const ACTORS_MAX: i64 = 10_000_000;
const PAYMENTS_MAX: i64 = 1_000_000_000;
const PAYERS_MAX: i64 = 4_096;
/// Of the accounts, one in so many panics in the second half.
const ONE_PANICS_IN: u32 = 100;

/// Moves money between accounts, each an actor, and checks that none appeared or vanished: first
/// without a supervisor, then while one account in a hundred panics under one.
#[derive(Clone, Debug, Parser)]
#[command(name = "accounts")]
pub struct Flags {
    /// Accounts, 2 to 10000000
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(ACTORS_MIN..=ACTORS_MAX))]
    pub actors: u32,
    /// Payments in each half; without it two for each account
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=PAYMENTS_MAX))]
    payments: Option<u32>,
    /// Actors that order payments, each one after the other, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=PAYERS_MAX))]
    pub payers: u32,
    /// Seed of payments and panics
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub seed: u64,
    /// Print the result as one JSON object on the last line
    #[arg(long)]
    pub json: bool,
}

impl Flags {
    /// The flags of this process; ends it with exit code 2 when they cannot be used.
    pub fn from_command_line() -> Self {
        Self::parsed(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit())
    }

    /// Payments in each half.
    pub fn payments(&self) -> u32 {
        self.payments.unwrap_or_else(|| self.actors.saturating_mul(2))
    }

    /// Accounts that panic in the second half: one in a hundred, and at least one.
    pub fn victims(&self) -> u32 {
        (self.actors / ONE_PANICS_IN).max(1)
    }

    pub fn parsed<A>(args: impl IntoIterator<Item = A>) -> Result<Self, clap::Error>
    where
        A: Into<std::ffi::OsString> + Clone,
    {
        let flags = Self::try_parse_from(args)?;
        let victims = flags.victims();
        if flags.payments() < victims {
            let message = format!(
                "--payments {} is less than one for each of the {victims} accounts that are to \
                 panic; use at least {victims}, or fewer --actors",
                flags.payments()
            );
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Flags, clap::Error> {
        Flags::parsed(std::iter::once("accounts").chain(line.split_whitespace()))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        Flags::command().debug_assert();
        let flags = parsed("").unwrap();
        assert_eq!((flags.actors, flags.payments(), flags.payers), (100_000, 200_000, 64));
        assert_eq!((flags.seed, flags.victims(), flags.json), (7, 1_000, false));
        assert_eq!(parsed("--actors 2").unwrap().victims(), 1);
    }

    #[test]
    fn values_that_cannot_be_used_end_with_exit_code_2_and_name_the_flag() {
        for (line, flag) in [
            ("--actors 1", "--actors"),
            ("--actors 10000001", "--actors"),
            ("--actors many", "--actors"),
            ("--payments 0", "--payments"),
            ("--payments 999", "use at least 1000"),
            ("--payers 0", "--payers"),
            ("--payers 4097", "--payers"),
            ("--seed -1", "-1"),
            ("--fast", "--fast"),
        ] {
            let refusal = parsed(line).unwrap_err();
            assert_eq!(refusal.exit_code(), 2, "{line}");
            assert!(refusal.to_string().contains(flag), "{line}: {refusal}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_accepted() {
        for line in ["--actors 2 --payments 1", "--actors 10000000 --payers 4096", "--payers 1"] {
            assert!(parsed(line).is_ok(), "{line}");
        }
    }
}
