//! A pool, as its calls see it.

use std::any::TypeId;
use std::sync::Arc;

use super::background::BackgroundDriver;
use crate::codec::{Codec, type_key};
use crate::drive::{Core, ProfileDef};
use crate::error::Error;
use crate::options::PoolConfig;
use crate::task::registry::Registry;
use crate::task::seed::Seeds;
use crate::task::{Task, WorkerExit, WorkerInit};
use crate::work::Plan;

/// What calls are made on.
pub(crate) struct PoolHandle {
    core: Arc<Core>,
    background: Arc<BackgroundDriver>,
    config: PoolConfig,
    seeds: Seeds,
}

impl PoolHandle {
    pub(crate) fn new(core: Core, config: PoolConfig, seeds: Seeds) -> Self {
        Self { core: Arc::new(core), background: Arc::default(), config, seeds }
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Waits until the workers, which were told to end, have done so.
    pub(crate) fn rest(&self) -> Result<(), Error> {
        self.core.check()?;
        // A call that comes from another thread meanwhile keeps the workers.
        self.core.drive_until(|state| state.is_at_rest() || !state.is_ending());
        match self.core.lock().exit_error.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Without `keep_alive` the workers end with the last call that is under way; that call waits for them.
    pub(crate) fn after_call(&self) -> Result<(), Error> {
        if self.config.upkeep.keep_alive { Ok(()) } else { self.rest() }
    }

    /// Whether somebody wants insights.
    pub(crate) fn is_watched(&self) -> bool {
        self.config.upkeep.insights
    }

    /// The seed of a call that was given none.
    pub(crate) fn next_seed(&self) -> u64 {
        self.seeds.next()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn core_arc(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn background(&self) -> &Arc<BackgroundDriver> {
        &self.background
    }

    pub(crate) fn codec(&self) -> Codec {
        self.config.codec
    }

    /// Whether workers can be killed.
    pub(crate) fn killable(&self) -> bool {
        self.config.method.is_process()
    }

    /// How many results of a lazy iterator may be under way when the caller gives no bound.
    pub(crate) fn default_bound(&self, plan: &Plan) -> Option<u64> {
        const ADAPTIVE: u64 = 16_384;
        let workers = self.config.workers as u64;
        Some(match plan.whole_chunk() {
            1 => ADAPTIVE.max(2 * workers),
            chunk => chunk.saturating_mul(2 * workers),
        })
    }

    /// Whether chunks go to workers in turn.
    pub(crate) fn orders_tasks(&self) -> bool {
        self.config.order_tasks
    }

    /// A task's place in the registry, and the number of the worker state that it runs on; 0 for none.
    pub(crate) fn functions<T: Task, I: WorkerInit, E: WorkerExit>(&self) -> Result<(u32, u32), Error> {
        self.core.check()?;
        let registry = Registry::get();
        let index = |entry: Option<_>| entry.map(|entry| registry.index_of(entry)).transpose();
        let (task, init, exit) = (registry.index_of(T::entry())?, index(I::entry())?, index(E::entry())?);
        if init.is_none() && exit.is_none() && TypeId::of::<T::State>() == TypeId::of::<()>() {
            return Ok((task, 0));
        }
        let state_type = type_key(TypeId::of::<T::State>());
        let profile = self.core.lock().profile(ProfileDef { state_type, task, init, exit });
        Ok((task, profile))
    }
}
