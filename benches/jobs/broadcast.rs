//! A shared value of 1 GiB to two workers, which read all of it: how long that takes, and by how much the memory
//! in use grows over what the value takes itself.

use std::error::Error;
use std::fs;

use pool::shared::SharedArray;
use pool::{StartMethod, WorkerPool, worker_task};

use super::{builder, time};
use crate::rounds::Session;

const LEN: usize = 256 << 20;
const GIB: f64 = (1u64 << 30) as f64;

/// One in each page.
const STEP: usize = 1024;

#[worker_task]
fn sum_plain(#[shared] values: &Vec<f32>, _: u32) -> f32 {
    values.iter().step_by(STEP).sum()
}

#[worker_task]
fn sum_array(#[shared] values: &SharedArray<f32>, _: u32) -> f32 {
    (0..values.len()).step_by(STEP).map(|at| values.get(at)).sum()
}

pub(crate) fn run(_: &mut Session) -> Result<(), Box<dyn Error>> {
    println!("\n1 GiB of f32 as the shared value, read by 2 workers");
    // The copies come first: a fork keeps what this process has until its pool has ended.
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        let array = SharedArray::<f32>::zeroed(LEN)?;
        array.fill(1.0);
        row("SharedArray", method, || {
            let pool = builder(method).shared(array.clone()).build()?;
            Ok((sum_array::job(&pool).chunk_size(1).map(0..2)?, Box::new(pool)))
        })?;
    }
    for method in [StartMethod::Fork, StartMethod::ForkServer] {
        let values = vec![1.0f32; LEN];
        row("Vec", method, || {
            let pool: WorkerPool<Vec<f32>> = match method {
                StartMethod::Fork => builder(method).shared_inherited(values).build()?,
                _ => builder(method).shared(values).build()?,
            };
            Ok((sum_plain::job(&pool).chunk_size(1).map(0..2)?, Box::new(pool)))
        })?;
    }
    Ok(())
}

/// The workers' results, and the pool that keeps the workers.
type Sums = (Vec<f32>, Box<dyn std::any::Any>);

fn row(
    what: &str,
    method: StartMethod,
    share: impl FnOnce() -> Result<Sums, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let before = used()?;
    let mut shared = None;
    let took = time(|| shared = Some(share()));
    let (sums, pool) = shared.ok_or("nothing came")??;
    let grown = (used()? - before) / GIB;
    drop(pool);
    assert_eq!(sums, [(LEN / STEP) as f32; 2], "a worker has another value");
    let name = format!("{what}, {method}");
    println!("  {name:24}  {:>6.0} ms  {grown:+.2} GiB", took.as_secs_f64() * 1e3);
    Ok(())
}

/// How many bytes are in use: private memory of this process and its children, and all shared memory of the machine,
/// mapped or not.
fn used() -> Result<f64, Box<dyn Error>> {
    let mut used =
        kib(&fs::read_to_string("/proc/meminfo")?, "Shmem:").ok_or("the kernel tells no such number")?;
    let own = std::process::id();
    for folder in fs::read_dir("/proc")? {
        let folder = folder?.path();
        // Not each entry is a process, and processes of others may end meanwhile.
        let process = folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        let is_child = || kib(&status, "PPid:") == Some(f64::from(own));
        if process.is_some_and(|process| process == own || is_child()) {
            let rollup = fs::read_to_string(folder.join("smaps_rollup"))?;
            used += kib(&rollup, "Pss_Anon:").ok_or("the kernel tells no such number")?;
        }
    }
    Ok(used * 1024.0)
}

/// The number behind this name in a file of `/proc`.
pub(super) fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
