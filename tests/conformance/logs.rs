//! Logging: events about the lives of workers, and the workers' own records, all of which reach the parent's
//! subscriber.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::panic_any;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use pool::{Error, StartMethod, worker_exit, worker_init, worker_task};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::harness::cases;
use crate::support::{Bomb, assert_usable, builder, pool, sorted, square, task_error};

cases! {
    All: records_have_worker_and_task, what_init_and_exit_log, spans_are_told, filtered_by_level,
         filtered_by_target, log_records_too, a_flood_makes_nobody_wait, to_a_logger, without_a_subscriber,
         a_subscriber_that_calls_the_pool, a_subscriber_that_panics;
    Processes: logged_before_a_crash, lives_and_deaths;
}

/// An event that the parent's subscriber got.
#[derive(Debug, Clone)]
struct Told {
    level: Level,
    target: String,
    file: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Told {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value)
    }

    fn message(&self) -> &str {
        self.field("message")
    }
}

/// Keeps all events.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Told>>>);

struct Fields<'f>(&'f mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        let told = Told { level, target, file: metadata.file().map(str::to_owned), fields };
        self.0.lock().unwrap().push(told);
    }
}

impl Keeper {
    /// Collects the events of this level or above while `run` runs on this thread.
    fn hear<R>(level: LevelFilter, run: impl FnOnce() -> R) -> (R, Vec<Told>) {
        let keeper = Self::default();
        let subscriber = tracing_subscriber::registry().with(keeper.clone()).with(level);
        let result = tracing::subscriber::with_default(subscriber, run);
        let told = keeper.0.lock().unwrap().clone();
        (result, told)
    }
}

/// The records of workers.
fn by_workers(told: &[Told]) -> Vec<&Told> {
    told.iter().filter(|told| told.target == module_path!()).collect()
}

#[worker_task]
fn tell(x: u64) -> u64 {
    tracing::info!(x, half = x as f64 / 2.0, odd = x % 2 == 1, name = "a \"name\"", "number {x}");
    tracing::debug!("detail of {x}");
    x
}

fn records_have_worker_and_task(method: StartMethod) -> Result<(), Error> {
    let (result, told) = Keeper::hear(LevelFilter::DEBUG, || {
        let pool = pool(method)?;
        tell::par_map(&pool, 0..50)?;
        tell::job(&pool).chunk_size(7).map(0..50)
    });
    result?;
    let records = by_workers(&told);
    assert_eq!(records.len(), 200, "all are there when the call ends");
    for record in records {
        let index: u64 = record.field("task_index").parse().unwrap();
        assert!(matches!(record.field("worker"), "0" | "1"), "{record:?}");
        assert!(record.file.as_ref().unwrap().ends_with("logs.rs"), "{record:?}");
        if record.level == Level::INFO {
            assert_eq!(record.message(), format!("number {index}"));
            assert_eq!(record.field("x"), index.to_string());
            assert_eq!(record.field("half").parse::<f64>().unwrap(), index as f64 / 2.0);
            assert_eq!(record.field("odd"), (index % 2 == 1).to_string());
            assert_eq!(record.field("name"), "a \"name\"");
        } else {
            assert_eq!((record.level, record.message()), (Level::DEBUG, &*format!("detail of {index}")));
        }
    }
    Ok(())
}

#[worker_init]
fn log_init() -> u8 {
    tracing::warn!("init");
    0
}

#[worker_exit]
fn log_exit(#[state] _state: u8) {
    tracing::error!("exit");
}

