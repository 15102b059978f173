//! Plots of a run as SVG: convergence, traffic, and how many actors the nodes got.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::scenario::Outcome;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 280.0;
const MARGIN: f64 = 48.0;

/// Writes `convergence.svg`, `traffic.svg` and `balance.svg` into `folder`, which is made.
///
/// # Errors
/// The folder or a file cannot be written.
pub fn write(folder: &Path, outcome: &Outcome) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let samples = &outcome.samples;
    let agreeing: Vec<_> = samples.iter().map(|s| (s.at_s, s.agreeing * 100.0)).collect();
    let traffic: Vec<_> = samples.iter().map(|s| (s.at_s, s.bytes_per_node_s / 1e3)).collect();
    let nodes = outcome.balance.nodes_with.iter().enumerate();
    let balance: Vec<_> = nodes.map(|(actors, &nodes)| (actors as f64, f64::from(nodes))).collect();
    let mut convergence = Plot::new("survivors that agree, %", "s", &agreeing);
    convergence.line(&agreeing);
    convergence.mark(outcome.fault_s);
    let mut bytes = Plot::new("kB/s sent per node", "s", &traffic);
    bytes.line(&traffic);
    bytes.mark(outcome.fault_s);
    let mut placed = Plot::new("nodes", "actors on one node", &balance);
    placed.bars(&balance);
    fs::write(folder.join("convergence.svg"), convergence.finish())?;
    fs::write(folder.join("traffic.svg"), bytes.finish())?;
    fs::write(folder.join("balance.svg"), placed.finish())
}

/// One plot with its axes from zero.
struct Plot {
    svg: String,
    right: f64,
    top: f64,
}

impl Plot {
    fn new(y_name: &str, x_name: &str, points: &[(f64, f64)]) -> Self {
        let most = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(1e-9, f64::max);
        let (right, top) = (most(|p| p.0), most(|p| p.1) * 1.05);
        let (bottom, end) = (HEIGHT - MARGIN, WIDTH - MARGIN);
        let mut plot = Self { svg: String::new(), right, top };
        plot.add(format_args!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
             font-family='sans-serif' font-size='12'>\n\
             <rect width='100%' height='100%' fill='white'/>\n\
             <path d='M{MARGIN} {MARGIN}V{bottom}H{end}' fill='none' stroke='black'/>\n\
             <text x='{MARGIN}' y='24'>{y_name}</text>\n\
             <text x='{end}' y='{}' text-anchor='end'>{x_name}</text>\n",
            HEIGHT - 10.0
        ));
        for part in [0.0, 0.5, 1.0] {
            let (x, y) = plot.place((right * part, top * part));
            plot.add(format_args!(
                "<text x='{x:.1}' y='{:.1}' text-anchor='middle'>{:.1}</text>\n\
                 <text x='{:.1}' y='{y:.1}' text-anchor='end'>{:.1}</text>\n",
                bottom + 16.0,
                right * part,
                MARGIN - 4.0,
                top * part
            ));
        }
        plot
    }

    fn line(&mut self, points: &[(f64, f64)]) {
        self.add(format_args!("<polyline fill='none' stroke='#1f6feb' points='"));
        for &point in points {
            let (x, y) = self.place(point);
            self.add(format_args!("{x:.1},{y:.1} "));
        }
        self.add(format_args!("'/>\n"));
    }

    fn bars(&mut self, points: &[(f64, f64)]) {
        for &point in points {
            let (x, y) = self.place(point);
            let height = HEIGHT - MARGIN - y;
            let left = x - 8.0;
            self.add(format_args!(
                "<rect x='{left:.1}' y='{y:.1}' width='16' height='{height:.1}' fill='#1f6feb'/>\n"
            ));
        }
    }

    /// A vertical line where the fault came.
    fn mark(&mut self, at: f64) {
        let (x, bottom) = self.place((at, 0.0));
        self.add(format_args!(
            "<path d='M{x:.1} {MARGIN}V{bottom:.1}' stroke='#d1242f' stroke-dasharray='4'/>\n"
        ));
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = MARGIN + x / self.right * (WIDTH - 2.0 * MARGIN);
        let down = HEIGHT - MARGIN - y / self.top * (HEIGHT - 2.0 * MARGIN);
        (across, down)
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(text).expect("a string takes everything");
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}
