//! The crate's view of a task: traits that the macros implement, and traits that check which functions fit together.
//! Only the output of the macros implements either.

pub(crate) mod arg;
pub(crate) mod chunk;
mod context;
mod entry;
mod fallible;
pub(crate) mod fold;
mod probe;
mod ready;
mod reference;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod seed;
pub(crate) mod shares;

use std::any::{Any, TypeId};
use std::io::Write;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{Codec, ItemWriter};
use crate::error::ReturnedError;
use crate::unwind;
use arg::{Arg, HasArg, NoArg};

pub use crate::ids::WorkerId;
pub use arg::WithArg;
pub use context::{ExitContext, InitContext, TaskContext};
pub use entry::{DecodeShared, Entry, InstanceName, Package, Registered};
pub use fallible::Fallible;
pub use fold::Reduces;
pub use probe::{PairFallback, PairProbe, Probe, ProbeFallback};
pub use ready::{CalledOn, ReadyFor};
pub use reference::{
    BorrowedArgument, LentAsVec, LentByOwner, LentByValue, LentInPlace, NotLent, Reference, borrowed_argument,
};
pub use run::glue::SharedAny;

/// A value that can be an argument: a worker decodes it in place from its lane.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to a worker",
    label = "this argument is not serializable",
    note = "derive both serde traits: `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "an argument may borrow what is decoded in place: `&str`, `&[u8]`, any `T: Deserialize<'a>`",
    note = "a reference that is itself a parameter may be any `&T` with both serde traits, or is injected: \
            `#[shared] s: &T`, `#[state] s: &mut T`"
)]
pub trait Argument<'a>: Serialize + Deserialize<'a> + Send {}
#[diagnostic::do_not_recommend]
impl<'a, T: Serialize + Deserialize<'a> + Send> Argument<'a> for T {}

/// [`Argument`] for a parameter whose type has the name of an array view, with an error message of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to a worker",
    label = "a view of an array is a chunk",
    note = "mark it, with the feature `ndarray`: `#[chunk] rows: ArrayView2<'_, f64>`",
    note = "or take the array owned: `Array2<f64>`"
)]
pub trait ViewArgument<'a>: Argument<'a> {}
#[diagnostic::do_not_recommend]
impl<'a, T: Argument<'a>> ViewArgument<'a> for T {}

/// A value that can come back from a worker.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross from a worker",
    label = "this result is not serializable",
    note = "derive both serde traits: `#[derive(serde::Serialize, serde::Deserialize)]`, and borrow nothing",
    note = "an error without them (`std::io::Error`, `anyhow::Error`, `Box<dyn Error>`) crosses as text where it is \
            the failure of the task: `#[worker_task(fallible)]`"
)]
// The serde traits are not supertraits: the compiler would report each missing one separately.
pub trait Output: Send + Sized + 'static {
    /// Its bytes in memory, if the codec encodes it as exactly those.
    fn plain(&self, codec: Codec) -> Option<&[u8]>;
    /// Appends its bytes to `out`.
    fn encode(&self, codec: Codec, out: &mut impl Write) -> Result<(), String>;
    /// Decodes results that lie one every `stride` bytes, each `len` bytes long, and appends them, if they are
    /// [`plain`](Self::plain). Returns whether they are.
    #[inline]
    fn decode_plain(_: Codec, _bytes: &[u8], (_len, _stride): (usize, usize), _: &mut Vec<Self>) -> bool {
        false
    }
    /// Decodes exactly these bytes.
    fn decode(codec: Codec, bytes: &[u8]) -> Result<Self, String>;
    /// Decodes exactly these bytes into `place`, whose memory it may reuse. After an error, any value may be there.
    fn decode_into(codec: Codec, bytes: &[u8], place: &mut Self) -> Result<(), String> {
        *place = Self::decode(codec, bytes)?;
        Ok(())
    }
    /// How many tasks have these results.
    #[inline]
    fn tasks(values: &[Self]) -> u64 {
        values.len() as u64
    }
}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Output for T {
    #[inline]
    fn plain(&self, codec: Codec) -> Option<&[u8]> {
        codec.plain(self)
    }
    #[inline]
    fn encode(&self, codec: Codec, out: &mut impl Write) -> Result<(), String> {
        codec.encode(self, out)
    }
    #[inline]
    fn decode_plain(codec: Codec, bytes: &[u8], at: (usize, usize), values: &mut Vec<Self>) -> bool {
        codec.decode_plain(bytes, at, values)
    }
    #[inline]
    fn decode(codec: Codec, bytes: &[u8]) -> Result<Self, String> {
        codec.decode(bytes)
    }
    #[inline]
    fn decode_into(codec: Codec, bytes: &[u8], place: &mut Self) -> Result<(), String> {
        codec.decode_into(bytes, place)
    }
}

