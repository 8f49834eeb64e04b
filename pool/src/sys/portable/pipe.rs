//! Pipes from a worker to its parent, in memory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::local::Local;
use super::poll::{Bell, Source};

/// A pipe accepts this many bytes at once, or none.
pub(crate) const PIPE_BUF: usize = 4096;

/// How much a pipe holds that nobody has read: as much as one of Linux.
const CAPACITY: usize = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// What to ring when bytes come, and with which tag.
    listener: Option<(Arc<Bell>, u64)>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on reports bytes that come, and those that are there.
    pub(super) fn report_to(&self, bell: &Arc<Bell>, tag: u64) {
        let mut state = self.lock();
        if !state.bytes.is_empty() {
            bell.report(tag);
        }
        state.listener = Some((Arc::clone(bell), tag));
    }
}

/// The reading end, which never blocks.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Pipe>);

/// The writing end, on its way to a new worker.
pub(crate) type Writer = Local<Arc<Pipe>>;

/// A pipe.
pub(crate) fn pipe() -> io::Result<(Reader, Writer)> {
    let pipe = Arc::new(Pipe::default());
    Ok((Reader(Arc::clone(&pipe)), Local(pipe)))
}

impl Reader {
    /// Appends the bytes that are available, `at_most` at most.
    pub(crate) fn read_into(&self, out: &mut Vec<u8>, at_most: usize) {
        let mut state = self.0.lock();
        let len = state.bytes.len().min(at_most);
        out.extend(state.bytes.drain(..len));
    }

    /// Reports when there is something to read.
    pub(crate) fn source(&self) -> Source<'_> {
        &self.0
    }
}

/// The writing end in a worker. It never blocks.
#[derive(Debug)]
pub(crate) struct Outlet(Arc<Pipe>);

impl Outlet {
    pub(crate) fn open(writer: Writer) -> io::Result<Self> {
        Ok(Self(writer.0))
    }

    /// Writes at most [`PIPE_BUF`] bytes: all of them, or none. False for none.
    #[must_use]
    pub(crate) fn write(&self, bytes: &[u8]) -> bool {
        debug_assert!(bytes.len() <= PIPE_BUF);
        let mut state = self.0.lock();
        if state.bytes.len() + bytes.len() > CAPACITY {
            return false;
        }
        state.bytes.extend(bytes);
        if let Some((bell, tag)) = &state.listener {
            bell.report(*tag);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::{PollSet, PollState};

    #[test]
    fn a_full_pipe_takes_nothing_until_it_is_read() {
        let (reader, writer) = pipe().unwrap();
        let writer = Outlet::open(writer).unwrap();
        let written = (0..).take_while(|byte| writer.write(&[*byte as u8; PIPE_BUF])).count();
        assert_eq!(written * PIPE_BUF, CAPACITY);
        let mut read = Vec::new();
        reader.read_into(&mut read, 10);
        assert!(read == [0; 10] && !writer.write(&[1; PIPE_BUF]) && writer.write(&[1; 10]));
        reader.read_into(&mut read, usize::MAX);
        assert_eq!(read.len(), CAPACITY + 10);
    }

    #[test]
    fn each_time_bytes_come_they_are_reported_once() {
        let (set, (reader, writer)) = (PollSet::new().unwrap(), pipe().unwrap());
        let writer = Outlet::open(writer).unwrap();
        let reported = || {
            let mut tags = Vec::new();
            assert_eq!(set.poll_now(|tag| tags.push(tag)), PollState::Intact);
            tags
        };
        assert!(writer.write(b"before"));
        set.intact().unwrap().add_once(reader.source(), 7).unwrap();
        assert_eq!((reported(), reported()), (vec![7], vec![]));
        assert!(writer.write(b"one") && writer.write(b"more"));
        assert_eq!((reported(), reported()), (vec![7], vec![]));
    }
}
