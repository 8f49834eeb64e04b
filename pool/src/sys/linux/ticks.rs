//! A clock that costs next to nothing beside a small task. Its unit is known only afterwards.
#![allow(unsafe_code, reason = "reads the processor's counter")]

use crate::sys::clock::now_ns;

/// A time in ticks.
#[inline]
pub(crate) fn now() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    #[cfg(target_arch = "x86_64")]
    let ticks = unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let ticks = now_ns();
    ticks
}

/// How long a tick is, by how many there have been since this was made.
#[derive(Debug)]
pub(crate) struct Scale {
    ticks: u64,
    ns: u64,
}

impl Scale {
    pub(crate) fn new() -> Self {
        Self { ticks: now(), ns: now_ns() }
    }

    /// So many ticks in nanoseconds.
    pub(crate) fn ns(&self, ticks: u64) -> u64 {
        let (passed_ticks, passed_ns) = self.passed();
        (u128::from(ticks) * u128::from(passed_ns) / u128::from(passed_ticks)) as u64
    }

    /// So many nanoseconds in ticks.
    pub(crate) fn ticks(&self, ns: u64) -> u64 {
        let (passed_ticks, passed_ns) = self.passed();
        (u128::from(ns) * u128::from(passed_ticks) / u128::from(passed_ns)) as u64
    }

    fn passed(&self) -> (u64, u64) {
        (now().saturating_sub(self.ticks).max(1), now_ns().saturating_sub(self.ns).max(1))
    }
}

/// Tells what the monotonic clock had at a time in ticks, without asking it each time.
#[derive(Debug)]
pub(crate) struct Dial {
    scale: Scale,
    /// When it was set last, in ticks and by the clock.
    ticks: u64,
    ns: u64,
    /// How long a tick is, in nanoseconds of 32 binary places.
    tick: u64,
}

impl Dial {
    pub(crate) fn new() -> Self {
        let scale = Scale::new();
        Self { ticks: scale.ticks, ns: scale.ns, tick: 0, scale }
    }

    /// Sets it by the clock.
    pub(crate) fn set(&mut self) {
        self.tick = self.scale.ns(1 << 32);
        (self.ticks, self.ns) = (now(), now_ns());
    }

    /// What the clock had at that time.
    #[inline]
    pub(crate) fn at(&self, time: u64) -> u64 {
        let since = |ticks: u64| ((u128::from(ticks) * u128::from(self.tick)) >> 32) as u64;
        match time.checked_sub(self.ticks) {
            Some(after) => self.ns.saturating_add(since(after)),
            None => self.ns.saturating_sub(since(self.ticks - time)),
        }
    }

    /// So many nanoseconds in ticks.
    pub(crate) fn ticks(&self, ns: u64) -> u64 {
        self.scale.ticks(ns)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn ticks_are_as_long_as_they_are() {
        let (scale, began) = (Scale::new(), Instant::now());
        let start = now();
        while began.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let (ticks, took) = (now() - start, began.elapsed().as_nanos() as u64);
        assert!(scale.ns(ticks).abs_diff(took) < took / 4, "{} of {took} ns", scale.ns(ticks));
    }

    #[test]
    fn a_dial_goes_with_the_clock() {
        let mut dial = Dial::new();
        for _ in 0..3 {
            let (before, ticks, after) = (now_ns(), now(), now_ns());
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            dial.set();
            let told = dial.at(ticks);
            // Before it was set: told backwards.
            assert!(before.saturating_sub(told) < 1_000_000 && told.saturating_sub(after) < 1_000_000);
            assert!(dial.at(now()).abs_diff(now_ns()) < 1_000_000);
        }
    }
}
