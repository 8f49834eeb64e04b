//! The timeline as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::history::{Call, Life};
use super::slices::{EXIT, INIT};
use super::{Timeline, short};

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

/// A picture being drawn.
struct Canvas<'t> {
    timeline: &'t Timeline,
    svg: String,
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

    /// A bar from `start` to `end`, with a tooltip, and with a label if it fits.
    fn span(&mut self, (start, end): (u64, u64), y: f64, colour: &str, tooltip: &str, label: &str) {
        let (x, width) = (self.x(start), (self.x(end) - self.x(start)).max(0.5));
        let took = time(end.saturating_sub(start));
        let tooltip = escaped(tooltip);
        // Thin bars would be all edge.
        let edge = if width < 3.0 { "" } else { r#" stroke="white" stroke-width="0.3""# };
        self.put(format_args!(
            r#"<rect x="{x:.2}" y="{y:.1}" width="{width:.2}" height="{ROW}" fill="{colour}"{edge}><title>{tooltip}: {took}</title></rect>"#
        ));
        if label.len() as f64 * LETTER + 4.0 < width {
            let (x, y, label) = (x + 4.0, y + ROW - 7.0, escaped(label));
            self.put(format_args!(r#"<text x="{x:.1}" y="{y:.1}" class="in">{label}</text>"#));
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
    let mut times: BTreeMap<u32, u64> = BTreeMap::new();
    for slice in timeline.workers.iter().flat_map(|line| &line.slices).filter(|slice| slice.task < EXIT) {
        *times.entry(slice.task).or_default() += slice.len();
    }
    let mut tasks: Vec<u32> = times.keys().copied().collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(times[task]));
    let colour = |task: u32| match tasks.iter().position(|known| *known == task) {
        Some(place) => COLOURS[place % COLOURS.len()],
        None => PHASE,
    };
    let calls = rows(&timeline.calls, timeline.end);
    let lines = calls.len() + timeline.workers.len();
    let bottom = TOP + lines as f64 * (ROW + GAP);
    let height = bottom + 40.0;
    let mut canvas = Canvas { timeline, svg: String::new() };
    canvas.put(format_args!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" font-family="monospace" font-size="11"><style>.in{{fill:#fff;pointer-events:none}}</style><rect width="100%" height="100%" fill="#fff"/>"##
    ));
    let took = timeline.end.saturating_sub(timeline.start);
    let distance = distance(took);
    for mark in (0..=took / distance).map(|mark| mark * distance) {
        let x = canvas.x(timeline.start + mark);
        let (from, to) = (TOP - 6.0, bottom);
        canvas.put(format_args!(r##"<path d="M{x:.1} {from}V{to:.1}" stroke="#ddd"/>"##));
        canvas.text(x, TOP - 10.0, "middle", &time(mark).replace(".0", ""));
    }
    let mut y = TOP;
    for (place, row) in calls.iter().enumerate() {
        if place == 0 {
            canvas.text(LEFT - 8.0, y + ROW - 7.0, "end", "calls");
        }
        for Call { task, start, end } in row {
            canvas.span(
                (*start, end.unwrap_or(timeline.end)),
                y,
                "#444",
                &format!("call of {task}"),
                short(task),
            );
        }
        y += ROW + GAP;
    }
    for (worker, line) in timeline.workers.numbered() {
        canvas.text(LEFT - 8.0, y + ROW - 7.0, "end", &format!("worker {worker}"));
        for Life { start, up, end, .. } in &line.lives {
            let up = up.or(*end).unwrap_or(timeline.end);
            canvas.span((*start, up), y, START_UP, "start-up", "");
        }
        for slice in &line.slices {
            let colour = if matches!(slice.task, INIT | EXIT) { PHASE } else { colour(slice.task) };
            let label = timeline.label_of(slice);
            canvas.span((slice.start, slice.end), y, colour, &label, &label);
        }
        for Life { end, death, .. } in &line.lives {
            if let (Some(end), Some(death)) = (end, death) {
                let (x, death) = (canvas.x(*end), escaped(death));
                let (left, top, size) = (x - 5.0, y + ROW / 2.0 - 5.0, 10.0);
                canvas.put(format_args!(
                    r#"<path d="M{left:.1} {top:.1}l{size} {size}m0 -{size}l-{size} {size}" stroke="{DEATH}" stroke-width="3"><title>died: {death}</title></path>"#
                ));
            }
        }
        y += ROW + GAP;
    }
    let legend = tasks.iter().take(COLOURS.len()).map(|task| {
        let slice = super::Slice { task: *task, ..super::Slice::default() };
        (colour(*task), timeline.name_of(&slice))
    });
    let mut x = LEFT;
    for (colour, name) in legend.chain([(START_UP, "start-up"), (PHASE, "init, exit"), (DEATH, "death")]) {
        let top = y + 8.0;
        canvas.put(format_args!(r#"<rect x="{x:.1}" y="{top:.1}" width="12" height="12" fill="{colour}"/>"#));
        canvas.text(x + 18.0, y + 18.0, "start", name);
        x += name.len() as f64 * LETTER + 40.0;
    }
    canvas.svg.push_str("</svg>\n");
    canvas.svg
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let call = |start, end| Call { task: "x::f", start, end };
        let calls = [call(0, Some(5)), call(3, Some(8)), call(5, None), call(9, None)];
        let starts: Vec<Vec<u64>> = rows(&calls, 20)
            .into_iter()
            .map(|row| row.into_iter().map(|call| call.start).collect())
            .collect();
        assert_eq!(starts, [vec![0, 5], vec![3, 9]]);
    }
}
