//! How much of a thread's stack is left. The depth of a value is up to whoever wrote it; each level takes stack, and a
//! stack overflow ends the process.
#![allow(unsafe_code, reason = "reads the stack pointer, and asks the C library where the stack is")]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

use nix::libc;

/// How much is assumed to be left of a stack that is not the thread's own, such as a coroutine's, whose end is not
/// known. Such stacks usually have a megabyte, and at least 64 KiB.
const UNKNOWN: usize = 48 << 10;

/// How much stack most values need at most. For them the range of the stack is not looked up, which reads a file in
/// /proc once per thread.
const SHALLOW: usize = 4 << 10;

/// The most stack that is used, because a stack without a limit could take all of the machine's memory.
const MOST: usize = 1 << 30;

thread_local! {
    /// The range of this thread's stack; 0 to 0 before it is known.
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The address on this thread's stack below which recursion must not go. It is computed when more than [`SHALLOW`] is
/// used: most values never ask.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    place: usize,
    kept: usize,
    is_found: bool,
}

impl Floor {
    /// Keeps this many eighths of the stack that is left below [`SHALLOW`].
    #[inline]
    pub(crate) fn keeping_eighths(kept: usize) -> Self {
        Self { place: pointer().saturating_sub(SHALLOW), kept, is_found: false }
    }

    #[inline]
    pub(crate) fn is_reached(&mut self) -> bool {
        pointer() < self.place && self.is_found_reached()
    }

    #[cold]
    fn is_found_reached(&mut self) -> bool {
        if self.is_found {
            return true;
        }
        let here = pointer();
        self.is_found = true;
        let low = end_of(here);
        self.place = low + (here - low) / 8 * self.kept;
        here < self.place
    }
}

/// How much of this thread's stack is left.
pub(crate) fn left() -> usize {
    let here = pointer();
    here - end_of(here)
}

/// Runs this as if no more than `most` were left of this thread's stack; not at all if less is left.
pub(crate) fn with_at_most(most: usize, run: impl FnOnce()) {
    struct Restore((usize, usize));
    impl Drop for Restore {
        fn drop(&mut self) {
            STACK.set(self.0);
        }
    }
    let here = pointer();
    if here - end_of(here) >= most {
        let _restore = Restore(STACK.get());
        STACK.set((here - most, here + 1));
        run();
    }
}

/// The end of the stack that contains this address, or that of the part which may be used.
fn end_of(here: usize) -> usize {
    let (low, high) = STACK.get();
    let low = if (low..high).contains(&here) { low } else { look(here) };
    low.max(here.saturating_sub(MOST))
}

/// The end of the stack that contains this address.
#[cold]
fn look(here: usize) -> usize {
    if STACK.get() == (0, 0) {
        // If the system does not know, an address range that contains nothing, so that it is not asked again.
        let stack = own().unwrap_or(1..1);
        STACK.set((stack.start, stack.end));
        if stack.contains(&here) {
            return stack.start;
        }
    }
    here.saturating_sub(UNKNOWN)
}

/// The range of this thread's own stack.
fn own() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the call writes the attributes of the calling thread into a live variable.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call above succeeded, so it has written the attributes.
    let mut attributes = unsafe { attributes.assume_init() };
    let (mut low, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialized, and destroyed once, at the end; the other call writes into live
    // variables.
    let error = unsafe {
        let error = libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut len);
        libc::pthread_attr_destroy(&raw mut attributes);
        error
    };
    (error == 0).then(|| low.addr()..low.addr().saturating_add(len))
}

/// The stack pointer. (Not the address of a local variable, which AddressSanitizer may place elsewhere.)
#[inline(always)]
fn pointer() -> usize {
    #[cfg(miri)]
    let pointer = (&raw const *&0u8).addr();
    #[cfg(not(miri))]
    let pointer;
    // SAFETY: the instruction copies a register into another, and touches no memory.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: as above.
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many levels of `BYTES` fit above the floor, counting to `most` at most.
    #[inline(never)]
    fn depth<const BYTES: usize>(floor: &mut Floor, most: usize) -> usize {
        let bytes = std::hint::black_box([0u8; BYTES]);
        if floor.is_reached() || most == 0 {
            return 0;
        }
        let deeper = depth::<BYTES>(floor, most - 1);
        std::hint::black_box(&bytes);
        deeper + 1
    }

    #[test]
    fn the_floor_leaves_what_was_asked_for() {
        for stack in [256 << 10, 2 << 20] {
            let of = |kept| {
                let thread = std::thread::Builder::new().stack_size(stack);
                let thread =
                    thread.spawn(move || depth::<1024>(&mut Floor::keeping_eighths(kept), usize::MAX));
                thread.unwrap().join().unwrap() * 1024
            };
            let (half, most) = (of(4), of(1));
            assert!(half <= stack / 2 && most <= stack && most > half / 2 * 3, "{half} {most} of {stack}");
        }
        assert!(depth::<1024>(&mut Floor::keeping_eighths(4), 20) == 20);
    }

    #[test]
    fn a_part_of_a_stack_is_used_like_a_whole_one() {
        let depth = || depth::<1024>(&mut Floor::keeping_eighths(4), usize::MAX) * 1024;
        let on = |stack, run: fn(&dyn Fn() -> usize) -> usize| {
            let thread = std::thread::Builder::new().stack_size(stack);
            thread.spawn(move || run(&depth)).unwrap().join().unwrap()
        };
        let small = on(256 << 10, |depth| depth());
        let part = on(2 << 20, |depth| {
            let mut part = 0;
            with_at_most(256 << 10, || part = depth());
            with_at_most(left() + 1, || panic!("there is less"));
            assert!(depth() > 2 * part, "it is restored");
            part
        });
        assert!(part.abs_diff(small) < 16 << 10, "{part} {small}");
    }

    #[test]
    fn nobody_asks_for_a_shallow_value() {
        let asked = |levels| {
            let dive = move || {
                depth::<256>(&mut Floor::keeping_eighths(4), levels);
                STACK.get() != (0, 0)
            };
            std::thread::spawn(dive).join().unwrap()
        };
        assert!(!asked(2) && asked(100));
    }

    #[test]
    fn a_foreign_stack_has_a_little() {
        assert_eq!(look(100 << 10), (100 << 10) - UNKNOWN);
        assert_eq!(look(5), 0);
    }
}