#[worker_task(init = log_init, exit = log_exit)]
fn with_state(#[state] _state: &mut u8) {}

fn what_init_and_exit_log(method: StartMethod) -> Result<(), Error> {
    let (result, told) = Keeper::hear(LevelFilter::WARN, || {
        let pool = pool(method)?;
        with_state::par_map(&pool, [(); 10])?;
        pool.join().map(drop)
    });
    result?;
    let records = by_workers(&told);
    let count = |message| records.iter().filter(|record| record.message() == message).count();
    assert_eq!((count("init"), count("exit")), (2, 2), "{told:?}");
    assert!(records.iter().all(|record| !record.fields.contains_key("task_index")), "{told:?}");
    Ok(())
}

#[worker_task]
fn log_in_spans(x: u64) {
    let outer = tracing::info_span!("outer", x, later = tracing::field::Empty);
    let _outer = outer.enter();
    outer.record("later", "known");
    tracing::info_span!("inner").in_scope(|| tracing::info!("here"));
}

fn spans_are_told(method: StartMethod) -> Result<(), Error> {
    let (result, told) = Keeper::hear(LevelFilter::INFO, || log_in_spans::apply(&pool(method)?, 5));
    result?;
    let spans = |told: &Told| told.field("spans").to_owned();
    assert_eq!(
        by_workers(&told).first().map(|told| spans(told)).unwrap(),
        "outer x=5 later=\"known\": inner"
    );
    Ok(())
}

fn filtered_by_level(method: StartMethod) -> Result<(), Error> {
    for (level, count) in [(LevelFilter::OFF, 0), (LevelFilter::INFO, 10), (LevelFilter::TRACE, 20)] {
        let (result, told) = Keeper::hear(level, || tell::par_map(&pool(method)?, 0..10));
        result?;
        assert_eq!(by_workers(&told).len(), count, "{level}");
    }
    Ok(())
}

fn filtered_by_target(method: StartMethod) -> Result<(), Error> {
    let keeper = Keeper::default();
    let only_others = tracing_subscriber::filter::Targets::new().with_target("elsewhere", Level::TRACE);
    let subscriber = tracing_subscriber::registry().with(keeper.clone().with_filter(only_others));
    tracing::subscriber::with_default(subscriber, || tell::par_map(&pool(method)?, 0..10))?;
    assert!(keeper.0.lock().unwrap().is_empty());
    Ok(())
}

#[worker_task]
fn log_the_old_way(x: u64) {
    ::log::warn!("old {x}");
}

fn log_records_too(method: StartMethod) -> Result<(), Error> {
    // With threads and forks, workers use the parent's logger directly.
    tracing_log::LogTracer::init().unwrap();
    let (result, told) = Keeper::hear(LevelFilter::INFO, || log_the_old_way::par_map(&pool(method)?, 0..10));
    result?;
    let records = by_workers(&told);
    assert_eq!(records.len(), 10, "{told:?}");
    for record in records {
        assert_eq!(record.message(), format!("old {}", record.field("task_index")));
        assert_eq!((record.level, record.fields.len()), (Level::WARN, 3), "{record:?}");
    }
    Ok(())
}

#[worker_task]
fn flood(records: u64) -> u64 {
    for x in 0..records {
        tracing::info!(x, "{}", "y".repeat(10_000));
    }
    records
}

fn a_flood_makes_nobody_wait(method: StartMethod) -> Result<(), Error> {
    let (result, told) = Keeper::hear(LevelFilter::INFO, || {
        let pool = builder(method).workers(1).build()?;
        // The iterator does not advance meanwhile, so nothing reads the worker's records.
        let mut results = flood::par_imap(&pool, [1000, 1]);
        while results.next().transpose()?.is_none_or(|records| records != 1) {}
        drop(results);
        // Lost records are reported at the end of a chunk.
        (0..3).for_each(|_| assert_usable(&pool));
        Ok::<_, Error>(())
    });
    result?;
    let records = by_workers(&told);
    let lost: u64 = told.iter().filter_map(|told| told.field("lost").parse::<u64>().ok()).sum();
    assert!(records.len() as u64 + lost == 1001, "{} told, {lost} lost", records.len());
    assert!(records.iter().all(|told| told.message().len() < 4096 && told.message().ends_with("y...")));
    Ok(())
}

/// Keeps the records of workers, as text.
struct Logger(Mutex<Vec<String>>);

static LOGGER: Logger = Logger(Mutex::new(Vec::new()));

impl ::log::Log for Logger {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        if record.target() == module_path!() {
            self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

fn to_a_logger(method: StartMethod) -> Result<(), Error> {
    ::log::set_logger(&LOGGER).unwrap();
    ::log::set_max_level(::log::LevelFilter::Info);
    tell::job(&builder(method).workers(1).build()?).map(0..3)?;
    let told = LOGGER.0.lock().unwrap().clone();
    let expected = |x: u64| {
        let (half, odd) = (x as f64 / 2.0, x % 2 == 1);
        format!("INFO number {x} x={x} half={half} odd={odd} name=a \"name\" worker=0 task_index={x}")
    };
    assert_eq!(told, [expected(0), expected(1), expected(2)]);
    Ok(())
}

fn without_a_subscriber(method: StartMethod) -> Result<(), Error> {
    assert_eq!(tell::par_map(&pool(method)?, 0..10)?.len(), 10);
    Ok(())
}

/// Does this at each event.
struct Acts<F>(F);

impl<S: Subscriber, F: Fn() + Send + Sync + 'static> Layer<S> for Acts<F> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "pool" {
            self.0();
        }
    }
}

