//! The loop of a chunk whose results are folded into one value. The parent gets that value instead of the results, as
//! the answer to all of their tasks at once.
//!
//! A task counts as answered only with the value that holds its result. So each result counts exactly once: if the
//! worker dies, or if the reducing function loses the value in a panic, the parent takes none of these tasks for done,
//! and runs again all but the one that failed.

use std::any::Any;
use std::marker::PhantomData;

use super::constant::Lender;
use super::glue::{Reducer, RunChunk, TaskEnv};
use super::panics;
use super::{claim_for, panicked, refuse, reply_failed, run_chunk, tell_slow};
use crate::codec::{Codec, ItemWriter, encode_record};
use crate::lane::{Responder, reply};
use crate::observe::stopwatch::Stopwatch;
use crate::task::arg::{Arg, NoArg};
use crate::task::fold::EncodedValues;
use crate::task::seed::Seeded;
use crate::task::{
    ByDefault, Entry, HasArg, NoExit, Output, Pair, Registered, Task, TaskContext, WorkerId, shared_of,
};
use crate::wire::{ChunkHead, Failure, FoldFailure, Items};

/// A value is handed over at the first chance after this time, even within a chunk: a death costs no more work. As long
/// as a whole chunk should take, so that a chunk usually gives one value.
const MOST_HELD_NS: u64 = 50_000_000;

/// Runs a chunk of tasks and folds their results.
pub(super) fn results<T: Task>(
    env: TaskEnv<'_>,
    head: ChunkHead,
    items: Items<'_>,
    reducer: &(dyn Any + Send + Sync),
    lane: &mut Responder<'_>,
) {
    let TaskEnv { id, codec, shared: given, state, constant, memory, watch, log } = env;
    let (Some(shared), Some(state)) = (shared_of::<T::Shared>(&**given), state.downcast_mut::<T::State>())
    else {
        return refuse(head.count, lane, "the worker has no shared value or state of the task's type");
    };
    let mut lender = Lender::<T>::new(constant);
    let run = |item: &[u8], place: u32, watch: Option<&mut Stopwatch>, lane: &mut Responder<'_>| {
        let arg = lender.lend(codec, lane)?;
        let cx = TaskContext::<T> { worker_id: id, shared, state: &mut *state, arg };
        let called = T::decode(codec, item, |item| {
            lane.note_decoded();
            T::call(cx, item)
        });
        let output = called.map_err(Failure::Decode)?.map_err(Failure::returned)?;
        if let Some(took_ns) = watch.and_then(Stopwatch::end) {
            tell_slow::<T>(codec, item, took_ns, place, lane);
        }
        Ok(output)
    };
    let mut none = ();
    let env = TaskEnv { id, codec, shared: given, state: &mut none, constant: None, memory, watch, log };
    fold(env, head, items, reducer, lane, run);
}

