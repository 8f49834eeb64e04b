//! `#[arg]`: a constant of a call. The caller gives it once, as a value or through a reference. It is encoded once a
//! call, sent once to each worker that the call needs, and decoded there once. The worker keeps it while the call is
//! open, and lends it to each task.
//!
//! So a worker needs a value of its own, also where the parameter is a reference: `&T` is lent from a `T`, and one to
//! a type without a size from its owner, as `&str` is from a `String`. Which of the two is again a question to the
//! compiler, as in [`reference`](super::reference).
//!
//! That a call has its constants is checked by types. [`Job::arg`](crate::Job::arg) turns a job of the task `f` into
//! one of [`WithArg<f>`](WithArg), which is the same task, and [`RunsOn`] the pool. All calls ask for that.

use std::borrow::Borrow;
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reference::{IsLent, IsNotLent};
use super::{
    BorrowsFrom, Entry, InitContext, InitOf, Pair, Registered, RunsOn, Task, TaskContext, WorkerInit,
};
use crate::codec::{Codec, ItemWriter};
use crate::error::ReturnedError;

/// A constant as a worker keeps it.
pub trait Arg: Sized + 'static {
    /// The form in which the caller gives it.
    type Given<'a>;
    /// What a function is lent.
    type Lent: ?Sized;
    /// The constant, if there is only one.
    const NONE: Option<&'static Self> = None;
    /// The same, as a value.
    fn only() -> Option<Self> {
        None
    }
    /// Whether the call has it.
    const IS_GIVEN: bool = false;
    /// Lends it.
    fn lend(&self) -> &Self::Lent;
}

/// The constant of a function without `#[arg]`.
#[derive(Debug, Clone, Copy)]
pub struct NoArg;

impl Arg for NoArg {
    type Given<'a> = ();
    type Lent = ();
    const NONE: Option<&'static Self> = Some(&Self);
    fn only() -> Option<Self> {
        Some(Self)
    }
    #[inline]
    fn lend(&self) -> &() {
        &()
    }
}

/// The constant of a function whose value is given already.
#[derive(Debug, Clone, Copy)]
pub struct GivenArg;

impl Arg for GivenArg {
    type Given<'a> = ();
    type Lent = ();
    const IS_GIVEN: bool = true;
    fn lend(&self) -> &() {
        &()
    }
}

/// A constant that the function takes by value.
#[derive(Debug)]
pub struct ValueArg<T>(pub T);

impl<T: 'static> Arg for ValueArg<T> {
    type Given<'a> = T;
    type Lent = T;
    #[inline]
    fn lend(&self) -> &T {
        &self.0
    }
}

/// A constant that the function takes by reference: a value from which it is borrowed.
pub struct RefArg<T: ?Sized>(Box<dyn Borrow<T>>);

impl<T: ?Sized> fmt::Debug for RefArg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefArg")
    }
}

impl<T: ?Sized + 'static> Arg for RefArg<T> {
    type Given<'a> = &'a T;
    type Lent = T;
    #[inline]
    fn lend(&self) -> &T {
        (*self.0).borrow()
    }
}

/// How the constant of a function travels.
pub trait HasArg {
    /// What `#[arg]` takes, as a worker keeps it; [`NoArg`] without it.
    type Arg: Arg;
    /// Appends the bytes of what the caller gives to `out`.
    fn encode_arg<'a>(
        codec: Codec,
        given: &<Self::Arg as Arg>::Given<'a>,
        out: &mut impl Write,
    ) -> Result<(), String> {
        let _ = (codec, given, out);
        Ok(())
    }
    /// Decodes the value to keep from exactly these bytes.
    fn decode_arg(codec: Codec, bytes: &[u8]) -> Result<Self::Arg, String> {
        let _ = (codec, bytes);
        Err("the function takes none".into())
    }
}

/// The type behind a reference that is a constant.
#[derive(Debug)]
pub struct Kept<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> Kept<T> {
    /// The value to ask.
    pub const ASKED: Self = Self(PhantomData);
}

/// A type that is decoded as itself.
pub trait KeptByValue<T> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Decodes the value from which it is lent.
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<T>, String>;
}
impl<T: Serialize + DeserializeOwned + 'static> KeptByValue<T> for &&&Kept<T> {
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<T>, String> {
        codec.decode::<T>(bytes).map(|value| RefArg(Box::new(value)))
    }
}

