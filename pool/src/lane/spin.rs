//! Spinning before a sleep, where that has paid lately.

use crate::sys::clock::now_ns;

/// What spins, and how that went.
#[derive(Debug, Default)]
pub(crate) struct Spinner {
    /// So many waits are not spun for: the last ones were in vain, as they are on a core that the other side needs.
    pauses: u32,
    /// How many of those are left.
    left: u32,
}

impl Spinner {
    /// However often it was in vain, it is tried again after so many waits.
    const LONGEST_PAUSE: u32 = 15;

    /// Spins until the condition holds or the time is over; says whether it holds.
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
        // Who is waited for may have this core and no other. He gets it, and while both of them would run, the scheduler
        // moves one to a core that is free; it does not when one of them always sleeps.
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

    /// How often the condition is looked at in one wait.
    fn looks(spinner: &mut Spinner, ready: bool) -> u32 {
        let looks = Cell::new(0);
        spinner.spin_until(100_000, || {
            looks.set(looks.get() + 1);
            ready
        });
        looks.get()
    }

    #[test]
    fn it_spins_less_the_more_often_that_is_in_vain() {
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
