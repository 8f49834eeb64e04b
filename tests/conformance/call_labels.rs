//! What shows calls has their labels, and where they were made.

use pool::{Error, StartMethod, WorkerPool, worker_task};
use serde_json::Value;

use super::call_sites::fails;
use crate::harness::cases;
use crate::support::{builder, square};
use crate::terminal::{lines, screen};

cases! {
    All: bars_have_labels, bars_of_inner_calls, insights_and_timelines;
}

fn bars_have_labels(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for (label, prefix) in [
        ("thumbnails".to_owned(), "thumbnails: 100% "),
        ("a\n\x1b[2Jb".to_owned(), "a\\u{a}\\u{1b}[2Jb: 100% "),
        ("0123456789".repeat(100_000), "012345678901234567890123...: 100% "),
        (String::new(), "100% "),
    ] {
        for shown in [
            screen(|| _ = square::job(&pool).label(&*label).progress_bar(true).map(0..99).unwrap()),
            screen(|| _ = square::job(&pool).progress_bar(true).label(&*label).imap(0..99).count()),
            screen(|| {
                _ = square::job(&pool).label(&*label).progress_bar(true).map_async(0..99).get().unwrap();
            }),
        ] {
            assert!(shown.starts_with(prefix) && shown.trim_end().ends_with("] done"), "{shown}");
            assert_eq!(lines(shown.trim_end()).len(), 1, "{shown}");
        }
    }
    Ok(())
}

/// Leaves the line of an inner call, which fails.
#[worker_task]
fn shows_inside(label: &str) {
    let pool = WorkerPool::builder().workers(1).start_method(StartMethod::Threads).build().unwrap();
    fails::job(&pool).label(label).progress_bar(true).map(0..3).unwrap_err();
}

fn bars_of_inner_calls(method: StartMethod) -> Result<(), Error> {
    for (label, prefix) in [
        ("thumbnails", "worker 0: thumbnails: "),
        ("a\n\x1b[2J语言语言", "worker 0: a\\u{a}\\u{1b}[2J语言语言: "),
        ("", "worker 0:  "),
    ] {
        let shown = screen(|| {
            let pool = builder(method).workers(1).daemon(false).build().unwrap();
            shows_inside::apply(&pool, label).unwrap();
        });
        assert!(shown.starts_with(prefix) && shown.trim_end().ends_with("] failed"), "{shown}");
    }
    Ok(())
}

#[rustfmt::skip]
fn insights_and_timelines(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).insights(true).build()?;
    let label = "a <b> \"c\"\n\x1b";
    let shown = "a <b> \"c\"\\u{a}\\u{1b}";
    let (line, result) = (line!(), square::job(&pool).label(label).map(0..9));
    result?;
    let (next, result) = (line!(), square::job(&pool).label("語".repeat(1 << 20)).apply_async(1).get());
    result?;
    let (last, result) = (line!(), square::par_map(&pool, 0..9));
    result?;
    let at = |line: u32| format!("{}:{line}:", file!());
    let told = pool.insights();
    assert!(!told.slowest.is_empty());
    for slow in &told.slowest {
        let (called_at, label) = (slow.called_at.as_deref().unwrap(), slow.label.as_deref());
        assert!([line, next, last].iter().any(|line| called_at.starts_with(&at(*line))), "{told}");
        assert!(label.is_none_or(|label| label == shown || label == format!("{}...", "語".repeat(80))), "{told}");
        assert_eq!(label.is_none(), called_at.starts_with(&at(last)), "{told}");
        assert!(told.to_string().contains(&format!(" at {called_at}")), "{told}");
    }
    let stored = serde_json::to_value(&told).unwrap();
    assert_eq!(serde_json::from_value::<pool::Insights>(stored).unwrap(), told);

    let mut trace = Vec::new();
    pool.timeline().write_trace(&mut trace).unwrap();
    let trace: Value = serde_json::from_slice(&trace).unwrap();
    let calls: Vec<&Value> = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "b").collect();
    let names = [shown, &format!("{}...", "語".repeat(80)), "square"];
    assert_eq!(calls.iter().map(|call| call["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    for (call, line) in calls.iter().zip([line, next, last]) {
        let args = &call["args"];
        assert!(args["task"].as_str().unwrap().ends_with("::square"), "{call}");
        assert!(args["called_at"].as_str().unwrap().starts_with(&at(line)), "{call}");
    }
    let mut picture = Vec::new();
    pool.timeline().write_svg(&mut picture).unwrap();
    let picture = String::from_utf8(picture).unwrap();
    let called = format!("square, called as `{}` at {}", shown.replace('<', "&lt;").replace('>', "&gt;"), at(line));
    assert!(picture.contains(&called) && !picture.contains('\x1b') && picture.len() < 1 << 20, "{picture}");
    assert!(picture.contains(&format!("square, called at {}", at(last))), "{picture}");
    Ok(())
}