/// A worker task, as a type: what [`#[worker_task]`](crate::worker_task) adds to a function. With it a library can be
/// generic over tasks:
///
/// ```
/// use pool::{Error, ReadyFor, Task, WorkerPool, worker_task};
///
/// /// Runs the task over the items, and leaves out those that fail.
/// fn map_what_works<'i, T, S: 'static>(
///     pool: &WorkerPool<S>,
///     items: impl IntoIterator<Item = T::Item<'i>>,
/// ) -> Result<Vec<T::Output>, Error>
/// where
///     T: Task + ReadyFor<S>,
/// {
///     let outcomes = pool.job::<T>().retries(1).map_outcomes(items)?;
///     let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
///     eprintln!("{failed} tasks of {} have failed", T::name());
///     Ok(outcomes.into_iter().flatten().collect())
/// }
///
/// #[worker_task]
/// fn reciprocal(x: u32) -> u32 {
///     60 / x
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(map_what_works::<reciprocal, _>(&pool, [1, 0, 3])?, [60, 20]);
///     Ok(())
/// }
/// ```
///
/// A task with [`#[arg]`](crate::Job::arg) has no calls before it has its value, nor has one whose init function takes
/// one. What works for all of them is a function that takes the job, with whatever was set before:
///
/// ```
/// use pool::{Error, ExitOf, InitOf, Job, RunsOn, Task, WorkerPool, worker_task};
///
/// /// The first results of the job.
/// fn first<'i, T, S, I, E>(job: Job<'_, T, S, I, E>, items: Vec<T::Item<'i>>) -> Result<Option<T::Output>, Error>
/// where
///     T: Task + RunsOn<S>,
///     I: InitOf<T::State> + RunsOn<S>,
///     E: ExitOf<T::State> + RunsOn<S>,
///     S: 'static,
/// {
///     job.imap(items).next().transpose()
/// }
///
/// #[worker_task]
/// fn scale(#[arg] factor: f32, x: f32) -> f32 {
///     factor * x
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), Error> {
///     let pool = WorkerPool::new(2)?;
///     assert_eq!(first(scale::job(&pool).arg(2.0), vec![3.0, 4.0])?, Some(6.0));
///     Ok(())
/// }
/// ```
///
/// What calls return can be named with it, and kept in structs: [`Job<'p, T, S>`](crate::Job),
/// [`AsyncResult<T::Output>`](crate::AsyncResult), [`Imap<'p, 'i, T, I>`](crate::Imap) of `job.imap(..)`, and
/// `ResultStream`.
///
/// Sealed: only the attribute implements it, and what it hides may change.
///
/// ```compile_fail
/// struct Own;
/// impl<S> pool::RunsOn<S> for Own {} // `Own` is not made by an attribute of `pool`.
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no worker task",
    label = "a worker task has the attribute `#[worker_task]`",
    note = "one that is generic lists its types: `#[worker_task(for T in [f32, f64])]`"
)]
pub trait Task: Registered + HasArg + Sized + 'static {
    /// One item: the value of the one parameter, the tuple of several, or `()`.
    // Not bound by [`Argument`]: the macro asks that of each parameter, so that the compiler can point at the guilty
    // one.
    type Item<'a>: Send;
    /// What the function returns; of a `fallible` function, what is in the `Ok`.
    type Output: Output;
    /// Why the function fails: [`Infallible`](std::convert::Infallible), or the [`ReturnedError`] of a `fallible` one.
    type Failure: Into<ReturnedError>;
    /// What `#[state]` borrows; `()` without it.
    type State: 'static;
    /// What `#[shared]` borrows; a type of this crate without it.
    type Shared: 'static;
    /// The init function, which makes the state; a type of this crate without `init = ..`.
    type Init: WorkerInit;
    /// The exit function; a type of this crate without `exit = ..`.
    type Exit: WorkerExit;

    /// How to make a state without an init function, if its type has a `Default`.
    #[doc(hidden)]
    const DEFAULT_STATE: Option<fn() -> Self::State>;
    /// How to show an item, if its type is `Debug`. Formats only as much as is shown.
    #[doc(hidden)]
    const DEBUG_ITEM: Option<fn(&Self::Item<'_>) -> String>;

    /// How to make an item of two results, if the function is one of two of its own results: then it can reduce.
    #[doc(hidden)]
    const PAIR: Option<Pair<Self>>;

    /// How many bytes [`encode`](Self::encode) appends at most, if that is known and no code of the user's runs in it.
    fn plain_len(codec: Codec, item: &Self::Item<'_>) -> Option<usize> {
        let _ = (codec, item);
        None
    }
    /// Appends the item's bytes to `out`.
    #[doc(hidden)]
    fn encode(codec: Codec, item: &Self::Item<'_>, out: &mut impl ItemWriter) -> Result<(), String>;
    /// Decodes an item from exactly these bytes, in place where its type allows that, and lends it to `then`.
    #[doc(hidden)]
    fn decode<R>(codec: Codec, bytes: &[u8], then: impl FnOnce(Self::Item<'_>) -> R) -> Result<R, String>;
    /// Calls the function.
    #[doc(hidden)]
    fn call(cx: TaskContext<'_, Self>, item: Self::Item<'_>) -> Result<Self::Output, Self::Failure>;
}

/// Makes an item of two results.
pub type Pair<T> = fn(<T as Task>::Output, <T as Task>::Output) -> <T as Task>::Item<'static>;

/// The largest argument that errors show, in bytes. Showing it decodes it a second time; beyond 1 GiB a message is not
/// worth that memory.
const LARGEST_SHOWN: usize = 1 << 30;

/// Shows the argument of a task, if its type is `Debug`.
pub(crate) fn show<T: Task>(codec: Codec, item: &[u8]) -> Option<String> {
    let debug = T::DEBUG_ITEM?;
    if item.len() > LARGEST_SHOWN {
        return Some(format!("too large to be shown: {} bytes", item.len()));
    }
    let shown = || T::decode(codec, item, |item| debug(&item)).ok();
    unwind::catch(shown).ok()?
}

/// An init function, as a type: what [`#[worker_init]`](crate::worker_init) adds to a function that makes a worker's
/// state.
///
/// Sealed: only the attribute implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no init function",
    label = "an init function has the attribute `#[worker_init]`"
)]
pub trait WorkerInit: Registered + HasArg + Sized + 'static {
    /// The state that it makes: the return type, or the `T` of a returned `Result<T, E>`.
    type State: 'static;
    /// What `#[shared]` borrows; a type of this crate without it.
    type Shared: 'static;
    /// Calls the function. An error that it returns becomes text: its `Display`, and that of each source.
    #[doc(hidden)]
    fn call(cx: InitContext<'_, Self>) -> Result<Self::State, ReturnedError>;
}

/// An exit function, as a type: what [`#[worker_exit]`](crate::worker_exit) adds to a function that runs when a worker
/// ends.
///
/// Sealed: only the attribute implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no exit function",
    label = "an exit function has the attribute `#[worker_exit]`"
)]
pub trait WorkerExit: Registered + Sized + 'static {
    /// What `#[state]` takes; `()` without it.
    type State: 'static;
    /// What `#[shared]` borrows; a type of this crate without it.
    type Shared: 'static;
    /// What the function returns, or the `T` of a returned `Result<T, E>`; collected as exit results.
    type Output: Output;
    /// Calls the function. An error that it returns becomes text, as that of an init function does.
    #[doc(hidden)]
    fn call(cx: ExitContext<'_, Self>) -> Result<Self::Output, ReturnedError>;
}

