//! The timeline as a trace: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
//!
//! Written by hand: a crate for JSON would bring its `PartialEq` impls for numbers into programs that never asked for them,
//! where the compiler then can't infer what it could before.

use std::fmt::Write;

use super::history::{Call, Life};
use super::slices::Slice;
use super::{Timeline, short};

/// A trace in the making.
struct Trace<'t> {
    timeline: &'t Timeline,
    json: String,
}

impl Trace<'_> {
    /// In microseconds.
    fn at(&self, ns: u64) -> f64 {
        ns.saturating_sub(self.timeline.start) as f64 / 1e3
    }

    /// An event of this kind on this track: workers have theirs from 1 on. `more` are its other fields.
    fn put(&mut self, kind: &str, category: &str, name: &str, track: usize, more: std::fmt::Arguments<'_>) {
        let comma = if self.json.ends_with('[') { "" } else { "," };
        let name = quoted(name);
        let pid = std::process::id();
        let put = write!(
            self.json,
            "{comma}\n{{\"ph\":\"{kind}\",\"cat\":\"{category}\",\"name\":{name},\"pid\":{pid},\"tid\":{track},{more}}}"
        );
        debug_assert!(put.is_ok());
    }

    fn name(&mut self, what: &str, name: &str, track: usize) {
        let name = quoted(name);
        self.put("M", "__metadata", what, track, format_args!("\"args\":{{\"name\":{name}}}"));
    }

    fn span(&mut self, category: &str, name: &str, track: usize, (start, end): (u64, u64), args: &str) {
        let (ts, dur) = (self.at(start), self.at(end) - self.at(start));
        self.put(
            "X",
            category,
            name,
            track,
            format_args!("\"ts\":{ts:.3},\"dur\":{dur:.3},\"args\":{{{args}}}"),
        );
    }
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..' ' => quoted.push(' '),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

pub(super) fn of(timeline: &Timeline) -> String {
    let mut trace = Trace { timeline, json: "{\"traceEvents\":[".into() };
    trace.name("process_name", "pool", 0);
    for (worker, line) in timeline.workers.numbered() {
        let track = worker.0 + 1;
        trace.name("thread_name", &format!("worker {worker}"), track);
        for slice in &line.slices {
            let Slice { first, count, start, end, .. } = *slice;
            let args = format!("\"first\":{first},\"tasks\":{count}");
            trace.span("task", &timeline.label_of(slice), track, (start, end), &args);
        }
        for Life { start, up, end, death, .. } in &line.lives {
            let up = up.or(*end).unwrap_or(timeline.end);
            trace.span("life", "start-up", track, (*start, up), "");
            if let (Some(end), Some(death)) = (end, death) {
                let ts = trace.at(*end);
                let name = format!("died: {death}");
                trace.put("i", "life", &name, track, format_args!("\"s\":\"t\",\"ts\":{ts:.3}"));
            }
        }
    }
    for (id, Call { task, start, end }) in timeline.calls.iter().enumerate() {
        for (kind, time) in [("b", *start), ("e", end.unwrap_or(timeline.end))] {
            let ts = trace.at(time);
            trace.put(
                kind,
                "call",
                short(task),
                0,
                format_args!("\"id2\":{{\"local\":\"{id}\"}},\"ts\":{ts:.3}"),
            );
        }
    }
    trace.json.push_str("\n],\"displayTimeUnit\":\"ms\"}\n");
    trace.json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_string() {
        assert_eq!(quoted("a \"b\" \\ c\nä"), r#""a \"b\" \\ c ä""#);
    }
}