/// A slice, which is decoded as a vector.
pub trait KeptAsVec<T> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Decodes the value from which it is lent.
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<[T]>, String>;
}
impl<T: Serialize + DeserializeOwned + 'static> KeptAsVec<T> for &&Kept<[T]> {
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<[T]>, String> {
        codec.decode::<Vec<T>>(bytes).map(|values| RefArg(Box::new(values)))
    }
}

/// Any other type without a size whose owner is decoded: `str`, `Path`.
pub trait KeptByOwner<T: ?Sized> {
    /// It can be lent.
    fn answer(&self) -> IsLent {
        IsLent
    }
    /// Decodes the value from which it is lent.
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<T>, String>;
}
impl<T> KeptByOwner<T> for &Kept<T>
where
    T: ?Sized + Serialize + ToOwned<Owned: DeserializeOwned + 'static> + 'static,
{
    fn decode(&self, codec: Codec, bytes: &[u8]) -> Result<RefArg<T>, String> {
        codec.decode::<T::Owned>(bytes).map(|owner| RefArg(Box::new(owner)))
    }
}

/// Any other type: an error.
pub trait NotKept<T: ?Sized> {
    /// It can't be lent.
    fn answer(&self) -> IsNotLent {
        IsNotLent
    }
    /// Never called, because the check of the parameter is a compile error.
    fn decode(&self, _: Codec, _: &[u8]) -> Result<RefArg<T>, String> {
        unreachable!("a constant cannot be decoded")
    }
}
impl<T: ?Sized> NotKept<T> for Kept<T> {}

/// A constant that each task gets by value.
#[diagnostic::on_unimplemented(
    message = "each task gets a clone of its `#[arg]`, and `{Self}` is not `Clone`",
    label = "this constant cannot be cloned",
    note = "take a reference, which is lent to each task: `#[arg] config: &Config`",
    note = "or derive it: `#[derive(Clone)]`"
)]
pub trait ClonedForTasks {}
#[diagnostic::do_not_recommend]
impl<T: Clone> ClonedForTasks for T {}

/// Asks that this constant, which tasks take by value, can be cloned.
pub const fn cloned_for_tasks<T: ClonedForTasks>() {}

/// `S: GivesArgTo<f>`: never. The bound of the function's [`RunsOn`], which the function gets by [`Job::arg`] only.
///
/// [`Job::arg`]: crate::Job::arg
#[diagnostic::on_unimplemented(
    message = "this call gives no value to the `#[arg]` of `{F}`",
    label = "`{F}` takes a constant of the call",
    note = "give it before the call: `f::job(&pool).arg(value).map(items)`",
    note = "where the task and its init function each take one: `f::job(&pool).arg(value).init_arg(other).map(items)`"
)]
pub trait GivesArgTo<F> {}

/// A task or an init function whose `#[arg]` has its value: [`Job::arg`](crate::Job::arg) and
/// [`Job::init_arg`](crate::Job::init_arg) put it in place of the function itself, as in
/// `Job<'p, WithArg<scale>, S>`.
pub struct WithArg<F>(PhantomData<F>);

impl<F> fmt::Debug for WithArg<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithArg")
    }
}

impl<F: Registered> Registered for WithArg<F> {
    fn entry() -> Option<&'static Entry> {
        F::entry()
    }
}

impl<F> HasArg for WithArg<F> {
    type Arg = GivenArg;
}

#[diagnostic::do_not_recommend]
impl<F: BorrowsFrom<S>, S> BorrowsFrom<S> for WithArg<F> {}
#[diagnostic::do_not_recommend]
impl<F: BorrowsFrom<S>, S> RunsOn<S> for WithArg<F> {}
#[diagnostic::do_not_recommend]
impl<I: InitOf<State>, State> InitOf<State> for WithArg<I> {}

