//! Room for tasks of calls in the background, where `max_queue` bounds them.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::callbacks::{Callbacks, wake};
use crate::error::Error;

/// How many tasks are outstanding in the background, and who waits for room for another one.
pub(super) struct Room {
    most: usize,
    state: Mutex<State>,
    callbacks: Arc<Callbacks>,
}

#[derive(Default)]
struct State {
    /// The places that are taken, those of granted tickets included.
    taken: usize,
    /// Who waits, in order. While anybody does, all places are taken.
    waiting: VecDeque<(u64, Waker)>,
    /// The tickets for which a place is kept until they are polled again.
    granted: HashSet<u64>,
    last_ticket: u64,
}

/// Places of some tasks, until it is dropped.
pub(super) struct Places {
    room: Arc<Room>,
    count: usize,
}

impl Room {
    pub(super) fn new(most: usize, callbacks: Arc<Callbacks>) -> Self {
        Self { most, state: Mutex::default(), callbacks }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places are free now.
    pub(super) fn free(&self) -> usize {
        self.most - self.lock().taken
    }

    /// The error of a call that has found too few places.
    pub(super) fn busy(&self) -> Error {
        Error::Busy { queued: self.lock().taken, most: self.most }
    }

    /// Takes this many places.
    ///
    /// # Errors
    /// [`Error::Busy`] if there are not so many.
    pub(super) fn take(self: &Arc<Self>, count: usize) -> Result<Places, Error> {
        let mut state = self.lock();
        if count > self.most - state.taken {
            return Err(Error::Busy { queued: state.taken, most: self.most });
        }
        state.taken += count;
        Ok(Places { room: Arc::clone(self), count })
    }

    /// Waits for one place. Who asks first gets the first one.
    pub(super) fn wait(self: &Arc<Self>) -> WaitForPlace {
        WaitForPlace { room: Arc::clone(self), ticket: None }
    }

    fn give_back(&self, count: usize) {
        let mut woken = Vec::new();
        let mut state = self.lock();
        state.taken -= count;
        while state.taken < self.most
            && let Some((ticket, waker)) = state.waiting.pop_front()
        {
            state.taken += 1;
            state.granted.insert(ticket);
            woken.push(waker);
        }
        drop(state);
        if !woken.is_empty() {
            self.callbacks.post(woken.into_iter().map(wake));
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.room.give_back(self.count);
    }
}

/// A wait for one place.
pub(super) struct WaitForPlace {
    room: Arc<Room>,
    ticket: Option<u64>,
}

impl Future for WaitForPlace {
    type Output = Places;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Places> {
        let room = Arc::clone(&self.room);
        // Wakers run the executor's code, which may take any lock: clone and drop them outside ours.
        let mut waker = cx.waker().clone();
        let mut state = room.lock();
        let is_there = match self.ticket {
            Some(ticket) => state.granted.remove(&ticket),
            None => {
                let is_free = state.taken < room.most;
                state.taken += usize::from(is_free);
                is_free
            }
        };
        if is_there {
            self.ticket = None;
            return Poll::Ready(Places { room: Arc::clone(&room), count: 1 });
        }
        match self.ticket {
            Some(ticket) => {
                if let Some((_, last)) = state.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket) {
                    std::mem::swap(last, &mut waker);
                }
                drop(state);
            }
            None => {
                state.last_ticket += 1;
                let ticket = state.last_ticket;
                state.waiting.push_back((ticket, waker));
                self.ticket = Some(ticket);
            }
        }
        Poll::Pending
    }
}

impl Drop for WaitForPlace {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.room.lock();
        let is_granted = state.granted.remove(&ticket);
        let place = state.waiting.iter().position(|(waiting, _)| *waiting == ticket);
        let unwanted = place.and_then(|place| state.waiting.remove(place));
        drop(state);
        drop(unwanted);
        if is_granted {
            self.room.give_back(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Wake;

    use super::*;

    struct Told(Mutex<Sender<()>>);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().unwrap().send(());
        }
    }

    fn waker() -> (Waker, Receiver<()>) {
        let (tell, told) = channel();
        (Arc::new(Told(Mutex::new(tell))).into(), told)
    }

    fn room(most: usize) -> Arc<Room> {
        Arc::new(Room::new(most, Arc::default()))
    }

    fn poll(wait: &mut WaitForPlace, waker: &Waker) -> Poll<Places> {
        Pin::new(wait).poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn places_are_taken_and_given_back() {
        let room = room(3);
        let two = room.take(2).unwrap();
        assert!(matches!(room.take(2), Err(Error::Busy { queued: 2, most: 3 })));
        let one = room.take(1).unwrap();
        assert_eq!(room.free(), 0);
        drop(two);
        assert_eq!(room.free(), 2);
        drop(one);
        assert_eq!(room.free(), 3);
        assert!(matches!(room.take(4), Err(Error::Busy { queued: 0, most: 3 })));
    }

    #[test]
    fn who_waits_first_gets_the_first_place() {
        let room = room(1);
        let place = room.take(1).unwrap();
        let ((first_waker, first_told), (second_waker, second_told)) = (waker(), waker());
        let (mut first, mut second) = (room.wait(), room.wait());
        assert!(poll(&mut first, &second_waker).is_pending());
        // The last waker counts.
        assert!(poll(&mut first, &first_waker).is_pending() && poll(&mut second, &second_waker).is_pending());
        drop(place);
        first_told.recv().unwrap();
        assert!(room.take(1).is_err(), "it is kept for the first");
        assert!(poll(&mut second, &second_waker).is_pending());
        let Poll::Ready(place) = poll(&mut first, &first_waker) else { panic!("it was granted") };
        drop(place);
        second_told.recv().unwrap();
        assert!(poll(&mut second, &second_waker).is_ready());
        assert_eq!(room.free(), 1);
        room.callbacks.finish(None);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_its_place_to_the_next() {
        let room = room(1);
        let place = room.take(1).unwrap();
        let (waker, told) = waker();
        let (mut waiting, mut granted, mut last) = (room.wait(), room.wait(), room.wait());
        for wait in [&mut waiting, &mut granted, &mut last] {
            assert!(poll(wait, &waker).is_pending());
        }
        drop(waiting);
        drop(place);
        told.recv().unwrap();
        drop(granted);
        told.recv().unwrap();
        assert!(poll(&mut last, &waker).is_ready());
        drop(last);
        assert_eq!(room.free(), 1);
        assert!(poll(&mut room.wait(), &waker).is_ready(), "at once, if there is room");
        room.callbacks.finish(None);
    }
}
