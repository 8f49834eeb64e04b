//! The glue between orders and user functions: one monomorphic loop for each task function, behind a function pointer
//! that is called once per chunk.

pub(crate) mod constant;
mod fold;
pub(crate) mod glue;
pub(crate) mod memory;
pub(crate) mod panics;

use std::any::{Any, TypeId};

use crate::codec::{Codec, encode_record};
use crate::lane::{Responder, reply};
use crate::observe::stopwatch::Stopwatch;
use crate::task::arg::Arg;
use crate::task::seed::Seeded;
use crate::task::{
    ExitContext, InitContext, Output, Task, TaskContext, WorkerExit, WorkerId, WorkerInit, shared_of, show,
};
use crate::wire::{ChunkHead, Failure, Items, Slow};
use constant::Lender;
use glue::{ExitGlue, InitGlue, SharedAny, TaskEnv, TaskGlue};
use panics::Caught;

/// How long the tasks of one claim should take together. The parent cannot recall claimed tasks, so a claim is short;
/// but it covers many tasks that take nanoseconds, so that they share the cost of claiming.
const CLAIM_NS: u64 = 12_500;

/// The glue of a task.
pub(super) const fn task_glue<T: Task>() -> TaskGlue {
    TaskGlue {
        run: run_chunk::<T>,
        fold_results: fold::results::<T>,
        fold_values: fold::Reduces::<T>::FOLD_VALUES,
        reducer: fold::Reduces::<T>::REDUCER,
        default_state: || T::DEFAULT_STATE.map(|make| Box::new(make()) as Box<dyn Any>),
    }
}

fn run_chunk<T: Task>(env: TaskEnv<'_>, head: ChunkHead, mut items: Items<'_>, lane: &mut Responder<'_>) {
    let TaskEnv { id, codec, shared, state, constant, memory, watch, log } = env;
    let mut watch = head.flags.watched.then_some(watch);
    let (Some(shared), Some(state)) = (shared_of::<T::Shared>(&**shared), state.downcast_mut::<T::State>())
    else {
        return refuse(head.count, lane, "the worker has no shared value or state of the task's type");
    };
    let seeded = Seeded::new(head.flags.seed);
    let mut lender = Lender::<T>::new(constant);
    memory.note_start(lane);
    let mut left = head.count;
    let most = if head.flags.claim == 0 { u32::MAX } else { u32::from(head.flags.claim) };
    let mut claim = 1;
    while left > 0 {
        let claimed = claim.min(left);
        if lane.is_closed() || !lane.claim(claimed) {
            log.clear_task();
            return lane.skip(left);
        }
        let mut done = 0;
        while done < claimed {
            let index = |done| head.first + u64::from(head.count - left + done);
            if let Some(watch) = &mut watch {
                watch.begin(head.task, index(done));
            }
            // A panic leaves the inner loop with the task that panicked unanswered; it is answered below, and the loop
            // goes on.
            let run = panics::catch(|| {
                while done < claimed {
                    if head.flags.timed {
                        lane.stamp();
                    }
                    lane.start_unit();
                    log.set_task(index(done));
                    seeded.is_at(index(done));
                    done += 1;
                    match lender.lend(codec, lane) {
                        Ok(arg) => {
                            let cx = TaskContext::<T> { worker_id: id, shared, state: &mut *state, arg };
                            run_task(cx, codec, items.next(), watch.as_deref_mut(), lane);
                        }
                        Err(failure) => {
                            watch.as_mut().map(|watch| watch.lap());
                            reply_failed(failure, reply::FAILED, lane);
                            lane.notify();
                        }
                    }
                    lane.finish_unit();
                }
            });
            if let Err(panic) = run {
                watch.as_mut().map(|watch| watch.lap());
                reply_failed(panicked(panic, lane), reply::FAILED, lane);
                lane.finish_unit();
                lane.notify();
            }
        }
        left -= claimed;
        if let Some(watch) = &mut watch {
            watch.pause();
        }
        // Before the parent is woken: it reads the pace with the results.
        lane.count(claimed);
        lane.notify_if_awaited();
        memory.look(lane);
        claim = claim_for(lane.pace_ns(), most.min(claimed * 2));
    }
    log.clear_task();
}

/// How many tasks the next claim takes.
fn claim_for(pace_ns: u64, at_most: u32) -> u32 {
    u32::try_from(CLAIM_NS / pace_ns.max(1)).unwrap_or(u32::MAX).clamp(1, at_most.max(1))
}

