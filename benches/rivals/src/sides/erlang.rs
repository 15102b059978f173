//! Erlang, when `erl` is on the `PATH`. Its benches are in `erlang/rivals.erl`; this compiles them
//! beside this program and starts one virtual machine per bench.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::bench::{Bench, Sample, Scale};
use crate::memory::available_bytes;
use crate::side::Outcome;

const SOURCES: [(&str, &str); 2] = [
    ("rivals.erl", include_str!("../../erlang/rivals.erl")),
    ("wire.erl", include_str!("../../erlang/wire.erl")),
];
/// What a process takes, generously: what would not fit is not tried.
const PROCESS_BYTES: u64 = 3_500;

/// Compiled benches.
pub(crate) struct Erlang(PathBuf);

impl Erlang {
    /// `None` if there is no Erlang here.
    pub(crate) fn compiled() -> Outcome<Option<Self>> {
        let version = Command::new("erl").arg("-version").stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let program = std::env::current_exe()?;
        let folder = program.parent().ok_or("this program lies in no folder")?.join("erlang");
        fs::create_dir_all(&folder)?;
        for (name, source) in SOURCES {
            fs::write(folder.join(name), source)?;
            let compiled = Command::new("erlc").arg(name).current_dir(&folder).status()?;
            if !compiled.success() {
                return Err(format!("erlc refused {name}").into());
            }
        }
        Ok(Some(Self(folder)))
    }

    /// Where the compiled benches lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn measure(&self, bench: Bench, scale: &Scale) -> Outcome<Vec<Sample>> {
        let name = bench.to_possible_value().ok_or("a bench without a name")?;
        let processes_max = available_bytes()? / PROCESS_BYTES;
        let (idle, too_many): (Vec<u64>, Vec<u64>) =
            scale.growth_idle.iter().partition(|&&actors| actors < processes_max);
        if bench == Bench::Growth && !too_many.is_empty() {
            eprintln!("growth: {too_many:?} processes skipped, they do not fit the memory");
        }
        let numbers = [
            scale.messages,
            scale.calls,
            scale.actors,
            scale.ring_members,
            scale.hops,
            scale.restarts.into(),
            scale.growth_active,
        ];
        // The default of 262,144 processes is too few for growth only.
        let processes = if bench == Bench::Growth { "8000000" } else { "262144" };
        let output = Command::new("erl")
            .args(["-noshell", "+P", processes, "-s", "rivals", "main", "-extra", name.get_name()])
            .args(numbers.iter().chain(&idle).map(u64::to_string))
            .current_dir(&self.0)
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).map_err(|error| format!("erl said {text:?}: {error}").into())
    }
}
