//! Workers run on the CPUs that they were given, as they report themselves.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pool::{Error, StartMethod, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, put_token, take_token};

cases! {
    All: not_pinned, one_cpu_for_all, one_cpu_for_each, kept_at_restart, wrong_count, cpu_that_is_not_there,
         empty_set, numbers_beyond_reason, wrong_core_ids;
    Linux: one_set_for_all, one_set_for_each, pinned_main_thread, core_ids;
}

const WORKERS: usize = 2;

/// The CPUs that the calling thread may run on.
fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("a thread may ask about itself");
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

#[worker_task]
fn where_am_i(#[worker_id] id: usize, here: &str, go_on: &str) -> (usize, Vec<usize>) {
    put_token(here);
    take_token(go_on);
    (id, cpus())
}

/// The CPUs of each worker, in the workers' order.
fn cpus_of_workers(pool: &WorkerPool) -> Result<Vec<Vec<usize>>, Error> {
    let (mut here, mut go_on) = (Tokens::new(), Tokens::new());
    let (here_path, go_on_path) = (here.path(), go_on.path());
    let asked: Vec<_> =
        (0..WORKERS).map(|_| where_am_i::apply_async(pool, (&here_path, &go_on_path))).collect();
    // No task goes on before all have begun, so each has a worker of its own.
    here.take(WORKERS);
    go_on.put(WORKERS);
    let mut answers = asked.iter().map(pool::AsyncResult::get).collect::<Result<Vec<_>, _>>()?;
    answers.sort();
    Ok(answers.into_iter().map(|(_, cpus)| cpus).collect())
}

/// The first and the last allowed CPU, which are the same if only one is allowed.
fn first_and_last() -> (usize, usize) {
    let cpus = cpus();
    (cpus[0], cpus[cpus.len() - 1])
}