fn a_subscriber_that_calls_the_pool(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(builder(method).insights(true).build()?);
    let ((asks, asked), busy) = (mpsc::channel(), AtomicBool::new(false));
    let acts = Acts({
        // The subscriber lives as long as the program.
        let pool = Arc::downgrade(&pool);
        move || {
            // Its own calls cause events, too.
            if let Some(pool) = pool.upgrade()
                && !busy.swap(true, Ordering::Relaxed)
            {
                assert_eq!(pool.insights().workers.len(), 2);
                assert_eq!(square::apply(&pool, 3).unwrap(), 9);
                // Nobody waits for the result: this may run on the thread that would bring it.
                drop(square::apply_async(&pool, 4));
                let _ = asks.send(());
                busy.store(false, Ordering::Relaxed);
            }
        }
    });
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(acts)).unwrap();
    assert_eq!(square::apply_async(&pool, 5).get()?, 25);
    assert_usable(&pool);
    // The first event may be told in another thread, which is still at it.
    asked.recv().unwrap();
    Ok(())
}

fn a_subscriber_that_panics(method: StartMethod) -> Result<(), Error> {
    for panics in [|| panic!("in a subscriber"), || panic_any(Bomb)] as [fn(); 2] {
        let subscriber = tracing_subscriber::registry().with(Acts(panics));
        tracing::subscriber::with_default(subscriber, || {
            let pool = pool(method)?;
            assert_usable(&pool);
            pool.join().map(drop)
        })?;
    }
    Ok(())
}

#[worker_task]
fn log_and_abort(x: u64) {
    tracing::error!("about to divide by {x}");
    if x == 3 {
        process::abort();
    }
}

fn logged_before_a_crash(method: StartMethod) -> Result<(), Error> {
    let (result, told) =
        Keeper::hear(LevelFilter::INFO, || log_and_abort::par_map_outcomes(&pool(method)?, 0..10));
    assert_eq!(result?.iter().filter(|outcome| outcome.is_err()).count(), 1);
    let last = by_workers(&told).into_iter().find(|told| told.message() == "about to divide by 3").cloned();
    assert_eq!(last.expect("it is told").field("task_index"), "3");
    Ok(())
}

#[worker_task]
fn stderr_tail() {
    eprintln!("cannot go on");
    process::exit(3);
}

#[worker_task]
fn hang() {
    loop {
        std::thread::park();
    }
}

#[worker_task]
fn burst() -> usize {
    let mut held = Vec::new();
    for _ in 0..4096 {
        held.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&held);
    }
    held.len()
}

fn lives_and_deaths(method: StartMethod) -> Result<(), Error> {
    let (result, told) = Keeper::hear(LevelFilter::DEBUG, || {
        let pool = builder(method).workers(1).memory_limit(16 << 20).build()?;
        assert_usable(&pool);
        task_error(stderr_tail::apply(&pool, ()));
        task_error(hang::job(&pool).label("sleep\n").task_timeout(Duration::from_millis(50)).apply(()));
        task_error(burst::apply(&pool, ()));
        assert_usable(&pool);
        pool.join().map(drop)
    });
    result?;
    let told: Vec<String> = told
        .into_iter()
        .filter(|told| told.target == "pool")
        .map(|Told { level, mut fields, .. }| {
            assert_eq!(fields.remove("worker").unwrap(), "0");
            if let Some(held) = fields.remove("held") {
                assert!(held.parse::<u64>().unwrap() > 32 << 20, "{held}");
            }
            if let Some(pid) = fields.remove("pid") {
                assert!(pid.parse::<u32>().is_ok(), "{pid}");
            }
            let is_of_task = fields.contains_key("task");
            let called_at = fields.remove("called_at");
            assert!(called_at.map_or(!is_of_task, |at| at.starts_with(file!())), "{fields:?}");
            format!("{level} {}", fields.into_values().collect::<Vec<_>>().join(", "))
        })
        .collect();
    let died = "WARN exited with code 3, worker died, cannot go on";
    let killed = "WARN was killed by SIGKILL (signal 9), worker died";
    let restarted = |start| format!("DEBUG worker restarted, {start}");
    let expected = [
        "DEBUG worker started",
        died,
        &restarted(2),
        "WARN sleep\\u{a}, 50ms, task timed out, conformance::logs::hang, 0",
        killed,
        &restarted(3),
        "WARN 16777216, task over memory limit, conformance::logs::burst, 0",
        killed,
        &restarted(4),
        "DEBUG worker ended",
    ];
    assert_eq!(sorted(told.iter().map(String::as_str).collect()), sorted(expected.to_vec()), "{told:#?}");
    Ok(())
}
