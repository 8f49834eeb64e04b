//! A worker: takes orders from its lane one after another, runs the user's functions, and answers.

mod kit;

use std::any::Any;

use crate::codec::Codec;
use crate::ids::{ProfileId, TaskIndex};
use crate::lane::{Activity, Order, Responder, WorkerEnd, order, reply};
use crate::observe::logs::LogSender;
use crate::observe::progress;
use crate::observe::timeline::{EXIT, INIT, Recorder};
use crate::options::{Limit, set_limits};
use crate::role::{self, WorkerKind};
use crate::sys::cpu;
use crate::sys::standard::flush;
use crate::task::registry::Registry;
use crate::task::run::constant::Constants;
use crate::task::run::glue::{ExitGlue, Glue, TaskEnv};
use crate::task::{SharedAny, WorkerId};
use crate::wire::{ChunkHead, Failure, Folding, InitOrder, Packing};

use crate::observe::ProbeEnds;
use crate::observe::stopwatch::Stopwatch;
use crate::task::run::memory::Memory;
use crate::task::run::{self, panicked, panics, reply_failed};

pub(crate) use kit::{PoolContext, WorkerKit};

/// A worker that has opened its kit.
pub(crate) struct Worker {
    lane: WorkerEnd,
    runner: Runner,
    limits: Vec<Limit>,
}

impl Worker {
    /// Opens its kit, on the thread that is to be the worker.
    pub(crate) fn open(kit: WorkerKit, context: &PoolContext, kind: WorkerKind) -> Result<Self, String> {
        let ProbeEnds { log, track, nested, .. } = kit.probes;
        panics::capture_on_this_thread(kind);
        let log = LogSender::new(log, kind == WorkerKind::Process);
        role::enter_worker(context.daemon, kind);
        if kind == WorkerKind::Process {
            cpu::note_start();
        }
        progress::enter_worker(kit.id, kind, nested.as_deref());
        let lane = kit.lane.open().map_err(|error| format!("cannot map the lane: {error}"))?;
        let runner = Runner {
            id: kit.id,
            codec: context.codec,
            shared: context.shared.clone(),
            registry: Registry::get(),
            last_task: None,
            profiles: Vec::new(),
            parts: Vec::new(),
            constants: Constants::default(),
            memory: Memory::default(),
            watch: Stopwatch::new(track.as_deref().and_then(Recorder::new)),
            log,
            kind,
        };
        Ok(Self { lane, runner, limits: kit.limits })
    }

    /// Works until it has carried out the exit order.
    pub(crate) fn run(self) -> Result<(), String> {
        let Self { mut lane, mut runner, limits } = self;
        let mut answer = lane.responder();
        runner.memory.open(&answer)?;
        // All that needs descriptors, or much memory, is there: from now on limits harm only the user's own code.
        set_limits(&limits).map_err(|why| format!("worker {}: {why}", runner.id))?;
        let Ok(()) = answer.reply::<std::convert::Infallible>(reply::READY, reply::READY, |_| Ok(()));
        answer.notify();
        loop {
            match lane.serve(|order, answer| runner.obey(order, answer)) {
                Ok(Some(Next::Serve)) => {}
                Ok(Some(Next::End) | None) => return Ok(()),
                Err(_) => return Err("the lane holds what no parent writes".into()),
            }
        }
    }
}

/// An order that takes up more space than this wakes the parent, which may wait for that.
const MUCH_SPACE: usize = 1 << 10;

/// How to go on after an order.
enum Next {
    Serve,
    End,
}

/// Runs the user's functions.
struct Runner {
    id: WorkerId,
    codec: Codec,
    shared: SharedAny,
    registry: &'static Registry,
    /// The task function that it ran last.
    last_task: Option<u32>,
    /// The states that tasks have needed, in the order in which they were made.
    profiles: Vec<Profile>,
    /// The parts of a large item or constant that have arrived so far.
    parts: Vec<u8>,
    constants: Constants,
    memory: Memory,
    watch: Stopwatch,
    log: LogSender,
    kind: WorkerKind,
}

/// A state and the function that ends it.
struct Profile {
    id: ProfileId,
    state: Box<dyn Any>,
    exit: Option<(u32, ExitGlue)>,
}

impl Runner {
    fn obey(&mut self, order: Order<'_>, answer: &mut Responder<'_>) -> Next {
        match order.tag {
            order::CHUNK => self.run_chunk(order.payload, answer),
            order::INIT => {
                begin(answer);
                let held = self.memory.read(answer);
                self.watch.begin(INIT, TaskIndex::default());
                self.make_state(order.payload, answer);
                self.watch.end_phase();
                self.memory.note_init(held, answer);
                answer.spend(Activity::Init);
                done(answer);
            }
            order::PART => {
                self.parts.extend_from_slice(order.payload);
                let Ok(()) = answer.reply::<std::convert::Infallible>(
                    reply::PART_TAKEN,
                    reply::PART_TAKEN,
                    |_| Ok(()),
                );
                answer.notify();
            }
            order::CONSTANT => {
                self.constants.obey(order.payload, &mut self.parts);
                let Ok(()) = answer.reply::<std::convert::Infallible>(
                    reply::PART_TAKEN,
                    reply::PART_TAKEN,
                    |_| Ok(()),
                );
                if order.payload.len() > MUCH_SPACE {
                    answer.notify();
                }
            }
            order::RESUME => {
                self.parts = Vec::new();
                answer.resume_after_this();
                acknowledge(answer);
                done(answer);
            }
            _ => {
                begin(answer);
                self.watch.begin(EXIT, TaskIndex::default());
                self.exit(answer);
                self.watch.end_phase();
                if self.kind == WorkerKind::Process {
                    // This may block, if nothing reads the output. Here the time limit of the exit order applies, and
                    // the worker is still tied to its parent.
                    flush();
                }
                answer.spend(Activity::Exit);
                acknowledge(answer);
                done(answer);
                return Next::End;
            }
        }
        Next::Serve
    }