fn set(mut cpus: Vec<usize>) -> Vec<usize> {
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

/// A thread that is pinned leaves the other CPUs to its process.
fn pinned_main_thread(method: StartMethod) -> Result<(), Error> {
    let (all, (first, last), count) = (cpus(), first_and_last(), pool::cpu_count());
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    assert_eq!(cpus(), [first]);
    assert_eq!(cpus_of_workers(&builder(method).cpu_ids([last]).build()?)?, [[last], [last]]);
    assert_eq!(cpus_of_workers(&builder(method).cpu_ids([first, last]).build()?)?, [[first], [last]]);
    assert_eq!(cpus_of_workers(&builder(method).build()?)?, [all.clone(), all]);
    assert_eq!(pool::cpu_count(), count);
    Ok(())
}

fn numbers_beyond_reason(method: StartMethod) -> Result<(), Error> {
    let refused = |built: Result<WorkerPool, Error>| match built {
        Err(error @ Error::Option { option: "cpu_ids", .. }) => {
            assert!(error.to_string().len() < 1000, "{error}");
        }
        other => panic!("it should be refused: {other:?}"),
    };
    refused(builder(method).cpu_ids([usize::MAX]).build());
    refused(builder(method).cpu_ids(0..usize::MAX).build());
    refused(builder(method).cpu_ids([0..1 << 40, 1..usize::MAX]).build());
    refused(builder(method).cpu_ids([0..=usize::MAX, 0..=usize::MAX]).build());
    refused(builder(method).cpu_ids([vec![8191, 8192]]).build());
    Ok(())
}

fn not_pinned(method: StartMethod) -> Result<(), Error> {
    assert_eq!(cpus_of_workers(&builder(method).build()?)?, [cpus(), cpus()]);
    Ok(())
}

fn one_cpu_for_all(method: StartMethod) -> Result<(), Error> {
    for cpu in [first_and_last().0, first_and_last().1] {
        let pool = builder(method).cpu_ids([cpu]).build()?;
        assert_eq!(cpus_of_workers(&pool)?, [[cpu], [cpu]]);
        assert_usable(&pool);
    }
    Ok(())
}

fn one_set_for_all(method: StartMethod) -> Result<(), Error> {
    let (first, last) = first_and_last();
    let pool = builder(method).cpu_ids([[first, last]]).build()?;
    assert_eq!(cpus_of_workers(&pool)?, vec![set(vec![first, last]); 2]);
    let pool = builder(method).cpu_ids(vec![cpus()]).build()?;
    assert_eq!(cpus_of_workers(&pool)?, [cpus(), cpus()]);
    Ok(())
}

fn one_cpu_for_each(method: StartMethod) -> Result<(), Error> {
    let (first, last) = first_and_last();
    for cpu_ids in [[first, last], [last, first]] {
        let pool = builder(method).cpu_ids(cpu_ids).build()?;
        assert_eq!(cpus_of_workers(&pool)?, cpu_ids.map(|cpu| [cpu]));
        assert_usable(&pool);
    }
    Ok(())
}

fn one_set_for_each(method: StartMethod) -> Result<(), Error> {
    let (first, last) = first_and_last();
    let pool = builder(method).cpu_ids([vec![last], vec![last, first]]).build()?;
    assert_eq!(cpus_of_workers(&pool)?, [vec![last], set(vec![first, last])]);
    Ok(())
}

#[worker_task]
fn cpus_here(#[worker_id] id: usize, (): ()) -> (usize, Vec<usize>) {
    (id, cpus())
}

fn kept_at_restart(method: StartMethod) -> Result<(), Error> {
    let (first, last) = first_and_last();
    let before = cpus();
    let pool = builder(method).cpu_ids([first, last]).build()?;
    for (id, cpus) in cpus_here::job(&pool).worker_lifespan(2).map(vec![(); 20])? {
        assert_eq!(cpus, [[first, last][id]]);
    }
    assert_eq!(cpus(), before, "the caller's own CPUs are left alone");
    Ok(())
}

/// Asserts that the pool refuses these CPUs, with an error that names the option and the allowed CPUs.
#[track_caller]
fn assert_refused(method: StartMethod, cpu_ids: Vec<Vec<usize>>) {
    let pool = builder(method).cpu_ids(cpu_ids).build();
    let Err(Error::Option { option: "cpu_ids", allowed, .. }) = &pool else { panic!("{pool:?}") };
    assert!(allowed.contains(&first_and_last().0.to_string()), "{allowed:?} does not list the allowed CPUs");
}

fn wrong_count(method: StartMethod) -> Result<(), Error> {
    let cpu = first_and_last().0;
    assert_refused(method, vec![vec![cpu]; 3]);
    assert_refused(method, vec![]);
    Ok(())
}

fn cpu_that_is_not_there(method: StartMethod) -> Result<(), Error> {
    assert_refused(method, vec![vec![8000]]);
    assert_refused(method, vec![vec![usize::MAX]]);
    assert_refused(method, vec![vec![first_and_last().0], vec![first_and_last().0, 8000]]);
    Ok(())
}

fn empty_set(method: StartMethod) -> Result<(), Error> {
    assert_refused(method, vec![vec![]]);
    assert_refused(method, vec![vec![first_and_last().0], vec![]]);
    Ok(())
}

/// CPUs of core_affinity are accepted wherever numbers are.
fn core_ids(method: StartMethod) -> Result<(), Error> {
    let all = core_affinity::get_core_ids().unwrap();
    let (first, last) = first_and_last();
    let [one, other] = [first, last].map(|id| CoreId { id });
    let each = [vec![first], vec![last]];
    let both = vec![set(vec![first, last]); WORKERS];
    let seen = |builder: pool::WorkerPoolBuilder| cpus_of_workers(&builder.build()?);
    assert_eq!(seen(builder(method).cpu_ids([one]))?, [[first], [first]]);
    assert_eq!(seen(builder(method).cpu_ids([one, other]))?, each);
    assert_eq!(seen(builder(method).cpu_ids(vec![one, other]))?, each);
    assert_eq!(seen(builder(method).cpu_ids(&[one, other][..]))?, each);
    assert_eq!(seen(builder(method).cpu_ids([[one], [other]]))?, each);
    assert_eq!(seen(builder(method).cpu_ids([[one, other]]))?, both);
    assert_eq!(seen(builder(method).cpu_ids([vec![one, other], vec![other, one]]))?, both);
    assert_eq!(seen(builder(method).cpu_ids([&all]))?, [cpus(), cpus()]);
    // One worker for each CPU, from the list as it is.
    let builder = builder(method).workers(all.len()).order_tasks(true);
    let pool = builder.cpu_ids(core_affinity::get_core_ids().unwrap()).build()?;
    for (id, cpus) in cpus_here::job(&pool).chunk_size(1).map(vec![(); all.len()])? {
        assert_eq!(cpus, [all[id].id]);
    }
    Ok(())
}

fn wrong_core_ids(method: StartMethod) -> Result<(), Error> {
    let (one, none) = (CoreId { id: first_and_last().0 }, CoreId { id: usize::MAX });
    for wrong in [vec![none], vec![one, none], vec![one, one, one], vec![]] {
        let built = builder(method).cpu_ids(wrong).build();
        assert!(matches!(built, Err(Error::Option { option: "cpu_ids", .. })), "{built:?}");
    }
    let built = builder(method).cpu_ids([vec![one], vec![]]).build();
    assert!(matches!(built, Err(Error::Option { option: "cpu_ids", .. })), "{built:?}");
    Ok(())
}
