//! Progress of the calls that worker processes make on pools of their own. Each process has memory of a few slots, one
//! a call, in which it writes how far its calls are. The parent reads them while it drives, and trusts them no more
//! than anything else that a worker writes.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::worker_path::WorkerPath;
use super::{Counts, LONGEST_LABEL, Output, Progress, screen};
use crate::codec::{decode_record, encode_record};
use crate::error::ShownLabel;
use crate::ids::WorkerId;
use crate::observe::End;
use crate::role;
use crate::shared::SharedArray;
use crate::text::AND_SO_ON;

/// The number of calls that are shown at a time.
const SLOTS: usize = 16;

/// The words of a slot. The first says which call has it, and whether that has ended: `generation << 2 | phase`. It is
/// 0 until the slot is first taken.
const STATE: usize = 0;
const PATH: usize = 1;
const OVER: usize = 2;
const FAILED: usize = 3;
/// The number of tasks, or [`UNKNOWN`].
const TOTAL: usize = 4;
/// The call's label, in UTF-8. Zeros follow it.
const LABEL: Range<usize> = 5..SLOT_WORDS;
/// Two cache lines.
const SLOT_WORDS: usize = 16;

const UNKNOWN: u64 = u64::MAX;
/// The phase of a call that has not ended.
const RUNNING: u64 = 0;

