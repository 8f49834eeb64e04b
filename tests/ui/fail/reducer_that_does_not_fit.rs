use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(text: &str) -> u64 {
    text.len() as u64
}

#[worker_task]
fn join(a: String, b: String) -> String {
    a + &b
}

#[worker_task]
fn add(#[state] calls: &mut u64, a: u64, b: u64) -> u64 {
    *calls += 1;
    a + b
}

#[worker_task]
fn largest(numbers: Vec<u64>) -> u64 {
    numbers.into_iter().max().unwrap_or(0)
}

fn main() -> Result<(), pool::Error> {
    let pool = WorkerPool::new(2)?;
    length::job(&pool).reduce::<join>(["a"])?;
    length::job(&pool).reduce::<add>(["a"])?;
    length::job(&pool).reduce::<largest>(["a"])?;
    Ok(())
}
