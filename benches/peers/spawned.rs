//! procspawn's pool. It gets no more tasks than it has workers, because it can hang where large ones queue up.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) struct Spawned<T, R> {
    pool: procspawn::Pool,
    workers: usize,
    call: fn(T) -> R,
}

impl<T, R> Spawned<T, R>
where
    T: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    pub(crate) fn new(workers: usize, call: fn(T) -> R) -> Self {
        let pool = procspawn::Pool::new(workers).expect("processes can be started");
        Self { pool, workers, call }
    }

    pub(crate) fn map(&self, items: impl Iterator<Item = T>) -> Vec<R> {
        let (mut results, mut running) = (Vec::new(), VecDeque::new());
        for item in items {
            if running.len() == self.workers {
                results.extend(running.pop_front().map(joined));
            }
            running.push_back(self.pool.spawn(item, self.call));
        }
        results.extend(running.into_iter().map(joined));
        results
    }
}

fn joined<R: Serialize + DeserializeOwned>(task: procspawn::JoinHandle<R>) -> R {
    task.join().expect("no task fails")
}
