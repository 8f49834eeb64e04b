//! A worker that forges the replies of a `reduce`: values for more tasks than it has or for none, values in parts,
//! reports of lost folds. It is killed; the task that forged them fails, and all others count exactly once.

use std::time::Duration;

use pool::shared::SharedCounter;
use pool::{Error, Job, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

use crate::forged::Forger;
use crate::harness::cases;
use crate::support::{assert_usable, builder, task_error};

cases! {
    Processes: for_no_tasks, for_too_many_tasks, for_tasks_that_are_done, in_wrong_parts, longer_than_the_lane,
               lost_with_too_many_tasks, of_other_kinds, in_a_call_without_folds, after_the_end, garbage_as_a_value,
               more_than_was_done;
}

// As in `pool::lane`.
const LARGE_VALUE: u8 = 2;
const DONE: u8 = 4;
const PART: u8 = 5;
const EXIT_VALUE: u8 = 6;
const ANNOUNCED: u8 = 11;
const FOLDED: u8 = 12;
const LARGE_FOLDED: u8 = 13;
const FOLD_FAILED: u8 = 14;
const PART_BYTES: usize = (1 << 20) + (4 << 10);

const TASKS: u64 = 12;

/// A reply. A part has this length, and is filled where it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    tag: u8,
    payload: Vec<u8>,
    part: usize,
    /// The length that it claims to have, if it has not.
    claims: Option<u32>,
}

fn record(tag: u8, payload: &[u8]) -> Record {
    Record { tag, payload: payload.into(), part: 0, claims: None }
}

/// The number of tasks, and what follows.
fn with_count(tag: u8, tasks: u32, rest: &[u8]) -> Record {
    record(tag, &[&tasks.to_le_bytes(), rest].concat())
}

/// `forged;`, as a result is encoded.
fn folded(tasks: u32) -> Record {
    with_count(FOLDED, tasks, &[&7_u64.to_le_bytes()[..], b"forged;"].concat())
}

/// The report of a task that has failed with an empty text.
fn lost(tasks: u32) -> Record {
    with_count(FOLD_FAILED, tasks, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn parts(announced: usize, sent: usize) -> Vec<Record> {
    let part = |at| Record { part: PART_BYTES.min(sent - at), ..record(PART, &[]) };
    let announced = record(ANNOUNCED, &(announced as u64).to_le_bytes());
    std::iter::once(announced).chain((0..sent).step_by(PART_BYTES).map(part)).collect()
}

#[worker_task]
fn join(a: String, b: String) -> String {
    [a, b].concat()
}

/// Names its number. The first attempt at task 0 sends these records, and then does nothing or dies.
#[worker_task]
fn forge(#[shared] attempts: &SharedCounter, records: Vec<Record>, dies: bool, x: u64) -> String {
    if x == 0 && attempts.fetch_add(1) == 0 {
        // The worker has reported that it is up.
        let mut forger = Forger::after(1);
        for Record { tag, mut payload, part, claims } in records {
            if let Some(len) = claims {
                forger.claim(tag, len);
            }
            payload.resize(payload.len() + part, 7);
            forger.send(tag, &payload);
        }
        if dies {
            std::process::abort();
        }
        loop {
            std::thread::park();
        }
    }
    format!("{x};")
}

fn items(records: &[Record], dies: bool) -> impl Iterator<Item = (Vec<Record>, bool, u64)> {
    (0..TASKS).map(move |x| (if x == 0 { records.to_vec() } else { Vec::new() }, dies, x))
}

/// What tasks from this one on give.
fn named(from: u64) -> String {
    (from..TASKS).map(|x| format!("{x};")).collect()
}

/// A pool of one worker, which has sent nothing yet, for one call.
struct Forgery {
    pool: WorkerPool<SharedCounter>,
    attempts: SharedCounter,
}

impl Forgery {
    fn new(method: StartMethod) -> Result<Self, Error> {
        let attempts = SharedCounter::new(0)?;
        Ok(Self { pool: builder(method).workers(1).shared(attempts.clone()).build()?, attempts })
    }

    /// All tasks as one chunk.
    fn job(&self) -> Job<'_, forge, SharedCounter> {
        self.attempts.set(0);
        // If nothing else ends it, the limit does.
        forge::job(&self.pool).chunk_size(TASKS as usize).task_timeout(Duration::from_secs(10))
    }

    /// Task 0 sends the records and dies. Each of the others counts once.
    fn reduce(&self, records: &[Record]) -> Result<Option<String>, Error> {
        self.job().reduce::<join>(items(records, true))
    }
}

fn assert_killed(error: &TaskError) {
    let TaskErrorKind::Died(death) = error.kind() else { panic!("{error}") };
    assert!(death.to_string().contains("wrote over its lane"), "{death}");
    assert_eq!(error.task_index(), 0);
}

/// The worker is killed for any of these. The task that it is in fails, or runs again.
fn are_refused(method: StartMethod, forged: &[Vec<Record>]) -> Result<(), Error> {
    for records in forged {
        let forgery = Forgery::new(method)?;
        assert_killed(&task_error(forgery.job().reduce::<join>(items(records, false))));
        // The worker that has taken its place is as new.
        assert_eq!(forgery.job().retries(1).reduce::<join>(items(records, false))?, Some(named(0)));
        assert_usable(&forgery.pool);
    }
    Ok(())
}

fn for_no_tasks(method: StartMethod) -> Result<(), Error> {
    are_refused(method, &[vec![folded(0)], vec![record(FOLDED, &[])], vec![record(FOLDED, &[1, 0, 0])]])
}

fn for_too_many_tasks(method: StartMethod) -> Result<(), Error> {
    are_refused(method, &[TASKS as u32 + 1, 1 << 31, u32::MAX].map(|tasks| vec![folded(tasks)]))
}

fn in_wrong_parts(method: StartMethod) -> Result<(), Error> {
    let len = 2 * PART_BYTES + 10;
    let parts_and = |sent, last| [parts(len, sent), vec![last]].concat();
    are_refused(
        method,
        &[
            vec![with_count(LARGE_FOLDED, 1, &[])],
            parts_and(PART_BYTES, with_count(LARGE_FOLDED, 1, &[])),
            parts_and(len, with_count(LARGE_FOLDED, 0, &[])),
            parts_and(len, with_count(LARGE_FOLDED, TASKS as u32 + 1, &[])),
            parts_and(len, record(LARGE_FOLDED, &[1])),
        ],
    )
}

fn longer_than_the_lane(method: StartMethod) -> Result<(), Error> {
    let of_length =
        |tag| [4 << 20, 1 << 31, u32::MAX].map(|len| Record { claims: Some(len), ..record(tag, &[]) });
    let records = [FOLDED, LARGE_FOLDED, FOLD_FAILED].map(of_length).into_iter().flatten();
    are_refused(method, &records.map(|record| vec![record]).collect::<Vec<_>>())
}

fn lost_with_too_many_tasks(method: StartMethod) -> Result<(), Error> {
    let unreadable = [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 9, 0, 0, 0]];
    let lost = [TASKS as u32, 1 << 31, u32::MAX].map(lost);
    let records = lost.into_iter().chain(unreadable.map(|report| record(FOLD_FAILED, report)));
    are_refused(method, &records.map(|record| vec![record]).collect::<Vec<_>>())
}

