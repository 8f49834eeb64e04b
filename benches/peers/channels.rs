//! A pool of threads behind two channels, as people write it by hand.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

pub(crate) struct Channels<T, R> {
    tasks: Option<Sender<(usize, T)>>,
    results: Receiver<(usize, R)>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static, R: Send + 'static> Channels<T, R> {
    pub(crate) fn new(workers: usize, call: fn(T) -> R) -> Self {
        let (tasks, inputs) = bounded::<(usize, T)>(1024);
        let (outputs, results) = unbounded();
        let worker = || {
            let (inputs, outputs) = (inputs.clone(), outputs.clone());
            thread::spawn(move || {
                for (place, item) in inputs {
                    if outputs.send((place, call(item))).is_err() {
                        return;
                    }
                }
            })
        };
        let threads = (0..workers).map(|_| worker()).collect();
        Self { tasks: Some(tasks), results, threads }
    }

    pub(crate) fn map(&self, items: impl ExactSizeIterator<Item = T>) -> Vec<R> {
        let mut results: Vec<Option<R>> = (0..items.len()).map(|_| None).collect();
        let mut missing = items.len();
        let tasks = self.tasks.as_ref().expect("it is not dropped");
        for task in items.enumerate() {
            tasks.send(task).expect("the threads live");
            while let Ok((place, result)) = self.results.try_recv() {
                results[place] = Some(result);
                missing -= 1;
            }
        }
        for (place, result) in self.results.iter().take(missing) {
            results[place] = Some(result);
        }
        results.into_iter().map(|result| result.expect("each place has one")).collect()
    }
}

impl<T, R> Drop for Channels<T, R> {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            // A panic of a thread was noticed already: results were missing.
            let _ = thread.join();
        }
    }
}
