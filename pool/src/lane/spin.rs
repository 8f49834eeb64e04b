//! Spins before a sleep, if that has paid off lately: a sleep and its wake-up take two system calls, a successful spin
//! none.

use crate::sys::clock::now_ns;

/// Decides whether to spin by how the last spins went.
#[derive(Debug, Default)]
pub(crate) struct Spinner {
    /// How many waits to skip after a spin in vain. It doubles each time, because the other side may need this very
    /// core.
    pauses: u32,
    /// How many of them are left to skip.
    left: u32,
}

impl Spinner {
    /// However often spinning was in vain, one wait in 16 spins, so that a change for the better is noticed.
    const LONGEST_PAUSE: u32 = 15;

    /// Spins until the condition holds or the time is up. Returns whether it holds.
    pub(crate) fn spin_until(&mut self, limit_ns: u64, ready: impl Fn() -> bool) -> bool {
        if limit_ns == 0 || self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return ready();
        }
        let ready = spin_until(limit_ns, ready);
        self.pauses = if ready { 0 } else { (2 * self.pauses + 1).min(Self::LONGEST_PAUSE) };
        self.left = self.pauses;
        ready
    }
}

fn spin_until(limit_ns: u64, ready: impl Fn() -> bool) -> bool {
    let look = |times| {
        (0..times).any(|_| {
            std::hint::spin_loop();
            ready()
        })
    };
    if ready() || look(24) {
        return true;
    }
    let end = now_ns() + limit_ns;
    loop {
        // The other side may have only this core, and yielding gives it the core. As long as both are runnable, the
        // scheduler also moves one of them to a free core, which it would not do if one of them always slept.
        std::thread::yield_now();
        if look(8) {
            return true;
        }
        if now_ns() >= end {
            return ready();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often one wait checks the condition.
    fn looks(spinner: &mut Spinner, ready: bool) -> u32 {
        let looks = Cell::new(0);
        spinner.spin_until(100_000, || {
            looks.set(looks.get() + 1);
            ready
        });
        looks.get()
    }

    #[test]
    fn it_spins_less_the_more_often_it_is_in_vain() {
        let mut spinner = Spinner::default();
        let spun: Vec<bool> = (0..40).map(|_| looks(&mut spinner, false) > 1).collect();
        let at: Vec<usize> = (0..40).filter(|wait| spun[*wait]).collect();
        assert_eq!(at, [0, 2, 6, 14, 30]);
    }

    #[test]
    fn it_spins_again_once_that_has_paid() {
        let mut spinner = Spinner::default();
        while spinner.pauses < Spinner::LONGEST_PAUSE {
            looks(&mut spinner, false);
        }
        for _ in 0..=Spinner::LONGEST_PAUSE {
            looks(&mut spinner, true);
        }
        assert!(looks(&mut spinner, false) > 1);
    }
}