fn fold<R: Output>(
    env: TaskEnv<'_>,
    head: ChunkHead,
    mut items: Items<'_>,
    reducer: &(dyn Any + Send + Sync),
    lane: &mut Responder<'_>,
    mut run: impl FnMut(&[u8], u32, Option<&mut Stopwatch>, &mut Responder<'_>) -> Result<R, Failure>,
) {
    let TaskEnv { id, codec, shared, memory, watch, log, .. } = env;
    let Some(Reducer(Some(reduce))) = reducer.downcast_ref::<Reducer<R>>() else {
        return refuse(head.count, lane, "the reducing function takes no results of this task");
    };
    let mut watch = head.flags.watched.then_some(watch);
    let seeded = Seeded::new(head.flags.seed);
    memory.note_start(lane);
    let mut fold = Fold { value: None, tasks: 0, since: lane.clock_ns() };
    let mut left = head.count;
    let most = if head.flags.claim == 0 { u32::MAX } else { u32::from(head.flags.claim) };
    let mut claim = 1;
    while left > 0 {
        let claimed = claim.min(left);
        if lane.is_closed() || !lane.claim(claimed) {
            break;
        }
        let mut done = 0;
        while done < claimed {
            let index = |done| head.first + u64::from(head.count - left + done);
            if let Some(watch) = &mut watch {
                watch.begin(head.task, index(done));
            }
            let ran = panics::catch(|| {
                while done < claimed {
                    if head.flags.timed {
                        lane.stamp();
                    }
                    lane.start_unit();
                    log.set_task(index(done));
                    seeded.is_at(index(done));
                    done += 1;
                    let item = items.next().ok_or_else(|| Failure::Decode(SHORT.into()))?;
                    let output = run(item, fold.tasks, watch.as_deref_mut(), lane)?;
                    fold.add(output, |one, other| reduce(id, shared, one, other))
                        .map_err(|failure| *failure)?;
                    lane.finish_unit();
                }
                Ok(())
            });
            if let Err(failure) = ran.unwrap_or_else(|panic| Err(panicked(panic, lane))) {
                if let Some(watch) = &mut watch {
                    watch.lap();
                }
                fold.fail(failure, codec, lane);
                lane.finish_unit();
                lane.notify();
            }
        }
        left -= claimed;
        if let Some(watch) = &mut watch {
            watch.pause();
        }
        lane.count(claimed);
        if lane.clock_ns().saturating_sub(fold.since) >= MOST_HELD_NS {
            fold.hand_over(codec, lane);
        }
        memory.look(lane);
        claim = claim_for(lane.pace_ns(), most.min(claimed * 2));
    }
    fold.hand_over(codec, lane);
    log.clear_task();
    lane.skip(left);
}

const SHORT: &str = "the chunk is shorter than its count";

/// Results that are not handed over yet.
struct Fold<R> {
    /// Them all, folded. Taken while the reducing function or the codec works on it.
    value: Option<R>,
    /// How many tasks it stands for.
    tasks: u32,
    /// When the first of them began, or a moment before.
    since: u64,
}

impl<R: Output> Fold<R> {
    #[inline]
    fn add<E>(&mut self, output: R, reduce: impl FnOnce(R, R) -> Result<R, E>) -> Result<(), E> {
        let value = match self.value.take() {
            Some(value) => reduce(value, output)?,
            None => output,
        };
        self.value = Some(value);
        self.tasks += 1;
        Ok(())
    }

    /// Sends the value, as the answer to all of its tasks. If it can't be encoded, its last task fails.
    fn hand_over(&mut self, codec: Codec, lane: &mut Responder<'_>) {
        let Some(value) = self.value.take() else { return };
        let tasks = std::mem::take(&mut self.tasks);
        self.since = lane.clock_ns();
        // The closure drops the value before the parent can see its bytes: if the drop panics, nothing is sent.
        let sent = panics::catch(|| lane.folded(tasks, move |out| value.encode(codec, out)));
        match sent {
            Ok(Ok(())) => lane.notify_if_awaited(),
            Ok(Err(why)) => fail_fold(tasks - 1, Failure::Encode(why), lane),
            Err(panic) => fail_fold(tasks - 1, panicked(panic, lane), lane),
        }
    }

    /// Reports that the task after those of the fold has failed. A failure of the reducing function has taken the value
    /// with it.
    fn fail(&mut self, failure: Failure, codec: Codec, lane: &mut Responder<'_>) {
        self.hand_over(codec, lane);
        match std::mem::take(&mut self.tasks) {
            0 => reply_failed(failure, reply::FAILED, lane),
            lost => fail_fold(lost, failure, lane),
        }
    }
}

/// Reports that a task has failed, and that the `tasks` before it have to run again.
fn fail_fold(tasks: u32, failure: Failure, lane: &mut Responder<'_>) {
    let mut failure = failure.cut();
    if !lane.takes(failure.longest()) {
        failure = failure.cut_short();
    }
    let report = FoldFailure { tasks, failure };
    let sent = lane.reply(reply::FOLD_FAILED, reply::FOLD_FAILED, |out| encode_record(&report, out));
    debug_assert!(sent.is_ok());
    lane.notify();
}

/// How the task reduces, if it is a function of two of its own results.
pub(super) struct Reduces<T>(PhantomData<T>);

impl<T: Task> Reduces<T> {
    pub(super) const REDUCER: &'static (dyn Any + Send + Sync) = &Reducer::<T::Output>(match T::PAIR {
        Some(_) => Some(|id, shared, one, other| {
            let shared = shared_of(&**shared).expect("the worker has the value that the pool shares");
            reduce::<T>(id, shared, one, other).map_err(|error| Box::new(Failure::returned(error)))
        }),
        None => None,
    });
    pub(super) const FOLD_VALUES: RunChunk = match T::PAIR {
        Some(_) => run_chunk::<FoldValues<T>>,
        None => |_, head, _, lane| refuse(head.count, lane, "the task is no function of two of its results"),
    };
}

fn reduce<T: Task>(
    worker_id: WorkerId,
    shared: &T::Shared,
    one: T::Output,
    other: T::Output,
) -> Result<T::Output, T::Failure> {
    let pair = T::PAIR.expect("a task that reduces makes its item of two results");
    let state = &mut () as &mut dyn Any;
    let state = state.downcast_mut().expect("a task that reduces has no state");
    let arg = T::Arg::NONE.expect("a task that reduces takes no constant").lend();
    T::call(TaskContext { worker_id, shared, state, arg }, pair(one, other))
}

/// The task that folds values into one: results of other tasks, or of folds. Its entry in the registry is that of the
/// reducing task.
struct FoldValues<T>(PhantomData<T>);

impl<T: Task> Registered for FoldValues<T> {
    fn entry() -> Option<&'static Entry> {
        T::entry()
    }
}

impl<T> HasArg for FoldValues<T> {
    type Arg = NoArg;
}

impl<T: Task> Task for FoldValues<T> {
    type Item<'a> = Vec<T::Output>;
    type Output = T::Output;
    type Failure = T::Failure;
    type State = ();
    type Shared = T::Shared;
    type Init = ByDefault;
    type Exit = NoExit;
    const DEFAULT_STATE: Option<fn()> = None;
    const DEBUG_ITEM: Option<fn(&Self::Item<'_>) -> String> = None;
    const PAIR: Option<Pair<Self>> = None;

    fn encode(_: Codec, _: &Self::Item<'_>, _: &mut impl ItemWriter) -> Result<(), String> {
        unreachable!("the parent has only encoded values")
    }

    fn decode<R>(codec: Codec, bytes: &[u8], then: impl FnOnce(Self::Item<'_>) -> R) -> Result<R, String> {
        EncodedValues(bytes).map(|value| T::Output::decode(codec, value?)).collect::<Result<_, _>>().map(then)
    }

    fn call(cx: TaskContext<'_, Self>, values: Self::Item<'_>) -> Result<T::Output, T::Failure> {
        let TaskContext { worker_id, shared, .. } = cx;
        let mut values = values.into_iter();
        let first = values.next().expect("the parent sends at least one value");
        values.try_fold(first, |one, other| reduce::<T>(worker_id, shared, one, other))
    }
}
