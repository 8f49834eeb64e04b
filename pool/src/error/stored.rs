//! Tests of errors that are stored and read back. Their JSON form is stable: what is written out here may not change.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::codec::Codec;
use crate::sys::errno;

fn text(text: &str) -> String {
    text.to_owned()
}

/// Every kind, with its JSON form.
fn kinds() -> Vec<(TaskErrorKind, Value)> {
    let panic = |place, backtrace| TaskErrorKind::Panicked(PanicInfo::new(text("no \x1b"), place, backtrace));
    let place = "src/main.rs:7:5";
    let chain = ReturnedError::new(text("no model"), vec![text("no file"), text("no disk")]);
    let mut kinds = vec![
        (
            panic(Some(text(place)), Some(text("0: f"))),
            json!({"panicked": {"message": "no \u{1b}", "location": place, "backtrace": "0: f"}}),
        ),
        (
            panic(None, None),
            json!({"panicked": {"message": "no \u{1b}", "location": null, "backtrace": null}}),
        ),
        (
            TaskErrorKind::TimedOut(Duration::from_millis(1500)),
            json!({"timed_out": {"secs": 1, "nanos": 500_000_000}}),
        ),
        (
            TaskErrorKind::TimedOut(Duration::MAX),
            json!({"timed_out": {"secs": u64::MAX, "nanos": 999_999_999}}),
        ),
        (
            TaskErrorKind::CpuLimitExceeded {
                used: Duration::from_millis(1001),
                limit: Duration::from_secs(1),
            },
            json!({"cpu_limit_exceeded": {
                "used": {"secs": 1, "nanos": 1_000_000}, "limit": {"secs": 1, "nanos": 0},
            }}),
        ),
        (TaskErrorKind::Encode(text("too long")), json!({"encode": "too long"})),
        (TaskErrorKind::Decode(text("too short")), json!({"decode": "too short"})),
        (
            TaskErrorKind::Failed(chain),
            json!({"failed": {"message": "no model", "sources": ["no file", "no disk"]}}),
        ),
        (TaskErrorKind::Failed("no".into()), json!({"failed": {"message": "no", "sources": []}})),
        (TaskErrorKind::Cancelled, json!("cancelled")),
    ];
    kinds.extend(
        deaths().into_iter().map(|(death, form)| (TaskErrorKind::Died(death), json!({"died": form}))),
    );
    for (kind, form) in kinds.clone() {
        kinds.push((TaskErrorKind::Init(Box::new(kind.clone())), json!({"init": form})));
        kinds.push((TaskErrorKind::Exit(Box::new(kind)), json!({"exit": form})));
    }
    kinds
}

/// Every cause of a death, with its JSON form.
fn deaths() -> Vec<(Death, Value)> {
    let form = |cause, dumped: bool, memory: bool| {
        json!({
            "cause": cause, "core_dumped": dumped, "out_of_memory": memory,
        })
    };
    let of = Death::new;
    vec![
        (of(DeathCause::Exited(3)), form(json!({"exited": 3}), false, false)),
        (
            Death { core_dumped: true, ..of(DeathCause::Signaled(11)) },
            form(json!({"signaled": {"number": 11, "name": "SIGSEGV"}}), true, false),
        ),
        (
            Death { out_of_memory: true, ..of(DeathCause::Signaled(9)) },
            form(json!({"signaled": {"number": 9, "name": "SIGKILL"}}), false, true),
        ),
        (of(DeathCause::Signaled(40)), form(json!({"signaled": {"number": 40, "name": null}}), false, false)),
        (
            of(DeathCause::MemoryLimit { limit: 1 << 20, held: u64::MAX }),
            form(json!({"memory_limit": {"limit_bytes": 1 << 20, "held_bytes": u64::MAX}}), false, true),
        ),
        (of(DeathCause::Corrupt), form(json!("corrupt"), false, false)),
        (of(DeathCause::Stuck), form(json!("stuck"), false, false)),
        (of(DeathCause::Unknown), form(json!("unknown"), false, false)),
    ]
}

