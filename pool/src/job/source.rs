//! Where the items of a call come from. An iterator is asked, and may take any time to answer. A channel is only looked
//! at, so that its caller can wait for the call meanwhile, and notices that it was cancelled.
#![allow(unsafe_code, reason = "a generic input that is a receiver is used as one")]

use std::iter::Fuse;
use std::mem::{ManuallyDrop, transmute_copy};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(super) enum Source<I: Iterator> {
    Iterator(Fuse<I>),
    /// Its other end may wait for results before it gives more. The mutex makes it as shareable as its items, and is
    /// never locked.
    Channel(Mutex<Receiver<I::Item>>),
}

impl<I: Iterator> Source<I> {
    pub(super) fn of<C: IntoIterator<Item = I::Item, IntoIter = I>>(items: C) -> Self {
        if typeid::of::<C>() != typeid::of::<Receiver<C::Item>>() {
            return Self::asked(items);
        }
        let items = ManuallyDrop::new(items);
        // SAFETY: `C` is `Receiver<X>` for some `X`, as the comparison shows for all but lifetimes. A `Receiver<X>` is
        // an `IntoIterator` of `X`, so `X` is `C::Item`, lifetimes included. The original is not used or dropped.
        Self::Channel(Mutex::new(unsafe { transmute_copy::<C, Receiver<C::Item>>(&items) }))
    }

    /// A source that is asked, whatever it is.
    pub(super) fn asked(items: impl IntoIterator<Item = I::Item, IntoIter = I>) -> Self {
        Self::Iterator(items.into_iter().fuse())
    }

    pub(super) fn is_channel(&self) -> bool {
        matches!(self, Self::Channel(_))
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Iterator(items) => items.size_hint(),
            Self::Channel(_) => (0, None),
        }
    }

    /// Takes at most `most` items. True if no more will come. A channel gives only what is there.
    pub(super) fn take(&mut self, most: usize, items: &mut Vec<I::Item>) -> bool {
        match self {
            Self::Iterator(input) => {
                let before = items.len();
                items.extend(input.by_ref().take(most));
                items.len() - before < most
            }
            Self::Channel(channel) => {
                let channel = channel.get_mut().unwrap_or_else(PoisonError::into_inner);
                for _ in 0..most {
                    match channel.try_recv() {
                        Ok(item) => items.push(item),
                        Err(error) => return error == TryRecvError::Disconnected,
                    }
                }
                false
            }
        }
    }

    /// Waits for an item of a channel, at most this long. True if no more will come.
    pub(super) fn wait(&mut self, limit: Duration, items: &mut Vec<I::Item>) -> bool {
        let Self::Channel(channel) = self else { return false };
        match channel.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(limit) {
            Ok(item) => {
                items.push(item);
                false
            }
            Err(error) => error == RecvTimeoutError::Disconnected,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn only_a_receiver_is_a_channel() {
        let text = String::from("a");
        let (send, receive) = channel();
        for _ in 0..3 {
            send.send(&*text).unwrap();
        }
        let mut source = Source::of(receive);
        let mut items = Vec::new();
        assert!(source.is_channel() && !source.take(2, &mut items) && items.len() == 2);
        assert!(!source.wait(Duration::ZERO, &mut items) && !source.take(2, &mut items) && items.len() == 3);
        drop(send);
        assert!(source.take(1, &mut items) && source.wait(Duration::ZERO, &mut items) && items == ["a"; 3]);
        let (send, receive) = channel::<u8>();
        assert!(!Source::of(receive.iter()).is_channel() && !Source::of(vec![1]).is_channel());
        drop(send);
    }
}
