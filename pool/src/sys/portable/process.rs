//! Child processes, of which there are none.

use std::sync::Arc;
use std::time::Duration;

use super::errno::Errno;
use super::handle::Handle;
use super::memory::Killed;
use super::poll::Source;
use crate::sys::ExitStatus;

#[derive(Debug)]
pub(crate) enum Process {}

impl Process {
    pub(crate) fn pid(&self) -> i32 {
        match *self {}
    }

    pub(crate) fn pidfd(&self) -> Source<'_> {
        match *self {}
    }

    pub(crate) fn is_unwatched(&self) -> bool {
        match *self {}
    }

    pub(crate) fn sleeps(&self) -> bool {
        match *self {}
    }

    pub(crate) fn kill(&mut self) {
        match *self {}
    }

    pub(crate) fn kill_refused(&self) -> Option<Errno> {
        match *self {}
    }

    pub(crate) fn try_reap(&mut self) -> Option<ExitStatus> {
        match *self {}
    }

    pub(crate) fn check_trap(&mut self) {
        match *self {}
    }

    pub(crate) fn killed_as(&self) -> Option<&Killed> {
        match *self {}
    }

    pub(crate) fn reap_within(&mut self, _: Duration) -> Option<ExitStatus> {
        match *self {}
    }

    pub(crate) fn is_stuck(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_dying(&self) -> bool {
        match *self {}
    }

    pub(crate) fn give_up(&mut self) -> Arc<Handle> {
        match *self {}
    }
}
