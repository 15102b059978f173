//! The result of an example on its standard output.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes `json` as one line, or `report` as text without it. A closed output is an error, and no
/// panic.
pub fn print(
    json: Option<Result<String, serde_json::Error>>,
    report: &impl Display,
) -> io::Result<()> {
    let text = match json {
        Some(line) => line.map_err(io::Error::other)? + "\n",
        None => report.to_string(),
    };
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
