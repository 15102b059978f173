//! What a run found, for programs (one JSON object) and for people (a table).

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::half::Half;

/// The result of a run; the fields are the keys of the JSON object, in its order.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub actors: u32,
    pub payments: u32,
    pub payers: u32,
    pub seed: u64,
    /// Without a supervisor, and with one while accounts panic.
    pub halves: Vec<Half>,
    /// Whether every account of both halves has exactly what it should.
    pub exact: bool,
}

impl Report {
    /// The object on one line.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// The table for people.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { actors, payments, payers, seed, .. } = self;
        writeln!(f, "{actors} accounts, {payments} payments by {payers} payers, seed {seed}")?;
        self.halves.iter().try_for_each(|half| write!(f, "\n{half}"))
    }
}

impl Display for Half {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { audit, .. } = self;
        writeln!(f, "{}", self.name)?;
        line(f, "started in", format_args!("{:.1} s", self.start_s))?;
        let bytes = self.bytes_per_actor.map(|bytes| format!("{bytes} B per account"));
        line(f, "memory", bytes.as_deref().unwrap_or("-"))?;
        line(f, "payments", format_args!("{} paid, {} refused", self.paid, self.refused))?;
        let made = audit.unknown_made;
        line(f, "unknown", format_args!("{}, of which {made} were made", self.unknown))?;
        let (messages, rate) = (self.messages, self.messages_per_s);
        let took = self.pay_s;
        line(f, "messages", format_args!("{messages} in {took:.1} s, {rate:.0} in a second"))?;
        line(f, "panics", format_args!("{}, {} restarts", self.panics, self.restarts))?;
        line(f, "money", format_args!("{} before, {} after", audit.opening, audit.closing))?;
        line(f, "accounts", Books(self))
    }
}

struct Books<'a>(&'a Half);

impl Display for Books<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.exact {
            return f.write_str("each has exactly what it should");
        }
        let audit = &self.0.audit;
        let (wrong, strays) = (audit.wrong_accounts, audit.strays);
        write!(
            f,
            "{wrong} are wrong, {} is under way, {strays} payments of nobody",
            audit.under_way
        )
    }
}

fn line(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {name:<12}{value}")
}