/// The shared type of a function without `#[shared]`.
#[derive(Debug, Clone, Copy)]
pub struct NoShared;

/// Finds the value that `#[shared]` borrows in the shared value of the worker: that, or a field of it.
pub(crate) fn shared_of<T: 'static>(given: &(dyn Any + Send + Sync)) -> Option<&T> {
    if TypeId::of::<T>() == TypeId::of::<NoShared>() {
        return (&NoShared as &dyn Any).downcast_ref();
    }
    given.downcast_ref().or_else(|| shares::field_of(given))
}

/// The init of a task without `init = ..`: the state type's `Default`.
#[derive(Debug, Clone, Copy)]
pub enum ByDefault {}

impl Registered for ByDefault {
    fn entry() -> Option<&'static Entry> {
        None
    }
}

impl HasArg for ByDefault {
    type Arg = NoArg;
}

impl WorkerInit for ByDefault {
    type State = ();
    type Shared = NoShared;
    fn call(_: InitContext<'_, Self>) -> Result<(), ReturnedError> {
        Ok(())
    }
}

/// The exit of a task without `exit = ..`.
#[derive(Debug, Clone, Copy)]
pub enum NoExit {}

impl Registered for NoExit {
    fn entry() -> Option<&'static Entry> {
        None
    }
}

