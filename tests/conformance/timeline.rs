//! The timeline: what workers did when, as a trace and as a picture.

use std::collections::BTreeMap;
use std::process;
use std::thread;
use std::time::Duration;

use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};
use serde_json::Value;

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, put_token, square, squares, take_token};

cases! {
    All: every_task_is_there, long_tasks_have_slices_of_their_own, phases_and_calls, what_runs_is_there,
         bounded_whatever_comes, empty_without_insights, saved_by_its_name;
    Processes: deaths_are_marked;
}

fn events(pool: &WorkerPool) -> Vec<Value> {
    let mut bytes = Vec::new();
    pool.timeline().write_trace(&mut bytes).unwrap();
    let trace: Value = serde_json::from_slice(&bytes).unwrap();
    trace["traceEvents"].as_array().unwrap().clone()
}

/// The slices of tasks and phases on the workers' tracks.
fn slices(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["cat"] == "task").collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// How many tasks of functions of this name the timeline shows.
fn tasks(events: &[Value], name: &str) -> u64 {
    let of_it = |event: &&&Value| event["name"].as_str().unwrap().split(' ').next() == Some(name);
    slices(events).iter().filter(of_it).map(|event| event["args"]["tasks"].as_u64().unwrap()).sum()
}

/// Asserts that all slices have times, and that no slice of a track begins before the one before it has ended,
/// start-ups included.
#[track_caller]
fn assert_in_order(events: &[Value]) {
    let mut tracks: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for slice in events.iter().filter(|event| event["ph"] == "X") {
        let (start, len) = (number(&slice["ts"]), number(&slice["dur"]));
        assert!(len >= 0.0, "{slice}");
        tracks.entry(slice["tid"].as_u64().unwrap()).or_default().push((start, start + len));
    }
    for track in tracks.values_mut() {
        track.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in track.windows(2) {
            assert!(pair[0].1 <= pair[1].0 + 0.0005, "{pair:?} in {track:?}");
        }
    }
}

fn watched(method: StartMethod) -> Result<WorkerPool, Error> {
    builder(method).insights(true).build()
}

fn every_task_is_there(method: StartMethod) -> Result<(), Error> {
    let pool = watched(method)?;
    for size in [1, 10, 1000] {
        let before = tasks(&events(&pool), "square");
        assert_eq!(square::job(&pool).chunk_size(size).map(0..5000)?, squares(5000));
        square::apply(&pool, 1)?;
        let events = events(&pool);
        // The records of the last claim may come after its results.
        assert!((before + 4000..=before + 5001).contains(&tasks(&events, "square")), "{events:?}");
        assert_in_order(&events);
    }
    Ok(())
}

#[worker_task]
fn rest(x: u64) -> u64 {
    thread::sleep(Duration::from_millis(3));
    x
}

fn long_tasks_have_slices_of_their_own(method: StartMethod) -> Result<(), Error> {
    let pool = watched(method)?;
    rest::par_map(&pool, 0..20)?;
    let result = rest::job(&pool).chunk_size(5).map(0..20)?;
    assert_eq!(result.len(), 20);
    let events = events(&pool);
    assert_in_order(&events);
    let mut indices: Vec<u64> = Vec::new();
    for slice in slices(&events) {
        let index = slice["args"]["first"].as_u64().unwrap();
        assert_eq!(slice["name"], format!("rest {index}"));
        assert!(number(&slice["dur"]) >= 2900.0, "three milliseconds: {slice}");
        indices.push(index);
    }
    indices.sort_unstable();
    let twice = |range: std::ops::Range<u64>| range.flat_map(|index| [index; 2]).collect::<Vec<_>>();
    assert_eq!(indices, twice(0..20));
    Ok(())
}

#[worker_init]
fn begin() -> u8 {
    0
}