    fn run_chunk(&mut self, payload: &[u8], answer: &mut Responder<'_>) {
        let Some((head, mut items)) = ChunkHead::split(payload) else { return };
        let Some(Glue::Task(task)) = self.registry.entry(head.task).map(|entry| entry.glue()) else {
            return run::refuse(head.count, answer, "the task is not registered in the worker");
        };
        if self.last_task.replace(head.task) != Some(head.task) {
            answer.measure(head.task);
        }
        let mut none = ();
        let state: &mut dyn Any =
            match self.profiles.iter_mut().find(|profile| Some(profile.id) == head.profile) {
                Some(profile) => &mut *profile.state,
                None => &mut none,
            };
        let parts;
        if head.packing == Packing::InParts {
            parts = std::mem::take(&mut self.parts);
            items.bytes = &parts;
        }
        let constant = if head.flags.constant { self.constants.current() } else { None };
        let (memory, watch, log) = (&mut self.memory, &mut self.watch, &self.log);
        let (id, codec, shared) = (self.id, self.codec, &self.shared);
        let env = TaskEnv { id, codec, shared, state, constant, memory, watch, log };
        match head.flags.folding {
            Folding::Off => (task.run)(env, head, items, answer),
            Folding::Values => (task.fold_values)(env, head, items, answer),
            Folding::Results(reducer) => match self.registry.entry(reducer).map(|entry| entry.glue()) {
                Some(Glue::Task(reducer)) => (task.fold_results)(env, head, items, reducer.reducer, answer),
                _ => run::refuse(head.count, answer, "the reducing function is not registered in the worker"),
            },
        }
    }

    fn make_state(&mut self, payload: &[u8], answer: &mut Responder<'_>) {
        match self.new_profile(payload, answer) {
            Ok(profile) => {
                self.profiles.push(profile);
                acknowledge(answer);
            }
            Err(failure) => reply_failed(failure, reply::FAILED, answer),
        }
    }

    fn new_profile(&mut self, payload: &[u8], answer: &Responder<'_>) -> Result<Profile, Failure> {
        let failed = |why: &str| Failure::of(why);
        let mut parts = std::mem::take(&mut self.parts);
        let (order, rest) = InitOrder::split(payload).ok_or_else(|| failed("the init order is too short"))?;
        let constant = if parts.is_empty() {
            rest
        } else {
            parts.extend_from_slice(rest);
            &parts
        };
        let glue_of = |index| self.registry.entry(index).map(|entry| entry.glue());
        let exit = match order.exit {
            None => None,
            Some(index) => match glue_of(index) {
                Some(Glue::Exit(exit)) => Some((index, exit)),
                _ => return Err(failed("the exit function is not registered in the worker")),
            },
        };
        let state = match order.init.map(glue_of) {
            Some(Some(Glue::Init(init))) => {
                panics::catch(|| (init.run)(self.id, self.codec, &self.shared, constant))
                    .map_err(|panic| panicked(panic, answer))
                    .flatten()?
            }
            Some(_) => return Err(failed("the init function is not registered in the worker")),
            None => match glue_of(order.task) {
                Some(Glue::Task(task)) => panics::catch(task.default_state)
                    .map_err(|panic| panicked(panic, answer))?
                    .ok_or_else(|| failed("the state type has no `Default`"))?,
                _ => return Err(failed("the task is not registered in the worker")),
            },
        };
        Ok(Profile { id: order.profile, state, exit })
    }

    /// Runs the exit functions, and drops states that have none, and what is left of constants.
    fn exit(&mut self, answer: &mut Responder<'_>) {
        self.constants.clear();
        for Profile { state, exit, .. } in self.profiles.drain(..) {
            let Some((index, exit)) = exit else {
                // If the drop panics, there is no order left to which to report it.
                let _ = panics::catch(|| drop(state));
                continue;
            };
            let value = panics::catch(|| (exit.run)(self.id, self.codec, &self.shared, state));
            match value.map_err(|panic| panicked(panic, answer)).flatten() {
                Ok(value) => {
                    let Ok(()) = answer.reply::<std::convert::Infallible>(
                        reply::EXIT_VALUE,
                        reply::LARGE_EXIT_VALUE,
                        |out| {
                            out.extend_from_slice(&index.to_le_bytes());
                            out.extend_from_slice(&value);
                            Ok(())
                        },
                    );
                }
                Err(failure) => reply_failed(failure, reply::EXIT_FAILED, answer),
            }
        }
    }
}

/// Notes that an order has begun, and when.
fn begin(answer: &mut Responder<'_>) {
    answer.spend(Activity::Working);
    answer.stamp();
    answer.start_unit();
}

/// Answers an order that returns no value.
fn acknowledge(answer: &mut Responder<'_>) {
    let Ok(()) = answer.reply::<std::convert::Infallible>(reply::DONE, reply::DONE, |_| Ok(()));
}

/// Ends an answered order, and wakes the parent.
fn done(answer: &mut Responder<'_>) {
    answer.finish_unit();
    answer.notify();
}
