//! Where a thread's stack ends. std does not tell, so it is known only of threads that this crate has started, and
//! roughly of the program's first one.

use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;

/// How much is assumed to be left of any other stack. Most have half a megabyte or more, and what is done with values
/// uses three quarters of this at most.
pub(crate) const UNKNOWN: usize = 160 << 10;

thread_local! {
    /// The range of this thread's stack that may be used; 0 to 0 if it is not known.
    static OWN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// How much of a stack is left alone at its end: this part of it, and so many bytes. Systems put data of their own
/// there.
const KEPT: (usize, usize) = (8, 16 << 10);

/// Notes that the stack of this thread has this size, and has just begun.
pub(super) fn begin(size: usize) {
    let local = 0u8;
    let here = black_box(&raw const local).addr();
    let usable = (size - size / KEPT.0).saturating_sub(KEPT.1);
    OWN.set((here.saturating_sub(usable), here.saturating_add(1)));
}

/// The range of this thread's own stack.
pub(crate) fn range() -> Option<Range<usize>> {
    let (low, high) = OWN.get();
    (high > 0).then_some(low..high)
}