#[worker_exit]
fn end(#[state] _state: u8) {}

#[worker_task(init = begin, exit = end)]
fn with_state(#[state] _state: &mut u8) {}

fn phases_and_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).insights(true).keep_alive(false).build()?;
    with_state::par_map(&pool, [(); 10])?;
    with_state::par_map(&pool, [(); 10])?;
    let events = events(&pool);
    let count = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    assert_eq!((count("init"), count("exit"), count("start-up")), (4, 4, 4), "two workers, each twice");
    let calls: Vec<&Value> = events.iter().filter(|event| event["cat"] == "call").collect();
    let phases: Vec<_> = calls.iter().map(|call| call["ph"].as_str().unwrap()).collect();
    assert_eq!(phases, ["b", "e", "b", "e"]);
    assert!(calls.iter().all(|call| call["name"] == "with_state"), "{calls:?}");
    assert!(calls.is_sorted_by_key(|call| number(&call["ts"])), "{calls:?}");
    assert_in_order(&events);
    Ok(())
}

#[worker_task]
fn wait(started: &str, go_on: &str) {
    put_token(started);
    take_token(go_on);
}

fn what_runs_is_there(method: StartMethod) -> Result<(), Error> {
    let pool = watched(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let waiting = wait::apply_async(&pool, (&started.path(), &go_on.path()));
    started.take(1);
    let now = events(&pool);
    assert_eq!(tasks(&now, "wait"), 1, "{now:?}");
    go_on.put(1);
    waiting.get()?;
    assert_eq!(square::par_map(&pool, 0..10)?, squares(10));
    assert_eq!(tasks(&events(&pool), "wait"), 1);
    Ok(())
}

fn bounded_whatever_comes(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).insights(true).build()?;
    // Separate calls, so that no two tasks share a slice at first.
    for _ in 0..6000 {
        square::apply(&pool, 7)?;
    }
    let events = events(&pool);
    assert!(slices(&events).len() <= 1026 && events.len() < 5000, "{} slices", slices(&events).len());
    assert!(tasks(&events, "square") >= 5999);
    assert_in_order(&events);
    Ok(())
}

fn empty_without_insights(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    assert_usable(&pool);
    assert_eq!(events(&pool).len(), 1, "the program's name");
    let mut svg = Vec::new();
    pool.timeline().write_svg(&mut svg).unwrap();
    assert!(String::from_utf8(svg).unwrap().ends_with("</svg>\n"));
    Ok(())
}

fn saved_by_its_name(method: StartMethod) -> Result<(), Error> {
    let pool = watched(method)?;
    rest::par_map(&pool, 0..4)?;
    for (ending, start) in [("svg", "<svg xmlns="), ("json", "{\"traceEvents\":[")] {
        let name = format!("timeline-{}.{ending}", process::id());
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        pool.timeline().save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text.starts_with(start) && text.contains("rest 3"), "{text}");
    }
    assert!(pool.timeline().save("/proc/no/such/folder/x.svg").is_err());
    Ok(())
}

#[worker_task]
fn die_if(dies: bool) {
    if dies {
        thread::sleep(Duration::from_millis(3));
        process::exit(7);
    }
}

fn deaths_are_marked(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).insights(true).build()?;
    for dies in [false, true, false, true, false] {
        assert_eq!(die_if::apply(&pool, dies).is_err(), dies);
    }
    let events = events(&pool);
    assert_in_order(&events);
    let marks: Vec<&Value> = events.iter().filter(|event| event["ph"] == "i").collect();
    assert_eq!(marks.len(), 2, "{events:?}");
    assert!(marks.iter().all(|mark| mark["name"] == "died: exited with code 7" && mark["tid"] == 1));
    assert_eq!(events.iter().filter(|event| event["name"] == "start-up").count(), 3);
    // The task in which the worker died is there, and lasts until the death.
    let ends_there = |slice: &&&Value| {
        let end = number(&slice["ts"]) + number(&slice["dur"]);
        marks.iter().any(|mark| (number(&mark["ts"]) - end).abs() < 1.0) && number(&slice["dur"]) > 2900.0
    };
    assert_eq!(slices(&events).iter().filter(ends_there).count(), 2, "{events:#?}");
    let mut svg = Vec::new();
    pool.timeline().write_svg(&mut svg).unwrap();
    assert_eq!(String::from_utf8(svg).unwrap().matches("died: exited with code 7").count(), 2);
    Ok(())
}
