//! Values of limits as the table writes them.

use std::time::Duration;

pub(crate) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn bytes(value: usize) -> String {
    match value {
        0..1_024 => format!("{value} B"),
        1_024..1_048_576 => format!("{} KiB", value as f64 / 1_024.0),
        _ => format!("{} MiB", value as f64 / 1_048_576.0),
    }
}

pub(crate) fn time(value: Duration) -> String {
    const DAY_S: u64 = 86_400;
    match value.as_millis() {
        ms if ms < 1_000 => format!("{ms} ms"),
        _ if value.as_secs() >= DAY_S => format!("{} d", value.as_secs() / DAY_S),
        _ => format!("{} s", value.as_secs_f64()),
    }
}
