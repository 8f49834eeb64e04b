use pool::{WorkerPool, worker_task};

struct Job(u64);

#[worker_task]
fn run(factor: u64, job: Job, text: &str) -> u64 {
    factor * job.0 + text.len() as u64
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = run::par_map(&pool, [(2, Job(1), "text")]).unwrap();
}
