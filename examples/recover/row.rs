//! What one bar came to.

use std::fmt;

use serde_json::{Map, Value, json};

/// A row of the table: its figures by name, and whether they are within the bar.
pub struct Row {
    name: &'static str,
    bar: &'static str,
    figures: Vec<(&'static str, Value)>,
    pub reached: bool,
}

impl Row {
    pub fn new(
        name: &'static str,
        bar: &'static str,
        figures: Vec<(&'static str, Value)>,
        reached: bool,
    ) -> Self {
        Self { name, bar, figures, reached }
    }

    pub fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("row".into(), json!(self.name));
        for (name, figure) in &self.figures {
            object.insert((*name).into(), figure.clone());
        }
        object.insert("reached".into(), json!(self.reached));
        Value::Object(object).to_string()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.reached { "reached" } else { "MISSED" };
        write!(f, "{}: {verdict} ({})", self.name, self.bar)?;
        self.figures.iter().try_for_each(|(name, figure)| write!(f, "\n  {name:<20} {figure}"))
    }
}

/// Of some values, sorted, the one that so many thousandths do not exceed; 0 of none.
pub fn quantile(sorted: &[f64], thousandths: usize) -> f64 {
    let at = (sorted.len() * thousandths).div_ceil(1_000).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0.0)
}
