//! A board: memory in which a worker process shows how far the calls of its own pools are. The parent, which has the
//! terminal or a board of its own, looks at it, and believes what it reads no more than anything else that a worker writes.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Line, Progress, Seen, screen};
use crate::codec::{decode_record, encode_record};
use crate::ids::WorkerId;
use crate::observe::End;
use crate::role;
use crate::shared::SharedArray;

/// So many calls have a place at a time; others are not shown.
const PLACES: usize = 16;
/// A place's words. What has it: `turn << 2 | phase`; 0 for nothing yet.
const TURN: usize = 0;
const ORIGIN: usize = 1;
const OVER: usize = 2;
const FAILED: usize = 3;
/// [`UNKNOWN`] as long as nobody knows.
const TASKS: usize = 4;
const PLACE: usize = 8;

const UNKNOWN: u64 = u64::MAX;
const MOVING: u64 = 0;

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

/// Whose calls: a worker's, or those of a worker's worker. In 16 bits each, the outermost in the lowest, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkerPath(u64);

impl WorkerPath {
    /// This process's own.
    pub(super) const HERE: Self = Self(0);

    /// The same as the parent of that worker sees it.
    pub(super) fn of_worker(self, worker: WorkerId) -> Self {
        Self(self.0 << 16 | (worker.0 as u64 + 1) & 0xffff)
    }
}

impl fmt::Display for WorkerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::HERE {
            return Ok(());
        }
        f.write_str("worker")?;
        let levels = (0..4).map(|level| self.0 >> (16 * level) & 0xffff).take_while(|worker| *worker > 0);
        for (level, worker) in levels.enumerate() {
            write!(f, "{}{}", if level == 0 { ' ' } else { '/' }, worker - 1)?;
        }
        f.write_str(": ")
    }
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct NestedProgress {
    words: SharedArray<u64>,
    shown: [Shown; PLACES],
}

/// What of a place was seen last.
#[derive(Debug, Default)]
struct Shown {
    turn: u64,
    progress: Option<Progress>,
}

impl NestedProgress {
    /// A new one, and the handle by which the worker finds it while this lives. None where nobody would see what it
    /// shows.
    pub(crate) fn open() -> Option<(Self, Vec<u8>)> {
        let is_seen = if role::is_worker_process() { own().is_some() } else { screen::is_seen() };
        if is_seen { Self::open_unseen() } else { None }
    }

    fn open_unseen() -> Option<(Self, Vec<u8>)> {
        let words = SharedArray::zeroed(PLACE * PLACES).ok()?;
        let mut handle = Vec::new();
        encode_record(&words, &mut handle).ok()?;
        Some((Self { words, shown: Default::default() }, handle))
    }

    /// Shows what this worker has on it by now.
    pub(crate) fn look(&mut self, worker: WorkerId) {
        for (place, shown) in self.shown.iter_mut().enumerate() {
            let word = |word| self.words.get(PLACE * place + word);
            let state = word(TURN);
            let (origin, over, failed, tasks) = (word(ORIGIN), word(OVER), word(FAILED), word(TASKS));
            if word(TURN) == state {
                let (turn, end) = (state >> 2, end_of(state & 3));
                shown.turn_to(turn, WorkerPath(origin).of_worker(worker), end);
                shown.show(over, failed, Some(tasks).filter(|tasks| *tasks != UNKNOWN), end);
            }
        }
    }
}

impl Drop for NestedProgress {
    /// The worker is gone.
    fn drop(&mut self) {
        for shown in &mut self.shown {
            shown.end(End::Interrupted);
        }
    }
}

impl Shown {
    fn turn_to(&mut self, turn: u64, origin: WorkerPath, end: Option<End>) {
        if turn != self.turn {
            // How the one before has ended was not seen.
            self.end(End::Done);
            self.turn = turn;
            let is_over = end == Some(End::Done);
            let line = if is_over { None } else { Line::new(origin) };
            self.progress = line.map(|line| Progress { line, seen: Seen::default().into() });
        }
    }

