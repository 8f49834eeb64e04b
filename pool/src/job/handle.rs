//! The calls' view of a pool.

use std::any::TypeId;
use std::sync::Arc;

use super::background::BackgroundDriver;
use super::helpers::Helpers;
use crate::codec::type_key;
use crate::engine::Engine;
use crate::error::Error;
use crate::options::PoolConfig;
use crate::task::registry::{Registry, not_registered};
use crate::task::seed::Seeds;
use crate::task::{Entry, Task, WorkerExit, WorkerInit};
use crate::work::{Constant, FunctionRef, Plan, ProfileSpec};

/// The parts of a pool that a call needs: the engine, the driver for calls that no caller drives, and the options that
/// stay the same for the pool's whole life.
pub(crate) struct PoolHandle {
    engine: Arc<Engine>,
    background: Arc<BackgroundDriver>,
    helpers: Arc<Helpers>,
    config: PoolConfig,
    seeds: Seeds,
}

impl PoolHandle {
    pub(crate) fn new(engine: Engine, config: PoolConfig, seeds: Seeds) -> Self {
        let background = Arc::new(BackgroundDriver::new(config.max_queue));
        let helpers = Arc::new(Helpers::new(config.decode_threads));
        Self { engine: Arc::new(engine), background, helpers, config, seeds }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn background(&self) -> &Arc<BackgroundDriver> {
        &self.background
    }

    /// Lets the background thread, or another caller, drive while this caller runs code of the user's that may take
    /// long.
    pub(super) fn leave(&self) {
        self.background.stand_by(&self.engine);
        self.engine.leave();
    }

    /// Lets the background thread see to the workers that a call leaves idle.
    pub(super) fn see_to_idle(&self) {
        if self.config.policy.idle.is_some() {
            self.see_to_leaving();
        }
    }

    /// Lets the background thread see to workers that are to leave.
    pub(crate) fn see_to_leaving(&self) {
        if self.engine.needs_background() {
            self.background.stand_by(&self.engine);
        }
    }

    pub(crate) fn helpers(&self) -> &Arc<Helpers> {
        &self.helpers
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Returns how many workers the pool has.
    pub(crate) fn workers(&self) -> usize {
        self.engine.size()
    }

    /// Returns the seed for a call that was given none.
    pub(super) fn next_seed(&self) -> u64 {
        self.seeds.next()
    }

    /// Waits for the workers to stop if the pool does not keep them alive: they end when no call is left.
    pub(super) fn after_call(&self) -> Result<(), Error> {
        if self.config.policy.keep_alive { Ok(()) } else { self.engine.wait_stopped() }
    }

    /// Returns how many tasks of an iterator or stream may be active when the caller sets no limit.
    pub(super) fn default_bound(&self, plan: &Plan) -> Option<u64> {
        const ADAPTIVE: u64 = 16_384;
        let workers = self.workers() as u64;
        Some(match plan.whole_chunk() {
            1 => ADAPTIVE.max(2 * workers),
            chunk => chunk.saturating_mul(2 * workers),
        })
    }

    /// Looks up the functions of a call: the task, and the profile of the worker state it runs on, if it has one.
    /// `constant` is that of the init function.
    pub(super) fn functions<T: Task, I: WorkerInit, E: WorkerExit>(
        &self,
        constant: Option<Constant>,
    ) -> Result<(FunctionRef, Option<ProfileSpec>), Error> {
        self.engine.check()?;
        let registry = Registry::get();
        let function = |entry: &'static Entry| {
            registry.index_of(entry).map(|index| FunctionRef { index, name: entry.name() })
        };
        let task = T::entry().ok_or_else(|| not_registered(T::name())).and_then(function)?;
        let init = I::entry().map(function).transpose()?;
        let exit = E::entry().map(function).transpose()?;
        let has_state = init.is_some() || exit.is_some() || TypeId::of::<T::State>() != TypeId::of::<()>();
        let state_type = || type_key(TypeId::of::<T::State>());
        let profile = has_state.then(|| ProfileSpec {
            state_type: state_type(),
            task: task.index,
            init,
            exit,
            constant,
        });
        Ok((task, profile))
    }
}
