//! The worker's end of a log: a subscriber that sends events to the parent.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};
use tracing_log::{LogTracer, NormalizeEvent};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::{LEVELS, Record, Value, Verbosity};
use crate::ids::TaskIndex;
use crate::sys::pipe::{self, PIPE_BUF, Writer};
use crate::text;

/// The index that stands for no task.
const NO_TASK: u64 = u64::MAX;

/// Sends a worker's records for as long as this lives, if anyone listens.
pub(crate) struct LogSender {
    outlet: Option<Arc<Outlet>>,
    _guard: Option<DefaultGuard>,
}

impl fmt::Debug for LogSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSender").field("outlet", &self.outlet).finish_non_exhaustive()
    }
}

impl LogSender {
    /// Begins to send what this thread logs, and if the worker is a process, what all its threads do.
    pub(crate) fn new(log: Option<(Writer, Verbosity)>, is_process: bool) -> Self {
        let disabled = Self { outlet: None, _guard: None };
        let Some((pipe, verbosity)) = log else { return disabled };
        let Some(level) = LEVELS.get(usize::from(verbosity).wrapping_sub(1)) else { return disabled };
        let Ok(pipe) = pipe::Outlet::open(pipe) else { return disabled };
        let outlet = Arc::new(Outlet { pipe, index: AtomicU64::new(NO_TASK), lost: AtomicU32::new(0) });
        let layer = SendLayer { level: LevelFilter::from_level(*level), outlet: Arc::clone(&outlet) };
        let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
        if is_process {
            // These fail in a fork, which inherits its parent's and keeps them.
            let _ = tracing::dispatcher::set_global_default(dispatch.clone());
            let level = log::LevelFilter::iter().nth(verbosity.into()).unwrap_or(log::LevelFilter::Trace);
            let _ = LogTracer::builder().with_max_level(level).init();
        }
        Self { outlet: Some(outlet), _guard: Some(tracing::dispatcher::set_default(&dispatch)) }
    }

    /// Records belong to this task from here on.
    #[inline]
    pub(crate) fn set_task(&self, index: TaskIndex) {
        if let Some(outlet) = &self.outlet {
            outlet.index.store(index.number(), Ordering::Relaxed);
        }
    }

    /// No task is running from here on. Reports lost records, unless a later record has done so.
    pub(crate) fn clear_task(&self) {
        let Some(outlet) = &self.outlet else { return };
        outlet.index.store(NO_TASK, Ordering::Relaxed);
        if outlet.lost.load(Ordering::Relaxed) > 0 {
            outlet.send(Record::default(), 0);
        }
    }
}

/// The pipe to the parent, and what its records say besides the event.
#[derive(Debug)]
struct Outlet {
    pipe: pipe::Outlet,
    /// The index of the running task.
    index: AtomicU64,
    /// How many records were lost since the last one that was sent.
    lost: AtomicU32,
}

impl Outlet {
    /// Sends a record. If that fails, `weight` more records are lost.
    fn send(&self, mut record: Record, weight: u32) {
        record.lost = self.lost.swap(0, Ordering::Relaxed);
        let bytes = record.encode();
        // A record is no longer than PIPE_BUF, so a write takes all of it or nothing.
        if bytes.is_empty() || !self.pipe.write(&bytes) {
            self.lost.fetch_add(record.lost + weight, Ordering::Relaxed);
        }
    }
}

/// The layer that sends events to the parent.
struct SendLayer {
    level: LevelFilter,
    outlet: Arc<Outlet>,
}

/// A span's name and fields, as text.
struct SpanText(String);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for SendLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut text = SpanText(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        span.extensions_mut().insert(text);
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(text) = span.extensions_mut().get_mut::<SpanText>() {
            values.record(text);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let level = LEVELS.iter().position(|level| level == metadata.level()).unwrap_or(0);
        let mut record = Record {
            index: Some(self.outlet.index.load(Ordering::Relaxed)).filter(|index| *index != NO_TASK),
            level: level as u8,
            target: metadata.target().to_owned(),
            module: metadata.module_path().map(str::to_owned),
            file: metadata.file().map(str::to_owned),
            line: metadata.line(),
            ..Record::default()
        };
        event.record(&mut record);
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(SpanText(text)) = span.extensions().get() {
                let gap = if record.spans.is_empty() { "" } else { ": " };
                record.spans.extend([gap, text]);
            }
        }
        self.outlet.send(record, 1);
    }
}

impl Visit for SpanText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let room = PIPE_BUF.saturating_sub(self.0.len());
        if room == 0 {
            return;
        }
        let _ = write!(self.0, " {}=", field.name());
        self.0.push_str(&text::beginning(format_args!("{value:?}"), room));
    }
}

/// The beginning of a text, as long as a record can be.
fn beginning(text: &str) -> String {
    text[..text.floor_char_boundary(PIPE_BUF)].to_owned()
}

impl Record {
    fn add_field(&mut self, field: &Field, value: Value) {
        // Fields of this name describe a `log` record, and its metadata already has them.
        if !field.name().starts_with("log.") {
            self.fields.push((field.name().to_owned(), value));
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = text::beginning(format_args!("{value:?}"), PIPE_BUF);
        match field.name() {
            "message" => self.message = text,
            _ => self.add_field(field, Value::Text(text)),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = beginning(value),
            _ => self.add_field(field, Value::Text(beginning(value))),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_field(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_field(field, Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_field(field, Value::U64(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add_field(field, Value::F64(value));
    }
}