impl WorkerExit for NoExit {
    type State = ();
    type Shared = NoShared;
    type Output = ();
    fn call(_: ExitContext<'_, Self>) -> Result<(), ReturnedError> {
        Ok(())
    }
}

/// `f: RunsOn<S>`: the function can run on a `WorkerPool<S>`. Without `#[shared]` that is every pool. [`ReadyFor`] says
/// the same of a task together with its own init and exit functions.
///
/// Sealed: only the attributes implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a pool that shares `{S}`",
    label = "its `#[shared]` parameter has another type than this pool's shared value",
    note = "give the pool the value that it borrows: `WorkerPool::builder().shared(..)`"
)]
pub trait RunsOn<S>: BorrowsFrom<S> {}

/// `f: BorrowsFrom<S>`: a pool that shares an `S` has what the function borrows with `#[shared]`, if anything. Without
/// `#[arg]` the function then also [runs](RunsOn) there, and with it when a call gives its value, as
/// [`WithArg<f>`](WithArg).
///
/// Sealed: only the attributes implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a pool that shares `{S}`",
    label = "its `#[shared]` parameter has another type than this pool's shared value",
    note = "give the pool the value that it borrows: `WorkerPool::builder().shared(..)`"
)]
pub trait BorrowsFrom<S>: Registered {}

/// `S: Lends<T, f>`: a pool that shares an `S` has the value that the function `f` borrows: the `S`, or a field of it.
/// The derive of [`Shares`](derive@crate::Shares) implements it for the types of fields. Unlike an equality of types,
/// this bound does not let the compiler infer the pool's type from the function's.
#[diagnostic::on_unimplemented(
    message = "`{F}` cannot run on a pool that shares `{Self}`",
    label = "it borrows `{T}` with `#[shared]`",
    note = "give the pool the value that it borrows: `WorkerPool::builder().shared(..)`",
    note = "or a struct with such a field, which has `#[derive(pool::Shares)]`"
)]
pub trait Lends<T, F> {}
impl<T, F> Lends<T, F> for T {}

impl<S> BorrowsFrom<S> for ByDefault {}
impl<S> BorrowsFrom<S> for NoExit {}
impl<S> RunsOn<S> for ByDefault {}
impl<S> RunsOn<S> for NoExit {}

