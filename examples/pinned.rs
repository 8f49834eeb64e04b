//! Pins each worker to a CPU of its own.

use core_affinity::get_core_ids;
use pool::{WorkerPool, worker_task};

/// The CPUs that this worker may run on.
#[worker_task]
fn allowed_cpus() -> Vec<usize> {
    get_core_ids().into_iter().flatten().map(|cpu| cpu.id).collect()
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let cpus = get_core_ids().expect("a process may ask about itself");
    // In order, so that worker i gets task i.
    let pool = WorkerPool::builder().workers(cpus.len()).cpu_ids(&cpus).order_tasks(true).build()?;
    let seen = allowed_cpus::job(&pool).chunk_size(1).map(cpus.iter().map(|_| ()))?;
    for (worker, (cpu, seen)) in cpus.iter().zip(&seen).enumerate() {
        println!("worker {worker} runs on {seen:?}");
        assert_eq!(seen, &[cpu.id]);
    }
    Ok(())
}
