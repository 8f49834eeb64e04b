//! The constants of a call: the values that it gives to functions with `#[arg]`.

use std::sync::Arc;

use super::Job;
use super::each::only;
use crate::codec::Codec;
use crate::error::{CallSite, Error, TaskError};
use crate::task::arg::{Arg, GivenTo, HasArg, TakenBy, TakenByInit};
use crate::task::{Task, WithArg, WorkerInit};
use crate::unwind;
use crate::work::{Constant, Items};

/// The constants of a call, encoded.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants {
    of_task: Option<Given>,
    of_init: Option<Given>,
}

/// A constant, or why it could not be encoded, with the name of the function that gets it.
#[derive(Debug, Clone)]
struct Given(&'static str, Result<Constant, String>);

impl Given {
    fn get(&self, site: &CallSite) -> Result<Constant, Error> {
        let Self(function, constant) = self;
        constant.clone().map_err(|why| Error::Task(TaskError::in_arg(function, why).called(site)))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the value of an `#[arg] x: T` is given as a `T`")]
impl<'p, T: Task, S, I: WorkerInit, E, O> Job<'p, T, S, I, E, O> {
    /// Gives a value to the parameter of the task that is marked `#[arg]`: a constant of this call, which all of its
    /// tasks get. It is encoded here, once, sent once to each worker that gets tasks of the call, and decoded there
    /// once; a parameter `#[arg] x: &T` borrows it there, and `#[arg] x: T` is a clone for each task. When the call is
    /// over, the workers forget it.
    ///
    /// Unlike the value that a pool [shares](crate::WorkerPoolBuilder::shared), it may differ from call to call, and
    /// functions that share a pool need not agree on its type.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn scale(#[arg] factor: f32, x: f32) -> f32 {
    ///     factor * x
    /// }
    ///
    /// /// How many of the words are in the text.
    /// #[worker_task]
    /// fn matches(#[arg] words: &[String], text: &str) -> usize {
    ///     text.split_whitespace().filter(|word| words.iter().any(|one| one == word)).count()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     assert_eq!(scale::job(&pool).arg(2.0).map([1.0, 3.0])?, [2.0, 6.0]);
    ///     let words = ["one".to_owned(), "two".to_owned()];
    ///     assert_eq!(matches::job(&pool).arg(&words).map(["one or two", "none"])?, [2, 0]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// All calls of a job can follow, such as [`imap`](Self::imap), [`apply_async`](Self::apply_async) and
    /// [`reduce`](Self::reduce). Without the value there are none: `f::par_map(&pool, items)` of a task with `#[arg]`
    /// does not compile.
    ///
    /// # Init functions
    /// An init function may have an `#[arg]`, too: where to connect to, or what to load. If the task itself has none,
    /// `arg` gives that of its init function. If it has one, too, [`init_arg`](Self::init_arg) does.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_init, worker_task};
    ///
    /// struct Db(String);
    ///
    /// #[worker_init]
    /// fn connect(#[worker_id] id: usize, #[arg] url: &str) -> Db {
    ///     Db(format!("{url}?client={id}"))
    /// }
    ///
    /// #[worker_task(init = connect)]
    /// fn query(#[state] db: &mut Db, id: u64) -> String {
    ///     format!("{}#{id}", db.0)
    /// }
    ///
    /// #[worker_task(init = connect)]
    /// fn page(#[state] db: &mut Db, #[arg] rows: u64, at: u64) -> String {
    ///     format!("{}#{}+{rows}", db.0, at * rows)
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(1)?;
    ///     let (here, there) = ("db://here", "db://there");
    ///     query::job(&pool).arg(here).warm_up()?;
    ///     assert_eq!(query::job(&pool).arg(here).map([7])?, ["db://here?client=0#7"]);
    ///     // This call has a state of its own.
    ///     assert_eq!(query::job(&pool).arg(there).map([7])?, ["db://there?client=0#7"]);
    ///     assert_eq!(page::job(&pool).arg(50).init_arg(here).apply(2)?, "db://here?client=0#100+50");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Calls share a worker's state only if they give its init function the same value, byte by byte as it is encoded.
    /// A worker keeps its states until it ends, one for each value: for many values, end it now and then, with
    /// [`worker_lifespan`](Self::worker_lifespan).
    ///
    /// # Errors
    /// A value that can't be encoded is an [`Error::Task`] of the call, of kind
    /// [`TaskErrorKind::Encode`](crate::TaskErrorKind::Encode), and no task of it runs. If a worker can't decode it, or
    /// panics, all tasks of the call that are sent there fail with that; and if the value of an init function can't be
    /// decoded, the init function fails.
    pub fn arg(
        self,
        value: <<T::Arg as GivenTo<T, I>>::Arg as Arg>::Given<'_>,
    ) -> Job<'p, <T::Arg as GivenTo<T, I>>::Task, S, <T::Arg as GivenTo<T, I>>::Init, E, O>
    where
        T::Arg: GivenTo<T, I> + TakenBy<T, I>,
    {
        let is_of_init = <T::Arg as GivenTo<T, I>>::IS_OF_INIT;
        let function = if is_of_init { I::name() } else { T::name() };
        let codec = self.pool.config().codec;
        let value = encoded(|items| items.add(|out| <T::Arg as GivenTo<T, I>>::encode(codec, &value, out)));
        let mut job = self.with_functions();
        let constants = &mut job.options.extra_mut().constants;
        let place = if is_of_init { &mut constants.of_init } else { &mut constants.of_task };
        *place = Some(Given(function, value));
        job
    }

    /// Gives a value to the parameter of the init function that is marked `#[arg]`, where the task has one of its own;
    /// see [`arg`](Self::arg).
    ///
    /// After [`worker_init`](Self::worker_init) it is that init function's.
    pub fn init_arg(mut self, value: <I::Arg as Arg>::Given<'_>) -> Job<'p, T, S, WithArg<I>, E, O>
    where
        I::Arg: TakenByInit,
    {
        let codec = self.pool.config().codec;
        let value = encoded_arg::<I>(codec, &value);
        self.options.extra_mut().constants.of_init = Some(Given(I::name(), value));
        self.with_functions()
    }
}

impl<'p, T: Task, S, I, E, O> Job<'p, T, S, I, E, O> {
    /// The job with other functions.
    pub(super) fn with_functions<U: Task, J, X>(self) -> Job<'p, U, S, J, X, O> {
        Job { pool: self.pool, options: self.options, functions: Default::default() }
    }

    /// Drops the constant of an init function that is not used.
    pub(super) fn drop_init_arg(&mut self) {
        self.options.extra.iter_mut().for_each(|extra| extra.constants.of_init = None);
    }

    /// The constants of the task and of its init function.
    pub(super) fn constants(&self, site: &CallSite) -> Result<(Option<Constant>, Option<Constant>), Error> {
        let constants = self.options.extra.as_ref().map(|extra| &extra.constants);
        if T::Arg::IS_GIVEN && constants.is_none_or(|constants| constants.of_task.is_none()) {
            return Err(not_given::<T>());
        }
        let Some(constants) = constants else { return Ok((None, None)) };
        let get = |given: &Option<Given>| given.as_ref().map(|given| given.get(site)).transpose();
        Ok((get(&constants.of_task)?, get(&constants.of_init)?))
    }
}

/// The error of a call whose task is `WithArg` though nobody gave it a value.
#[cold]
fn not_given<T: Task>() -> Error {
    Error::option(
        "arg",
        T::name(),
        "`WithArg` is what `arg` makes: name the task itself, and give it the value",
    )
}

/// Encodes the constant of an init function.
fn encoded_arg<I: HasArg>(codec: Codec, value: &<I::Arg as Arg>::Given<'_>) -> Result<Constant, String> {
    encoded(|items| items.add(|out| I::encode_arg(codec, value, out)))
}

/// The bytes of a constant, or why it could not be encoded.
fn encoded(add: impl FnOnce(&mut Items)) -> Result<Constant, String> {
    let mut items = Items::default();
    match unwind::catch(|| add(&mut items)) {
        Ok(()) => only(items).map(Arc::new),
        Err(_) => Err("its `Serialize` implementation panicked".into()),
    }
}
