//! When to ask the input for its next item, although results are under way.
//!
//! The caller's thread does both: it asks the input, and hands out results. While the input waits for its next item, as
//! a socket or the receiver of a channel does, the results that arrive meanwhile cannot be handed out; and if the other
//! side sends the next item only after it has got them, nothing goes on any more. No iterator says how long its next
//! item will take. So an iterator of results first waits for what is under way, unless the input has shown to be fast.

use std::time::{Duration, Instant};

use crate::sys::threads::waits;

/// An item that takes less than this is fast: no other thread can have made it in that time, only computed it in
/// advance.
const FAST: Duration = Duration::from_micros(5);
/// A fast input is no longer trusted after a request that takes so long: a user would notice if results came later.
const SLOW: Duration = Duration::from_millis(1);
/// After this many fast items in a row, the input is not waited for; after fewer if it knows that it has items, as
/// ranges and vectors do and receivers and readers do not.
const FAST_ITEMS: u32 = 16;
const FAST_KNOWN_ITEMS: u32 = 4;
/// How long to wait for results before a new input is asked again: longer than most tasks take, so that an input that
/// needs their results gets them. Divided by four whenever nothing came.
const FIRST: Duration = Duration::from_millis(100);
const FIRST_KNOWN: Duration = Duration::from_millis(3);
/// How long to wait after an item for which the input itself has waited: at least this, and as long as it has.
const AFTER_WAITING: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_secs(1);

/// How long to wait for results before the input is asked for an item.
#[derive(Debug)]
pub(super) struct Patience {
    fast_in_a_row: u32,
    enough_fast: u32,
    wait: Duration,
}

/// The beginning of a request for an item.
pub(super) struct Asked {
    at: Instant,
    waits: Option<i64>,
}

impl Patience {
    pub(super) fn new(knows_items: bool) -> Self {
        let (enough_fast, wait) =
            if knows_items { (FAST_KNOWN_ITEMS, FIRST_KNOWN) } else { (FAST_ITEMS, FIRST) };
        Self { fast_in_a_row: 0, enough_fast, wait }
    }

    /// Whether the input has been so fast that it need not be waited for.
    pub(super) fn trusts(&self) -> bool {
        self.fast_in_a_row >= self.enough_fast
    }

    /// How long to wait for results that are under way.
    pub(super) fn time(&self) -> Duration {
        self.wait
    }

    /// Notes that no result came in that time.
    pub(super) fn has_waited_in_vain(&mut self) {
        self.wait /= 4;
    }

    /// Notes that the input is asked for an item.
    pub(super) fn ask(&self) -> Asked {
        Asked { at: Instant::now(), waits: waits() }
    }

    /// Notes that the input has given an item.
    pub(super) fn answered(&mut self, asked: &Asked) {
        let took = asked.at.elapsed();
        if took < FAST {
            self.fast_in_a_row = self.fast_in_a_row.saturating_add(1);
            return;
        }
        self.fast_in_a_row = 0;
        // To wait while the input could compute its next item costs time. To wait while it would wait costs little.
        let waited = asked.waits.zip(waits()).map(|(before, now)| now > before);
        match waited {
            Some(false) => self.wait = (took / 8).min(self.wait),
            Some(true) if took >= SLOW => self.wait = took.clamp(AFTER_WAITING, MOST),
            // The system does not tell. A thread that merely got no CPU has mostly got one again by then.
            None if took >= AFTER_WAITING => self.wait = took.min(MOST),
            _ => {}
        }
    }

    /// Notes how long several items took that were asked for at once, because the input was fast.
    pub(super) fn answered_at_once(&mut self, took: Duration) {
        if took >= SLOW {
            self.fast_in_a_row = 0;
            self.wait = took / 8;
        }
    }
}
