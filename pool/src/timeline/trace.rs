//! The timeline as a trace: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::borrow::Cow;

use serde::Serialize;

use super::history::{Call, Life};
use super::{Timeline, short};

/// A trace.
#[derive(Serialize)]
pub(super) struct Trace<'t> {
    #[serde(rename = "traceEvents")]
    events: Vec<Event<'t>>,
    #[serde(rename = "displayTimeUnit")]
    unit: &'static str,
}

#[derive(Serialize)]
struct Event<'t> {
    name: Cow<'t, str>,
    cat: &'static str,
    #[serde(rename = "ph")]
    phase: &'static str,
    /// In microseconds.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    /// The track: workers have theirs from 1 on.
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    /// The track is what an instant belongs to.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    args: Args,
}

#[derive(Serialize, Default)]
struct Args {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u32>,
}

impl<'t> Event<'t> {
    fn new(
        cat: &'static str,
        phase: &'static str,
        name: impl Into<Cow<'t, str>>,
        ts: f64,
        tid: usize,
    ) -> Self {
        let (name, args) = (name.into(), Args::default());
        Self { name, cat, phase, ts, dur: None, pid: 1, tid, id: None, scope: None, args }
    }

    fn named(what: &'static str, name: String, tid: usize) -> Self {
        Event {
            args: Args { name: Some(name), ..Args::default() },
            ..Self::new("__metadata", "M", what, 0.0, tid)
        }
    }
}

pub(super) fn of(timeline: &Timeline) -> Trace<'_> {
    let at = |ns: u64| ns.saturating_sub(timeline.start) as f64 / 1e3;
    let span = |cat, name: Cow<'static, str>, start, end, tid| {
        let dur = Some(at(end) - at(start));
        Event { dur, ..Event::new(cat, "X", name, at(start), tid) }
    };
    let mut events = vec![Event::named("process_name", "pool".into(), 0)];
    for (worker, line) in timeline.workers.iter().enumerate() {
        let tid = worker + 1;
        events.push(Event::named("thread_name", format!("worker {worker}"), tid));
        for slice in &line.slices {
            let args = Args { first: Some(slice.first), tasks: Some(slice.count), ..Args::default() };
            events.push(Event { args, ..span("task", slice.label().into(), slice.start, slice.end, tid) });
        }
        for Life { start, up, end, death, .. } in &line.lives {
            let up = up.or(*end).unwrap_or(timeline.end);
            events.push(span("life", "start-up".into(), *start, up, tid));
            if let (Some(end), Some(death)) = (end, death) {
                let scope = Some("t");
                events.push(Event {
                    scope,
                    ..Event::new("life", "i", format!("died: {death}"), at(*end), tid)
                });
            }
        }
    }
    for (id, Call { task, start, end }) in timeline.calls.iter().enumerate() {
        for (phase, time) in [("b", *start), ("e", end.unwrap_or(timeline.end))] {
            let id = Some(id);
            events.push(Event { id, ..Event::new("call", phase, short(task), at(time), 0) });
        }
    }
    Trace { events, unit: "ms" }
}
