//! How a job becomes a call.

use std::panic::Location;

use super::*;
use crate::engine::Opened;
use crate::error::CallSite;

impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Where the call is made: from the public method that this is called in, all the way `#[track_caller]`.
    #[track_caller]
    pub(super) fn site(&self) -> CallSite {
        let Options { label, called_at, .. } = &self.options;
        // Not by `unwrap_or_else`: only a direct call knows its caller.
        let at = match called_at {
            Some(at) => at,
            None => Location::caller(),
        };
        CallSite { at, label: label.clone() }
    }

    /// Opens the call; this starts the workers that its tasks want.
    #[track_caller]
    pub(super) fn open<'i, C: Iterator<Item = T::Item<'i>>>(
        &mut self,
        items: Source<C>,
        mode: Mode,
    ) -> Result<Call<'p, 'i, T, C>, Error> {
        let mut plan = self.options.plan(items.size_hint(), self.pool.config())?;
        if mode == Mode::FailFast {
            plan.most_failed = Some(1);
        }
        let is_bounded = mode == (Mode::Outcomes { bounded: true });
        if plan.max_active.is_none() && is_bounded {
            plan.max_active = self.pool.default_bound(&plan);
            plan.held = HeldBytes::AtMost(MOST_HELD_BYTES);
        } else if !is_bounded && !plan.folds {
            plan.held = HeldBytes::About(AHEAD_BYTES);
        }
        let input = InputBuffer::new(items, self.options.max_items(), self.pool.config().codec);
        self.begin(plan, input, |_| {})
    }

    /// Opens the call with this input, if it was not cancelled before. `prepare` may change its description.
    #[track_caller]
    pub(super) fn begin<'i, C: Iterator<Item = T::Item<'i>>>(
        &mut self,
        plan: Box<Plan>,
        mut input: InputBuffer<'i, T, C>,
        prepare: impl FnOnce(&mut JobSpec),
    ) -> Result<Call<'p, 'i, T, C>, Error> {
        let (chunk, bound, mut tasks) = (plan.whole_chunk(), plan.max_active, plan.total);
        let is_for_each = plan.each_worker.is_some();
        // With the first one the call ends anyway.
        let most_failed = plan.most_failed.filter(|_| self.options.extra.is_some());
        let engine = self.pool.engine();
        self.check_cancelled()?;
        let mut spec = self.spec(plan)?;
        spec.is_background = false;
        prepare(&mut spec);
        let site = spec.site.clone();
        let Opened { job, workers } = engine.open(spec)?;
        if is_for_each {
            // The pool may have been resized since this was called.
            tasks = Some(workers as u64);
            input.expect(workers as u64);
        }
        if let Some(call) = self.options.cancel.get() {
            call.made(&CallRef::Whole(Arc::downgrade(engine), job));
        }
        let progress = self
            .options
            .take(|extra| &mut extra.progress)
            .and_then(|request| Progress::new(request, tasks, site.label.as_deref()));
        let judge = self.options.judge::<T>(self.pool.config().codec, &site);
        let extras = (progress, Rare::of(judge, most_failed));
        Ok(Call::new(self.pool, job, site, input, (chunk, bound), self.options.quiesces, extras))
    }

    /// An error if the call was cancelled before it is made.
    pub(super) fn check_cancelled(&self) -> Result<(), Error> {
        self.options.cancel.get().map_or(Ok(()), |call| call.check())
    }

    /// Describes the call for the engine.
    #[track_caller]
    pub(super) fn spec(&self, mut plan: Box<Plan>) -> Result<JobSpec, Error> {
        let site = self.site();
        let (constant, of_init) = self.constants(&site)?;
        let (task, profile) = self.pool.functions::<T, I, E>(of_init)?;
        let flags = ExecFlags {
            timed: plan.task_limit_ns.is_some() || plan.cpu_limit_ns.is_some(),
            watched: self.pool.config().policy.insights,
            claim: plan.most_claimed(),
            seed: self.options.seed.unwrap_or_else(|| self.pool.next_seed()),
            folding: self.options.folding,
            constant: constant.is_some(),
        };
        plan.retry = self.options.extra.as_ref().and_then(|extra| extra.retry.plan(flags.seed));
        let is_shown = self.options.extra.as_ref().is_some_and(|extra| extra.progress.is_some());
        let deadline_ns = self.options.extra(|extra| extra.deadline).map(Deadline::in_ns);
        Ok(JobSpec {
            task,
            profile,
            constant,
            flags,
            plan,
            deadline_ns,
            site,
            is_shown,
            is_background: true,
            input: None,
        })
    }
}