/// Errors of all kinds of work, with their JSON forms.
fn errors() -> Vec<(TaskError, Value)> {
    let cancelled = || json!("cancelled");
    let bare = |work: Value, worker: Option<usize>, attempts: u32, kind: Value| {
        let worker_end = json!({"stderr_tail": null, "kill_refused": null});
        json!({
            "work": work, "worker": worker, "attempts": attempts, "argument": null, "kind": kind, "earlier": [],
            "rows": null, "label": null, "called_at": null, "worker_end": worker_end,
        })
    };
    let notes =
        EndNotes { stderr_tail: Some(text("so far\nso good")), kill_refused: Some(errno::of_number(1)) };
    let site = CallSite { at: Location::caller(), label: Some("half\n".into()) };
    let full = TaskError::new("app::halve", 2, 1, 3, Some(text("7")), TaskErrorKind::Cancelled)
        .after(vec![TaskErrorKind::Cancelled, TaskErrorKind::Encode(text("no"))])
        .on_rows(20..30)
        .called(&site)
        .with_end_notes(notes);
    let full_form = json!({
        "work": {"task": {"name": "app::halve", "index": 2}}, "worker": 1, "attempts": 3, "argument": "7",
        "kind": "cancelled", "earlier": ["cancelled", {"encode": "no"}], "rows": {"start": 20, "end": 30},
        "label": "half\n", "called_at": site.at.to_string(),
        "worker_end": {"stderr_tail": "so far\nso good", "kill_refused": 1},
    });
    let task = |index: usize| json!({"task": {"name": "app::f", "index": index}});
    let init = |function: Option<&str>| json!({"init": {"function": function, "task": "app::f"}});
    let arg = TaskError::in_arg("app::f", text("no"));
    let arg_form = json!({"arg": {"function": "app::f"}});
    let exit = |function: Option<&str>| json!({"exit": {"function": function}});
    let (in_init, in_exit) = (json!({"init": cancelled()}), json!({"exit": cancelled()}));
    let kind = || TaskErrorKind::Cancelled;
    vec![
        (full, full_form),
        (TaskError::cancelled("app::f", 7), bare(task(7), None, 0, cancelled())),
        (TaskError::on_no_worker("app::f", 0, kind()), bare(task(0), None, 1, cancelled())),
        (
            TaskError::in_init(Some("app::i"), "app::f", 4, kind()),
            bare(init(Some("app::i")), Some(4), 1, in_init.clone()),
        ),
        (TaskError::in_init(None, "app::f", 4, kind()), bare(init(None), Some(4), 1, in_init)),
        (
            TaskError::in_exit(Some("app::e"), 4, kind()),
            bare(exit(Some("app::e")), Some(4), 1, in_exit.clone()),
        ),
        (arg, bare(arg_form, None, 0, json!({"encode": "no"}))),
        (TaskError::in_exit(None, 4, kind()), bare(exit(None), Some(4), 1, in_exit)),
    ]
}

/// Asserts that a value is stored in this form, and that all codecs, and foreign ones, give it back.
#[track_caller]
fn assert_stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: &Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), *form);
    assert_eq!(serde_json::from_value::<T>(form.clone()).unwrap(), *value);
    assert_eq!(serde_json::from_str::<T>(&serde_json::to_string_pretty(value).unwrap()).unwrap(), *value);
    let bytes = rmp_serde::to_vec_named(value).unwrap();
    assert_eq!(rmp_serde::from_slice::<T>(&bytes).unwrap(), *value);
    for codec in [
        #[cfg(feature = "bincode")]
        Codec::Bincode,
        #[cfg(feature = "postcard")]
        Codec::Postcard,
        #[cfg(feature = "messagepack")]
        Codec::MessagePack,
    ] {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).unwrap();
        assert_eq!(codec.decode::<T>(&bytes).unwrap(), *value, "{codec:?}");
    }
    let shown = |value: &T| format!("{value:?}");
    assert_eq!(shown(&serde_json::from_value(form.clone()).unwrap()), shown(value));
}

#[test]
fn every_kind_has_its_stable_form() {
    for (kind, form) in kinds() {
        assert_stored(&kind, &form);
        // A kind that is added needs a row in `kinds`, and in the documentation of `TaskErrorKind`.
        match kind {
            TaskErrorKind::Panicked(_)
            | TaskErrorKind::Died(_)
            | TaskErrorKind::TimedOut(_)
            | TaskErrorKind::CpuLimitExceeded { .. }
            | TaskErrorKind::Encode(_)
            | TaskErrorKind::Decode(_)
            | TaskErrorKind::Init(_)
            | TaskErrorKind::Exit(_)
            | TaskErrorKind::Failed(_)
            | TaskErrorKind::Cancelled => {}
        }
    }
    deaths().iter().for_each(|(death, form)| assert_stored(death, form));
}

#[test]
fn every_error_has_its_stable_form() {
    for (error, form) in errors() {
        assert_stored(&error, &form);
        assert_eq!(serde_json::from_value::<TaskError>(form).unwrap().to_string(), error.to_string());
    }
    for (kind, form) in kinds() {
        let error = TaskError::new("f", 0, 0, 1, None, kind.clone()).after(vec![kind]);
        let stored = serde_json::to_value(&error).unwrap();
        assert_eq!((&stored["kind"], &stored["earlier"][0]), (&form, &form));
        assert_stored(&error, &stored);
    }
}

#[test]
fn errors_are_equal_if_all_they_tell_is() {
    let all: Vec<TaskError> = errors().into_iter().map(|(error, _)| error).collect();
    for (place, error) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|other| other == error), Some(place));
    }
    let kinds: Vec<TaskErrorKind> = kinds().into_iter().map(|(kind, _)| kind).collect();
    for (place, kind) in kinds.iter().enumerate() {
        assert_eq!(kinds.iter().position(|other| other == kind), Some(place));
    }
}

