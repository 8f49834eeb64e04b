//! Lends an array to the tasks of a call, piece by piece, so that each has a plain slice of the shared memory itself.
//!
//! **The lender** is a blocking call with a `&mut SharedArray`, or with a `&SharedArray` to which others may write
//! meanwhile. A [`Loan`] is in its frame, and ends when no worker has a task of the call any more: each task was
//! answered, or recalled before it had begun, or its worker is dead and reaped (the engine's `quiesce` waits for that).
//! With `&mut`, the loan is the array's only use in all processes: no other process can attach it (see
//! [`lease`](crate::shared::memory::lease)).
//!
//! **A task** gets a [`Piece`] as its item, which names the memory and some of its elements. The pieces of one call do
//! not overlap, each is the item of one task, and at any time at most one worker has a task.
//!
//! **The borrower**, a worker, maps the memory without a lease and touches it only while a task with a piece runs. The
//! mapping stays between tasks and calls, because a new one costs a page fault for every few pages. Nothing uses it in
//! between, so it does not keep others from having the array alone; nor does it keep the memory alive
//! (`Region::free_if_lent`). A borrower that is a thread of the lender uses the lender's mapping.
//!
//! **Forks.** If a process forks while it lends, nothing in the child can reach the array: the only handle is borrowed
//! by a frame that never runs there (`leave_lent`). A process that has a piece in place does not fork
//! ([`refuse_fork`]).
#![allow(unsafe_code, reason = "knows where in shared memory the pieces lie, and who has them")]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;
use serde::{Deserialize, Serialize};

use super::element::Element;
use crate::error::Error;
use crate::shared::SharedArray;
use crate::shared::memory::{Excluded, Handle, Holder, Id, Memory, Region};

/// The ways in which a task may use its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Terms {
    /// Copy the elements out, each atomically: others may write to them meanwhile.
    Copy,
    /// Read them in place: nothing writes to them.
    Read,
    /// Read and write them in place: nothing else reads or writes them.
    Write,
}

/// An array on loan, on the lender's side.
#[derive(Debug)]
pub(crate) struct Loan<'a> {
    region: &'a Region,
    terms: Terms,
    len: usize,
    _alone: Option<Excluded<'a>>,
}

/// Some elements of an array on loan, as sent to a task.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Piece {
    handle: Handle,
    terms: Terms,
    start: u64,
    len: u64,
}

impl<'a> Loan<'a> {
    /// For tasks that read while others may write.
    pub(crate) fn copied<T>(array: &'a SharedArray<T>) -> Self {
        array.region().note_lent();
        Self { region: array.region(), terms: Terms::Copy, len: array.len(), _alone: None }
    }

    /// For tasks that read in place.
    pub(crate) fn read<T>(array: &'a mut SharedArray<T>) -> Result<Self, Error> {
        Self::alone(array, Terms::Read)
    }

    /// For tasks that read and write in place.
    pub(crate) fn written<T>(array: &'a mut SharedArray<T>) -> Result<Self, Error> {
        Self::alone(array, Terms::Write)
    }

    fn alone<T>(array: &'a mut SharedArray<T>, terms: Terms) -> Result<Self, Error> {
        let array = &*array;
        let alone = array.region().exclude(Holder::Call)?;
        array.region().note_lent();
        Ok(Self { region: array.region(), terms, len: array.len(), _alone: Some(alone) })
    }

    /// How many elements it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes the piece with these elements, for one task. Pieces for writing must not overlap.
    pub(crate) fn piece(&self, elements: &Range<usize>) -> Piece {
        assert!(elements.start <= elements.end && elements.end <= self.len, "a piece lies in its array");
        let handle = self.region.handle_on_loan(self.len);
        Piece { handle, terms: self.terms, start: elements.start as u64, len: elements.len() as u64 }
    }
}

/// How this process has mapped the memory of a piece.
#[derive(Debug)]
enum Mapping {
    Own(Arc<Region>),
    Lenders(Arc<Memory>),
}

impl Mapping {
    fn base(&self) -> NonNull<u8> {
        match self {
            Self::Own(region) => region.base(),
            Self::Lenders(memory) => memory.base(),
        }
    }
}

/// How many arrays of other processes stay mapped: a call seldom lends more at once, and each takes up address space.
const MOST_MAPPED: usize = 4;

/// The arrays of other processes that are mapped here, the most recently used last.
static MAPPED: Mutex<Vec<(Id, Arc<Memory>)>> = Mutex::new(Vec::new());

/// How many pieces the tasks of this process use in place.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// An error if a task of this process uses a piece in place, because a fork would have it too.
pub(in crate::shared) fn refuse_fork() -> Result<(), String> {
    if AT_WORK.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    Err("a task here works on a piece of a SharedArray in place, and a fork would copy that: use another start method, \
         or build the pool before"
        .into())
}

/// A piece that a task uses in place.
#[derive(Debug)]
pub(crate) struct InPlace<T> {
    first: NonNull<T>,
    len: usize,
    /// Keeps the memory.
    _mapping: Mapping,
    elements: PhantomData<T>,
}

// SAFETY: it acts as a slice of `T` in memory that it keeps mapped itself, so it may go to a thread if the slice may.
unsafe impl<T: Send> Send for InPlace<T> {}
// SAFETY: `&InPlace` gives out only shared references to elements.
unsafe impl<T: Sync> Sync for InPlace<T> {}

