use std::ops::Add;

use pool::{WorkerPool, worker_task};

#[worker_task(for T in [])]
fn nothing<T>(x: Vec<T>) -> usize {
    x.len()
}

#[worker_task(for T in [u8, u16, u8])]
fn twice<T>(x: Vec<T>) -> usize {
    x.len()
}

#[worker_task(for U in [u8])]
fn another<T>(x: Vec<T>) -> usize {
    x.len()
}

#[worker_task(for T in [u8])]
fn too_few<T, U>(x: Vec<T>, y: Vec<U>) -> usize {
    x.len() + y.len()
}

#[worker_task(for (T, U) in [(u8, u16), (u8, u16, u32)])]
fn rows<T, U>(x: Vec<T>, y: Vec<U>) -> usize {
    x.len() + y.len()
}

#[worker_task(for T in [u8])]
fn plain(x: Vec<u8>) -> usize {
    x.len()
}

#[worker_task(for T in [u8])]
fn shorthand<T: Add>(a: T, b: T) -> T::Output {
    a + b
}

#[worker_task(for T in [u8], for U in [u8])]
fn lists<T, U>(x: Vec<T>, y: Vec<U>) -> usize {
    x.len() + y.len()
}

#[worker_task(for T = u8)]
fn no_list<T>(x: Vec<T>) -> usize {
    x.len()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = nothing::<u8>::par_map(&pool, [vec![1]]).unwrap();
    let _: usize = plain::apply(&pool, vec![1]).unwrap();
    let _: usize = too_few::<u8, u8>::apply(&pool, (vec![1], vec![1])).unwrap();
}
