//! The timeline as a trace: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
//!
//! The JSON is written by hand: `serde_json` has `PartialEq` impls for numbers, and with them in scope the compiler
//! can no longer infer some types in programs that never asked for that crate.

use std::fmt::{self, Write};

use super::Timeline;
use super::history::Life;
use super::slices::Slice;

/// A trace being written.
struct Trace<'t> {
    timeline: &'t Timeline,
    json: String,
}

impl Trace<'_> {
    /// Microseconds since the start of the timeline.
    fn at(&self, ns: u64) -> f64 {
        ns.saturating_sub(self.timeline.start) as f64 / 1e3
    }

    /// Appends an event. `track` is 0 for calls, and one more than a worker's number for its own. `more` are further
    /// fields.
    fn event(&mut self, kind: &str, category: &str, name: &str, track: usize, more: fmt::Arguments<'_>) {
        let comma = if self.json.ends_with('[') { "" } else { "," };
        let name = quoted(name);
        let pid = std::process::id();
        let written = write!(
            self.json,
            "{comma}\n{{\"ph\":\"{kind}\",\"cat\":\"{category}\",\"name\":{name},\"pid\":{pid},\"tid\":{track},{more}}}"
        );
        debug_assert!(written.is_ok());
    }

    fn metadata(&mut self, key: &str, name: &str, track: usize) {
        let name = quoted(name);
        self.event("M", "__metadata", key, track, format_args!("\"args\":{{\"name\":{name}}}"));
    }

    fn span(&mut self, category: &str, name: &str, track: usize, (start, end): (u64, u64), args: &str) {
        let (ts, dur) = (self.at(start), self.at(end) - self.at(start));
        self.event(
            "X",
            category,
            name,
            track,
            format_args!("\"ts\":{ts:.3},\"dur\":{dur:.3},\"args\":{{{args}}}"),
        );
    }
}

/// A JSON string. Control characters become spaces.
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

pub(super) fn format(timeline: &Timeline) -> String {
    let mut trace = Trace { timeline, json: "{\"traceEvents\":[".into() };
    trace.metadata("process_name", "pool", 0);
    for (worker, line) in timeline.workers.numbered() {
        let track = worker.0 + 1;
        trace.metadata("thread_name", &format!("worker {worker}"), track);
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
                trace.event("i", "life", &name, track, format_args!("\"s\":\"t\",\"ts\":{ts:.3}"));
            }
        }
    }
    for (id, call) in timeline.calls.iter().enumerate() {
        let (task, at) = (quoted(call.task), quoted(&call.at.to_string()));
        let args = format!(",\"args\":{{\"task\":{task},\"called_at\":{at}}}");
        for (kind, time, args) in [("b", call.start, &*args), ("e", call.end.unwrap_or(timeline.end), "")] {
            let ts = trace.at(time);
            let more = format_args!("\"id2\":{{\"local\":\"{id}\"}},\"ts\":{ts:.3}{args}");
            trace.event(kind, "call", call.name(), 0, more);
        }
    }
    trace.json.push_str("\n],\"displayTimeUnit\":\"ms\"}\n");
    trace.json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quoted("a \"b\" \\ c\nä"), r#""a \"b\" \\ c ä""#);
    }
}
