use std::rc::Rc;
use std::sync::{Arc, Mutex};

use pool::worker_task;

trait Shape {
    fn area(&self) -> f64;
}

#[worker_task]
fn object(shape: Box<dyn Shape + Send>) -> f64 {
    shape.area()
}

#[worker_task]
fn counted(count: Rc<u64>) -> u64 {
    *count
}

#[worker_task]
fn locked(count: Arc<Mutex<u64>>) -> u64 {
    *count.lock().unwrap()
}

#[worker_task]
fn called(function: fn(u64) -> u64) -> u64 {
    function(3)
}

fn main() {}
