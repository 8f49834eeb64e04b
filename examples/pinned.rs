//! Pins each worker to a CPU of its own.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use pool::{WorkerPool, worker_task};

/// The CPUs that this worker may run on.
#[worker_task]
fn allowed_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("a process may ask about itself");
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).is_ok_and(|set| set)).collect()
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let cpus = allowed_cpus();
    // In order, so that worker i gets task i.
    let pool = WorkerPool::builder().workers(cpus.len()).cpu_ids(&cpus).order_tasks(true).build()?;
    let seen = allowed_cpus::job(&pool).chunk_size(1).map(cpus.iter().map(|_| ()))?;
    for (worker, (cpu, seen)) in cpus.iter().zip(&seen).enumerate() {
        println!("worker {worker} runs on {seen:?}");
        assert_eq!(seen, &[*cpu]);
    }
    Ok(())
}
