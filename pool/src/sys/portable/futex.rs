//! Sleep on a word, and wake its sleepers: by the word's address, which picks one of a few condition variables.

use std::ptr::from_ref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A word to sleep on.
pub(crate) type Word = AtomicU32;

/// Words whose addresses are alike share a bucket, and wake each other's sleepers. A power of two, and more than the
/// threads that usually sleep at once.
const BUCKETS: usize = 256;

struct Bucket {
    /// Held while a sleeper compares its word, and until it sleeps.
    lock: Mutex<()>,
    woken: Condvar,
}

static TABLE: [Bucket; BUCKETS] = [const { Bucket { lock: Mutex::new(()), woken: Condvar::new() } }; BUCKETS];

fn bucket(word: &Word) -> &'static Bucket {
    // Words of different objects often begin at a page, and then differ in higher bits only.
    let hash = (from_ref(word).addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &TABLE[(hash >> (u64::BITS - BUCKETS.ilog2())) as usize]
}

/// Sleeps while the word is `seen`, for at most `limit`. May also return spuriously.
pub(crate) fn wait(word: &Word, seen: u32, limit: Option<Duration>) {
    let Bucket { lock, woken } = bucket(word);
    let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
    // Whoever changes the word then takes the lock: before this, and the change is seen here, or once this sleeps.
    if word.load(Ordering::Relaxed) != seen {
        return;
    }
    match limit {
        Some(limit) => drop(woken.wait_timeout(held, limit).unwrap_or_else(PoisonError::into_inner)),
        None => drop(woken.wait(held).unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Wakes one sleeper on the word, and maybe others, which return spuriously.
pub(crate) fn wake_one(word: &Word) {
    wake_all(word);
}

/// Wakes all sleepers on the word.
pub(crate) fn wake_all(word: &Word) {
    let Bucket { lock, woken } = bucket(word);
    drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
    woken.notify_all();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: u32 = 20_000;
        let words: Arc<[Word; 2]> = Arc::default();
        // Each side waits for its word to be counted up, then counts up that of the other.
        let side = |own: usize| {
            let words = Arc::clone(&words);
            move || {
                for round in 0..ROUNDS {
                    while words[own].load(Ordering::Acquire) == round {
                        wait(&words[own], round, None);
                    }
                    words[1 - own].fetch_add(1, Ordering::Release);
                    wake_one(&words[1 - own]);
                }
            }
        };
        let sides = [side(0), side(1)].map(thread::spawn);
        words[0].fetch_add(1, Ordering::Release);
        wake_one(&words[0]);
        sides.into_iter().for_each(|side| side.join().unwrap());
        assert_eq!(
            (words[0].load(Ordering::Relaxed), words[1].load(Ordering::Relaxed)),
            (ROUNDS + 1, ROUNDS)
        );
    }

    #[test]
    fn a_wait_ends_at_its_limit_or_at_once() {
        let word = Word::new(1);
        wait(&word, 0, None);
        wait(&word, 1, Some(Duration::from_millis(1)));
    }
}
