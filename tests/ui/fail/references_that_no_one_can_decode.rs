use std::cell::Cell;
use std::sync::Mutex;

use pool::{WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

struct Plain(u64);

#[derive(Serialize)]
struct OneWay(u64);

#[derive(Serialize, Deserialize)]
struct Counted(Cell<u64>);

trait Shape {
    fn area(&self) -> f64;
}

#[worker_task]
fn plain(plain: &Plain) -> u64 {
    plain.0
}

#[worker_task]
fn one_way(text: &str, one_way: &OneWay) -> u64 {
    one_way.0 + text.len() as u64
}

#[worker_task]
fn elements(rows: &[Plain]) -> usize {
    rows.len()
}

#[worker_task]
fn object(shape: &dyn Shape) -> f64 {
    shape.area()
}

#[worker_task]
fn lock(lock: &Mutex<Plain>) -> bool {
    lock.try_lock().is_ok()
}

// Only what is behind the reference crosses, but the caller lends the reference to other threads.
#[worker_task]
fn counted(counted: &Counted) -> u64 {
    counted.0.get()
}

// References that can be lent.
#[worker_task]
fn lent(path: &std::path::Path, bytes: &[u8], rows: &[f64], text: &String) -> bool {
    path.exists() && bytes.is_empty() && rows.is_empty() && text.is_empty()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = plain::par_map(&pool, [&Plain(1)]).unwrap();
}
