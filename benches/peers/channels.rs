//! Threads behind channels, as people write it by hand: for one caller that maps, and for many that call.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Threads that take what is sent to them. They end when it is dropped.
struct Threads<M> {
    input: Option<Sender<M>>,
    threads: Vec<JoinHandle<()>>,
}

impl<M: Send + 'static> Threads<M> {
    /// `serve` is told where a thread's input comes from.
    fn new(
        workers: usize,
        (input, output): (Sender<M>, Receiver<M>),
        serve: impl FnOnce(Receiver<M>) + Clone + Send + 'static,
    ) -> Self {
        let worker = |_| {
            let (serve, output) = (serve.clone(), output.clone());
            thread::spawn(move || serve(output))
        };
        Self { input: Some(input), threads: (0..workers).map(worker).collect() }
    }

    fn send(&self, message: M) {
        let input = self.input.as_ref().expect("it is not dropped");
        input.send(message).expect("the threads live");
    }
}

impl<M> Drop for Threads<M> {
    fn drop(&mut self) {
        self.input = None;
        for thread in self.threads.drain(..) {
            // A panic of a thread was noticed already: results were missing.
            let _ = thread.join();
        }
    }
}

/// Its results come back through one channel.
pub(crate) struct Channels<T, R> {
    tasks: Threads<(usize, T)>,
    results: Receiver<(usize, R)>,
}

impl<T: Send + 'static, R: Send + 'static> Channels<T, R> {
    pub(crate) fn new(workers: usize, call: fn(T) -> R) -> Self {
        let (outputs, results) = unbounded();
        let serve = move |inputs: Receiver<(usize, T)>| {
            for (place, item) in inputs {
                if outputs.send((place, call(item))).is_err() {
                    return;
                }
            }
        };
        Self { tasks: Threads::new(workers, bounded(1024), serve), results }
    }

    pub(crate) fn map(&self, items: impl ExactSizeIterator<Item = T>) -> Vec<R> {
        let mut results: Vec<Option<R>> = (0..items.len()).map(|_| None).collect();
        let mut missing = items.len();
        for task in items.enumerate() {
            self.tasks.send(task);
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

/// Each call brings a channel for its result.
pub(crate) struct Requests<T, R>(Threads<(T, Sender<R>)>);

impl<T: Send + 'static, R: Send + 'static> Requests<T, R> {
    pub(crate) fn new(workers: usize, call: fn(T) -> R) -> Self {
        let serve = move |requests: Receiver<(T, Sender<R>)>| {
            for (item, reply) in requests {
                // Some callers do not wait.
                let _ = reply.send(call(item));
            }
        };
        Self(Threads::new(workers, unbounded(), serve))
    }

    /// The result comes there.
    pub(crate) fn submit(&self, item: T) -> Receiver<R> {
        let (reply, result) = bounded(1);
        self.0.send((item, reply));
        result
    }

    pub(crate) fn call(&self, item: T) -> R {
        self.submit(item).recv().expect("no task fails")
    }
}
