//! The timeline as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Timeline;
use super::history::{Call, Life};
use super::slices::{EXIT, Slice};

/// Sizes in pixels.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 24.0;
const ROW: f64 = 22.0;
const GAP: f64 = 6.0;
const LETTER: f64 = 7.0;
/// The most rows of calls. Calls that overlap are in different rows.
const MAX_CALL_ROWS: usize = 8;

/// The colours of tasks, for the one that took most time first: Okabe and Ito's, which the colour-blind can tell apart.
/// <https://jfly.uni-koeln.de/color/>
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const START_UP: &str = "#bbbbbb";
const PHASE: &str = "#888888";
const DEATH: &str = "#c00000";

/// The task functions of a timeline, the one that took most time first.
struct Tasks(Vec<u32>);

impl Tasks {
    fn of(timeline: &Timeline) -> Self {
        let mut times: BTreeMap<u32, u64> = BTreeMap::new();
        for slice in timeline.workers.iter().flat_map(|line| &line.slices).filter(|slice| slice.task < EXIT) {
            *times.entry(slice.task).or_default() += slice.len();
        }
        let mut tasks: Vec<u32> = times.keys().copied().collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(times[task]));
        Self(tasks)
    }

    /// The colour of a task, or of init and exit functions.
    fn colour(&self, task: u32) -> &'static str {
        let place = self.0.iter().position(|known| *known == task);
        place.map_or(PHASE, |place| COLOURS[place % COLOURS.len()])
    }
}

/// A picture being drawn, row by row.
struct Canvas<'t> {
    timeline: &'t Timeline,
    svg: String,
    /// The top of the current row.
    y: f64,
}

