//! `StartMethod::Fork`: workers are copies of this process, so a shared value needs no serialization. These are
//! closures, which no codec could send.

use pool::{StartMethod, WorkerPool, worker_task};

type Closures = Vec<Box<dyn Fn(f64) -> f64 + Send + Sync>>;

#[worker_task]
fn evaluate(#[shared] closures: &Closures, which: usize, x: f64) -> f64 {
    closures[which](x)
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let offset = 0.5;
    let closures: Closures = vec![Box::new(f64::sqrt), Box::new(move |x| x + offset), Box::new(|x| x * x)];
    let pool = WorkerPool::builder()
        .workers(2)
        .start_method(StartMethod::Fork)
        .shared_inherited(closures)
        .build()?;
    let values = evaluate::par_map(&pool, (0..3).map(|which| (which, 16.0)))?;
    println!("{values:?}");
    assert_eq!(values, [4.0, 16.5, 256.0]);
    Ok(())
}