/// `i: InitOf<State>`: the init function makes this state, as [`Job::worker_init`](crate::Job::worker_init) wants it.
///
/// Sealed: only the attribute implements it.
#[diagnostic::on_unimplemented(
    message = "init `{Self}` does not make the worker state `{State}`",
    label = "the init function's return type and the task's `#[state]` type differ",
    note = "an init function has the attribute `#[worker_init]`"
)]
pub trait InitOf<State>: WorkerInit {}
impl<State: DefaultState> InitOf<State> for ByDefault {}

/// A state that needs no init function.
#[diagnostic::on_unimplemented(
    message = "nothing makes the worker state `{Self}`",
    label = "this task has no init function, and its `#[state]` type has no `Default`",
    note = "derive `Default`, or name an init function: `#[worker_task(init = ..)]`"
)]
pub trait DefaultState: 'static {}
#[diagnostic::do_not_recommend]
impl<State: Default + 'static> DefaultState for State {}

/// `e: ExitOf<State>`: the exit function takes this state, as [`Job::worker_exit`](crate::Job::worker_exit) wants it.
///
/// Sealed: only the attribute implements it.
#[diagnostic::on_unimplemented(
    message = "exit `{Self}` does not take the worker state `{State}`",
    label = "the exit function's `#[state]` type and the task's differ",
    note = "an exit function has the attribute `#[worker_exit]`"
)]
pub trait ExitOf<State>: WorkerExit {}
impl<State: 'static> ExitOf<State> for NoExit {}

/// An init or exit function that a task names. The task's declaration has checked that the function fits its state, so
/// calls need not ask again.
#[derive(Debug)]
pub struct Named<F>(PhantomData<F>);

impl<F: Registered> Registered for Named<F> {
    fn entry() -> Option<&'static Entry> {
        F::entry()
    }
}

impl<I: HasArg> HasArg for Named<I> {
    type Arg = I::Arg;
    fn encode_arg<'a>(
        codec: Codec,
        given: &<I::Arg as Arg>::Given<'a>,
        out: &mut impl Write,
    ) -> Result<(), String> {
        I::encode_arg(codec, given, out)
    }
    fn decode_arg(codec: Codec, bytes: &[u8]) -> Result<I::Arg, String> {
        I::decode_arg(codec, bytes)
    }
}

impl<I: WorkerInit> WorkerInit for Named<I> {
    type State = I::State;
    type Shared = I::Shared;
    fn call(cx: InitContext<'_, Self>) -> Result<Self::State, ReturnedError> {
        I::call(InitContext { worker_id: cx.worker_id, shared: cx.shared, arg: cx.arg })
    }
}

impl<E: WorkerExit> WorkerExit for Named<E> {
    type State = E::State;
    type Shared = E::Shared;
    type Output = E::Output;
    fn call(cx: ExitContext<'_, Self>) -> Result<Self::Output, ReturnedError> {
        E::call(ExitContext { worker_id: cx.worker_id, shared: cx.shared, state: cx.state })
    }
}

impl<I: WorkerInit, State> InitOf<State> for Named<I> {}
impl<E: WorkerExit, State> ExitOf<State> for Named<E> {}
impl<F: BorrowsFrom<S>, S> BorrowsFrom<S> for Named<F> {}
impl<F: RunsOn<S>, S> RunsOn<S> for Named<F> {}

/// Asks that this parameter's type be an [`Argument`].
pub const fn argument<'a, T: Argument<'a>>() {}

/// Asks that this parameter's type, a view by its name, be an [`Argument`].
pub const fn view_argument<'a, T: ViewArgument<'a>>() {}

/// An init or exit function that is `pub`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `pub`, but the task that names it is",
    label = "less visible than the task",
    note = "the init and exit functions of a `pub` task are `pub` too; their module may be private"
)]
pub trait Public {}

/// Asks that this init or exit function be `pub`.
pub const fn public<F: Public>() {}

/// Asks that this init function make the state.
pub const fn init_of<I: InitOf<State>, State>() {}

/// Asks that this exit function take the state.
pub const fn exit_of<E: ExitOf<State>, State>() {}
