//! How much of a thread's stack is left. The depth of a value is up to whoever wrote it; each level takes stack, and a
//! stack overflow ends the process.
#![allow(unsafe_code, reason = "reads the stack pointer")]

use std::cell::Cell;

use super::own_stack::{self, UNKNOWN};

/// How much stack most values need at most. For them the range of the stack is not looked up, which on Linux reads a
/// file in /proc once per thread.
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
        let stack = own_stack::range().unwrap_or(1..1);
        STACK.set((stack.start, stack.end));
        if stack.contains(&here) {
            return stack.start;
        }
    }
    here.saturating_sub(UNKNOWN)
}

/// The stack pointer. (Not the address of a local variable, which AddressSanitizer may place elsewhere.)
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
#[inline(always)]
fn pointer() -> usize {
    let pointer;
    // SAFETY: the instruction copies a register into another, and touches no memory.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

/// The address of a local variable, where the name of the stack pointer is not known.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
#[inline(always)]
fn pointer() -> usize {
    let local = 0u8;
    std::hint::black_box(&raw const local).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::threads::spawn;

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
                let dive = move || depth::<1024>(&mut Floor::keeping_eighths(kept), usize::MAX);
                spawn("pool test".into(), Some(stack), dive).unwrap().join().unwrap() * 1024
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
            spawn("pool test".into(), Some(stack), move || run(&depth)).unwrap().join().unwrap()
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
        assert_eq!(look(1 << 20), (1 << 20) - UNKNOWN);
        assert_eq!(look(5), 0);
    }
}