#[diagnostic::do_not_recommend]
impl<T: Task> Task for WithArg<T> {
    type Item<'a> = T::Item<'a>;
    type Output = T::Output;
    type Failure = T::Failure;
    type State = T::State;
    type Shared = T::Shared;
    type Init = T::Init;
    type Exit = T::Exit;
    const DEFAULT_STATE: Option<fn() -> T::State> = T::DEFAULT_STATE;
    const DEBUG_ITEM: Option<fn(&T::Item<'_>) -> String> = T::DEBUG_ITEM;
    const PAIR: Option<Pair<Self>> = None;

    #[inline]
    fn plain_len(codec: Codec, item: &T::Item<'_>) -> Option<usize> {
        T::plain_len(codec, item)
    }

    #[inline]
    fn encode(codec: Codec, item: &T::Item<'_>, out: &mut impl ItemWriter) -> Result<(), String> {
        T::encode(codec, item, out)
    }

    #[inline]
    fn decode<R>(codec: Codec, bytes: &[u8], then: impl FnOnce(T::Item<'_>) -> R) -> Result<R, String> {
        T::decode(codec, bytes, then)
    }

    fn call(_: TaskContext<'_, Self>, _: T::Item<'_>) -> Result<T::Output, T::Failure> {
        unreachable!("a worker runs the task itself")
    }
}

#[diagnostic::do_not_recommend]
impl<I: WorkerInit> WorkerInit for WithArg<I> {
    type State = I::State;
    type Shared = I::Shared;
    fn call(_: InitContext<'_, Self>) -> Result<I::State, ReturnedError> {
        unreachable!("a worker runs the init function itself")
    }
}

/// `A: GivenTo<T, I>`: where [`Job::arg`](crate::Job::arg) of a task `T` with this constant puts its value. The task's
/// own constant goes before that of its init function `I`.
pub trait GivenTo<T, I> {
    /// The constant that gets the value.
    type Arg: Arg;
    /// The task with it.
    type Task: Task;
    /// The init function with it.
    type Init;
    /// Whether it is that of the init function.
    const IS_OF_INIT: bool;
    /// Appends the bytes of the value to `out`.
    fn encode(
        codec: Codec,
        given: &<Self::Arg as Arg>::Given<'_>,
        out: &mut impl Write,
    ) -> Result<(), String>;
}

impl<T: Task<Arg = Self>, I, V: 'static> GivenTo<T, I> for ValueArg<V> {
    type Arg = Self;
    type Task = WithArg<T>;
    type Init = I;
    const IS_OF_INIT: bool = false;
    fn encode(codec: Codec, given: &V, out: &mut impl Write) -> Result<(), String> {
        T::encode_arg(codec, given, out)
    }
}

impl<T: Task<Arg = Self>, I, V: ?Sized + 'static> GivenTo<T, I> for RefArg<V> {
    type Arg = Self;
    type Task = WithArg<T>;
    type Init = I;
    const IS_OF_INIT: bool = false;
    fn encode(codec: Codec, given: &&V, out: &mut impl Write) -> Result<(), String> {
        T::encode_arg(codec, given, out)
    }
}

impl<T: Task, I: WorkerInit> GivenTo<T, I> for NoArg {
    type Arg = I::Arg;
    type Task = T;
    type Init = WithArg<I>;
    const IS_OF_INIT: bool = true;
    fn encode(codec: Codec, given: &<I::Arg as Arg>::Given<'_>, out: &mut impl Write) -> Result<(), String> {
        I::encode_arg(codec, given, out)
    }
}

impl<T: Task, I> GivenTo<T, I> for GivenArg {
    type Arg = Self;
    type Task = T;
    type Init = I;
    const IS_OF_INIT: bool = false;
    fn encode(_: Codec, (): &(), _: &mut impl Write) -> Result<(), String> {
        unreachable!("it is not `TakenBy` anything")
    }
}

/// `A: TakenBy<T, I>`: the task `T` with this constant, or else its init function `I`, takes the value that
/// [`Job::arg`](crate::Job::arg) gives. Apart from [`GivenTo`], so that the message below is that of the error.
#[diagnostic::on_unimplemented(
    message = "neither `{T}` nor its init function has an `#[arg]` that lacks a value",
    label = "there is nothing to give a value to",
    note = "mark the parameter that takes it: `#[worker_task] fn f(#[arg] factor: f32, x: f32) -> f32`",
    note = "where the task and its init function each have one, `.init_arg(..)` gives that of the init function"
)]
pub trait TakenBy<T, I> {}
impl<T, I, V> TakenBy<T, I> for ValueArg<V> {}
impl<T, I, V: ?Sized> TakenBy<T, I> for RefArg<V> {}
#[diagnostic::do_not_recommend]
impl<T, I: WorkerInit<Arg: TakenByInit>> TakenBy<T, I> for NoArg {}

/// A constant that an init function takes.
#[diagnostic::on_unimplemented(
    message = "the init function of this job has no `#[arg]` that `.init_arg(..)` could give a value to",
    label = "no parameter of it is marked `#[arg]`, or it has its value already",
    note = "mark the one that takes it: `#[worker_init] fn connect(#[arg] url: &str) -> Db`"
)]
pub trait TakenByInit: Arg {}
impl<V: 'static> TakenByInit for ValueArg<V> {}
impl<V: ?Sized + 'static> TakenByInit for RefArg<V> {}
