//! Pools inside the workers of a pool: the outer pool has one task for each thousand, and each of those maps over
//! its numbers with a pool of its own.

use std::ops::Range;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|divisor| divisor * divisor <= n).all(|divisor| !n.is_multiple_of(divisor))
}

#[worker_task]
fn count_primes(numbers: Range<u64>) -> usize {
    let inner = WorkerPool::new(2).expect("the outer pool is not daemonic");
    let primes = is_prime::par_map(&inner, numbers).expect("no number makes it fail");
    primes.iter().filter(|&&prime| prime).count()
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    // Workers of a daemonic pool, which is the default, may have no children.
    let outer = WorkerPool::builder().workers(2).daemon(false).build()?;
    let thousands = (0..8).map(|thousand| thousand * 1_000..(thousand + 1) * 1_000);
    let counts = count_primes::par_map(&outer, thousands)?;
    println!("primes in each thousand: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), (0..8_000).filter(|&n| is_prime(n)).count());
    Ok(())
}
