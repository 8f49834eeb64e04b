//! A clock that costs next to nothing even beside a small task. The length of its tick is measured as it runs.
#![allow(unsafe_code, reason = "reads the processor's counter")]

use crate::sys::clock::now_ns;

/// A time in ticks.
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory. (If the process has had the kernel
    // forbid it, with PR_SET_TSC of prctl(2), it raises SIGSEGV, which ends the process: a crash, not undefined
    // behaviour.)
    #[cfg(target_arch = "x86_64")]
    let ticks = unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let ticks = now_ns();
    ticks
}

/// The time in ticks and by the clock. A pair is off by milliseconds if the thread loses its core between the two
/// readings; then both are read again.
fn on_both() -> (u64, u64) {
    /// In ticks: some microseconds on any processor, which is far more than it takes to read the clock, even by a
    /// system call.
    const CLOSE: u64 = 10_000;
    let mut closest = (u64::MAX, 0, 0);
    for _ in 0..4 {
        let (before, ns, after) = (now(), now_ns(), now());
        let gap = after.saturating_sub(before);
        closest = closest.min((gap, before + gap / 2, ns));
        if gap < CLOSE {
            break;
        }
    }
    (closest.1, closest.2)
}

/// Measures the length of a tick, from the ticks and the time that have passed since the scale was created.
#[derive(Debug)]
pub(crate) struct Scale {
    ticks: u64,
    ns: u64,
}

impl Scale {
    pub(crate) fn new() -> Self {
        let (ticks, ns) = on_both();
        Self { ticks, ns }
    }

    /// Converts ticks to nanoseconds.
    pub(crate) fn ns(&self, ticks: u64) -> u64 {
        let (passed_ticks, passed_ns) = self.passed();
        (u128::from(ticks) * u128::from(passed_ns) / u128::from(passed_ticks)) as u64
    }

    /// Converts nanoseconds to ticks.
    pub(crate) fn ticks(&self, ns: u64) -> u64 {
        let (passed_ticks, passed_ns) = self.passed();
        (u128::from(ns) * u128::from(passed_ticks) / u128::from(passed_ns)) as u64
    }

    fn passed(&self) -> (u64, u64) {
        let (ticks, ns) = on_both();
        (ticks.saturating_sub(self.ticks).max(1), ns.saturating_sub(self.ns).max(1))
    }
}

/// Converts times in ticks to times of the monotonic clock, without reading the clock each time.
#[derive(Debug)]
pub(crate) struct Dial {
    scale: Scale,
    /// When the dial was last set, in ticks and by the clock.
    ticks: u64,
    ns: u64,
    /// The length of a tick in nanoseconds, as a fixed-point number with 32 binary places.
    tick: u64,
}

impl Dial {
    pub(crate) fn new() -> Self {
        let scale = Scale::new();
        Self { ticks: scale.ticks, ns: scale.ns, tick: 0, scale }
    }

    /// Sets the dial by the clock.
    pub(crate) fn set(&mut self) {
        self.tick = self.scale.ns(1 << 32);
        (self.ticks, self.ns) = on_both();
    }

    /// The time by the clock at this time in ticks.
    #[inline]
    pub(crate) fn at(&self, time: u64) -> u64 {
        let since = |ticks: u64| ((u128::from(ticks) * u128::from(self.tick)) >> 32) as u64;
        match time.checked_sub(self.ticks) {
            Some(after) => self.ns.saturating_add(since(after)),
            None => self.ns.saturating_sub(since(self.ticks - time)),
        }
    }

    /// Converts nanoseconds to ticks.
    pub(crate) fn ticks(&self, ns: u64) -> u64 {
        self.scale.ticks(ns)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn spin(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    /// The thread may lose its core between the readings of the two clocks. The error does not grow with the time that
    /// is measured, so each try takes longer.
    #[test]
    fn ticks_are_as_long_as_they_are() {
        let is_right = |time| {
            let (scale, start, began) = (Scale::new(), now(), Instant::now());
            spin(time);
            let (ticks, took) = (now() - start, began.elapsed().as_nanos() as u64);
            scale.ns(ticks).abs_diff(took) < took / 4
        };
        assert!((0..10).any(|round| is_right(Duration::from_millis(20 << round))));
    }

    /// The dial may be off for the same reason, until it is set again.
    #[test]
    fn a_dial_goes_with_the_clock() {
        let mut dial = Dial::new();
        let mut is_right = || {
            let (before, ticks, after) = (now_ns(), now(), now_ns());
            spin(Duration::from_millis(5));
            dial.set();
            let goes_with = |before: u64, told: u64, after: u64| {
                before.saturating_sub(told) < 1_000_000 && told.saturating_sub(after) < 1_000_000
            };
            // A time before the dial was set, which is converted backwards.
            let told = dial.at(ticks);
            let (before_now, now, after_now) = (now_ns(), now(), now_ns());
            goes_with(before, told, after) && goes_with(before_now, dial.at(now), after_now)
        };
        assert_eq!((0..1000).filter(|_| is_right()).take(3).count(), 3);
    }
}