impl Canvas<'_> {
    fn x(&self, ns: u64) -> f64 {
        let Timeline { start, end, .. } = *self.timeline;
        let share = ns.saturating_sub(start) as f64 / end.saturating_sub(start).max(1) as f64;
        LEFT + share.min(1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let written = self.svg.write_fmt(element);
        debug_assert!(written.is_ok());
        self.svg.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escaped(text);
        self.put(format_args!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    /// Writes the name of the current row beside it.
    fn row_name(&mut self, name: &str) {
        self.text(LEFT - 8.0, self.y + ROW - 7.0, "end", name);
    }

    fn next_row(&mut self) {
        self.y += ROW + GAP;
    }

    /// A bar from `start` to `end`, with a tooltip, and with a label if it fits.
    fn span(&mut self, (start, end): (u64, u64), colour: &str, tooltip: &str, label: &str) {
        let (x, y, width) = (self.x(start), self.y, (self.x(end) - self.x(start)).max(0.5));
        let tooltip = format!("{}: {}", escaped(tooltip), time(end.saturating_sub(start)));
        // Thin bars would be all edge.
        let edge = if width < 3.0 { "" } else { r#" stroke="white" stroke-width="0.3""# };
        self.put(format_args!(
            concat!(
                r#"<rect x="{:.2}" y="{:.1}" width="{:.2}" height="{}" fill="{}"{}>"#,
                "<title>{}</title></rect>"
            ),
            x, y, width, ROW, colour, edge, tooltip
        ));
        if !label.is_empty() && label.len() as f64 * LETTER + 4.0 < width {
            let (x, y, label) = (x + 4.0, y + ROW - 7.0, escaped(label));
            self.put(format_args!(r#"<text x="{x:.1}" y="{y:.1}" class="in">{label}</text>"#));
        }
    }

    /// A cross at the time of a death.
    fn death(&mut self, at: u64, death: &str) {
        let (left, top, size) = (self.x(at) - 5.0, self.y + ROW / 2.0 - 5.0, 10.0);
        self.put(format_args!(r#"<path d="M{left:.1} {top:.1}l{size} {size}m0 -{size}l-{size} {size}""#));
        let death = escaped(death);
        self.put(format_args!(r#"stroke="{DEATH}" stroke-width="3"><title>died: {death}</title></path>"#));
    }

    fn begin(&mut self, height: f64) {
        self.put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}""#
        ));
        self.put(format_args!(
            r#"width="{WIDTH}" height="{height:.0}" font-family="monospace" font-size="11">"#
        ));
        self.put(format_args!("<style>.in{{fill:#fff;pointer-events:none}}</style>"));
        self.put(format_args!(r##"<rect width="100%" height="100%" fill="#fff"/>"##));
    }

    /// Lines at round times, down to `bottom`.
    fn time_marks(&mut self, bottom: f64) {
        let took = self.timeline.end.saturating_sub(self.timeline.start);
        let distance = distance(took);
        for mark in (0..=took / distance).map(|mark| mark * distance) {
            let (x, top) = (self.x(self.timeline.start + mark), TOP - 6.0);
            self.put(format_args!(r##"<path d="M{x:.1} {top}V{bottom:.1}" stroke="#ddd"/>"##));
            self.text(x, TOP - 10.0, "middle", &time(mark).replace(".0", ""));
        }
    }

    fn calls(&mut self, rows: &[Vec<&Call>]) {
        for (place, row) in rows.iter().enumerate() {
            if place == 0 {
                self.row_name("calls");
            }
            for call in row {
                let span = (call.start, call.end.unwrap_or(self.timeline.end));
                self.span(span, "#444", &call.description(), call.name());
            }
            self.next_row();
        }
    }

    fn workers(&mut self, tasks: &Tasks) {
        let timeline = self.timeline;
        for (worker, line) in timeline.workers.numbered() {
            self.row_name(&format!("worker {worker}"));
            for Life { start, up, end, .. } in &line.lives {
                let up = up.or(*end).unwrap_or(timeline.end);
                self.span((*start, up), START_UP, "start-up", "");
            }
            for slice in &line.slices {
                let label = timeline.label_of(slice);
                self.span((slice.start, slice.end), tasks.colour(slice.task), &label, &label);
            }
            for Life { end, death, .. } in &line.lives {
                if let (Some(end), Some(death)) = (end, death) {
                    self.death(*end, death);
                }
            }
            self.next_row();
        }
    }

    fn legend(&mut self, tasks: &Tasks) {
        let timeline = self.timeline;
        let names =
            tasks.0.iter().take(COLOURS.len()).map(|task| {
                (tasks.colour(*task), timeline.name_of(&Slice { task: *task, ..Slice::default() }))
            });
        let (mut x, top) = (LEFT, self.y + 8.0);
        for (colour, name) in names.chain([(START_UP, "start-up"), (PHASE, "init, exit"), (DEATH, "death")]) {
            self.put(format_args!(
                r#"<rect x="{x:.1}" y="{top:.1}" width="12" height="12" fill="{colour}"/>"#
            ));
            self.text(x + 18.0, top + 10.0, "start", name);
            x += name.len() as f64 * LETTER + 40.0;
        }
    }
}

/// Escapes text that stands between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn time(ns: u64) -> String {
    format!("{:.1?}", std::time::Duration::from_nanos(ns))
}

/// The distance between time marks in nanoseconds: a round number that gives about ten of them.
fn distance(ns: u64) -> u64 {
    let least = (ns / 10).max(1);
    let ten = 10u64.pow(least.ilog10());
    [1, 2, 5, 10]
        .map(|factor| ten.saturating_mul(factor))
        .into_iter()
        .find(|round| *round >= least)
        .unwrap_or(least)
}

/// Places calls in rows so that those of a row do not overlap. Calls that find no row are left out.
fn rows(calls: &[Call], end: u64) -> Vec<Vec<&Call>> {
    let mut rows: Vec<Vec<&Call>> = Vec::new();
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.start);
    for call in calls {
        let fits = |row: &Vec<&Call>| row.last().is_none_or(|last| last.end.unwrap_or(end) <= call.start);
        match rows.iter().position(fits) {
            Some(row) => rows[row].push(call),
            None if rows.len() < MAX_CALL_ROWS => rows.push(vec![call]),
            None => {}
        }
    }
    rows
}

pub(super) fn draw(timeline: &Timeline) -> String {
    let calls = rows(&timeline.calls, timeline.end);
    let tasks = Tasks::of(timeline);
    let bottom = TOP + (calls.len() + timeline.workers.len()) as f64 * (ROW + GAP);
    let mut canvas = Canvas { timeline, svg: String::new(), y: TOP };
    canvas.begin(bottom + 40.0);
    canvas.time_marks(bottom);
    canvas.calls(&calls);
    canvas.workers(&tasks);
    canvas.legend(&tasks);
    canvas.put(format_args!("</svg>"));
    canvas.svg
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::ids::WorkerId;
    use crate::observe::timeline::WorkerLine;
    use crate::observe::timeline::slices::INIT;

    #[test]
    fn marks_are_round() {
        for (ns, expected) in [
            (1, 1),
            (95, 10),
            (1000, 100),
            (1001, 100),
            (1010, 200),
            (12_345_678, 2_000_000),
            (u64::MAX, 2_000_000_000_000_000_000),
        ] {
            assert_eq!(distance(ns), expected, "{ns}");
        }
    }

    #[test]
    fn calls_at_once_have_rows_of_their_own() {
        let call = |start, end| Call { task: "x::f", label: None, at: Location::caller(), start, end };
        let calls = [call(0, Some(5)), call(3, Some(8)), call(5, None), call(9, None)];
        let starts: Vec<Vec<u64>> = rows(&calls, 20)
            .into_iter()
            .map(|row| row.into_iter().map(|call| call.start).collect())
            .collect();
        assert_eq!(starts, [vec![0, 5], vec![3, 9]]);
    }

    #[test]
    fn all_that_happened_is_drawn() {
        let slice = |task, count, first, start, end| Slice { task, count, first, start, end, lead: 0 };
        let life = |worker, start, end: Option<u64>| Life {
            worker: WorkerId(worker),
            start,
            up: Some(start + 100),
            end,
            death: end.map(|_| "killed & gone".to_owned()),
        };
        let lines = [
            WorkerLine {
                slices: vec![slice(INIT, 1, 0, 100, 200), slice(3, 1, 7, 200, 700), slice(4, 9, 0, 700, 720)],
                lives: vec![life(0, 0, Some(800)), life(0, 810, None)],
            },
            WorkerLine { slices: vec![slice(4, 1, 9, 400, 900)], lives: vec![life(1, 0, None)] },
        ];
        let timeline = Timeline {
            workers: Vec::from(lines).into(),
            calls: vec![
                Call {
                    task: "x::f",
                    label: Some("a < b".into()),
                    at: Location::caller(),
                    start: 50,
                    end: Some(900),
                },
                Call { task: "x::<g>", label: None, at: Location::caller(), start: 60, end: None },
            ],
            names: [(3, "x::f"), (4, "x::<g>")].into(),
            start: 0,
            end: 1000,
        };
        let svg = draw(&timeline);
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
        for part in [
            ">worker 0<",
            ">worker 1<",
            ">calls<",
            "call of x::f, called as `a &lt; b` at ",
            "picture.rs:",
            ": 850.0ns",
            ">a &lt; b<",
            "call of x::&lt;g&gt;, called at ",
            "start-up: 100.0ns",
            "init: 100.0ns",
            "f 7: 500.0ns",
            "&lt;g&gt; from 0, 9 tasks: 20.0ns",
            "&lt;g&gt; 9: 500.0ns",
            "died: killed &amp; gone",
            ">init, exit<",
            ">death<",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3 + 4 + 5);
    }
}
