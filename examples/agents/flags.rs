//! The command line.
//!
//! A value that cannot be used ends the process with exit code 2 and a message that names the flag.

use std::time::Duration;

use clap::Parser;

use crate::graph::{PLANS, Work};

const BUDGET_MAX: i64 = 1_000_000;
const PACE_MS_MAX: u64 = 10_000;
/// A day.
const TIME_MS_MAX: u64 = 86_400_000;
/// Every answer of the tool is longer than this.
const CRASH_AFTER_MAX: u64 = 6;

/// Finds out what went wrong and writes a report of it: a graph of steps, each an actor, with a
/// slow tool that streams words and a person who is asked.
#[derive(Clone, Debug, Parser)]
#[command(name = "agents")]
pub struct Flags {
    /// The person's answer; without it a line is read from the standard input
    #[arg(long, value_name = "TEXT", value_parser = answer)]
    pub answer: Option<String>,
    /// Tokens that all steps may spend together, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 300,
          value_parser = clap::value_parser!(u32).range(1..=BUDGET_MAX))]
    pub budget: u32,
    /// Milliseconds that everything may take, the person included, 1 to 86400000
    #[arg(long, value_name = "MS", default_value_t = 120_000,
          value_parser = clap::value_parser!(u64).range(1..=TIME_MS_MAX))]
    within_ms: u64,
    /// Milliseconds that the tool takes for a word, 0 to 10000
    #[arg(long, value_name = "MS", default_value_t = 25,
          value_parser = clap::value_parser!(u64).range(0..=PACE_MS_MAX))]
    pace_ms: u64,
    /// Draws the step that crashes in its first attempt
    #[arg(long, value_name = "S", default_value_t = 1)]
    crash_seed: u64,
    /// Let no step crash
    #[arg(long, conflicts_with = "crash_seed")]
    no_crash: bool,
    /// Cancel the workflow after so many milliseconds, as Ctrl-C does
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=TIME_MS_MAX))]
    cancel_after_ms: Option<u64>,
    /// Print the result as one JSON object on the standard output, and the graph on the other
    #[arg(long)]
    pub json: bool,
}

fn answer(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("an answer says something; leave --answer out to be asked"),
        text => Ok(text.into()),
    }
}

impl Flags {
    /// The flags of this process; ends it with exit code 2 when they cannot be used.
    pub fn from_command_line() -> Self {
        Self::parse()
    }

    pub fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms)
    }

    pub fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms)
    }

    pub fn cancel_after(&self) -> Option<Duration> {
        self.cancel_after_ms.map(Duration::from_millis)
    }

    /// Which step panics in its first attempt, and after how many tokens: the seed says, and says
    /// the same each time.
    pub fn crash(&self) -> Option<(usize, u32)> {
        if self.no_crash {
            return None;
        }
        let writes = |at: &usize| matches!(PLANS[*at].work, Work::Write(_));
        let steps: Vec<usize> = (0..PLANS.len()).filter(writes).collect();
        let (step, token) =
            (self.crash_seed % steps.len() as u64, self.crash_seed % CRASH_AFTER_MAX);
        // Both remainders are small.
        Some((steps[step as usize], token as u32 + 1))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(std::iter::once("agents").chain(line.split_whitespace()))
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        Flags::command().debug_assert();
        let flags = parsed("").unwrap();
        assert_eq!(
            (flags.budget, flags.within(), flags.json),
            (300, Duration::from_secs(120), false)
        );
        assert_eq!(flags.pace(), Duration::from_millis(25));
        assert!(flags.answer.is_none() && flags.cancel_after().is_none());
        assert_eq!(flags.crash(), Some((1, 2)));
    }

    #[test]
    fn every_seed_draws_a_step_that_the_tool_works_for() {
        for seed in [0, 2, 3, 4, u64::MAX] {
            let (step, tokens) = parsed(&format!("--crash-seed {seed}")).unwrap().crash().unwrap();
            let Work::Write(task) = PLANS[step].work else { panic!("nobody writes in {step}") };
            assert!((1..crate::words::said(task, &[]).len()).contains(&(tokens as usize)));
        }
        assert_eq!(parsed("--no-crash").unwrap().crash(), None);
    }

    #[test]
    fn values_that_cannot_be_used_end_with_exit_code_2_and_name_the_flag() {
        for (line, flag) in [
            ("--budget 0", "--budget"),
            ("--budget 1000001", "--budget"),
            ("--within-ms 0", "--within-ms"),
            ("--within-ms soon", "--within-ms"),
            ("--pace-ms 10001", "--pace-ms"),
            ("--cancel-after-ms 86400001", "--cancel-after-ms"),
            ("--crash-seed 3 --no-crash", "--no-crash"),
            ("--answer", "--answer"),
            ("--fast", "--fast"),
        ] {
            let refusal = parsed(line).unwrap_err();
            assert_eq!(refusal.exit_code(), 2, "{line}");
            assert!(refusal.to_string().contains(flag), "{line}: {refusal}");
        }
        let refusal = Flags::try_parse_from(["agents", "--answer", " "]).unwrap_err();
        assert!(refusal.to_string().contains("leave --answer out"), "{refusal}");
    }
}
