use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(text: &str) -> u64 {
    text.len() as u64
}

#[worker_task]
fn add(#[shared] most: &u64, a: u64, b: u64) -> u64 {
    (a + b).min(*most)
}

fn main() -> Result<(), pool::Error> {
    let pool = WorkerPool::new(2)?;
    length::job(&pool).reduce::<add>(["a"])?;
    Ok(())
}