/// A label as the words of a slot; without its end, if that is not shown.
fn label_words(label: &str) -> impl Iterator<Item = u64> {
    let bytes = &label.as_bytes()[..label.floor_char_boundary(size_of::<u64>() * LABEL.len())];
    let words = bytes.chunks(size_of::<u64>()).map(|chunk| {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.chain(std::iter::repeat(0)).take(LABEL.len())
}

/// The label that these words are, whatever a worker wrote. None if it is empty.
fn label_of(words: impl Iterator<Item = u64>) -> Option<String> {
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).take_while(|byte| *byte != 0).collect();
    let label = ShownLabel(&String::from_utf8_lossy(&bytes)).cut_to(LONGEST_LABEL + AND_SO_ON.len());
    Some(label).filter(|label| !label.is_empty())
}

fn phase_of(how: End) -> u64 {
    match how {
        End::Done => 1,
        End::Failed => 2,
        End::Interrupted => 3,
    }
}

fn end_of(phase: u64) -> Option<End> {
    [End::Done, End::Failed, End::Interrupted].into_iter().find(|how| phase_of(*how) == phase)
}

/// The parent's side of a worker's slots.
#[derive(Debug)]
pub(crate) struct NestedProgress {
    words: SharedArray<u64>,
    shown: [ShownSlot; SLOTS],
}

/// The call that the parent last saw in a slot.
#[derive(Debug, Default)]
struct ShownSlot {
    generation: u64,
    /// None if it is not shown, or no longer.
    progress: Option<Progress>,
}

impl NestedProgress {
    /// Makes the slots of a new worker, and the handle by which it finds them while this lives. None where nobody would
    /// see them.
    pub(crate) fn open() -> Option<(Self, Vec<u8>)> {
        let is_seen = if role::is_worker_process() {
            OWN_SLOTS.lock().unwrap_or_else(PoisonError::into_inner).is_some()
        } else {
            screen::is_seen()
        };
        if is_seen { Self::open_unseen() } else { None }
    }

    fn open_unseen() -> Option<(Self, Vec<u8>)> {
        let words = SharedArray::zeroed(SLOT_WORDS * SLOTS).ok()?;
        let mut handle = Vec::new();
        encode_record(&words, &mut handle).ok()?;
        Some((Self { words, shown: Default::default() }, handle))
    }

    /// Shows how far the calls of this worker are.
    pub(crate) fn update(&mut self, worker: WorkerId) {
        for (slot, shown) in self.shown.iter_mut().enumerate() {
            let word = |word| self.words.get(SLOT_WORDS * slot + word);
            let state = word(STATE);
            let (path, over, failed, total) = (word(PATH), word(OVER), word(FAILED), word(TOTAL));
            let label = || label_of(LABEL.map(word));
            let label = if state >> 2 == shown.generation { None } else { label() };
            // Another call may have taken the slot meanwhile.
            if word(STATE) == state {
                let (generation, end) = (state >> 2, end_of(state & 3));
                let path = WorkerPath::from_word(path).of_worker(worker);
                shown.switch_to(generation, path, label.as_deref(), end);
                shown.update(over, failed, Some(total).filter(|total| *total != UNKNOWN), end);
            }
        }
    }
}

impl Drop for NestedProgress {
    /// The worker is gone, and its calls with it.
    fn drop(&mut self) {
        for shown in &mut self.shown {
            shown.end(End::Interrupted);
        }
    }
}

impl ShownSlot {
    /// Shows the call of this generation from here on. One that was done before anyone saw it is not shown at all.
    fn switch_to(&mut self, generation: u64, path: WorkerPath, label: Option<&str>, end: Option<End>) {
        if generation != self.generation {
            // How the call before this one ended is overwritten.
            self.end(End::Done);
            self.generation = generation;
            let output = if end == Some(End::Done) { None } else { Output::new(path, label) };
            self.progress = output.map(|output| Progress { output, counts: Counts::default().into() });
        }
    }

    fn update(&mut self, over: u64, failed: u64, total: Option<u64>, end: Option<End>) {
        let Some(progress) = &self.progress else { return };
        if let Some(total) = total {
            progress.set_total(total);
        }
        progress.count_up_to(over, failed);
        if let Some(how) = end {
            self.end(how);
        }
    }

    fn end(&mut self, how: End) {
        if let Some(progress) = self.progress.take() {
            progress.end(how);
        }
    }
}

/// The slots of this process, if it is a worker whose parent shows them.
static OWN_SLOTS: Mutex<Option<SharedArray<u64>>> = Mutex::new(None);

/// Makes this process a worker, whose slots have this handle.
pub(super) fn enter_worker(handle: Option<&[u8]>) {
    let words = handle.and_then(|handle| decode_record::<SharedArray<u64>>(handle).ok());
    let words = words.filter(|words| words.len() == SLOT_WORDS * SLOTS);
    *OWN_SLOTS.lock().unwrap_or_else(PoisonError::into_inner) = words;
}

/// The slot of a call in this process.
#[derive(Debug, Clone)]
pub(super) struct ProgressSlot {
    words: SharedArray<u64>,
    slot: usize,
    generation: u64,
}

impl ProgressSlot {
    /// Takes a slot, if one is free and the parent shows them. Of the free ones it is the one whose call began first,
    /// so that the parent has time to see how the others ended.
    pub(super) fn take(path: WorkerPath, label: Option<&str>) -> Option<Self> {
        let own = OWN_SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let words = own.as_ref()?;
        let state = |slot: usize| words.get(SLOT_WORDS * slot + STATE);
        let is_free = |slot: &usize| state(*slot) == 0 || state(*slot) & 3 != RUNNING;
        let slot = (0..SLOTS).filter(is_free).min_by_key(|slot| state(*slot))?;
        let generation = (0..SLOTS).map(state).max().map_or(0, |state| state >> 2) + 1;
        let taken = Self { words: words.clone(), slot, generation };
        taken.set(PATH, path.word());
        LABEL.zip(label_words(label.unwrap_or_default())).for_each(|(word, value)| taken.set(word, value));
        taken.set(OVER, 0);
        taken.set(FAILED, 0);
        taken.set(TOTAL, UNKNOWN);
        taken.set(STATE, generation << 2 | RUNNING);
        Some(taken)
    }

    fn set(&self, word: usize, value: u64) {
        self.words.set(SLOT_WORDS * self.slot + word, value);
    }

    pub(super) fn set_total(&self, total: u64) {
        self.set(TOTAL, total);
    }

    pub(super) fn set_counts(&self, over: u64, failed: u64) {
        self.set(FAILED, failed);
        self.set(OVER, over);
    }

    pub(super) fn end(&self, how: End) {
        self.set(STATE, self.generation << 2 | phase_of(how));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::Bar;
    use super::*;

    /// Slots of this process, which is its own parent here. No other test has them while the guard lives.
    fn own_slots() -> (NestedProgress, impl Drop) {
        static IN_USE: Mutex<()> = Mutex::new(());
        let guard = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let (nested, handle) = NestedProgress::open_unseen().unwrap();
        enter_worker(Some(&handle));
        (nested, guard)
    }

    /// The counts of the calls that are shown: over, failed.
    fn shown(nested: &NestedProgress) -> Vec<(u64, u64)> {
        let read = |Progress { counts, .. }: &Progress| {
            (counts.over.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed))
        };
        nested.shown.iter().filter_map(|shown| shown.progress.as_ref().map(read)).collect()
    }

    #[test]
    fn the_parent_shows_running_calls() {
        let (mut nested, _guard) = own_slots();
        let call = ProgressSlot::take(WorkerPath::HERE, None).unwrap();
        call.set_total(10);
        call.set_counts(3, 1);
        nested.update(WorkerId(0));
        assert_eq!(shown(&nested), [(3, 1)]);
        let unseen = ProgressSlot::take(WorkerPath::HERE, None).unwrap();
        unseen.end(End::Done);
        call.set_counts(10, 2);
        nested.update(WorkerId(0));
        assert_eq!(shown(&nested), [(10, 2)], "a call that is done before the parent sees it is not shown");
        call.end(End::Failed);
        nested.update(WorkerId(0));
        assert_eq!(shown(&nested), []);
        // Nobody sees how this one ends.
        ProgressSlot::take(WorkerPath::HERE, None).unwrap().set_counts(5, 0);
        nested.update(WorkerId(0));
        for _ in 0..SLOTS {
            ProgressSlot::take(WorkerPath::HERE, None).unwrap().end(End::Done);
        }
        nested.update(WorkerId(0));
        assert_eq!(shown(&nested), [(5, 0)]);
    }

    #[test]
    fn the_slot_of_the_first_call_is_taken_first() {
        let (nested, _guard) = own_slots();
        let calls: Vec<ProgressSlot> =
            (0..SLOTS).map(|_| ProgressSlot::take(WorkerPath::HERE, None).unwrap()).collect();
        assert!(ProgressSlot::take(WorkerPath::HERE, None).is_none(), "all slots are taken");
        for slot in [7, 3, 11] {
            calls[slot].end(End::Interrupted);
        }
        let next = [0; 4].map(|_| ProgressSlot::take(WorkerPath::HERE, None));
        let slots = |calls: &[Option<ProgressSlot>]| -> Vec<_> {
            calls.iter().map(|call| call.as_ref().map(|call| call.slot)).collect()
        };
        assert_eq!(slots(&next), [Some(3), Some(7), Some(11), None], "{nested:?}");
        // Slot 3 was taken again after slot 5.
        next[0].as_ref().unwrap().end(End::Done);
        calls[5].end(End::Done);
        assert_eq!(
            slots(&[0; 2].map(|_| ProgressSlot::take(WorkerPath::HERE, None))),
            [Some(5), Some(3)],
            "{nested:?}"
        );
        enter_worker(None);
        assert!(ProgressSlot::take(WorkerPath::HERE, None).is_none());
        enter_worker(Some(b"nonsense"));
        assert!(ProgressSlot::take(WorkerPath::HERE, None).is_none());
    }

    #[test]
    fn labels_come_through() {
        for (label, comes) in [
            ("", None),
            ("thumbnails", Some("thumbnails".to_owned())),
            ("8 letters", Some("8 letters".to_owned())),
            (&"語".repeat(24), Some("語".repeat(24))),
            (&"語".repeat(100), Some(format!("{}...", "語".repeat(27)))),
        ] {
            assert_eq!(label_of(label_words(label)), comes);
            assert_eq!(label_words(label).count(), LABEL.len());
        }
        let forged = u64::from_le_bytes(*b"\x1b[2J\xff\n\xe8\xaa");
        let shown = label_of(std::iter::repeat_n(forged, LABEL.len())).unwrap();
        assert!(shown.starts_with("\\u{1b}[2J\u{fffd}\\u{a}\u{fffd}"), "{shown:?}");
        let (mut nested, _guard) = own_slots();
        let _call = ProgressSlot::take(WorkerPath::HERE, Some("thumbnails")).unwrap();
        nested.update(WorkerId(0));
        let bars = nested.shown.iter().filter_map(|shown| shown.progress.as_ref());
        let prefixes: Vec<_> = bars
            .map(|progress| match &progress.output {
                Output::Screen(Bar { bar, .. }) => bar.prefix(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(prefixes, ["worker 0: thumbnails: "]);
    }

    #[test]
    fn nonsense_does_no_harm() {
        let (mut nested, _guard) = own_slots();
        for word in [u64::MAX, 1, 5, u64::MAX - 3, 0] {
            nested.words.fill(word);
            nested.update(WorkerId(1));
            for slot in 0..SLOTS {
                nested.words.set(SLOT_WORDS * slot + OVER, word / 2);
            }
            nested.update(WorkerId(0));
        }
    }
}