/// Adds a field to each map but those that std's types give.
fn with_more_fields(form: &Value) -> Value {
    match form {
        Value::Object(fields) => {
            let is_map = !(fields.contains_key("secs") || fields.contains_key("start") || fields.len() == 1);
            let more = is_map.then(|| (text("added_later"), json!({"a": [1, null]})));
            let fields = fields.iter().map(|(name, value)| (name.clone(), with_more_fields(value)));
            Value::Object(fields.chain(more).collect())
        }
        Value::Array(list) => list.iter().map(with_more_fields).collect(),
        other => other.clone(),
    }
}

/// Removes the fields that may be missing.
fn without_absent_fields(form: &Value) -> Value {
    match form {
        Value::Object(fields) => {
            let told = |value: &Value| !(value.is_null() || *value == json!([]) || *value == json!(false));
            let fields = fields.iter().map(|(name, value)| (name.clone(), without_absent_fields(value)));
            Value::Object(fields.filter(|(_, value)| told(value)).collect())
        }
        Value::Array(list) => list.iter().map(without_absent_fields).collect(),
        other => other.clone(),
    }
}

#[test]
fn fields_may_be_added_or_missing() {
    for (error, form) in errors() {
        for form in [with_more_fields(&form), without_absent_fields(&form)] {
            assert_eq!(serde_json::from_value::<TaskError>(form.clone()).unwrap(), error, "{form}");
        }
    }
    for (kind, form) in kinds() {
        for form in [with_more_fields(&form), without_absent_fields(&form)] {
            assert_eq!(serde_json::from_value::<TaskErrorKind>(form.clone()).unwrap(), kind, "{form}");
        }
    }
}

#[test]
fn what_is_no_error_is_refused() {
    for form in [
        json!(null),
        json!("panicked"),
        json!("melted"),
        json!({"melted": {}}),
        json!({}),
        json!({"cancelled": 1, "died": 2}),
        json!({"panicked": {}}),
        json!({"panicked": {"message": 7}}),
        json!({"died": {"cause": "exited"}}),
        json!({"died": {"cause": {"exited": 1u64 << 40}}}),
        json!({"died": {"cause": {"signaled": {"name": "SIGKILL"}}}}),
        json!({"died": {"cause": {"memory_limit": {"limit_bytes": -1, "held_bytes": 0}}}}),
        json!({"timed_out": {"secs": u64::MAX, "nanos": u32::MAX}}),
        json!({"timed_out": {"secs": 1.5, "nanos": 0}}),
        json!({"failed": {"sources": []}}),
        json!({"init": "nothing"}),
    ] {
        assert!(serde_json::from_value::<TaskErrorKind>(form.clone()).is_err(), "{form}");
    }
    for (_, form) in errors() {
        let text = form.to_string();
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(serde_json::from_str::<TaskError>(&text[..end]).is_err());
        }
        for (place, _) in text.char_indices().filter(|(_, c)| c.is_ascii()) {
            for with in ["{", "9", "\"", "-"] {
                let mut garbled = text.clone();
                garbled.replace_range(place..=place, with);
                // Some are errors, others say something else; none may panic, nor what is made of it.
                if let Ok(error) = serde_json::from_str::<TaskError>(&garbled) {
                    let _ = (error.to_string(), format!("{error:?}"), error.torn(), error.task_index());
                }
            }
        }
        let mut missing = form.clone();
        missing.as_object_mut().unwrap().remove("kind");
        assert!(serde_json::from_value::<TaskError>(missing).is_err());
    }
    let deep = format!("{}\"cancelled\"{}", "{\"init\":".repeat(100_000), "}".repeat(100_000));
    assert!(serde_json::from_str::<TaskErrorKind>(&deep).is_err());
}

#[test]
fn what_was_read_controls_no_terminal() {
    let names = json!({"name": "\u{1b}[2Jf\u{202e}", "index": 0});
    let init = json!({"function": "\u{1b}[2Ji", "task": "\u{9b}t"});
    for work in [json!({"task": names}), json!({"init": init}), json!({"exit": {"function": "\u{1b}e"}})] {
        let form = json!({
            "work": work, "attempts": 1, "kind": {"exit": "cancelled"}, "label": "\u{1b}\n[2J",
            "called_at": "\u{1b}\n.rs:1:2",
        });
        let error: TaskError = serde_json::from_value(form).unwrap();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown}");
            assert!(shown.ends_with("called as `\\u{1b}\\u{a}[2J` at \\u{1b}\\u{a}.rs:1:2"), "{shown}");
        }
    }
}

#[test]
fn a_long_chain_that_was_read_is_bounded() {
    let form = json!({"failed": {"message": "no", "sources": vec!["again"; 100_000]}});
    let kind: TaskErrorKind = serde_json::from_value(form).unwrap();
    let TaskErrorKind::Failed(error) = kind else { panic!("{kind}") };
    assert_eq!(std::iter::successors(Some(error.first()), |&error| error.source()).count(), 17);
}