fn of_other_kinds(method: StartMethod) -> Result<(), Error> {
    let large = [parts(2 * PART_BYTES, 2 * PART_BYTES), vec![record(LARGE_VALUE, &[])]].concat();
    are_refused(method, &[large, vec![record(DONE, &[])], vec![record(EXIT_VALUE, &[0; 12])]])
}

fn in_a_call_without_folds(method: StartMethod) -> Result<(), Error> {
    let large = [parts(2 * PART_BYTES, 2 * PART_BYTES), vec![with_count(LARGE_FOLDED, 1, &[])]].concat();
    for records in [vec![folded(1)], vec![folded(0)], vec![lost(0)], vec![lost(1)], large] {
        let outcomes = Forgery::new(method)?.job().map_outcomes(items(&records, false))?;
        assert_killed(outcomes[0].as_ref().unwrap_err());
        assert!(
            outcomes[1..].iter().zip(1..).all(|(outcome, x)| outcome.as_ref().unwrap() == &format!("{x};"))
        );
        let results = Forgery::new(method)?.job().retries(1).map(items(&records, false))?;
        assert_eq!(results.concat(), named(0));
    }
    Ok(())
}

/// A worker may lie about the tasks that it has. Then these count as it says, and all others as they are.
fn more_than_was_done(method: StartMethod) -> Result<(), Error> {
    for (records, value) in [
        (vec![folded(5)], format!("forged;{}", named(5))),
        (vec![folded(5), folded(5)], format!("forged;forged;{}", named(10))),
        (vec![folded(TASKS as u32)], "forged;".into()),
    ] {
        assert_eq!(Forgery::new(method)?.reduce(&records)?, Some(value));
    }
    let error = task_error(Forgery::new(method)?.reduce(&[lost(3)]));
    assert!(matches!(error.kind(), TaskErrorKind::Failed(why) if why.is_empty()), "{error}");
    assert_eq!(error.task_index(), 3);
    Ok(())
}

fn for_tasks_that_are_done(method: StartMethod) -> Result<(), Error> {
    let records = [folded(5), folded(5), folded(5)];
    assert_eq!(Forgery::new(method)?.reduce(&records)?, Some(format!("forged;forged;{}", named(10))));
    Ok(())
}

/// Nothing is expected from the worker any more.
fn after_the_end(method: StartMethod) -> Result<(), Error> {
    for record in [folded(1), lost(0), record(FOLDED, &[])] {
        let forgery = Forgery::new(method)?;
        assert_eq!(forgery.reduce(&[folded(TASKS as u32), record])?, Some("forged;".into()));
        assert_usable(&forgery.pool);
    }
    Ok(())
}

/// A value that is none is a failure where it is decoded: in the caller, or in the worker that folds it further.
fn garbage_as_a_value(method: StartMethod) -> Result<(), Error> {
    for garbage in [&[][..], &[0xff; 9], &[0xff; 100]] {
        for tasks in [1, TASKS as u32] {
            let forgery = Forgery::new(method)?;
            let error = task_error(forgery.reduce(&[with_count(FOLDED, tasks, garbage)]));
            assert!(matches!(error.kind(), TaskErrorKind::Decode(_)), "{error}");
            assert_eq!(error.task_index(), 0);
            assert_usable(&forgery.pool);
        }
    }
    Ok(())
}