#[inline]
fn run_task<T: Task>(
    cx: TaskContext<'_, T>,
    codec: Codec,
    item: Option<&[u8]>,
    watch: Option<&mut Stopwatch>,
    lane: &mut Responder<'_>,
) {
    let Some(bytes) = item else {
        return reply_failed(
            Failure::Decode("the chunk is shorter than its count".into()),
            reply::FAILED,
            lane,
        );
    };
    let called = T::decode(codec, bytes, |item| {
        lane.note_decoded();
        T::call(cx, item)
    });
    let failure = match called {
        Ok(Ok(output)) => {
            if let Some(took_ns) = watch.and_then(Stopwatch::end) {
                // Before the answer: after it the parent may overwrite the argument.
                tell_slow::<T>(codec, bytes, took_ns, 0, lane);
            }
            if let Some(bytes) = output.plain(codec) {
                return lane.push(bytes);
            }
            // The closure drops the output before the parent can see its bytes: if the drop panics, the task still has
            // only one answer.
            let Err(why) = lane.value(move |out| output.encode(codec, out)) else { return };
            Failure::Encode(why)
        }
        Ok(Err(error)) => {
            watch.map(Stopwatch::lap);
            Failure::returned(error)
        }
        Err(why) => {
            watch.map(Stopwatch::lap);
            Failure::Decode(why)
        }
    };
    reply_failed(failure, reply::FAILED, lane);
    lane.notify();
}

/// Reports that a task was slow: the one whose answer comes next, or the one at this place among those that the next
/// value will answer.
#[cold]
fn tell_slow<T: Task>(codec: Codec, item: &[u8], took_ns: u64, place: u32, lane: &mut Responder<'_>) {
    let slow = Slow { took_ns, place, argument: show::<T>(codec, item) };
    let sent = lane.reply(reply::SLOW, reply::SLOW, |out| encode_record(&slow, out));
    debug_assert!(sent.is_ok());
}

/// Answers every task of a chunk that cannot run.
pub(crate) fn refuse(count: u32, lane: &mut Responder<'_>, why: &str) {
    if !lane.claim(count) {
        return lane.skip(count);
    }
    for _ in 0..count {
        reply_failed(Failure::of(why), reply::FAILED, lane);
        lane.finish_unit();
    }
    lane.notify();
}

/// Sends a failure. Failures travel as records, which do not depend on the call's codec.
pub(crate) fn reply_failed(failure: Failure, tag: u8, lane: &mut Responder<'_>) {
    let mut failure = failure.cut();
    if !lane.takes(failure.longest()) {
        failure = failure.cut_short();
    }
    let sent = lane.reply(tag, tag, |out| encode_record(&failure, out));
    debug_assert!(sent.is_ok());
}

/// Describes a panic. Looking up its backtrace is not user code and does not count against the task's time limit.
pub(crate) fn panicked(panic: Caught, lane: &Responder<'_>) -> Failure {
    lane.note_panicked();
    Failure::Panicked(panic.describe())
}

/// The glue of an init function.
pub(super) const fn init_glue<I: WorkerInit>() -> InitGlue {
    InitGlue {
        run: |worker_id, codec, shared, constant| {
            let shared = shared_of(&**shared)
                .ok_or_else(|| Failure::of("the worker has no shared value of the init's type"))?;
            let arg = I::Arg::only().map_or_else(|| I::decode_arg(codec, constant), Ok);
            let arg = arg.map_err(|why| Failure::Decode(format!("the value of its `#[arg]`: {why}")))?;
            Ok(Box::new(I::call(InitContext { worker_id, shared, arg })?) as Box<dyn Any>)
        },
    }
}

/// The glue of an exit function.
pub(super) const fn exit_glue<E: WorkerExit>() -> ExitGlue {
    ExitGlue { run: run_exit::<E> }
}

fn run_exit<E: WorkerExit>(
    worker_id: WorkerId,
    codec: Codec,
    shared: &SharedAny,
    state: Box<dyn Any>,
) -> Result<Vec<u8>, Failure> {
    let wrong = |what: &str| Failure::of(format!("the worker has no {what} of the exit function's type"));
    let shared = shared_of(&**shared).ok_or_else(|| wrong("shared value"))?;
    // An exit function without `#[state]` fits any task; the worker's state is dropped here.
    let state: Box<dyn Any> =
        if TypeId::of::<E::State>() == TypeId::of::<()>() { Box::new(()) } else { state };
    let state = *state.downcast::<E::State>().map_err(|_| wrong("state"))?;
    let output = E::call(ExitContext { worker_id, shared, state })?;
    let mut bytes = Vec::new();
    output.encode(codec, &mut bytes).map_err(Failure::Encode)?;
    Ok(bytes)
}