impl Piece {
    /// The elements, copied.
    fn copy<T: Pod>(self) -> Result<Vec<T>, String> {
        let (mapping, range) = self.map::<T>()?;
        let first = mapping.base().cast::<T>();
        let element = |index| {
            // SAFETY: `map` checked that the range is within the mapping, which outlives the `Element`. The mapping is
            // aligned to a page, so each element is aligned to its size. On these terms there is no `&mut` to the array
            // anywhere, so all other access to it is through an `Element` too.
            let element = unsafe { Element::new_if_fits(first.add(index)) };
            element.map(Element::load)
        };
        let copy: Option<Vec<T>> = range.map(element).collect();
        copy.ok_or_else(|| "an array has no elements of this size".into())
    }

    /// The elements in place, on these terms.
    fn in_place<T: Pod>(self) -> Result<InPlace<T>, String> {
        let (mapping, range) = self.map::<T>()?;
        // SAFETY: `map` checked that the range is within the mapping.
        let first = unsafe { mapping.base().cast::<T>().add(range.start) };
        AT_WORK.fetch_add(1, Ordering::Relaxed);
        Ok(InPlace { first, len: range.len(), _mapping: mapping, elements: PhantomData })
    }

    /// Maps the array to which this piece belongs. The range in the result is within it.
    fn map<T: Pod>(self) -> Result<(Mapping, Range<usize>), String> {
        let wrong = || "the piece does not lie in its array".to_owned();
        let number = |number: u64| usize::try_from(number).map_err(|_| wrong());
        let (count, start, len) = (number(self.handle.count)?, number(self.start)?, number(self.len)?);
        let end = start.checked_add(len).filter(|end| *end <= count).ok_or_else(wrong)?;
        let kind = SharedArray::<T>::kind();
        let bytes = SharedArray::<T>::bytes_of(count).ok_or_else(wrong)?;
        if self.handle.process == std::process::id() {
            let own = Region::own_on_loan(&self.handle, kind, bytes).ok_or("the array is not there")?;
            if self.terms != Terms::Copy && !own.is_lent() {
                return Err("the call that lent the array is over".into());
            }
            return Ok((Mapping::Own(own), start..end));
        }
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = mapped.iter().position(|(id, memory)| *id == self.handle.id && memory.len() == bytes);
        let known = match known {
            Some(place) => mapped.remove(place),
            None => (self.handle.id, Arc::new(self.handle.open(kind, bytes)?)),
        };
        let memory = known.1.clone();
        if mapped.len() == MOST_MAPPED {
            mapped.remove(0);
        }
        mapped.push(known);
        Ok((Mapping::Lenders(memory), start..end))
    }
}

/// A piece that a task reads.
#[derive(Debug)]
pub(crate) enum ToRead<T> {
    Copied(Vec<T>),
    InPlace(InPlace<T>),
}

impl<T: Pod> ToRead<T> {
    pub(crate) fn open(piece: Piece) -> Result<Self, String> {
        match piece.terms {
            Terms::Copy => piece.copy().map(Self::Copied),
            Terms::Read => piece.in_place().map(Self::InPlace),
            Terms::Write => Err("the piece is not lent for reading".into()),
        }
    }

    pub(crate) fn slice(&self) -> &[T] {
        match self {
            Self::Copied(copy) => copy,
            // SAFETY: the elements are mapped, aligned, and valid with any bytes, because `T` is `Pod`. Nothing writes
            // to them while the task with this piece runs: the lender has the only `&mut` to the array, lends it only
            // for reading, and waits until the task is over.
            Self::InPlace(InPlace { first, len, .. }) => unsafe {
                std::slice::from_raw_parts(first.as_ptr(), *len)
            },
        }
    }
}

/// A piece to which a task writes.
#[derive(Debug)]
pub(crate) struct ToWrite<T>(InPlace<T>);

impl<T: Pod> ToWrite<T> {
    pub(crate) fn open(piece: Piece) -> Result<Self, String> {
        match piece.terms {
            Terms::Write => piece.in_place().map(Self),
            Terms::Copy | Terms::Read => Err("the piece is not lent for writing".into()),
        }
    }

    pub(crate) fn slice(&mut self) -> &mut [T] {
        let Self(InPlace { first, len, .. }) = self;
        // SAFETY: the elements are mapped, aligned, and valid with any bytes, because `T` is `Pod`. Nothing else
        // accesses them while the task with this piece runs: the lender has the only `&mut` to the array and waits
        // until the task is over, no other piece overlaps this one, and no other worker has it.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), *len) }
    }
}

impl<T> Drop for InPlace<T> {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_open_on_their_terms_while_the_loan_lasts() {
        let mut array = SharedArray::from_slice(&[1u32, 2, 3, 4]).unwrap();
        let loan = Loan::written(&mut array).unwrap();
        let piece = loan.piece(&(1..3));
        assert!(ToRead::<u32>::open(piece).is_err(), "other terms");
        assert!(ToWrite::<i32>::open(piece).is_err(), "another type");
        let beyond = Piece { start: 3, ..piece };
        assert!(ToWrite::<u32>::open(beyond).is_err());
        let mut open = ToWrite::<u32>::open(piece).unwrap();
        assert!(crate::shared::refuse_fork().unwrap_err().contains("in place"));
        open.slice().copy_from_slice(&[7, 8]);
        drop((open, loan));
        assert!(ToWrite::<u32>::open(piece).is_err(), "the loan is over");
        assert_eq!(array.to_vec(), [1, 7, 8, 4]);
        let loan = Loan::copied(&array);
        let piece = loan.piece(&(0..3));
        array.set(2, 9);
        assert_eq!(ToRead::<u32>::open(piece).unwrap().slice(), [1, 7, 9]);
        drop(loan);
        let loan = Loan::read(&mut array).unwrap();
        assert_eq!(ToRead::<u32>::open(loan.piece(&(3..4))).unwrap().slice(), [4]);
    }
}
