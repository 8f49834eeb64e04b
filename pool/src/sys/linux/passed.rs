//! Descriptors as fields of a message: [`Passed`] and [`Lent`]. A message is a record like any other. While it is
//! encoded, its descriptors are noted in order, to be sent beside the bytes; while it is decoded, they are taken in the
//! same order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::fd::Fd;

/// A descriptor on its way to a new worker.
#[derive(Debug)]
pub(crate) struct Passed(Fd);

impl Passed {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Fd::new(fd).map(Self)
    }

    pub(crate) fn into_owned(self) -> OwnedFd {
        self.0.into_owned()
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that a message copies to the receiver, where it arrives as a [`Passed`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lent<'f>(BorrowedFd<'f>);

impl<'f> Lent<'f> {
    pub(crate) fn new(fd: &'f impl AsFd) -> Self {
        Self(fd.as_fd())
    }
}

impl<'f> From<BorrowedFd<'f>> for Lent<'f> {
    fn from(fd: BorrowedFd<'f>) -> Self {
        Self(fd)
    }
}

// Neither value is dropped with its thread, so both are there while destructors of other thread-local values and
// handlers of `atexit` use a pool. The functions below leave them empty.
thread_local! {
    /// The descriptors of the message that this thread is encoding.
    static NOTED: RefCell<Option<ManuallyDrop<Vec<RawFd>>>> = const { RefCell::new(None) };
    /// The descriptors of the message that this thread is decoding.
    static CAME: RefCell<ManuallyDrop<VecDeque<OwnedFd>>> = const { RefCell::new(ManuallyDrop::new(VecDeque::new())) };
}

/// Encodes a message, and returns the numbers of its descriptors, which are valid as long as the message is.
pub(crate) fn noting<R>(encode: impl FnOnce() -> R) -> (R, Vec<RawFd>) {
    NOTED.set(Some(ManuallyDrop::default()));
    let encoded = encode();
    (encoded, NOTED.take().map_or_else(Vec::new, ManuallyDrop::into_inner))
}

/// Decodes a message that came with these descriptors. Descriptors that it does not take are closed.
pub(crate) fn with_those<R>(came: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> R {
    CAME.set(ManuallyDrop::new(came.into()));
    let decoded = decode();
    drop(ManuallyDrop::into_inner(CAME.take()));
    decoded
}

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_noted = NOTED
            .with_borrow_mut(|noted| noted.as_mut().map(|noted| noted.push(self.0.as_raw_fd())).is_some());
        if !is_noted {
            return Err(ser::Error::custom("a descriptor goes in a control message only"));
        }
        serializer.serialize_unit()
    }
}

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Lent::new(self.0.intact().map_err(ser::Error::custom)?).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        let fd = CAME.with_borrow_mut(|came| came.pop_front());
        let fd = fd.ok_or_else(|| de::Error::custom("the message came without one of its descriptors"))?;
        Self::new(fd).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::fstat;

    use super::*;
    use crate::codec::{decode_record, encode_record};

    #[derive(Serialize, Deserialize)]
    struct Message<F> {
        first: F,
        number: u64,
        more: Vec<Option<F>>,
    }

    fn encoded(message: &impl Serialize) -> (Vec<u8>, Vec<RawFd>) {
        let mut bytes = Vec::new();
        let (encoded, noted) = noting(|| encode_record(message, &mut bytes));
        encoded.unwrap();
        (bytes, noted)
    }

    #[test]
    fn each_comes_out_where_it_went_in() {
        let pipes: Vec<_> = (0..3).map(|_| io::pipe().unwrap().0).collect();
        let lent = |at: usize| Lent::new(&pipes[at]);
        let (bytes, noted) =
            encoded(&Message { first: lent(2), number: 7, more: vec![None, Some(lent(0)), Some(lent(1))] });
        assert_eq!(noted, [2, 0, 1].map(|at: usize| pipes[at].as_raw_fd()));

        let copies = || [2, 0, 1].map(|at: usize| pipes[at].as_fd().try_clone_to_owned().unwrap()).into();
        let message: Message<Passed> = with_those(copies(), || decode_record(&bytes)).unwrap();
        let inode = |fd: &dyn AsFd| fstat(fd.as_fd()).unwrap().st_ino;
        assert_eq!((inode(&message.first), message.number), (inode(&pipes[2]), 7));
        let [None, Some(second), Some(third)] = &message.more[..] else { panic!() };
        assert_eq!((inode(second), inode(third)), (inode(&pipes[0]), inode(&pipes[1])));

        let mut too_few: Vec<OwnedFd> = copies();
        too_few.pop();
        let missing = with_those(too_few, || decode_record::<Message<Passed>>(&bytes));
        assert!(missing.err().unwrap().contains("without one of its descriptors"));
    }

    #[test]
    fn other_records_have_none() {
        let (pipe, _) = io::pipe().unwrap();
        let refused = encode_record(&Lent::new(&pipe), &mut Vec::new()).unwrap_err();
        assert!(refused.contains("in a control message only"), "{refused}");
    }
}