    fn show(&mut self, over: u64, failed: u64, tasks: Option<u64>, end: Option<End>) {
        let Some(progress) = &self.progress else { return };
        if let Some(tasks) = tasks {
            progress.know(tasks);
        }
        progress.reach(over, failed);
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

/// The board of this process, which is a worker.
static OWN: Mutex<Option<SharedArray<u64>>> = Mutex::new(None);

fn own() -> Option<SharedArray<u64>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// This process is a worker from here on, and this is its board's handle.
pub(super) fn enter(handle: Option<&[u8]>) {
    let board = handle.and_then(|handle| decode_record::<SharedArray<u64>>(handle).ok());
    *OWN.lock().unwrap_or_else(PoisonError::into_inner) = board.filter(|words| words.len() == PLACE * PLACES);
}

/// A call's place on the board of this process.
#[derive(Debug, Clone)]
pub(super) struct ProgressSlot {
    words: SharedArray<u64>,
    place: usize,
    turn: u64,
}

impl ProgressSlot {
    /// None where no place is free, or there is no board. Of those that are free it is the one that was taken first, so that
    /// the ends of others can still be seen.
    pub(super) fn take(origin: WorkerPath) -> Option<Self> {
        let board = OWN.lock().unwrap_or_else(PoisonError::into_inner);
        let words = board.as_ref()?;
        let state = |place: usize| words.get(PLACE * place + TURN);
        let is_free = |place: &usize| state(*place) == 0 || state(*place) & 3 != MOVING;
        let place = (0..PLACES).filter(is_free).min_by_key(|place| state(*place))?;
        // Later than all others.
        let turn = (0..PLACES).map(state).max().map_or(0, |state| state >> 2) + 1;
        let taken = Self { words: words.clone(), place, turn };
        taken.set(ORIGIN, origin.0);
        taken.set(OVER, 0);
        taken.set(FAILED, 0);
        taken.set(TASKS, UNKNOWN);
        taken.set(TURN, turn << 2 | MOVING);
        Some(taken)
    }

    fn set(&self, word: usize, value: u64) {
        self.words.set(PLACE * self.place + word, value);
    }

    pub(super) fn know(&self, tasks: u64) {
        self.set(TASKS, tasks);
    }

    pub(super) fn show(&self, over: u64, failed: u64) {
        self.set(FAILED, failed);
        self.set(OVER, over);
    }

    pub(super) fn end(&self, how: End) {
        self.set(TURN, self.turn << 2 | phase_of(how));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// A board that this process, as its own worker, has to itself for as long as the guard lives.
    fn board() -> (NestedProgress, impl Drop) {
        static TURNS: Mutex<()> = Mutex::new(());
        let guard = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        let (board, handle) = NestedProgress::open_unseen().unwrap();
        enter(Some(&handle));
        (board, guard)
    }

    /// How far the calls that are shown are: over, failed.
    fn shown(board: &NestedProgress) -> Vec<(u64, u64)> {
        let read = |Progress { seen, .. }: &Progress| {
            (seen.over.load(Ordering::Relaxed), seen.failed.load(Ordering::Relaxed))
        };
        board.shown.iter().filter_map(|shown| shown.progress.as_ref().map(read)).collect()
    }

    #[test]
    fn the_parent_shows_what_moves() {
        let (mut board, _guard) = board();
        let call = ProgressSlot::take(WorkerPath::HERE).unwrap();
        call.know(10);
        call.show(3, 1);
        board.look(WorkerId(0));
        assert_eq!(shown(&board), [(3, 1)]);
        let unseen = ProgressSlot::take(WorkerPath::HERE).unwrap();
        unseen.end(End::Done);
        call.show(10, 2);
        board.look(WorkerId(0));
        assert_eq!(shown(&board), [(10, 2)], "what is done before it is seen is not shown");
        call.end(End::Failed);
        board.look(WorkerId(0));
        assert_eq!(shown(&board), []);
        // Its turn ends unseen.
        ProgressSlot::take(WorkerPath::HERE).unwrap().show(5, 0);
        board.look(WorkerId(0));
        for _ in 0..PLACES {
            ProgressSlot::take(WorkerPath::HERE).unwrap().end(End::Done);
        }
        board.look(WorkerId(0));
        assert_eq!(shown(&board), [(5, 0)]);
    }

    #[test]
    fn places_are_taken_in_turns() {
        let (board, _guard) = board();
        let calls: Vec<ProgressSlot> =
            (0..PLACES).map(|_| ProgressSlot::take(WorkerPath::HERE).unwrap()).collect();
        assert!(ProgressSlot::take(WorkerPath::HERE).is_none(), "there is no more room");
        for place in [7, 3, 11] {
            calls[place].end(End::Interrupted);
        }
        let next = [0; 4].map(|_| ProgressSlot::take(WorkerPath::HERE));
        let places = |calls: &[Option<ProgressSlot>]| -> Vec<_> {
            calls.iter().map(|call| call.as_ref().map(|call| call.place)).collect()
        };
        assert_eq!(places(&next), [Some(3), Some(7), Some(11), None], "{board:?}");
        // The third has been taken again since the fifth was.
        next[0].as_ref().unwrap().end(End::Done);
        calls[5].end(End::Done);
        assert_eq!(
            places(&[0; 2].map(|_| ProgressSlot::take(WorkerPath::HERE))),
            [Some(5), Some(3)],
            "{board:?}"
        );
        enter(None);
        assert!(ProgressSlot::take(WorkerPath::HERE).is_none());
        enter(Some(b"nonsense"));
        assert!(ProgressSlot::take(WorkerPath::HERE).is_none());
    }

    #[test]
    fn nonsense_is_shown_as_well_as_it_can_be() {
        let (mut board, _guard) = board();
        for word in [u64::MAX, 1, 5, u64::MAX - 3, 0] {
            board.words.fill(word);
            board.look(WorkerId(1));
            for place in 0..PLACES {
                board.words.set(PLACE * place + OVER, word / 2);
            }
            board.look(WorkerId(0));
        }
        assert_eq!(WorkerPath(u64::MAX).to_string(), "worker 65534/65534/65534/65534: ");
        assert_eq!(
            WorkerPath::HERE.of_worker(WorkerId(2)).of_worker(WorkerId(0)).to_string(),
            "worker 0/2: "
        );
    }
}
