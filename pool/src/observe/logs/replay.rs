//! The parent's end of a log: repeats workers' records for its own subscriber, as if made at the same place in the
//! program, so that filters treat them like the parent's own.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use tracing::callsite::{self, Callsite, Identifier};
use tracing::field::{FieldSet, Value as Field};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, dispatcher};

use super::{LEVELS, Record, Value, has_subscriber};
use crate::ids::WorkerId;

/// The most call sites that are registered. Each takes memory for good. No program has as many, but a worker may claim
/// any number.
const MAX_SITES: usize = 4096;

/// Where in the program a record was made.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Origin {
    level: u8,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    fields: Vec<String>,
}

/// An origin as `tracing` knows it: a call site.
struct Site(OnceLock<Metadata<'static>>);

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("a site has its metadata before it is registered")
    }
}

static SITES: LazyLock<Mutex<HashMap<Origin, &'static Site>>> = LazyLock::new(Mutex::default);

/// The fields that each record has before its own.
const ADDED: [&str; 4] = ["message", "worker", "task_index", "spans"];

impl Origin {
    fn of(record: &Record) -> Self {
        let Record { level, target, module, file, line, fields, .. } = record;
        Self {
            level: *level,
            target: target.clone(),
            module: module.clone(),
            file: file.clone(),
            line: *line,
            fields: fields.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    fn site(self) -> Option<&'static Site> {
        let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(&self) {
            return Some(site);
        }
        let level = *LEVELS.get(usize::from(self.level))?;
        if sites.len() >= MAX_SITES {
            return None;
        }
        let keep = |text: &String| -> &'static str { Box::leak(text.clone().into_boxed_str()) };
        let names: Vec<&'static str> = ADDED.into_iter().chain(self.fields.iter().map(keep)).collect();
        let site: &'static Site = Box::leak(Box::new(Site(OnceLock::new())));
        let (file, module) = (self.file.as_ref().map(keep), self.module.as_ref().map(keep));
        let fields = FieldSet::new(Box::leak(names.into_boxed_slice()), Identifier(site));
        let metadata = Metadata::new(
            "event of a worker",
            keep(&self.target),
            level,
            file,
            self.line,
            module,
            fields,
            Kind::EVENT,
        );
        let fresh = site.0.set(metadata).is_ok();
        debug_assert!(fresh);
        callsite::register(site);
        sites.insert(self, site);
        Some(site)
    }
}

/// Passes a worker's record to the subscriber, or to the logger if there is none.
pub(crate) fn replay(worker: WorkerId, record: &Record) {
    if record.lost > 0 {
        tracing::warn!(
            target: "pool",
            worker = worker.0,
            lost = record.lost,
            "records of a worker were lost: it logs faster than they are read"
        );
    }
    if record.target.is_empty() && record.message.is_empty() {
        return;
    }
    if !has_subscriber() {
        return emit_to_logger(worker, record);
    }
    let Some(Site(metadata)) = Origin::of(record).site() else {
        let (worker, text) = (worker.0, &record.message);
        return tracing::warn!(target: "pool", worker, text, "worker logs from more call sites than any program has");
    };
    let Some(metadata) = metadata.get() else { return };
    dispatcher::get_default(|dispatch| {
        if !dispatch.enabled(metadata) {
            return;
        }
        let message = format_args!("{}", record.message);
        let (worker, index) = (worker.0 as u64, record.index);
        let added: [Option<&dyn Field>; ADDED.len()] = [
            Some(&message),
            Some(&worker),
            index.as_ref().map(|index| index as &dyn Field),
            Some(&record.spans).filter(|spans| !spans.is_empty()).map(|spans| spans as &dyn Field),
        ];
        let fields = record.fields.iter().map(|(_, value)| Some(value.as_field()));
        let values: Vec<_> = added.into_iter().chain(fields).collect();
        dispatch.event(&Event::new(metadata, &metadata.fields().value_set_all(&values)));
    });
}

impl Value {
    fn as_field(&self) -> &dyn Field {
        match self {
            Self::Bool(value) => value,
            Self::I64(value) => value,
            Self::U64(value) => value,
            Self::F64(value) => value,
            Self::Text(text) => text,
        }
    }
}

/// Passes a record to the logger. Fields stand behind the message.
fn emit_to_logger(worker: WorkerId, record: &Record) {
    let Some(level) = log::Level::iter().nth(record.level.into()) else { return };
    let mut text = record.message.clone();
    let mut append = |name: &str, value: &dyn std::fmt::Display| {
        let written = write!(text, " {name}={value}");
        debug_assert!(written.is_ok());
    };
    for (name, value) in &record.fields {
        match value {
            Value::Bool(value) => append(name, value),
            Value::I64(value) => append(name, value),
            Value::U64(value) => append(name, value),
            Value::F64(value) => append(name, value),
            Value::Text(value) => append(name, value),
        }
    }
    append("worker", &worker);
    if let Some(index) = record.index {
        append("task_index", &index);
    }
    let args = format_args!("{text}");
    let mut builder = log::Record::builder();
    builder.level(level).target(&record.target).args(args).line(record.line);
    builder.file(record.file.as_deref()).module_path(record.module.as_deref());
    log::logger().log(&builder.build());
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::Arc;

    use tracing::Subscriber;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// A subscriber that keeps the fields of all events, as text.
    #[derive(Default, Clone)]
    struct Fields(Arc<Mutex<String>>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0.lock().unwrap(), "{}={value:?};", field.name()).unwrap();
        }
    }

    impl<S: Subscriber> Layer<S> for Fields {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    fn replayed(record: &Record) -> String {
        let fields = Fields::default();
        let subscriber = tracing_subscriber::registry().with(fields.clone());
        tracing::subscriber::with_default(subscriber, || replay(WorkerId(3), record));
        std::mem::take(&mut *fields.0.lock().unwrap())
    }

    #[test]
    fn the_number_of_call_sites_is_bounded() {
        let origin = |line| Origin::of(&Record { line: Some(line), ..Record::default() });
        let first = origin(0).site().expect("there is room for it");
        let registered = (1..2 * MAX_SITES as u32).filter(|line| origin(*line).site().is_some()).count();
        assert!(registered < MAX_SITES, "{registered}");
        assert!(std::ptr::eq(first, origin(0).site().expect("it is registered")));
        let no_level = Record { level: 9, ..Record::default() };
        assert!(Origin::of(&no_level).site().is_none());
        let from = |line| Record { line: Some(line), message: "hello".to_owned(), ..Record::default() };
        assert_eq!(replayed(&from(0)), "message=hello;worker=3;");
        let unregistered = replayed(&from(u32::MAX));
        assert!(unregistered.starts_with("message=worker logs from more call sites"), "{unregistered}");
        assert!(unregistered.ends_with("worker=3;text=\"hello\";"), "{unregistered}");
    }
}
