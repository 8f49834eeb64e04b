//! Interleaved rounds: each contender runs once a round, so that other load on the machine meets all of them alike.

use std::cell::Cell;
use std::error::Error;
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;

use crate::probe::round_trip_ns;

/// One way to do the work. Each call is one round, and gives its figure.
pub(crate) struct Contender<'a> {
    name: String,
    round: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, round: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.into(), round: Box::new(round) }
    }
}

/// Two contenders that are the two figures of one and the same round.
pub(crate) fn pair<'a>(
    names: [String; 2],
    mut round: impl FnMut() -> [f64; 2] + 'a,
) -> impl Iterator<Item = Contender<'a>> {
    let second = Rc::new(Cell::new(f64::NAN));
    let [first_name, second_name] = names;
    let kept = Rc::clone(&second);
    let first = move || {
        let [first, second] = round();
        kept.set(second);
        first
    };
    [Contender::new(first_name, first), Contender::new(second_name, move || second.get())].into_iter()
}

/// The figures of one contender in all rounds.
#[derive(Debug, Serialize)]
struct Row {
    contender: String,
    median: f64,
    least: f64,
    most: f64,
    /// The median ratio of this contender's figure to the first one's of the same round.
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct Table {
    job: String,
    unit: String,
    rounds: usize,
    /// The round trip between two cores right before each round.
    round_trips_ns: Vec<f64>,
    rows: Vec<Row>,
}

/// All jobs of one run.
pub(crate) struct Session {
    pub(crate) rounds: usize,
    pub(crate) json: Option<PathBuf>,
    tables: Vec<Table>,
}

impl Default for Session {
    fn default() -> Self {
        Self { rounds: 11, json: None, tables: Vec::new() }
    }
}

impl Session {
    /// Runs the contenders side by side, and prints their figures. The others are compared with the first one. A round
    /// that is not counted comes before the others, to warm up. Before each of the others, the cores are probed.
    pub(crate) fn compare(&mut self, job: &str, unit: &str, mut contenders: Vec<Contender<'_>>) {
        let mut figures = vec![Vec::new(); contenders.len()];
        let mut round_trips_ns = Vec::new();
        for round in 0..=self.rounds {
            if round > 0 {
                round_trips_ns.extend(round_trip_ns());
            }
            for (contender, figures) in contenders.iter_mut().zip(&mut figures) {
                let figure = (contender.round)();
                if round > 0 {
                    figures.push(figure);
                }
            }
        }
        let base = figures[0].clone();
        let rows = contenders.iter().zip(&figures).map(|(contender, figures)| Row {
            contender: contender.name.clone(),
            median: median(figures.iter().copied()),
            least: figures.iter().copied().fold(f64::INFINITY, f64::min),
            most: figures.iter().copied().fold(0.0, f64::max),
            ratio: median(figures.iter().zip(&base).map(|(figure, base)| figure / base)),
        });
        let (job, unit, rows) = (job.into(), unit.into(), rows.collect());
        let table = Table { job, unit, rounds: self.rounds, round_trips_ns, rows };
        table.print();
        self.tables.push(table);
    }

    /// Writes the JSON file, if one is wanted.
    pub(crate) fn finish(&self) -> Result<(), Box<dyn Error>> {
        if let Some(path) = &self.json {
            serde_json::to_writer_pretty(File::create(path)?, &self.tables)?;
        }
        Ok(())
    }
}

impl Table {
    fn print(&self) {
        println!("\n{} ({}, median of {} rounds)", self.job, self.unit, self.rounds);
        let width = self.rows.iter().map(|row| row.contender.chars().count()).max().unwrap_or(0);
        for Row { contender, median, least, most, ratio } in &self.rows {
            let [median, least, most] = [median, least, most].map(|figure| digits(*figure));
            // Zero has no ratio to zero.
            let ratio = if ratio.is_finite() { format!("  x {ratio:.2}") } else { String::new() };
            println!("  {contender:width$}  {median:>9}  ({least} to {most}){ratio}");
        }
        if !self.round_trips_ns.is_empty() {
            let figures: Vec<String> = self.round_trips_ns.iter().map(|ns| digits(*ns)).collect();
            println!("  core to core and back in each round, in ns: {}", figures.join(" "));
        }
    }
}

/// Three digits, whatever the size.
fn digits(figure: f64) -> String {
    match figure {
        _ if figure >= 100.0 => format!("{figure:.0}"),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
