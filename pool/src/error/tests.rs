use std::sync::Arc;

use super::*;

fn error(kind: TaskErrorKind) -> TaskError {
    TaskError::new("app::convert", 2, 1, 1, Some("\"a\"".into()), kind)
}

fn printed(words: &str) -> EndNotes {
    EndNotes { stderr_tail: Some(words.into()), ..EndNotes::default() }
}

fn panicked(message: &str, place: Option<&str>, backtrace: Option<&str>) -> TaskErrorKind {
    let text = str::to_owned;
    TaskErrorKind::Panicked(PanicInfo::new(message.into(), place.map(text), backtrace.map(text)))
}

#[test]
fn debug_says_what_display_says_over_several_lines() {
    let killed = || TaskErrorKind::Died(Death::new(DeathCause::Signaled(9)));
    let backtrace = "   0: app::row\n             at ./src/main.rs:7:5\n   1: app::convert\n";
    let kind = panicked("left: 1\nright: 2", Some("src/main.rs:7:5"), Some(backtrace));
    let mut error = error(kind).after(vec![killed()]).with_end_notes(printed("so far\nso good"));
    Arc::get_mut(&mut error.0).unwrap().attempts = 2;
    assert_eq!(
        error.to_string(),
        "task 2 of `app::convert` on worker 1 panicked at src/main.rs:7:5: left: 1\nright: 2; its argument was \
         \"a\"; this was attempt 2; attempt 1 died: its worker was killed by SIGKILL (signal 9); \
         the end of its stderr:\n    so far\n    so good"
    );
    let lines = [
        "task 2 of `app::convert` on worker 1 panicked at src/main.rs:7:5: left: 1",
        "right: 2",
        "  its argument was \"a\"",
        "  this was attempt 2",
        "  attempt 1 died: its worker was killed by SIGKILL (signal 9)",
        "  the end of its stderr:",
        "    so far",
        "    so good",
        "  backtrace:",
        "     0: app::row",
        "               at ./src/main.rs:7:5",
        "     1: app::convert",
    ]
    .join("\n");
    assert_eq!(format!("{error:?}"), lines);
    assert_eq!(format!("{:?}", Error::Task(error.clone())), lines);
    assert_eq!(format!("{:#?}", Err::<(), _>(Error::Task(error))).lines().count(), lines.lines().count() + 2);
}

#[test]
fn debug_of_what_an_error_holds_shows_no_structs() {
    let info = || panicked("no", None, Some("   0: app::convert\n"));
    let with_backtrace = "panicked at an unknown place: no\n  backtrace:\n     0: app::convert";
    assert_eq!(format!("{:?}", info()), with_backtrace);
    let TaskErrorKind::Panicked(panic) = info() else { unreachable!() };
    assert_eq!((format!("{panic:?}").as_str(), panic.location()), (with_backtrace, "unknown place"));
    let init = TaskErrorKind::Init(Box::new(info()));
    assert_eq!(format!("{init:?}"), format!("has no worker state: init failed: {with_backtrace}"));
    let death = Death::new(DeathCause::Exited(3));
    assert_eq!(format!("{death:?}"), death.to_string());
    let option = Error::option("workers", 0, "a pool has at least 1 worker");
    for error in
        [option, Error::Cancelled, Error::NotReady(Duration::from_millis(3)), Error::start("it", "no")]
    {
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}

#[test]
fn init_and_exit_failures_name_the_function_and_claim_no_item() {
    let killed = || TaskErrorKind::Died(Death::new(DeathCause::Signaled(9)));
    let cause = "died: its worker was killed by SIGKILL (signal 9)";
    let task = "init of worker 3 for task `app::predict` failed:";
    for (error, name, text) in [
        (
            TaskError::in_init(Some("app::load"), "app::predict", 3, killed()),
            "app::load",
            format!("{task} `app::load` {cause}"),
        ),
        (
            TaskError::in_init(None, "app::predict", 3, killed()),
            "app::predict",
            format!("{task} the state's `Default` {cause}"),
        ),
        (
            TaskError::in_exit(Some("app::count"), 3, killed()),
            "app::count",
            format!("exit of worker 3 failed: `app::count` {cause}"),
        ),
        (
            TaskError::in_exit(None, 3, killed()),
            "",
            format!("exit of worker 3 failed: the worker's end {cause}"),
        ),
    ] {
        assert_eq!((error.to_string(), format!("{error:?}")), (text.clone(), text));
        assert_eq!((error.task_name(), error.task_index(), error.worker_id()), (name, usize::MAX, 3));
        assert!(matches!(error.kind(), TaskErrorKind::Init(_) | TaskErrorKind::Exit(_)));
    }
}

#[test]
fn a_cancelled_task_claims_no_worker() {
    let error = TaskError::cancelled("app::halve", 2).on_rows(20..30);
    assert_eq!(error.to_string(), "task 2 of `app::halve` was cancelled; it left elements 20 to 30 torn");
    assert_eq!((error.worker_id(), error.attempts(), error.torn()), (usize::MAX, 0, Some(20..30)));
}

#[test]
fn what_a_worker_says_controls_no_terminal() {
    let says = "\x1b[2Jfine\r\u{9b}K\n\tok";
    for kind in [
        panicked(says, Some("\x1b]0;src/main.rs:7:5\x07"), Some("   0: \x1bapp\n")),
        TaskErrorKind::Failed(says.into()),
        TaskErrorKind::Decode(says.into()),
        TaskErrorKind::Encode(says.into()),
        TaskErrorKind::Init(Box::new(TaskErrorKind::Failed(says.into()))),
    ] {
        let error = TaskError::new("f", 0, 0, 1, Some(says.into()), kind.clone());
        let error = error.after(vec![kind]).with_end_notes(printed(&format!("{says}\n{says}")));
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')), "{text:?}");
            assert!(text.contains("\\u{1b}[2Jfine\\u{d}\\u{9b}K\n") && text.contains("\tok"), "{text}");
        }
    }
    for error in [Error::start("it", says), Error::Shared(says.into()), Error::Concatenate(says.into())] {
        assert!(error.to_string().contains("\\u{1b}[2Jfine"), "{error}");
    }
}
