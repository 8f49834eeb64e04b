//! Without the feature `stream` no stream is open.

use std::iter;
use std::task::Waker;

use super::{Awaits, State};

#[derive(Default)]
pub(crate) struct Streams(());

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        true
    }

    pub(super) fn awaited(&self) -> impl Iterator<Item = Awaits> {
        iter::empty()
    }
}

impl State {
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        Vec::new()
    }
}
