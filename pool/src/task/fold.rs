//! Tasks in another form: as a call sees them whose results are folded in the workers. Their entries in the registry
//! are those of the tasks themselves.

use std::convert::Infallible;
use std::io::Write;
use std::marker::PhantomData;

use super::arg::NoArg;
use super::{BorrowsFrom, ByDefault, Entry, HasArg, NoExit, Pair, Registered, RunsOn, Task, TaskContext};
use crate::codec::{Codec, ItemWriter};
use crate::task::Output;

/// `g: Reduces<R>`: the task makes one `R` of two, as [`Job::reduce`](crate::Job::reduce) wants it.
///
/// Sealed: every [`Task`] that fits has it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot reduce results of type `{R}`",
    label = "a task reduces if it takes two of these results and returns one",
    note = "write it as `#[worker_task] fn reduce(one: {R}, other: {R}) -> {R}`",
    note = "it may borrow the pool's value with `#[shared]`, but it has no `#[state]`, `#[arg]`, `init` or `exit`"
)]
pub trait Reduces<R>: Task {}
#[diagnostic::do_not_recommend]
impl<G, R> Reduces<R> for G where
    G: for<'a> Task<Item<'a> = (R, R), Output = R, State = (), Arg = NoArg, Init = ByDefault, Exit = NoExit>
{
}

/// A value into which the results of consecutive tasks are folded, still encoded.
pub(crate) struct Folded {
    /// How many tasks those are.
    pub(crate) tasks: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Output for Folded {
    fn plain(&self, _: Codec) -> Option<&[u8]> {
        None
    }

    fn encode(&self, _: Codec, _: &mut impl Write) -> Result<(), String> {
        unreachable!("a worker folds the results of the task itself")
    }

    fn decode(_: Codec, bytes: &[u8]) -> Result<Self, String> {
        let (tasks, bytes) = bytes.split_first_chunk().ok_or("the value has no number of tasks")?;
        Ok(Self { tasks: u32::from_le_bytes(*tasks), bytes: bytes.to_vec() })
    }

    fn tasks(values: &[Self]) -> u64 {
        values.iter().map(|value| u64::from(value.tasks)).sum()
    }
}

/// The task, with results that are folded.
pub(crate) struct FoldedTask<T>(PhantomData<T>);

impl<T: Registered> Registered for FoldedTask<T> {
    fn entry() -> Option<&'static Entry> {
        T::entry()
    }
}

impl<T: RunsOn<S>, S> RunsOn<S> for FoldedTask<T> {}
impl<T: BorrowsFrom<S>, S> BorrowsFrom<S> for FoldedTask<T> {}
impl<T: HasArg> HasArg for FoldedTask<T> {
    type Arg = T::Arg;
}

impl<T: Task> Task for FoldedTask<T> {
    type Item<'a> = T::Item<'a>;
    type Output = Folded;
    type Failure = Infallible;
    type State = T::State;
    type Shared = T::Shared;
    type Init = T::Init;
    type Exit = T::Exit;
    const DEFAULT_STATE: Option<fn() -> T::State> = T::DEFAULT_STATE;
    const DEBUG_ITEM: Option<fn(&T::Item<'_>) -> String> = T::DEBUG_ITEM;
    const PAIR: Option<Pair<Self>> = None;

    fn encode(codec: Codec, item: &T::Item<'_>, out: &mut impl ItemWriter) -> Result<(), String> {
        T::encode(codec, item, out)
    }

    fn decode<R>(codec: Codec, bytes: &[u8], then: impl FnOnce(T::Item<'_>) -> R) -> Result<R, String> {
        T::decode(codec, bytes, then)
    }

    fn call(_: TaskContext<'_, Self>, _: T::Item<'_>) -> Result<Folded, Infallible> {
        unreachable!("a worker runs the task itself")
    }
}

/// The reducing task, over values that are encoded: each item is some neighbours, which it folds into one.
pub(crate) struct ValuesOf<G>(PhantomData<G>);

/// Encoded values in a row.
pub(crate) struct Values<'a>(pub(crate) Vec<&'a [u8]>);

/// A value that stays encoded.
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl Output for Encoded {
    fn plain(&self, _: Codec) -> Option<&[u8]> {
        None
    }

    fn encode(&self, _: Codec, _: &mut impl Write) -> Result<(), String> {
        unreachable!("a worker runs the reducing task itself")
    }

    fn decode(_: Codec, bytes: &[u8]) -> Result<Self, String> {
        Ok(Self(bytes.to_vec()))
    }
}

impl<G: Registered> Registered for ValuesOf<G> {
    fn entry() -> Option<&'static Entry> {
        G::entry()
    }
}

impl<G: BorrowsFrom<S>, S> RunsOn<S> for ValuesOf<G> {}
impl<G: BorrowsFrom<S>, S> BorrowsFrom<S> for ValuesOf<G> {}
impl<G> HasArg for ValuesOf<G> {
    type Arg = NoArg;
}

impl<G: Task> Task for ValuesOf<G> {
    type Item<'a> = Values<'a>;
    type Output = Encoded;
    type Failure = Infallible;
    type State = ();
    type Shared = G::Shared;
    type Init = ByDefault;
    type Exit = NoExit;
    const DEFAULT_STATE: Option<fn()> = None;
    const DEBUG_ITEM: Option<fn(&Values<'_>) -> String> = None;
    const PAIR: Option<Pair<Self>> = None;

    fn encode(_: Codec, item: &Values<'_>, out: &mut impl ItemWriter) -> Result<(), String> {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|error| error.to_string());
        item.0.iter().try_for_each(|value| {
            write(&(value.len() as u64).to_le_bytes())?;
            write(value)
        })
    }

    fn decode<R>(_: Codec, _: &[u8], _: impl FnOnce(Values<'_>) -> R) -> Result<R, String> {
        Err("encoded values are not shown".into())
    }

    fn call(_: TaskContext<'_, Self>, _: Values<'_>) -> Result<Encoded, Infallible> {
        unreachable!("a worker runs the reducing task itself")
    }
}

/// Splits the bytes of [`Values`].
pub(crate) struct EncodedValues<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for EncodedValues<'a> {
    type Item = Result<&'a [u8], String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let value = self.0.split_first_chunk().and_then(|(len, rest)| {
            let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
            rest.split_at_checked(len)
        });
        let (value, rest) = value.map_or((None, &[][..]), |(value, rest)| (Some(value), rest));
        self.0 = rest;
        Some(value.ok_or_else(|| "the item ends within a value".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let values: [&[u8]; 3] = [b"one", b"", b"three"];
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        assert_eq!(EncodedValues(&bytes).collect::<Result<Vec<_>, _>>().unwrap(), values);
        for cut in 1..11 {
            assert!(EncodedValues(&bytes[..cut]).any(|value| value.is_err()), "{cut}");
        }
        assert_eq!(EncodedValues(&[]).count(), 0);
    }
}
